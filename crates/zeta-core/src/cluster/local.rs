//! What a bridge sends: the difference between the directory of its node and what it knows of the
//! store. The directory is the queue, so nothing else has to be remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::envelope::Gone;
use super::subject::Item;
use crate::layout::{ENTRIES_MAX, PERSONA_MAX};
use crate::presence::BEAT_MS;
use crate::record::{Text, parse};

/// Most records of a node that travel: beside them, the directory of a copy holds what its observer
/// writes.
pub const RECORDS_MAX: usize = ENTRIES_MAX - 8;
/// A change of a persona that is nothing but a beat is sent after so many beats: an observer calls
/// an agent silent after four.
const BEATS_UNSENT: u64 = 2;

/// How a beat begins in the record of a persona.
const BEAT_PREFIX: &str = "beat_";

/// What a record says, in short. Of a persona, beats are left out.
pub type Digest = u64;

/// Returns the digest of a record.
pub fn digest(item: &Item, body: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    match (item, parse(body, PERSONA_MAX)) {
        (Item::Persona(_), Ok(Text::Own(fields))) => {
            let lasting = fields.iter().filter(|(key, _)| !key.starts_with(BEAT_PREFIX));
            lasting.for_each(|entry| entry.hash(&mut hasher));
        }
        _ => body.hash(&mut hasher),
    }
    hasher.finish()
}

/// A record in the directory of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What it says.
    pub digest: Digest,
    /// All its bytes, in short.
    pub whole: Digest,
}

impl Local {
    /// The short forms of a record.
    pub fn of(item: &Item, body: &[u8]) -> Local {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Local { digest: digest(item, body), whole: hasher.finish() }
    }
}

/// What stands under a subject of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its revision.
    pub sequence: u64,
    /// The record; `None` if it is gone.
    pub record: Option<Local>,
    /// When this bridge saw or wrote it, by its boot clock, in ms.
    pub at_ms: u64,
}

/// What is to be done about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// Write it as it is.
    Put,
    /// Say that it is gone.
    Gone(Gone),
}

/// Compares the directory with the store. Each write expects the sequence of what is known, or 0.
/// The records of `unsent` are there, too: they are more than travel, and are not told as gone.
pub fn decide_sends(
    local: &BTreeMap<Item, Local>,
    unsent: &BTreeSet<Item>,
    stored: &BTreeMap<Item, Stored>,
    now_ms: u64,
) -> Vec<(Item, Send)> {
    let put = local.iter().filter(|(item, record)| must_put(record, stored.get(item), now_ms));
    let mut sends: Vec<(Item, Send)> = put.map(|(item, _)| (item.clone(), Send::Put)).collect();
    let gone = stored.iter().filter(|(item, stored)| {
        let is_there = local.contains_key(item) || unsent.contains(item);
        stored.record.is_some() && **item != Item::Card && !is_there
    });
    sends.extend(gone.map(|(item, _)| {
        let how = match item {
            Item::Lock(_) => Gone::Released,
            _ => Gone::Removed,
        };
        (item.clone(), Send::Gone(how))
    }));
    sends
}

fn must_put(record: &Local, stored: Option<&Stored>, now_ms: u64) -> bool {
    let Some(Stored { record: Some(known), at_ms, .. }) = stored else { return true };
    let is_old = now_ms.saturating_sub(*at_ms) >= BEATS_UNSENT * BEAT_MS;
    known.digest != record.digest || (known.whole != record.whole && is_old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RecordName;

    fn lock(name: &str) -> Item {
        Item::Lock(RecordName::new("lease", name).unwrap())
    }

    fn persona() -> Item {
        Item::Persona("otto".parse().unwrap())
    }

    fn record(item: &Item, text: &str) -> Local {
        Local::of(item, format!("schema: 1\n{text}end: true\n").as_bytes())
    }

    fn stored(record: Option<Local>, at_ms: u64) -> Stored {
        Stored { sequence: 7, record, at_ms }
    }

    fn sends(
        local: &BTreeMap<Item, Local>,
        stored: &BTreeMap<Item, Stored>,
        now_ms: u64,
    ) -> Vec<(Item, Send)> {
        decide_sends(local, &BTreeSet::new(), stored, now_ms)
    }

    #[test]
    fn a_record_that_is_one_too_many_is_not_told_as_gone() {
        let one = record(&lock("a"), "n: 1\n");
        let known = BTreeMap::from([
            (lock("b"), stored(Some(one.clone()), 0)),
            (lock("c"), stored(Some(one), 0)),
        ]);
        let sends = decide_sends(&BTreeMap::new(), &BTreeSet::from([lock("b")]), &known, 0);
        assert_eq!(sends, [(lock("c"), Send::Gone(Gone::Released))]);
    }

    #[test]
    fn what_differs_is_sent_and_what_vanished_is_told() {
        let (one, two) = (record(&lock("a"), "n: 1\n"), record(&lock("a"), "n: 2\n"));
        let local = BTreeMap::from([(lock("a"), one.clone()), (lock("new"), one.clone())]);
        let known = BTreeMap::from([
            (lock("a"), stored(Some(two), 0)),
            (lock("was"), stored(Some(one.clone()), 0)),
            (lock("is-gone"), stored(None, 0)),
            (Item::Card, stored(Some(one), 0)),
            (persona(), stored(Some(record(&persona(), "n: 1\n")), 0)),
        ]);
        assert_eq!(
            sends(&local, &known, 0),
            [
                (lock("a"), Send::Put),
                (lock("new"), Send::Put),
                (lock("was"), Send::Gone(Gone::Released)),
                (persona(), Send::Gone(Gone::Removed)),
            ]
        );
        assert_eq!(sends(&BTreeMap::new(), &BTreeMap::new(), 0), []);
    }

    #[test]
    fn a_record_that_came_back_is_sent_over_its_end() {
        let local = BTreeMap::from([(lock("a"), record(&lock("a"), "n: 1\n"))]);
        let known = BTreeMap::from([(lock("a"), stored(None, 0))]);
        assert_eq!(sends(&local, &known, 0), [(lock("a"), Send::Put)]);
    }

    #[test]
    fn a_beat_alone_is_sent_before_the_agent_would_seem_silent_and_no_sooner() {
        let item = persona();
        let local = BTreeMap::from([(item.clone(), record(&item, "work: 1\nbeat_seq: 2\n"))]);
        let sends = |text: &str, now_ms| {
            let known = BTreeMap::from([(item.clone(), stored(Some(record(&item, text)), 0))]);
            super::decide_sends(&local, &BTreeSet::new(), &known, now_ms).len()
        };
        assert_eq!(sends("work: 1\nbeat_seq: 1\n", BEATS_UNSENT * BEAT_MS - 1), 0);
        assert_eq!(sends("work: 1\nbeat_seq: 1\n", BEATS_UNSENT * BEAT_MS), 1);
        assert_eq!(sends("work: 1\nbeat_seq: 2\n", u64::MAX), 0);
        assert_eq!(sends("work: 2\nbeat_seq: 2\n", 0), 1);
        // In a lease no key is a beat.
        let lease = |text| record(&lock("a"), text).digest;
        assert_ne!(lease("beat_seq: 1\n"), lease("beat_seq: 2\n"));
    }
}
