//! Tables of cases: which messages travel, how a sender and a reader go on, and times.

use super::*;
use crate::bus::{Envelope, Fate, FileSeen};
use crate::time::parse_utc;

const HOUR_US: i64 = 3_600_000_000;

/// `vera` and the channel `#build` are here, `otto` is on another node.
struct Known;

impl Places for Known {
    fn agent(&self, address: &str) -> Place {
        match address {
            "vera" => Place::Here,
            "otto" => Place::Elsewhere,
            _ => Place::Unknown,
        }
    }

    fn has_member(&self, channel: &str) -> bool {
        channel == "#build"
    }
}

fn node(name: &str) -> Label {
    Label::new("node", name).unwrap()
}

#[test]
fn a_message_goes_where_its_recipient_may_be() {
    for (to, leaves, arrives) in [
        ("*", true, Incoming::Stored),
        ("#build", true, Incoming::Stored),
        ("#other", true, Incoming::Elsewhere),
        ("vera", false, Incoming::Stored),
        ("otto", true, Incoming::Elsewhere),
        ("nobody", true, Incoming::Stored),
        ("vera/cli@b", true, Incoming::Elsewhere),
        ("vera/cli@a", false, Incoming::Stored),
        ("vera/cli@A", true, Incoming::Elsewhere),
        ("", true, Incoming::Stored),
    ] {
        assert_eq!(judge_outgoing(&node("a"), to, &Known), leaves, "{to}");
        let (b, to) = (node("b"), to);
        let message = Arriving { sender: &b, to, left_ms: 1, is_known: false };
        assert_eq!(judge_incoming(&node("a"), &message, &Known), arrives, "{to}");
        let known = Arriving { is_known: true, ..message };
        assert_eq!(judge_incoming(&node("a"), &known, &Known), Incoming::Known, "{to}");
        let over = Arriving { left_ms: 0, ..message };
        assert_eq!(judge_incoming(&node("a"), &over, &Known), Incoming::Expired, "{to}");
        let a = node("a");
        let own = Arriving { sender: &a, ..message };
        assert_eq!(judge_incoming(&node("a"), &own, &Known), Incoming::Own, "{to}");
    }
}

fn sent(sequence: u64, id: &str) -> Sent {
    Sent { sequence, id: id.to_owned() }
}

#[test]
fn a_sender_goes_on_behind_the_end_of_its_chain() {
    let noted = [sent(10, "a"), sent(20, "b"), sent(30, "c")];
    for (case, last, wanted) in [
        ("nothing was lost", Some(sent(30, "c")), Resume::Send { keep: 3, expected: 30 }),
        ("the store lost the end", Some(sent(10, "a")), Resume::Send { keep: 1, expected: 10 }),
        ("the store lost all", None, Resume::Send { keep: 0, expected: 0 }),
        ("an answer was lost", Some(sent(40, "d")), Resume::Read { keep: 3, after: 30 }),
        ("the numbers are another store's", Some(sent(5, "x")), Resume::Read { keep: 0, after: 0 }),
        ("a number was given anew", Some(sent(20, "x")), Resume::Read { keep: 0, after: 0 }),
        ("a message stands elsewhere", Some(sent(25, "b")), Resume::Read { keep: 0, after: 0 }),
    ] {
        assert_eq!(decide_resume(&noted, last.as_ref()), wanted, "{case}");
    }
    let from_start = Resume::Read { keep: 0, after: 0 };
    assert_eq!(decide_resume(&[], Some(&sent(9, "x"))), from_start, "the notes were lost");
    assert_eq!(decide_resume(&[], None), Resume::Send { keep: 0, expected: 0 });
}

#[test]
fn a_reader_goes_on_only_in_the_messages_that_it_has_read() {
    let (cluster, other): (Id, Id) =
        ("a".repeat(32).parse().unwrap(), "b".repeat(32).parse().unwrap());
    let cursor = Cursor { cluster: cluster.clone(), epoch: 3, sequence: 70, sum: 7 };
    let seen = StoreSeen { cluster: &cluster, epoch: 3, last: 90, at_cursor: Some((70, 7)) };
    for (case, seen, after) in [
        ("it went on", seen, 70),
        ("nothing came", StoreSeen { last: 70, ..seen }, 70),
        ("the message was too old", StoreSeen { at_cursor: Some((80, 1)), ..seen }, 70),
        ("all were too old", StoreSeen { at_cursor: None, ..seen }, 70),
        ("the store lost its end", StoreSeen { last: 69, at_cursor: None, ..seen }, 0),
        ("and went on", StoreSeen { at_cursor: Some((70, 8)), ..seen }, 0),
        ("a loss was found", StoreSeen { epoch: 4, ..seen }, 0),
        ("another cluster", StoreSeen { cluster: &other, ..seen }, 0),
    ] {
        assert_eq!(decide_read(Some(&cursor), &seen), after, "{case}");
    }
    assert_eq!(decide_read(None, &seen), 0);
}

