//! Whether a store is the one that it was: wiped, made anew, rolled back, or another one.
//!
//! A store that lost its newest values answers as a healthy one does, with the same date of its
//! making. What it lost is known by those that remember it: each bridge keeps how far it has seen
//! each stream, its own last card and the highest token. Who finds a loss raises the epoch, and the
//! floor of the tokens, and forbids new grants until every grant that was lost has run out.

use super::Id;
use super::subject::Stream;
use crate::record::{Damage, Fields};

/// The `kind` of the record of the cluster.
pub const KIND: &str = "cluster";
/// The major version of the wire that this code speaks.
pub const WIRE: u64 = 1;

/// What holds for the whole cluster: the record under the subject `zeta1.meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The identity of the cluster, made by `init`.
    pub cluster: Id,
    /// Grows whenever the store turned out not to be what it was.
    pub epoch: u64,
    /// Every new token is greater.
    pub floor: u64,
    /// The server's clock before which nobody is granted a lease, in µs.
    pub no_grant_before_us: i64,
    /// Longest TTL of a lease, in ms.
    pub max_ttl_ms: u64,
    /// The lowest major version of the wire that is bridged.
    pub wire_min: u64,
    /// The highest one.
    pub wire_max: u64,
    /// Keys that this program does not know, kept when it rewrites the record.
    pub extra: Vec<(String, String)>,
}

const KEYS: [&str; 9] = [
    "schema",
    "kind",
    "cluster",
    "epoch",
    "floor",
    "no_grant_before_us",
    "max_ttl_ms",
    "wire_min",
    "wire_max",
];

impl Meta {
    /// Reads the record.
    pub fn of(fields: &Fields<'_>) -> Result<Meta, Damage> {
        fields.expect_kind(KIND)?;
        let number = |key| fields.number(key).ok_or(Damage::BadKey(key));
        let cluster = fields.text("cluster").and_then(|text| text.parse().ok());
        let us = number("no_grant_before_us")?;
        let unknown = fields.iter().filter(|(key, _)| !KEYS.contains(key));
        Ok(Meta {
            cluster: cluster.ok_or(Damage::BadKey("cluster"))?,
            epoch: number("epoch")?,
            floor: number("floor")?,
            no_grant_before_us: us.try_into().map_err(|_| Damage::BadKey("no_grant_before_us"))?,
            max_ttl_ms: number("max_ttl_ms")?,
            wire_min: number("wire_min")?,
            wire_max: number("wire_max")?,
            extra: unknown.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
    }

    /// The record as it is written.
    pub fn to_fields(&self) -> Fields<'static> {
        let mut fields = Fields::new(KIND);
        fields.push_text("cluster", self.cluster.as_str());
        fields.push_number("epoch", self.epoch);
        fields.push_number("floor", self.floor);
        let us = u64::try_from(self.no_grant_before_us).unwrap_or(0);
        fields.push_number("no_grant_before_us", us);
        fields.push_number("max_ttl_ms", self.max_ttl_ms);
        fields.push_number("wire_min", self.wire_min);
        fields.push_number("wire_max", self.wire_max);
        for (key, value) in &self.extra {
            fields.push_raw(key, value);
        }
        fields
    }
}

/// A card of this node in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSeen {
    /// The run of the bridge that wrote it.
    pub instance: Id,
    /// Its counter.
    pub counter: u64,
    /// Its revision.
    pub sequence: u64,
}

/// What a bridge remembers of its cluster, also after a restart and after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What held for the cluster.
    pub meta: Meta,
    /// Each stream: when it was made, as the server says it, and the last revision that was seen.
    pub streams: Vec<(Stream, Made, u64)>,
    /// The highest token of a lease of the cluster that this node has seen.
    pub highest_token: u64,
    /// This node's last card that was accepted.
    pub card: Option<CardSeen>,
    /// The highest counter that this node has sent, accepted or not.
    pub counter_sent: u64,
}

/// When a stream was made, in the words of the server. Only *the same or not* counts.
pub type Made = String;

/// What is seen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Each stream that is there: when it was made, and its last revision.
    pub streams: Vec<(Stream, Made, u64)>,
    /// What holds for the cluster, and its revision.
    pub meta: Option<(Meta, u64)>,
    /// The last card under this node's subject.
    pub card: Option<CardSeen>,
    /// A subject has a lower last revision than the copy that this node has of it. Subjects of
    /// records that are gone do not count: what they keep is removed at some time.
    pub went_back: bool,
    /// The server's clock, in µs.
    pub server_us: i64,
}

