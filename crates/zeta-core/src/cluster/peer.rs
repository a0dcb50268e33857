//! What this node refused of another one, when it stops listening to it for a while, and how many
//! values it takes of one at once.

use crate::layout::ENTRIES_MAX;

/// So many refusals within [`WINDOW_MS`] are a flood.
pub const FLOOD: usize = 10;
/// The time in which refusals are counted, in ms.
pub const WINDOW_MS: u64 = 60 * 1000;
/// For how long the values of a peer are ignored after a flood, in ms.
pub const IGNORED_MS: u64 = 10 * 60 * 1000;
/// So many values of a peer are taken at once: all that a node may have.
pub const AT_ONCE: u64 = ENTRIES_MAX as u64;
/// And so many in each second after that: what a busy node writes.
pub const PER_SECOND: u64 = 100;

/// The writer of a value that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The node: its key signed the value, and it is the first time that it comes.
    Node,
    /// Any hand that may write there, in the name of the node.
    Unknown,
}

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It is told.
    Told,
    /// It is told, and the peer is ignored from now on.
    Ignored,
    /// It is only counted: enough was told within [`WINDOW_MS`].
    Counted,
}

/// Refused values of one writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// All of them.
    pub count: u64,
    /// The reason of the last one, in words.
    pub reason: String,
    recent: Vec<u64>,
}

impl Refused {
    /// Counts one; returns how many came within [`WINDOW_MS`], up to [`FLOOD`].
    fn add(&mut self, reason: String, now_ms: u64) -> usize {
        self.count = self.count.saturating_add(1);
        self.reason = reason;
        self.recent.retain(|at_ms| now_ms.saturating_sub(*at_ms) < WINDOW_MS);
        if self.recent.len() < FLOOD {
            self.recent.push(now_ms);
            return self.recent.len();
        }
        FLOOD + 1
    }
}

/// The refusals of one peer. Times are those of the observer's boot clock, in ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// What the peer wrote itself.
    pub own: Refused,
    /// What came in its name, and nothing shows who wrote it.
    pub forged: Refused,
    ignored_until_ms: Option<u64>,
}

impl Refusals {
    /// Counts a refusal. A peer is ignored for what it wrote itself: else another hand could take
    /// its voice from it.
    pub fn add(&mut self, writer: Writer, reason: String, now_ms: u64) -> Follows {
        let refused = match writer {
            Writer::Node => &mut self.own,
            Writer::Unknown => &mut self.forged,
        };
        match (refused.add(reason, now_ms), writer) {
            (..FLOOD, _) => Follows::Told,
            (FLOOD, Writer::Node) => {
                self.own.recent.clear();
                self.ignored_until_ms = Some(now_ms.saturating_add(IGNORED_MS));
                Follows::Ignored
            }
            (FLOOD, Writer::Unknown) => Follows::Told,
            _ => Follows::Counted,
        }
    }

    /// For how many ms more the peer is ignored; `None` if it is not.
    pub fn ignored_ms(&self, now_ms: u64) -> Option<u64> {
        let rest = self.ignored_until_ms?.saturating_sub(now_ms);
        (rest > 0).then_some(rest)
    }

    /// Returns whether a time of ignoring has just ended: what came meanwhile must be read again.
    pub fn take_end(&mut self, now_ms: u64) -> bool {
        let ended = self.ignored_until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        if ended {
            self.ignored_until_ms = None;
        }
        ended
    }
}

/// How many values of a peer are taken as they come. What is more is read later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// Values that were passed over.
    pub passed_over: u64,
    /// What was taken and is not made up for by time, in thousandths of a value.
    taken: u64,
    at_ms: u64,
}

impl Pace {
    /// Returns whether a value is taken now.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let since_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms.max(self.at_ms);
        self.taken = self.taken.saturating_sub(since_ms.saturating_mul(PER_SECOND));
        let is_free = self.taken < AT_ONCE * 1000;
        match is_free {
            true => self.taken += 1000,
            false => self.passed_over = self.passed_over.saturating_add(1),
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(peer: &mut Refusals, reason: &str, now_ms: u64) -> Follows {
        peer.add(Writer::Node, reason.into(), now_ms)
    }

    #[test]
    fn ten_refusals_within_a_minute_are_a_flood_and_nine_are_none() {
        let mut peer = Refusals::default();
        for at in 0..9 {
            assert_eq!(add(&mut peer, "it is damaged", at), Follows::Told);
        }
        assert_eq!(peer.ignored_ms(9), None);
        // The first ones are forgotten after a minute.
        for _ in 0..4 {
            assert_eq!(add(&mut peer, "too long", WINDOW_MS + 3), Follows::Told);
        }
        assert_eq!(add(&mut peer, "too long", WINDOW_MS + 3), Follows::Ignored);
        assert_eq!((peer.own.count, peer.own.reason.as_str()), (14, "too long"));
    }

    #[test]
    fn a_peer_is_heard_again_after_ten_minutes() {
        let mut peer = Refusals::default();
        (0..10).for_each(|_| _ = add(&mut peer, "odd", 5));
        assert_eq!(peer.ignored_ms(5), Some(IGNORED_MS));
        assert!(!peer.take_end(IGNORED_MS + 4));
        assert_eq!(peer.ignored_ms(IGNORED_MS + 5), None);
        assert!(peer.take_end(IGNORED_MS + 5));
        assert!(!peer.take_end(IGNORED_MS + 6));
    }

    #[test]
    fn a_peer_is_not_ignored_for_what_another_hand_writes_in_its_name() {
        let mut peer = Refusals::default();
        let mut forge = |now_ms| peer.add(Writer::Unknown, "forged".into(), now_ms);
        assert!((0..10).all(|at| forge(at) == Follows::Told));
        // The log has a limit, the number has none.
        assert!((0..5).all(|_| forge(20) == Follows::Counted));
        assert_eq!(forge(WINDOW_MS + 10), Follows::Told);
        assert_eq!((peer.forged.count, peer.own.count), (16, 0));
        assert_eq!(peer.ignored_ms(20), None);
    }

    #[test]
    fn a_peer_has_as_many_values_taken_as_a_node_may_have_and_then_so_many_a_second() {
        let mut pace = Pace::default();
        assert!((0..AT_ONCE).all(|_| pace.take(7)));
        assert!(!pace.take(7) && !pace.take(7));
        assert!((0..PER_SECOND).all(|_| pace.take(1007)));
        assert!(!pace.take(1007));
        assert_eq!(pace.passed_over, 3);
        // A clock that stands still gives nothing, and a long rest not more than at once.
        assert!(!pace.take(0));
        assert!((0..AT_ONCE).all(|_| pace.take(10_000_000)));
        assert!(!pace.take(10_000_000));
    }
}