fn envelope(timestamp: &str, expires_at: &str) -> Envelope {
    Envelope {
        topic: "text".to_owned(),
        payload: serde_json::Value::Null,
        id: "a".to_owned(),
        from: "vera".to_owned(),
        to: "*".to_owned(),
        timestamp: timestamp.to_owned(),
        expires_at: expires_at.to_owned(),
        extra: serde_json::Map::new(),
    }
}

#[test]
fn what_is_left_of_a_life_is_counted_by_the_clock_of_the_receiver() {
    let (from, until) = ("2026-11-22T20:00:00.000Z", "2026-11-22T22:00:00.000Z");
    let sent_us = parse_utc(from).unwrap();
    // The clock of the receiver is right, or wrong by more than the life of the message.
    for off_us in [0, -5 * HOUR_US, 5 * HOUR_US] {
        for waited_us in [0, HOUR_US] {
            let now_us = sent_us + waited_us + off_us;
            let left_us = 2 * HOUR_US - waited_us;
            let left_ms = (left_us / 1000) as u64;
            let envelope = envelope(from, until);
            let arrival = Arrival { now_us, left_ms, when: envelope.when() };
            let mtime_us = arrival.mtime_us(None);
            let fate = |now_us| {
                let seen = FileSeen { mtime_us, now_us, is_imported: true };
                envelope.when().fate(seen)
            };
            let end_us = now_us + left_us;
            assert_eq!(fate(now_us), Fate::Lives(end_us), "{off_us} {waited_us}");
            assert_eq!(fate(end_us), Fate::Lives(end_us), "{off_us} {waited_us}");
            assert_eq!(fate(end_us + 1), Fate::Expired, "{off_us} {waited_us}");
            assert_eq!(arrival.known_until_us(), now_us + 26 * HOUR_US);
        }
    }
    // A file of this node counts by what stands in it.
    let own = FileSeen { mtime_us: sent_us, now_us: sent_us, is_imported: false };
    assert_eq!(envelope(from, until).when().fate(own), Fate::Lives(sent_us + 2 * HOUR_US));
}

#[test]
fn two_of_one_timestamp_keep_their_order() {
    let (timestamp, expires_at) = ("2026-11-22T20:00:00.000Z", "2026-11-22T22:00:00.000Z");
    let envelope = envelope(timestamp, expires_at);
    let at = |now_us, left_ms| Arrival { now_us, left_ms, when: envelope.when() };
    let first = at(1_000_000_000, 3_600_000).mtime_us(None);
    // It waited a little longer, and so would look older.
    let second = at(1_000_000_001, 3_599_000);
    assert!(second.mtime_us(None) < first);
    assert_eq!(second.mtime_us(Some(first)), first + 1);
    let now = at(1_000_000_001, 7_200_000).mtime_us(Some(first));
    assert_eq!(now, 1_000_000_001);
}

#[test]
fn a_message_without_times_or_with_an_endless_life_ends() {
    let max_us = us_of(topic::LIFE_MAX_MS);
    for (timestamp, expires_at, life_us) in [
        ("x", "2026-11-22T20:00:00.000Z", None),
        ("2026-11-22T20:00:00.000Z", "9999-11-22T20:00:00.000Z", Some(max_us)),
        ("2026-11-22T20:00:00.000Z", "2020-11-22T20:00:00.000Z", Some(0)),
    ] {
        assert_eq!(envelope(timestamp, expires_at).when().life_us(), life_us, "{expires_at}");
    }
    let envelope = envelope("", "");
    let arrival = Arrival { now_us: 7, left_ms: u64::MAX, when: envelope.when() };
    assert_eq!(arrival.mtime_us(None), 7);
    assert_eq!(arrival.known_until_us(), 7 + max_us);
}
