//! Tables of what the bus's rules say.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::broken::judge_broken;
use super::claim::{Action, ClaimMessage, Grant, Said, conflicts_with, holders};
use super::item::{ITEM_MAX, Item, is_claim_lease};
use super::*;

const SEEN: FileSeen = FileSeen { mtime_us: 1_000_000, now_us: 2_000_000 };

fn envelope(timestamp: &str, expires_at: &str) -> Envelope {
    Envelope {
        topic: "claim".to_owned(),
        payload: json!({ "action": "claim", "itemId": "B-1" }),
        id: "x".to_owned(),
        from: "otto".to_owned(),
        to: EVERYBODY.to_owned(),
        timestamp: timestamp.to_owned(),
        expires_at: expires_at.to_owned(),
        extra: Map::new(),
    }
}

#[test]
fn addresses_have_a_persona() {
    for (text, persona) in [
        ("otto", "otto"),
        ("otto-cli", "otto"),
        ("my-agent", "my-agent"),
        ("otto/cli", "otto"),
        ("my-agent/cli/2@node-1a2b3c", "my-agent"),
    ] {
        assert_eq!(Address::new(text).map(|a| a.persona().to_owned()).as_deref(), Ok(persona));
    }
    for bad in ["", "*", "Otto", "-x", "a b", "a//b", "a/b/c/d", "a@n", "a/b@", "../x", "a\n"] {
        assert!(Address::new(bad).is_err(), "{bad}");
    }
    assert_eq!(
        Address::new("my.agent/cli@n").map(|a| a.as_label()).as_deref(),
        Ok("my-agent-cli-n")
    );
}

#[test]
fn an_item_is_any_text_that_fits_a_file_name() {
    for good in ["B-1", "a b/ü✓", "..", "\n", "x%2Fy"] {
        let item = Item::new(good).unwrap();
        assert!(item.original_lock().len() <= 255 && !item.original_lock().contains('/'));
        assert_ne!(item.lease("/tmp/a", None), item.lease("/tmp/b", None));
        assert_ne!(item.lease("/tmp/a", None), item.lease("/tmp/a", Some("otto-cli")));
    }
    let lease = Item::new("B-1").unwrap().lease("/tmp/a", None);
    assert!(is_claim_lease(lease.as_str()), "{lease}");
    for other in ["claim", "claim.x", "claim.b-1.123", "deploy", &lease.as_str()[6..]] {
        assert!(!is_claim_lease(other), "{other}");
    }
    assert!(Item::new("").is_err());
    assert!(Item::new(&"x".repeat(ITEM_MAX)).is_ok());
    assert!(Item::new(&"ü".repeat(ITEM_MAX / 6 + 1)).is_err());
    assert_ne!(Item::new("B-1").unwrap().digest(), Item::new("b-1").unwrap().digest());
}

#[test]
fn payloads_are_what_their_topic_asks_for() {
    let check = |name: &str, payload| topic::known(name).unwrap().check(&payload);
    assert_eq!(check("heartbeat", json!({ "status": "idle", "more": 1 })), Ok(()));
    assert!(check("heartbeat", json!({ "status": "asleep" })).is_err());
    assert!(check("heartbeat", json!({ "status": "idle", "note": 1 })).is_err());
    assert!(check("claim", json!({ "action": "claim" })).unwrap_err().contains("itemId"));
    assert!(check("claim", json!(["claim"])).is_err());
    let cascade = json!({
        "prNumber": 1, "branchName": "b", "missingCommits": ["c", 1], "recommendedAction": "r",
        "urgency": "high",
    });
    assert!(check("missed-substrate-cascade", cascade).unwrap_err().contains("missingCommits"));
}

#[test]
fn a_message_counts_as_long_as_it_says_and_no_longer_than_it_may() {
    let at = |timestamp: &str, expires_at: &str| envelope(timestamp, expires_at).when().fate(SEEN);
    assert_eq!(at("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z"), Fate::Lives(3_000_000));
    assert_eq!(at("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.999Z"), Fate::Expired);
    assert_eq!(at("1970-01-01T00:00:01.000Z", "soon"), Fate::NoExpiry);
    // From the future: its file's time, and at most the life of its topic.
    let future = envelope("2099-01-01T00:00:00.000Z", "2199-01-01T00:00:00.000Z");
    assert_eq!(future.when().sent_us(SEEN), SEEN.mtime_us);
    // Nor when that time has come: what was said after it stays the newer word.
    let later = FileSeen { now_us: i64::MAX / 2, ..SEEN };
    assert_eq!(future.when().sent_us(later), SEEN.mtime_us);
    assert_eq!(future.when().fate(SEEN), Fate::Lives(SEEN.mtime_us + 86_400_000_000));
    assert!(future.when().is_future(SEEN));
    assert_eq!(envelope("never", "2199-01-01T00:00:00.000Z").when().sent_us(SEEN), i64::MIN);
}

