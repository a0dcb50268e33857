//! What a store is, case by case: the same, another one, rolled back, made anew, or false.

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
fn a_card_that_an_administrator_removed_was_not_lost() {
    let removed = |up_to: u64| {
        let mut meta = meta(5, 100);
        meta.raise_removed(Stream::State, up_to);
        judged(&Seen { card: None, meta: Some((meta, 9)), ..seen() })
    };
    assert_eq!(removed(39), Judged { verdict: Verdict::Same, write: None });
    // This one was written after it.
    let later = removed(38);
    assert_eq!(later.verdict, Verdict::RolledBack);
    // After a loss the numbers begin anew.
    let (raised, _) = later.write.unwrap();
    assert_eq!((raised.epoch, raised.removed_up_to(Stream::State)), (6, 0));
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
    let found = judged(&Seen { meta: Some((other, 9)), streams: streams("tuesday", 1), ..seen() });
    assert_eq!(found.verdict, Verdict::OtherCluster { found: id("b") });
    assert_eq!(found.write, None);
    let later = Meta { wire_min: 2, wire_max: 3, ..meta(5, 100) };
    let found = judged(&Seen { meta: Some((later, 9)), ..seen() });
    assert_eq!(found, Judged { verdict: Verdict::OtherWire { min: 2, max: 3 }, write: None });
}

#[test]
fn a_lost_value_raises_the_epoch_and_the_floor_and_forbids_grants() {
    let until_us = SERVER_US + TTL_MS as i64 * 1000;
    let lost: [(&str, Seen); 8] = [
        ("a stream was made anew, and has more values than before", {
            let mut seen = seen();
            seen.streams[1] = (seen.streams[1].0, "tuesday".to_owned(), 99);
            seen
        }),
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
    let later_us = SERVER_US + TTL_MS as i64 * 3000;
    let mut remembered = remembered();
    remembered.meta.no_grant_before_us = later_us;
    remembered.meta.max_ttl_ms = TTL_MS * 2;
    let lost = Seen { card: None, ..seen() };
    let (written, _) = judge_store(Some(&remembered), &lost).write.unwrap();
    assert_eq!((written.no_grant_before_us, written.max_ttl_ms), (later_us, TTL_MS * 2));
}

#[test]
fn a_record_that_says_what_cannot_be_is_written_over_and_not_remembered() {
    let until_us = SERVER_US + TTL_MS as i64 * 1000;
    let right = Meta { no_grant_before_us: until_us, ..meta(6, 700) };
    for wrong in [
        meta(1 << 63, 100),
        meta(u64::MAX, 100),
        meta(5, (1 << 53) - 1),
        meta(6, u64::MAX),
        Meta { no_grant_before_us: i64::MAX, ..meta(5, 100) },
        Meta { max_ttl_ms: u64::MAX, ..meta(5, 100) },
        Meta { no_grant_before_us: SERVER_US * 2, ..meta(6, 100) },
    ] {
        let seen = Seen { meta: Some((wrong.clone(), 9)), ..seen() };
        let Judged { verdict, write } = judged(&seen);
        assert_eq!(verdict, Verdict::RolledBack, "{wrong:?}");
        let (written, _) = write.unwrap();
        assert!((6..=7).contains(&written.epoch), "{written:?}");
        assert_eq!(Meta { epoch: 6, ..written.clone() }, right, "{wrong:?}");
        // It is no loss again, for this node and for one that had believed it.
        for known in [meta(5, 100), wrong] {
            let known = Remembered { meta: known, highest_token: 700, ..remembered() };
            let again = Seen { meta: Some((written.clone(), 10)), ..self::seen() };
            let Judged { verdict, write } = judge_store(Some(&known), &again);
            assert!(matches!(verdict, Verdict::Renewed | Verdict::Same), "{known:?}");
            assert_eq!(write, None, "{known:?}");
        }
    }
    let mut remembered = remembered();
    remembered.see_token((1 << 53) - 1);
    assert_eq!(remembered.highest_token, 700);
    remembered.see_token(701);
    assert_eq!(remembered.highest_token, 701);
    assert_eq!(decide_meta(&meta(5, 100), &meta(5, (1 << 53) - 1)), None);
    assert_eq!(decide_meta(&meta(5, 100), &meta(u64::MAX, 100)), None);
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
