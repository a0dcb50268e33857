//! The card of a node: it says that the node is there, and which machine uses its name.

use super::Id;
use super::copy::{self, Moment};
use crate::evidence::Age;
use crate::layout::RECORD_MAX;
use crate::name::Label;
use crate::record::{Damage, Fields, Text, parse};
use crate::time::{NS_PER_MS, Now};

/// The `kind` of a card.
pub const KIND: &str = "card";
/// How often a node writes its card, in ms, if nobody chose another time.
pub const BEAT_MS: u64 = 10 * 1000;
/// Shortest time between two cards, in ms.
pub const BEAT_MIN_MS: u64 = 1000;
/// Longest time between two cards, in ms.
pub const BEAT_MAX_MS: u64 = 10 * 60 * 1000;
/// A node is silent after so many beats without a card.
pub const BEATS_MISSED: u64 = 4;

/// The card of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The node.
    pub node: Label,
    /// The machine, if it has an id.
    pub machine_id: Option<String>,
    /// The boot of the machine.
    pub boot_id: String,
    /// The run of the bridge.
    pub instance: Id,
    /// The counter of the value.
    pub counter: u64,
    /// Time to the next card, in ms.
    pub beat_ms: u64,
    /// Records of the node that are damaged and do not travel.
    pub damaged: u64,
    /// Keys that this program does not know.
    pub extra: Vec<(String, String)>,
}

const KEYS: [&str; 9] = [
    "schema",
    "kind",
    "node",
    "machine_id",
    "boot_id",
    "instance",
    "counter",
    "beat_ms",
    "damaged",
];

impl Card {
    /// Reads a card.
    pub fn of(fields: &Fields<'_>) -> Result<Card, Damage> {
        fields.expect_kind(KIND)?;
        let text = |key| fields.text(key).ok_or(Damage::BadKey(key));
        let number = |key| fields.number(key).ok_or(Damage::BadKey(key));
        let machine_id = match fields.raw("machine_id") {
            None => None,
            Some(_) => Some(text("machine_id")?.into_owned()),
        };
        let unknown = fields.iter().filter(|(key, _)| !KEYS.contains(key));
        Ok(Card {
            node: text("node")?.parse().map_err(|_| Damage::BadKey("node"))?,
            machine_id,
            boot_id: text("boot_id")?.into_owned(),
            instance: text("instance")?.parse().map_err(|_| Damage::BadKey("instance"))?,
            counter: number("counter")?,
            beat_ms: number("beat_ms")?.clamp(BEAT_MIN_MS, BEAT_MAX_MS),
            damaged: number("damaged")?,
            extra: unknown.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
    }

    /// The card as it is written.
    pub fn to_fields(&self) -> Fields<'static> {
        let mut fields = Fields::new(KIND);
        fields.push_text("node", self.node.as_str());
        if let Some(machine_id) = &self.machine_id {
            fields.push_text("machine_id", machine_id);
        }
        fields.push_text("boot_id", &self.boot_id);
        fields.push_text("instance", self.instance.as_str());
        fields.push_number("counter", self.counter);
        fields.push_number("beat_ms", self.beat_ms);
        fields.push_number("damaged", self.damaged);
        for (key, value) in &self.extra {
            fields.push_raw(key, value);
        }
        fields
    }

    /// After this time without a new card the node is silent, in ms.
    fn silent_after_ms(&self) -> u64 {
        self.beat_ms.saturating_mul(BEATS_MISSED)
    }
}

/// A card in the store, and since when this observer has seen its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSeen {
    /// The card.
    pub card: Card,
    /// Its revision.
    pub sequence: u64,
    /// When the observer first saw this revision.
    pub observed: Moment,
    /// The longest time between two looks of the observer; 0 if cards are sent to it.
    pub every_ms: u64,
}

impl CardSeen {
    /// After this time without a new card the node is silent, in ms.
    fn silent_after_ms(&self) -> u64 {
        self.card.silent_after_ms().saturating_add(self.every_ms)
    }
}

/// The card of another node as its copy in a tree says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The card, and when this machine first saw it.
    pub seen: CardSeen,
    /// The key of the node signed it.
    pub verified: bool,
}

impl Copied {
    /// Reads the copy of a card.
    pub fn read(bytes: &[u8]) -> Result<Copied, Damage> {
        let (about, original) = copy::read(bytes, RECORD_MAX)?;
        let Text::Own(fields) = parse(&original, RECORD_MAX)? else {
            return Err(Damage::BadKey("schema"));
        };
        let card = Card::of(&fields)?;
        let every_ms = about.card_every_ms.unwrap_or(0);
        let seen = CardSeen { card, sequence: about.sequence, observed: about.observed, every_ms };
        Ok(Copied { seen, verified: about.verified })
    }

    /// How long ago its last card came; `None` if the clock that would say so is another one.
    pub fn age_ms(&self, now: &Now) -> Option<u64> {
        match self.seen.observed.age(now) {
            Age::Ms(age_ms) => Some(age_ms),
            Age::Unclear => None,
        }
    }
}