fn notice(id: &str, from: &str, action: Action, order: (i64, i64)) -> ClaimMessage {
    ClaimMessage {
        id: id.to_owned(),
        from: from.to_owned(),
        action,
        item: "B-1".to_owned(),
        branch: None,
        worktree: None,
        shareable: false,
        grant: None,
        timestamp: String::new(),
        expires_at: String::new(),
        order,
        until_us: Some(i64::MAX),
    }
}

#[test]
fn the_newest_word_of_each_sender_counts() {
    use Action::{Claim, Release};
    type Word = (&'static str, Action, (i64, i64));
    let cases: &[(&[Word], &[&str])] = &[
        (&[], &[]),
        (&[("a", Claim, (1, 1))], &["a"]),
        (&[("a", Claim, (1, 1)), ("a", Release, (2, 1))], &[]),
        (&[("a", Release, (2, 1)), ("a", Claim, (1, 9))], &[]),
        (&[("a", Claim, (1, 2)), ("a", Release, (1, 1))], &["a"]),
        (&[("a", Claim, (1, 1)), ("a", Release, (1, 1))], &[]),
        (&[("a", Claim, (1, 1)), ("b", Release, (2, 1))], &["a"]),
        (&[("b", Claim, (2, 1)), ("a", Claim, (1, 1))], &["a", "b"]),
    ];
    for (said, expected) in cases {
        let notices: Vec<ClaimMessage> = said
            .iter()
            .enumerate()
            .map(|(at, (from, action, order))| notice(&at.to_string(), from, *action, *order))
            .collect();
        let held: Vec<&str> =
            holders(&notices, "B-1", |_| None).iter().map(|n| n.from.as_str()).collect();
        assert_eq!(held, *expected, "{said:?}");
    }
    let expired = ClaimMessage { until_us: None, ..notice("1", "a", Claim, (1, 1)) };
    assert!(holders(&[expired], "B-1", |_| None).is_empty());
    assert!(holders(&[notice("1", "a", Claim, (1, 1))], "B-2", |_| None).is_empty());
}

#[test]
fn a_mirror_counts_while_its_grant_stands() {
    let grant = Grant { place: "p".to_owned(), lease: "l".to_owned(), fencing_token: 7 };
    let mirror = ClaimMessage { grant: Some(grant), ..notice("1", "a", Action::Claim, (1, 1)) };
    let held = |stands| holders(std::slice::from_ref(&mirror), "B-1", |_| stands).len();
    assert_eq!(held(Some(true)), 1);
    assert_eq!(held(Some(false)), 0);
    assert_eq!(held(None), 1, "a grant in another tree is believed");
}

#[test]
fn surfaces_share_only_if_both_say_so() {
    let blocks = |from, shares, asks: &str, shareable| {
        conflicts_with(from, shares, &Address::new(asks).unwrap(), shareable)
    };
    assert!(blocks("otto-cli", false, "otto-desktop", false));
    assert!(blocks("otto-cli", true, "otto-desktop", false));
    assert!(blocks("otto-cli", false, "otto-desktop", true));
    assert!(!blocks("otto-cli", true, "otto-desktop", true));
    assert!(blocks("otto-cli", true, "vera", true));
    assert!(blocks("not an address", true, "vera", true));
}

#[test]
fn numbers_are_written_as_they_were_read() {
    let mut message = envelope("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z");
    message.payload = serde_json::from_str("118446744073709551616779000000000001").unwrap();
    let text = message.render();
    assert_eq!(Envelope::parse(text.as_bytes(), "x").unwrap().render(), text);
}

#[test]
fn text_is_read_as_the_original_reads_it() {
    for (json, want) in [
        (&br#""\ud83c""#[..], r#""\ufffd""#),
        (br#""a\uD83Cb\udc00\udbff\ud83c\udf89""#, r#""a\ufffdb\ufffd\ufffd\ud83c\udf89""#),
        (br#""\ud83c\n\\ud83c""#, r#""\ufffd\n\\ud83c""#),
        (br#""\\\ud83c\\\\u""#, r#""\\\ufffd\\\\u""#),
        ("\"é\\u00e9\\u20ac\"".as_bytes(), "\"é\\u00e9\\u20ac\""),
        (b"\"\xe9 \xed\xa0\xbc\"", "\"\u{fffd} \u{fffd}\u{fffd}\u{fffd}\""),
    ] {
        let text = text_of(json);
        assert_eq!(text, want);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    // Text that is not JSON is no reason to panic.
    for odd in ["\\", "\\u", "\\ud83", "\\ud83c\\u", "é\\ud83c\\é", "\\é"] {
        text_of(odd.as_bytes());
    }
    // Of a key that stands twice the last one counts.
    let twice = r#"{"topic":"a","id":"x","from":"f","to":"*","timestamp":"t","expiresAt":"e",
        "topic":"b","payload":1,"payload":{"c":"\ud83c"}}"#;
    let message = Envelope::parse(twice.as_bytes(), "x").unwrap();
    assert_eq!((&*message.topic, message.payload), ("b", json!({ "c": "\u{fffd}" })));
}

/// A claim of the original as it writes one, changed.
fn broken(change: impl Fn(&str) -> String) -> Said {
    let mut message = envelope("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z");
    message.payload = json!({ "action": "claim", "itemId": "B-1", "branch": "feat/x" });
    judge_broken(change(&message.render()).as_bytes(), "x", SEEN)
}

#[test]
fn a_claim_that_cannot_be_read_counts_as_long_as_it_shows_its_item() {
    let claim = |said: Said| match said {
        Said::Claim(message) => message,
        other => panic!("{other:?}"),
    };
    let seen = claim(broken(|text| text.replace("\"to\": \"*\"", "\"to\": 5")));
    assert_eq!((&*seen.from, &*seen.item, seen.until_us), ("otto", "B-1", Some(3_000_000)));
    assert_eq!((seen.branch.as_deref(), seen.order), (Some("feat/x"), (1_000_000, 1_000_000)));
    // Without a date it lives as long as its topic, from when it was stored.
    let cut = claim(broken(|text| text[..text.find("\"id\"").unwrap()].to_owned()));
    assert_eq!((&*cut.from, cut.until_us), ("?", Some(86_401_000_000)));
    assert_eq!(broken(|text| text[..text.find("B-1").unwrap() + 2].to_owned()), Said::Untold);
    assert_eq!(broken(|text| text.replace("\"B-1\"", "5 5")), Said::Untold);
    for nothing in [
        broken(|text| text.replace("1970-01-01T00:00:03", "1970-01-01T00:00:01") + "}"),
        broken(|text| text.replace("\"action\": \"claim\"", "\"action\": \"release\"") + "}"),
        broken(|text| text.replace("\"topic\": \"claim\"", "\"topic\": \"note\"") + "}"),
        broken(|_| "{\"note\":\"\\\"topic\\\": \\\"claim\\\"\"".to_owned()),
        broken(|_| String::new()),
    ] {
        assert_eq!(nothing, Said::Nothing);
    }
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back(
        payload in "[a-zA-Z0-9 \"\\\\\u{0}-\u{1f}ü✓]{0,40}",
        key in "[a-z]{1,8}",
    ) {
        let mut message = envelope("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z");
        message.payload = json!({ key.clone(): [payload, { "n": 1.5 }, null] });
        message.extra.insert(format!("x{key}"), json!(true));
        let text = message.render();
        prop_assert_eq!(Envelope::parse(text.as_bytes(), "x").unwrap(), message);
    }

    #[test]
    fn no_bytes_are_more_than_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Envelope::parse(&bytes, "x");
        let _ = judge_broken(&bytes, "x", SEEN);
    }

    #[test]
    fn cut_and_changed_messages_are_errors_or_messages(at in 0usize..300, byte in any::<u8>()) {
        let message = envelope("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z").render();
        let mut bytes = message.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = (Envelope::parse(&bytes, "x"), judge_broken(&bytes, "x", SEEN));
        bytes.truncate(at);
        prop_assert!(Envelope::parse(&bytes, "x").is_err());
    }
}