/// What a store is, compared with what is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one that it was; or nothing is remembered, and it is complete.
    Same,
    /// It lacks a stream or the record of the cluster. Nobody but a person makes it again.
    Missing(Stream),
    /// It is another cluster's.
    OtherCluster {
        /// Whose.
        found: Id,
    },
    /// It is bridged in other versions of the wire only.
    OtherWire {
        /// The lowest.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// It was made anew, or another node has found a loss: read everything again.
    Renewed,
    /// It has lost its newest values, and no other node has said so yet: read everything again.
    RolledBack,
    /// Another writer uses this node's name.
    SecondWriter(CardSeen),
}

/// The verdict, and what to write over the record of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The new record, and the revision that the write expects. If it is refused, another node was
    /// faster: look again.
    pub write: Option<(Meta, u64)>,
}

/// Judges a store.
pub fn judge_store(remembered: Option<&Remembered>, seen: &Seen) -> Judged {
    let only = |verdict| Judged { verdict, write: None };
    let is_missing = |stream: &Stream| !seen.streams.iter().any(|(there, ..)| there == stream);
    if let Some(stream) = Stream::ALL.into_iter().find(is_missing) {
        return only(Verdict::Missing(stream));
    }
    let Some((meta, revision)) = &seen.meta else { return only(Verdict::Missing(Stream::Meta)) };
    if !(meta.wire_min..=meta.wire_max).contains(&WIRE) {
        return only(Verdict::OtherWire { min: meta.wire_min, max: meta.wire_max });
    }
    let Some(remembered) = remembered else { return only(Verdict::Same) };
    if meta.cluster != remembered.meta.cluster {
        return only(Verdict::OtherCluster { found: meta.cluster.clone() });
    }
    let floor = meta.floor.max(remembered.meta.floor).max(remembered.highest_token);
    let is_remade = was_remade(remembered, seen);
    if meta.epoch > remembered.meta.epoch || (is_remade && meta.epoch == remembered.meta.epoch) {
        let raised = Meta { floor, ..meta.clone() };
        let write = (floor > meta.floor).then_some((raised, *revision));
        return Judged { verdict: Verdict::Renewed, write };
    }
    let own = judge_card(remembered, seen);
    let lost = lost_revisions(remembered, seen) || seen.went_back || own == Own::Lost;
    if meta.epoch < remembered.meta.epoch || lost {
        let raised = raise(meta, &remembered.meta, remembered.highest_token, seen.server_us);
        return Judged { verdict: Verdict::RolledBack, write: Some((raised, *revision)) };
    }
    match (own, &seen.card) {
        (Own::Other, Some(card)) => only(Verdict::SecondWriter(card.clone())),
        _ => only(Verdict::Same),
    }
}

/// Returns the record after a loss: a higher epoch, a floor of the tokens that is no lower than any
/// that is known, and no grant until each one that was lost has run out.
pub(super) fn raise(meta: &Meta, known: &Meta, highest_token: u64, server_us: i64) -> Meta {
    let max_ttl_ms = meta.max_ttl_ms.max(known.max_ttl_ms);
    let until_us = server_us.saturating_add_unsigned(max_ttl_ms.saturating_mul(1000));
    let before_us = meta.no_grant_before_us.max(known.no_grant_before_us);
    Meta {
        epoch: meta.epoch.max(known.epoch).saturating_add(1),
        floor: meta.floor.max(known.floor).max(highest_token),
        no_grant_before_us: before_us.max(until_us),
        max_ttl_ms,
        ..meta.clone()
    }
}

fn was_remade(remembered: &Remembered, seen: &Seen) -> bool {
    remembered.streams.iter().any(|(stream, made, _)| {
        seen.streams.iter().any(|(there, now, _)| there == stream && now != made)
    })
}