/// Returns whether a node is silent. It is not dead: its leases hold until their TTL is over.
pub fn is_silent(seen: &CardSeen, now: &Now) -> bool {
    match seen.observed.age(now) {
        Age::Ms(age_ms) => age_ms > seen.silent_after_ms(),
        Age::Unclear => false,
    }
}

/// When a node becomes silent if no other card comes, by the boot clock of the observer.
pub fn silent_at_ns(seen: &CardSeen) -> u64 {
    let after_ns = seen.silent_after_ms().saturating_add(1).saturating_mul(NS_PER_MS);
    seen.observed.boot_ns.saturating_add(after_ns)
}

/// Whether a bridge may use the name of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Write the first card. The write expects this revision, and if it is refused, look again.
    Write {
        /// The revision that was read; 0 if there is none.
        expected: u64,
    },
    /// Another machine has written the last card: look again after at most this time.
    Wait {
        /// In ms.
        rest_ms: u64,
    },
    /// Another machine uses the name now.
    Taken(Box<Card>),
}

/// Decides whether a bridge begins. `first` is the card that stood there when it asked first.
///
/// A second bridge on the same machine is kept out by its lock, and two machines with one machine
/// id by [`judge_conflict`].
pub fn decide_start(
    machine_id: Option<&str>,
    first: Option<&CardSeen>,
    seen: Option<&CardSeen>,
    now: &Now,
) -> Start {
    let Some(seen) = seen else { return Start::Write { expected: 0 } };
    let is_own = machine_id.is_some() && seen.card.machine_id.as_deref() == machine_id;
    if is_own || is_silent(seen, now) {
        return Start::Write { expected: seen.sequence };
    }
    if first.is_none_or(|first| first.sequence != seen.sequence) {
        return Start::Taken(Box::new(seen.card.clone()));
    }
    let rest_ms = match seen.observed.age(now) {
        Age::Ms(age_ms) => (seen.silent_after_ms() + 1).saturating_sub(age_ms),
        Age::Unclear => seen.silent_after_ms() + 1,
    };
    Start::Wait { rest_ms }
}

/// What the refusal of a write under an own subject says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// A write of this run stands there, whose answer was lost: go on from it.
    Own,
    /// A former run of this machine wrote it, and its write arrived late: go on from it.
    FormerRun,
    /// Another machine uses this node's name: stop, and name both machines.
    OtherMachine,
    /// A machine with the same id, in another boot, or another run in this boot, still writes.
    SecondRun,
}

