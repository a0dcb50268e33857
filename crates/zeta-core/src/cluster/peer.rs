//! What this node refused of another one, and when it stops listening to it for a while.

/// So many refusals within [`WINDOW_MS`] are a flood.
pub const FLOOD: usize = 10;
/// The time in which refusals are counted, in ms.
pub const WINDOW_MS: u64 = 60 * 1000;
/// For how long the values of a peer are ignored after a flood, in ms.
pub const IGNORED_MS: u64 = 10 * 60 * 1000;

/// The refusals of one peer. Times are those of the observer's boot clock, in ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// All of them.
    pub count: u64,
    /// The reason of the last one, in words.
    pub reason: String,
    recent: Vec<u64>,
    ignored_until_ms: Option<u64>,
}

impl Refusals {
    /// Counts a refusal. Returns whether the peer is ignored from now on.
    pub fn add(&mut self, reason: String, now_ms: u64) -> bool {
        self.count = self.count.saturating_add(1);
        self.reason = reason;
        self.recent.retain(|at_ms| now_ms.saturating_sub(*at_ms) < WINDOW_MS);
        self.recent.push(now_ms);
        let flooded = self.recent.len() >= FLOOD;
        if flooded {
            self.recent.clear();
            self.ignored_until_ms = Some(now_ms.saturating_add(IGNORED_MS));
        }
        flooded
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_refusals_within_a_minute_are_a_flood_and_nine_are_none() {
        let mut peer = Refusals::default();
        for at in 0..9 {
            assert!(!peer.add("it is damaged".into(), at));
        }
        assert_eq!(peer.ignored_ms(9), None);
        // The first ones are forgotten after a minute.
        assert!(!peer.add("too long".into(), WINDOW_MS + 3));
        for _ in 0..3 {
            assert!(!peer.add("too long".into(), WINDOW_MS + 3));
        }
        assert!(peer.add("too long".into(), WINDOW_MS + 3));
        assert_eq!((peer.count, peer.reason.as_str()), (14, "too long"));
    }

    #[test]
    fn a_peer_is_heard_again_after_ten_minutes() {
        let mut peer = Refusals::default();
        (0..10).for_each(|_| _ = peer.add("odd".into(), 5));
        assert_eq!(peer.ignored_ms(5), Some(IGNORED_MS));
        assert!(!peer.take_end(IGNORED_MS + 4));
        assert_eq!(peer.ignored_ms(IGNORED_MS + 5), None);
        assert!(peer.take_end(IGNORED_MS + 5));
        assert!(!peer.take_end(IGNORED_MS + 6));
    }
}