fn lost_revisions(remembered: &Remembered, seen: &Seen) -> bool {
    remembered.streams.iter().any(|(stream, _, last)| {
        seen.streams.iter().any(|(there, _, now)| there == stream && now < last)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It stands, or none was written.
    Stands,
    /// It is gone, or an older one stands there.
    Lost,
    /// Another writer has written over it.
    Other,
}

/// Judges this node's own card. A card whose answer was lost may stand too: its counter lies
/// between the accepted one and the last that was sent.
fn judge_card(remembered: &Remembered, seen: &Seen) -> Own {
    let Some(last) = &remembered.card else { return Own::Stands };
    let Some(card) = &seen.card else { return Own::Lost };
    let is_own = card.instance == last.instance
        && (last.counter..=remembered.counter_sent).contains(&card.counter);
    match card.sequence.cmp(&last.sequence) {
        std::cmp::Ordering::Less => Own::Lost,
        std::cmp::Ordering::Equal if card.counter == last.counter && is_own => Own::Stands,
        std::cmp::Ordering::Equal => Own::Lost,
        std::cmp::Ordering::Greater if is_own => Own::Stands,
        std::cmp::Ordering::Greater => Own::Other,
    }
}

/// Believes what another node wrote about the cluster only as far as it raises what is known: a
/// floor, an epoch and the end of a time without grants never sink, and the rest stays while the
/// epoch does.
pub fn decide_meta(known: &Meta, read: &Meta) -> Option<Meta> {
    if known.cluster != read.cluster || read.epoch < known.epoch {
        return None;
    }
    Some(Meta {
        floor: known.floor.max(read.floor),
        no_grant_before_us: known.no_grant_before_us.max(read.no_grant_before_us),
        ..read.clone()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::RECORD_MAX;
    use crate::record::{self, Text};

    const SERVER_US: i64 = 1_795_000_000_000_000;
    const TTL_MS: u64 = 3_600_000;

    fn id(digit: &str) -> Id {
        digit.repeat(32).parse().unwrap()
    }

    fn meta(epoch: u64, floor: u64) -> Meta {
        Meta {
            cluster: id("a"),
            epoch,
            floor,
            no_grant_before_us: 0,
            max_ttl_ms: TTL_MS,
            wire_min: 1,
            wire_max: 1,
            extra: Vec::new(),
        }
    }

    fn streams(made: &str, last: u64) -> Vec<(Stream, Made, u64)> {
        Stream::ALL.map(|stream| (stream, made.to_owned(), last)).to_vec()
    }

    fn card(counter: u64, sequence: u64) -> CardSeen {
        CardSeen { instance: id("1"), counter, sequence }
    }

    fn remembered() -> Remembered {
        Remembered {
            meta: meta(5, 100),
            streams: streams("monday", 40),
            highest_token: 700,
            card: Some(card(30, 39)),
            counter_sent: 31,
        }
    }

    fn seen() -> Seen {
        Seen {
            streams: streams("monday", 41),
            meta: Some((meta(5, 100), 9)),
            card: Some(card(30, 39)),
            went_back: false,
            server_us: SERVER_US,
        }
    }

    fn judged(seen: &Seen) -> Judged {
        judge_store(Some(&remembered()), seen)
    }

    #[test]
    fn a_store_that_went_on_is_the_same() {
        let same = Judged { verdict: Verdict::Same, write: None };
        assert_eq!(judged(&seen()), same);
        assert_eq!(judge_store(None, &seen()), same);
        // The answer to the newest card was lost.
        assert_eq!(judged(&Seen { card: Some(card(31, 41)), ..seen() }), same);
        let never = Remembered { card: None, ..remembered() };
        assert_eq!(judge_store(Some(&never), &Seen { card: None, ..seen() }), same);
    }

    #[test]
    fn an_incomplete_or_foreign_store_is_left_alone() {
        for stream in Stream::ALL {
            let mut lacking = seen();
            lacking.streams.retain(|(there, ..)| *there != stream);
            let missing = Judged { verdict: Verdict::Missing(stream), write: None };
            assert_eq!(judged(&lacking), missing);
            assert_eq!(judge_store(None, &lacking), missing, "it is no first start either");
        }
        let no_meta = judged(&Seen { meta: None, ..seen() });
        assert_eq!(no_meta, Judged { verdict: Verdict::Missing(Stream::Meta), write: None });
        let other = Meta { cluster: id("b"), ..meta(9, 0) };
        let found =
            judged(&Seen { meta: Some((other, 9)), streams: streams("tuesday", 1), ..seen() });
        assert_eq!(found.verdict, Verdict::OtherCluster { found: id("b") });
        assert_eq!(found.write, None);
        let later = Meta { wire_min: 2, wire_max: 3, ..meta(5, 100) };
        let found = judged(&Seen { meta: Some((later, 9)), ..seen() });
        assert_eq!(found, Judged { verdict: Verdict::OtherWire { min: 2, max: 3 }, write: None });
    }

    #[test]
    fn a_lost_value_raises_the_epoch_and_the_floor_and_forbids_grants() {
        let until_us = SERVER_US + TTL_MS as i64 * 1000;
        let lost: [(&str, Seen); 7] = [
            ("a subject went back, and the stream went on", Seen { went_back: true, ..seen() }),
            ("a stream went back", {
                let mut seen = seen();
                seen.streams[2].2 = 39;
                seen
            }),
            ("the card is gone", Seen { card: None, ..seen() }),
            ("an older card", Seen { card: Some(card(29, 38)), ..seen() }),
            ("its number is another value's", Seen { card: Some(card(31, 39)), ..seen() }),
            ("another run's at the number", {
                let card = CardSeen { instance: id("2"), ..card(30, 39) };
                Seen { card: Some(card), ..seen() }
            }),
            ("the record of the cluster went back", {
                Seen { meta: Some((meta(4, 50), 7)), streams: streams("tuesday", 99), ..seen() }
            }),
        ];
        for (case, seen) in lost {
            let Judged { verdict, write } = judged(&seen);
            assert_eq!(verdict, Verdict::RolledBack, "{case}");
            let (written, expected) = write.unwrap();
            assert_eq!(expected, seen.meta.unwrap().1, "{case}");
            let raised = Meta { no_grant_before_us: until_us, ..meta(6, 700) };
            assert_eq!(written, raised, "{case}");
        }
    }

    #[test]
    fn a_time_without_grants_never_gets_shorter_by_a_second_loss() {
        let later_us = SERVER_US * 2;
        let mut remembered = remembered();
        remembered.meta.no_grant_before_us = later_us;
        remembered.meta.max_ttl_ms = TTL_MS * 2;
        let lost = Seen { card: None, ..seen() };
        let (written, _) = judge_store(Some(&remembered), &lost).write.unwrap();
        assert_eq!((written.no_grant_before_us, written.max_ttl_ms), (later_us, TTL_MS * 2));
    }

    #[test]
    fn what_another_node_found_is_read_again_and_only_the_floor_is_raised() {
        // Everything is lower, as after a loss, but the epoch says that it is known.
        let found = |floor| Seen {
            meta: Some((meta(6, floor), 9)),
            streams: streams("monday", 3),
            card: None,
            ..seen()
        };
        let Judged { verdict, write } = judged(&found(650));
        assert_eq!((verdict, write), (Verdict::Renewed, Some((meta(6, 700), 9))));
        assert_eq!(judged(&found(701)), Judged { verdict: Verdict::Renewed, write: None });
        let remade = Seen { streams: streams("tuesday", 3), ..seen() };
        assert_eq!(judged(&remade).verdict, Verdict::Renewed);
        assert_eq!(judged(&remade).write, Some((meta(5, 700), 9)));
    }

    #[test]
    fn a_second_writer_under_this_name_is_named() {
        for other in [card(32, 41), card(29, 41), CardSeen { instance: id("2"), ..card(31, 41) }] {
            let judged = judged(&Seen { card: Some(other.clone()), ..seen() });
            assert_eq!(judged, Judged { verdict: Verdict::SecondWriter(other), write: None });
        }
    }

    #[test]
    fn two_nodes_that_find_one_loss_raise_the_epoch_once() {
        let lost = Seen { card: None, ..seen() };
        let (first, _) = judged(&lost).write.unwrap();
        // The second write was refused, so that node looks again.
        let again = judged(&Seen { meta: Some((first.clone(), 10)), ..lost });
        assert_eq!(again, Judged { verdict: Verdict::Renewed, write: None });
        assert_eq!(first.epoch, 6);
    }

    #[test]
    fn only_what_is_raised_is_believed() {
        let known = Meta { no_grant_before_us: 10, ..meta(5, 100) };
        assert_eq!(decide_meta(&known, &meta(4, 900)), None);
        assert_eq!(decide_meta(&known, &Meta { cluster: id("b"), ..meta(6, 900) }), None);
        let believed = decide_meta(&known, &meta(6, 50)).unwrap();
        assert_eq!(believed, Meta { no_grant_before_us: 10, ..meta(6, 100) });
        assert_eq!(decide_meta(&known, &meta(5, 900)).unwrap().floor, 900);
    }

    proptest! {
        #[test]
        fn the_record_of_a_cluster_reads_back_with_unknown_keys(
            epoch: u64, floor: u64, us in 0..i64::MAX, max_ttl_ms: u64, extra in "[a-z]{0,9}",
        ) {
            let extra = vec![(format!("later_{extra}"), "true".to_owned())];
            let meta = Meta { no_grant_before_us: us, max_ttl_ms, extra, ..meta(epoch, floor) };
            let text = meta.to_fields().render();
            let Ok(Text::Own(fields)) = record::parse(text.as_bytes(), RECORD_MAX) else {
                return Err(TestCaseError::fail(text));
            };
            prop_assert_eq!(Meta::of(&fields), Ok(meta));
        }

        #[test]
        fn no_judgement_lowers_an_epoch_or_a_floor(
            epoch in 0u64..9, floor in 0u64..900, last in 30u64..50, card in 0u64..4, made: bool,
        ) {
            let seen = Seen {
                streams: streams(if made { "monday" } else { "tuesday" }, last),
                meta: Some((meta(epoch, floor), 9)),
                card: (card > 0).then_some(self::card(28 + card, 37 + card)),
                went_back: false,
                server_us: SERVER_US,
            };
            if let Some((written, _)) = judged(&seen).write {
                prop_assert!(written.epoch >= epoch.max(5) && written.floor >= floor.max(700));
            }
        }
    }
}