/// Judges the card that stands where a write of the run `own` was refused. `sent` is the highest
/// counter that this run has sent, and `former` the highest counter that it saw when it began.
pub fn judge_conflict(own: &Card, sent: u64, former: u64, found: &Card) -> Conflict {
    let same_machine = own.machine_id.is_some() && own.machine_id == found.machine_id;
    if found.instance == own.instance && found.counter <= sent {
        Conflict::Own
    } else if !same_machine {
        Conflict::OtherMachine
    } else if found.instance != own.instance && found.counter <= former {
        Conflict::FormerRun
    } else {
        Conflict::SecondRun
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record;
    use crate::time::{Host, Reading};

    fn id(digit: &str) -> Id {
        digit.repeat(32).parse().unwrap()
    }

    fn card(machine: Option<&str>, instance: &str, counter: u64) -> Card {
        Card {
            node: "node-ab12".parse().unwrap(),
            machine_id: machine.map(str::to_owned),
            boot_id: "b1".into(),
            instance: id(instance),
            counter,
            beat_ms: BEAT_MS,
            damaged: 0,
            extra: Vec::new(),
        }
    }

    fn seen(machine: Option<&str>, sequence: u64, boot_s: u64) -> CardSeen {
        let boot_ns = boot_s * 1_000_000_000;
        let observed = Moment { boot_ns, boot_id: "here".into(), time_ns: None };
        CardSeen { card: card(machine, "1", 7), sequence, observed, every_ms: 0 }
    }

    fn host() -> Host {
        Host { boot_id: "here".into(), ..Host::default() }
    }

    fn now(host: &Host, boot_s: u64) -> Now<'_> {
        let reading = Reading { boot_ns: boot_s * 1_000_000_000, awake_ns: 0, wall_us: 0 };
        Now { reading, host }
    }

    #[test]
    fn a_name_is_free_for_its_machine_and_after_four_beats_of_silence() {
        let host = host();
        let start = |first: Option<&CardSeen>, seen: Option<&CardSeen>, at_s| {
            decide_start(Some("m1"), first, seen, &now(&host, at_s))
        };
        assert_eq!(start(None, None, 100), Start::Write { expected: 0 });
        let own = seen(Some("m1"), 41, 100);
        assert_eq!(start(Some(&own), Some(&own), 100), Start::Write { expected: 41 });
        for machine in [Some("m2"), None] {
            let other = seen(machine, 41, 100);
            let rest = |rest_ms| Start::Wait { rest_ms };
            assert_eq!(start(Some(&other), Some(&other), 100), rest(40_001), "{machine:?}");
            assert_eq!(start(Some(&other), Some(&other), 140), rest(1), "{machine:?}");
            assert_eq!(start(Some(&other), Some(&other), 141), Start::Write { expected: 41 });
            let newer = seen(machine, 42, 110);
            let taken = Start::Taken(Box::new(newer.card.clone()));
            assert_eq!(start(Some(&other), Some(&newer), 110), taken, "{machine:?}");
        }
    }

    #[test]
    fn two_machines_without_an_id_are_two_machines() {
        let host = host();
        let other = seen(None, 41, 100);
        let start = decide_start(None, Some(&other), Some(&other), &now(&host, 100));
        assert_eq!(start, Start::Wait { rest_ms: 40_001 });
    }

    #[test]
    fn a_node_is_silent_by_the_clock_of_its_observer_only() {
        let host = host();
        let seen = seen(Some("m2"), 41, 100);
        for (at_s, silent) in [(100, false), (140, false), (141, true), (99, false)] {
            assert_eq!(is_silent(&seen, &now(&host, at_s)), silent, "{at_s}");
        }
        assert_eq!(silent_at_ns(&seen), 140_001_000_000);
        let rebooted = Host { boot_id: "there".into(), ..Host::default() };
        assert!(!is_silent(&seen, &now(&rebooted, 500)), "it was observed by another clock");
        // Who reads the card every 10 min may see an old one for as long.
        let rarely = CardSeen { every_ms: 600_000, ..seen };
        for (at_s, silent) in [(141, false), (740, false), (741, true)] {
            assert_eq!(is_silent(&rarely, &now(&host, at_s)), silent, "{at_s}");
        }
        assert_eq!(silent_at_ns(&rarely), 740_001_000_000);
    }

    #[test]
    fn a_refused_write_says_who_else_writes() {
        let own = card(Some("m1"), "1", 20);
        let clone = Card { boot_id: "b2".into(), ..card(Some("m1"), "2", 31) };
        for (found, conflict) in [
            (card(Some("m1"), "1", 22), Conflict::Own),
            (card(Some("m1"), "1", 20), Conflict::Own),
            (card(Some("m1"), "1", 23), Conflict::SecondRun),
            (card(Some("m1"), "2", 10), Conflict::FormerRun),
            (card(Some("m1"), "2", 11), Conflict::SecondRun),
            (clone, Conflict::SecondRun),
            (card(Some("m2"), "2", 9), Conflict::OtherMachine),
            (card(None, "2", 9), Conflict::OtherMachine),
        ] {
            assert_eq!(judge_conflict(&own, 22, 10, &found), conflict, "{found:?}");
        }
        let nameless = card(None, "1", 20);
        let found = card(None, "2", 9);
        assert_eq!(judge_conflict(&nameless, 22, 10, &found), Conflict::OtherMachine);
    }

    #[test]
    fn a_beat_of_a_peer_has_bounds() {
        for (beat_ms, read_ms) in [(0, BEAT_MIN_MS), (u64::MAX, BEAT_MAX_MS), (5_000, 5_000)] {
            let mut fields = card(Some("m1"), "1", 1).to_fields();
            fields.set_number("beat_ms", beat_ms);
            assert_eq!(Card::of(&fields).unwrap().beat_ms, read_ms);
        }
    }

    #[test]
    fn the_copy_of_a_card_says_when_it_came_and_whether_it_is_believed() {
        let text = card(Some("m1"), "1", 7).to_fields().render();
        let about = copy::About {
            node: "node-ab12".parse().unwrap(),
            cluster: id("c"),
            epoch: 1,
            sequence: 41,
            observed: seen(None, 0, 100).observed,
            verified: true,
            counter: None,
            gone: None,
            card_every_ms: Some(600_000),
        };
        let written = copy::write(text.as_bytes(), RECORD_MAX, &about).unwrap();
        let copied = Copied::read(written.as_bytes()).unwrap();
        let host = host();
        assert_eq!((copied.age_ms(&now(&host, 103)), copied.verified), (Some(3000), true));
        assert!(!is_silent(&copied.seen, &now(&host, 740)));
        assert!(is_silent(&copied.seen, &now(&host, 741)));
        // Of another boot of the observer nothing is known.
        let other = Host { boot_id: "later".into(), ..Host::default() };
        assert_eq!(copied.age_ms(&now(&other, 103)), None);
        assert!(Copied::read(text.as_bytes()).is_err());
        assert!(Copied::read(b"a copy of the records of node-b\n").is_err());
    }

    proptest! {
        #[test]
        fn cards_read_back_with_unknown_keys(
            machine in proptest::option::of("\\PC{0,40}"), counter: u64, damaged: u64,
        ) {
            let extra = vec![("later".to_owned(), "7".to_owned())];
            let card = Card { damaged, extra, ..card(machine.as_deref(), "3", counter) };
            let text = card.to_fields().render();
            let Ok(Text::Own(fields)) = record::parse(text.as_bytes(), RECORD_MAX) else {
                return Err(TestCaseError::fail(text));
            };
            prop_assert_eq!(Card::of(&fields), Ok(card));
        }
    }
}
