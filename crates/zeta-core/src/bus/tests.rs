//! Tables of what the bus's rules say.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::broken::judge_broken;
use super::claim::{Action, ClaimMessage, Grant, Said, conflicts_with, holders, judge_said};
use super::grant::ClaimRecord;
use super::item::{ITEM_MAX, Item, is_claim_lease};
use super::*;
use crate::lease::Record;
use crate::time::format_utc;

const SEEN: FileSeen = FileSeen { mtime_us: 1_000_000, now_us: 2_000_000, is_imported: false };

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
fn a_message_is_in_the_thread_that_it_names_or_begins() {
    let mut message = envelope("", "");
    message.id = "second".to_owned();
    // The thread that stands there, the thread that counts, one that it is not in.
    for (named, thread) in [
        (None, "second"),
        (Some("first"), "first"),
        (Some("no id"), "second"),
        (Some(""), "second"),
    ] {
        message.extra.clear();
        message.extra.extend(named.map(|named| (THREAD.to_owned(), named.into())));
        assert_eq!(message.thread(), thread);
        let text = message.render();
        let header = Header::of(&text, "second").unwrap();
        for (other, is_in) in [(thread, true), ("second", true), ("third", false), ("", false)] {
            assert_eq!(message.is_in_thread(other), is_in, "{named:?} {other}");
            assert_eq!(header.is_in_thread(other), is_in, "{named:?} {other}");
        }
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
    for (text, original) in [("otto-cli", true), ("otto/cli", false), ("my-agent", false)] {
        let address = Address::new(text).unwrap();
        assert_eq!((address.as_str(), address.to_string().as_str()), (text, text));
        assert_eq!(address.is_original(), original, "{text}");
    }
}

#[test]
fn the_id_of_a_message_is_safe_as_a_file_name() {
    for good in ["a", "A-1_b.json", "0", &"x".repeat(128)] {
        assert!(is_id(good), "{good}");
    }
    for bad in ["", ".", "..", ".x", "a/b", "a b", "ü", "a\n", &"x".repeat(129)] {
        assert!(!is_id(bad), "{bad}");
    }
    for (name, good) in [("claim", true), ("x.y-1", true), ("Claim", false), ("../claim", false)] {
        assert_eq!(topic::is_name(name), good, "{name}");
    }
}

#[test]
fn an_item_is_any_text_that_fits_a_file_name() {
    for good in ["B-1", "a b/ü✓", "..", "\n", "x%2Fy"] {
        let item = Item::new(good).unwrap();
        assert!(item.original_lock().len() <= 255 && !item.original_lock().contains('/'));
        assert_ne!(item.lease("/tmp/a", None), item.lease("/tmp/b", None));
        assert_ne!(item.lease("/tmp/a", None), item.lease("/tmp/a", Some("otto-cli")));
    }
    let item = Item::new("a_B/1.ü!~*'()").unwrap();
    assert_eq!(item.as_str(), "a_B/1.ü!~*'()");
    assert_eq!(item.original_lock(), "acquire-a_B%2F1.%C3%BC!~*'().lock");
    let lease = item.lease("/tmp/a", None);
    assert!(lease.as_str().starts_with("claim.a_b-1.-------."), "{lease}");
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
fn each_topic_lives_as_long_as_the_document_says() {
    let lives: Vec<(&str, u64)> =
        topic::TOPICS.iter().map(|topic| (topic.name, topic.life_ms / 60_000)).collect();
    let wanted = [
        ("heartbeat", 5),
        ("claim", 24 * 60),
        ("shadow-catch", 60),
        ("review-request", 4 * 60),
        ("infinite-backlog-nudge", 30),
        ("work-assignment", 2 * 60),
        ("missed-substrate-cascade", 24 * 60),
        ("formal-verification-result", 6 * 60),
        ("text", 24 * 60),
        ("state-change", 60),
    ];
    assert_eq!(lives, wanted);
    assert_eq!((topic::LIFE_MAX_MS, ENVELOPE_MAX), (2_678_400_000, 65_536));
}

#[test]
fn payloads_are_what_their_topic_asks_for() {
    let check = |name: &str, payload| topic::known(name).unwrap().check(&payload);
    assert_eq!(check("heartbeat", json!({ "status": "idle", "more": 1 })), Ok(()));
    let asleep = check("heartbeat", json!({ "status": "asleep" })).unwrap_err();
    assert_eq!(asleep, "\"status\" is \"asleep\", and must be one of alive, idle, working");
    assert!(check("heartbeat", json!({ "status": "idle", "note": 1 })).is_err());
    assert!(check("claim", json!({ "action": "claim" })).unwrap_err().contains("itemId"));
    for (name, payload, shape) in [
        ("text", json!({ "text": 1 }), "text"),
        ("missed-substrate-cascade", json!({ "prNumber": "1" }), "a number"),
    ] {
        let why = check(name, payload).unwrap_err();
        assert!(why.ends_with(&format!("must be {shape}")), "{why}");
    }
    assert!(check("claim", json!(["claim"])).is_err());
    let cascade = json!({
        "prNumber": 1, "branchName": "b", "missingCommits": ["c", 1], "recommendedAction": "r",
        "urgency": "high",
    });
    assert!(check("missed-substrate-cascade", cascade).unwrap_err().ends_with("an array of text"));
}

#[test]
fn a_message_counts_as_long_as_it_says_and_no_longer_than_it_may() {
    let at = |timestamp: &str, expires_at: &str| envelope(timestamp, expires_at).when().fate(SEEN);
    assert_eq!(at("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z"), Fate::Lives(3_000_000));
    assert_eq!(at("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.999Z"), Fate::Expired);
    assert_eq!(at("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z"), Fate::Lives(2_000_000));
    // Its sender may let it live longer than its topic's messages usually do.
    let week = at("1970-01-01T00:00:01.000Z", "1970-01-08T00:00:00.000Z");
    assert_eq!(week, Fate::Lives(7 * 86_400_000_000));
    // Its end is no time: the original keeps it for ever, so it is not free at once.
    let endless = envelope("1970-01-01T00:00:01.000Z", "soon");
    assert!(endless.when().is_endless());
    assert!(!envelope("never", "1970-01-01T00:00:03.000Z").when().is_endless());
    assert_eq!(endless.when().fate(SEEN), Fate::Lives(SEEN.mtime_us + 86_400_000_000));
    let next_day = FileSeen { now_us: SEEN.mtime_us + 86_400_000_001, ..SEEN };
    assert_eq!(endless.when().fate(next_day), Fate::Expired);
    // From the future: its file's time, and at most the life of its topic.
    let future = envelope("2099-01-01T00:00:00.000Z", "2199-01-01T00:00:00.000Z");
    assert_eq!(future.when().sent_us(SEEN), SEEN.mtime_us);
    // Nor when that time has come: what was said after it stays the newer word.
    let later = FileSeen { now_us: i64::MAX / 2, ..SEEN };
    assert_eq!(future.when().sent_us(later), SEEN.mtime_us);
    assert_eq!(future.when().fate(SEEN), Fate::Lives(SEEN.mtime_us + 86_400_000_000));
    assert!(future.when().is_future(SEEN));
    // Clocks differ by a little: that much is no future yet.
    for (ahead_us, is_future) in [(0, false), (SKEW_US, false), (SKEW_US + 1, true)] {
        let sent = format_utc(SEEN.mtime_us + ahead_us);
        let message = envelope(&sent, "2199-01-01T00:00:00.000Z");
        assert_eq!(message.when().is_future(SEEN), is_future, "{ahead_us}");
    }
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
fn a_message_says_who_claims_what_and_by_which_grant() {
    let mut message = envelope("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z");
    message.payload = json!({
        "action": "claim", "itemId": "B-1", "branch": "b", "worktree": "/w", "shareable": true,
        "leasePlace": "p", "lease": "l", "fencingToken": 7,
    });
    let grant = Grant { place: "p".to_owned(), lease: "l".to_owned(), fencing_token: 7 };
    let claim = ClaimMessage {
        id: "x".to_owned(),
        branch: Some("b".to_owned()),
        worktree: Some("/w".to_owned()),
        shareable: true,
        grant: Some(grant),
        timestamp: message.timestamp.clone(),
        expires_at: message.expires_at.clone(),
        until_us: Some(3_000_000),
        ..notice("x", "otto", Action::Claim, (1_000_000, 1_000_000))
    };
    assert_eq!(judge_said(&message, SEEN), Said::Claim(Box::new(claim.clone())));
    let late = FileSeen { now_us: 3_000_001, ..SEEN };
    let expired = ClaimMessage { until_us: None, ..claim };
    assert_eq!(judge_said(&message, late), Said::Claim(Box::new(expired)));
    message.payload = json!({ "action": "release", "itemId": "B-1", "shareable": 1 });
    let Some(release) = ClaimMessage::of(&message, SEEN) else { panic!("{message:?}") };
    assert_eq!((release.action, release.shareable), (Action::Release, false));
    assert_eq!(release.grant, None);
}

#[test]
fn a_claim_without_its_item_is_untold_and_anything_else_says_nothing() {
    let said = |topic: &str, action: &str, seen| {
        let mut message = envelope("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z");
        message.topic = topic.to_owned();
        message.payload = json!({ "action": action, "itemId": 1 });
        judge_said(&message, seen)
    };
    let late = FileSeen { now_us: 3_000_001, ..SEEN };
    assert_eq!(said("claim", "claim", SEEN), Said::Untold);
    assert_eq!(said("claim", "claim", late), Said::Nothing);
    assert_eq!(said("claim", "release", SEEN), Said::Nothing);
    assert_eq!(said("note", "claim", SEEN), Said::Nothing);
    let mut note = envelope("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z");
    note.topic = "note".to_owned();
    assert_eq!(judge_said(&note, SEEN), Said::Nothing);
    note.topic = "claim".to_owned();
    note.payload = json!({ "action": "shout", "itemId": "B-1" });
    assert_eq!(judge_said(&note, SEEN), Said::Nothing);
}

#[test]
fn the_record_of_a_claim_s_lease_shows_the_claim() {
    let record = |extra: &[(&str, &str)]| Record {
        extra: extra.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..crate::lease::tests::record()
    };
    let claim = record(&[
        ("colour", "\"red\""),
        ("item", "\"a \\\"B\\\"\""),
        ("claim_from", "\"otto\""),
        ("worktree", "\"/w\""),
        ("shareable", "true"),
        ("handed_over", "false"),
        ("message", "\"m-1\""),
    ]);
    let wanted = ClaimRecord {
        item: "a \"B\"".to_owned(),
        from: "otto".to_owned(),
        branch: None,
        worktree: Some("/w".to_owned()),
        shareable: true,
        message: Some("m-1".to_owned()),
        bus_dir: None,
        handed_over: false,
    };
    assert_eq!(ClaimRecord::of(&claim), Some(wanted));
    assert_eq!(ClaimRecord::of(&record(&[("item", "\"a\"")])), None, "a lease of no holder");
    assert_eq!(ClaimRecord::of(&record(&[])), None, "a lease that is no claim");
}

#[test]
fn what_is_no_message_is_named_by_its_fault() {
    use BadEnvelope::{NotJson, NotMessage, OtherId, TooDeep, TooLong};
    let with = |payload: &str| {
        let rest = r#""id":"x","from":"otto","to":"*","timestamp":"t","expiresAt":"e"}"#;
        format!(r#"{{"topic":"claim","payload":{payload},{rest}"#)
    };
    let read = |text: &str| Envelope::parse(text.as_bytes(), "x").map(|message| message.payload);
    let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    assert!(read(&with(&nested(DEPTH_MAX))).is_ok());
    assert_eq!(read(&with(&nested(DEPTH_MAX + 1))), Err(TooDeep));
    // Brackets in a string nest nothing, also after a quote that is escaped.
    let (open, close) = ("[".repeat(40), "}".repeat(40));
    for text in [open.clone(), format!("\\\"{open}"), format!("\\\\\\\"{open}{close}")] {
        assert!(read(&with(&format!("\"{text}\""))).is_ok(), "{text}");
    }
    let deep = format!("[\"{close}\",{}]", nested(DEPTH_MAX));
    assert_eq!(read(&with(&deep)), Err(TooDeep));
    let deep = format!("[\"\\\\\",{}]", nested(DEPTH_MAX));
    assert_eq!(read(&with(&deep)), Err(TooDeep), "a string ends after an escaped backslash");
    let wide = format!("[{}0]", "[],".repeat(DEPTH_MAX + 1));
    assert!(read(&with(&wide)).is_ok(), "one beside the other");

    let mut text = with("1");
    text.push_str(&" ".repeat(ENVELOPE_MAX - text.len()));
    assert_eq!(read(&text), Ok(json!(1)));
    assert_eq!(read(&format!("{text} ")), Err(TooLong));
    assert!(matches!(read("{\"topic\":\"a\"}"), Err(NotMessage(why)) if why.contains("id")));
    let text = with("1").replace("\"otto\"", "5");
    assert!(matches!(read(&text), Err(NotMessage(why)) if why.contains("expected a string")));
    assert!(matches!(read("[1]"), Err(NotMessage(why)) if why.contains("expected a message")));
    assert!(matches!(read(&with("")), Err(NotJson(_))));
    let other = with("1").replace("\"x\"", "\"y\"");
    assert_eq!(read(&other), Err(OtherId("y".to_owned())));
}

#[test]
fn a_header_has_the_payload_as_it_stands_there() {
    let text = r#"{"topic":"t","payload":{"n": 1.0},"id":"x","from":"f","to":"*","timestamp":"t",
        "expiresAt":"e","more":2}"#;
    let header = Header::of(text, "x").unwrap();
    assert_eq!(header.payload.map(|payload| payload.get()), Some("{\"n\": 1.0}"));
    assert_eq!(header.whole().unwrap().extra.get("more"), Some(&json!(2)));
    let bare = text.replace("\"payload\":{\"n\": 1.0},", "");
    assert!(Header::of(&bare, "x").unwrap().payload.is_none());
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
    // What stands deeper than its sender is none, and a quote in a text does not end it.
    let inner = "\"branch\": \"a\\\"b\",\n    \"from\": \"eve\"";
    let seen = claim(broken(|text| text.replace("\"branch\": \"feat/x\"", inner) + "}"));
    assert_eq!((&*seen.from, seen.branch.as_deref()), ("otto", Some("a\"b")));
    let inner = "{\"from\": \"eve\"}, \"to\"";
    let seen = claim(broken(|text| text.replace("\"to\"", &format!("\"list\": [{inner}")) + "}"));
    assert_eq!(&*seen.from, "otto");
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
