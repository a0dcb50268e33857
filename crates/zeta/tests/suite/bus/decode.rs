//! One decoder: what lists a message hears it, delivers it and judges its claims, and what cannot
//! be decoded is named by every verb and frees no item.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use zeta_bus::messages::{Filter, list, utc_ms};

use super::place::Place;

const BEAT: [&str; 6] =
    ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];

/// The claim of an item as the original writes it.
fn claim(id: &str, from: &str, action: &str, item: &str) -> Value {
    let now_us = zeta_os::host::wall_us();
    json!({
        "topic": "claim",
        "payload": { "action": action, "itemId": item, "branch": "feat/HALF" },
        "id": id,
        "from": from,
        "to": "*",
        "timestamp": utc_ms(now_us),
        "expiresAt": utc_ms(now_us + 86_400_000_000),
    })
}

fn put(place: &Place, id: &str, text: impl AsRef<[u8]>) {
    std::fs::write(place.bus.join(format!("{id}.json")), text).unwrap();
}

#[test]
fn a_message_with_half_an_emoji_is_heard_by_every_verb() {
    // What JSON.stringify writes of a text that was cut within a letter, and what a program that
    // does not know UTF-8 writes.
    for half in [&b"\\ud83c"[..], b"\\uDF89x", b"\xf0\x9f", b"\xed\xa0\xbc"] {
        let place = Place::new();
        place.ends(0, &BEAT);
        let text = |value: &Value| {
            let text = value.to_string();
            let (before, after) = text.split_once("HALF").unwrap();
            [before.as_bytes(), half, after.as_bytes()].concat()
        };
        let written = text(&claim("one", "vera", "claim", "B-1"));
        put(&place, "one", &written);
        let check = place.json(3, &["claim", "check", "--item", "B-1"]);
        assert!(check["claims"][0]["branch"].as_str().unwrap().contains('\u{fffd}'), "{check}");
        place.acquire(3, "otto", "B-1");
        let watch = ["bus", "watch", "--from-start", "--timeout", "1ms"];
        for args in [
            &["bus", "list"][..],
            &["bus", "status"],
            &["bus", "read", "one"],
            &["claim", "list"],
            &watch,
            &["bus", "subscribe", "--surface", "otto"],
        ] {
            let out = place.ends(0, args);
            assert!(out.out.contains("vera") && out.err.is_empty(), "{args:?}: {out:?}");
            if args[0] == "bus" {
                let out = place.ends(0, &[args, &["--json"]].concat());
                out.out.lines().for_each(|line| _ = serde_json::from_str::<Value>(line).unwrap());
            }
        }
        assert_eq!(std::fs::read(place.bus.join("one.json")).unwrap(), written);
        put(&place, "two", text(&claim("two", "vera", "release", "B-1")));
        place.ends(0, &["claim", "check", "--item", "B-1"]);
        place.acquire(0, "otto", "B-1");
    }
}

/// Changes the text of a claim on `B-1` so that it is no message; the verdict is whether its item
/// can still be seen.
fn broken_claims() -> Vec<(&'static str, Vec<u8>, bool)> {
    let text = claim("one", "vera", "claim", "B-1").to_string();
    let part = |end: &str| text[..text.find(end).unwrap()].to_owned();
    let deep = "[".repeat(60) + &"]".repeat(60);
    let with = |from: &str, to: &str| text.replace(from, to).into_bytes();
    vec![
        ("half of it is written", part("\"id\"").into_bytes(), true),
        ("half of its item is written", part("-1\"").into_bytes(), false),
        ("half of its payload is written", part("action").into_bytes(), false),
        ("text after its end", [text.as_bytes(), b"}"].concat(), true),
        ("a recipient that is no text", with("\"*\"", "7"), true),
        ("an item that is no text", with("\"B-1\"", "7"), false),
        ("no recipient", with("\"to\"", "\"for\""), true),
        ("another id", with("\"one\"", "\"two\""), true),
        ("a line break in a string", with("feat/HALF", "feat\n"), true),
        ("too deep", with("\"feat/HALF\"", &deep), true),
        ("too long", with("HALF", &"x".repeat(70_000)), true),
        ("too large a number", with("\"feat/HALF\"", "1e999"), true),
        ("a mark before it", [b"\xef\xbb\xbf", text.as_bytes()].concat(), true),
    ]
}

#[test]
fn what_cannot_be_decoded_is_named_by_every_verb_and_frees_no_item() {
    for (what, text, shows_item) in broken_claims() {
        let place = Place::new();
        place.ends(0, &BEAT);
        put(&place, "one", &text);
        let no_message = zeta_core::bus::Envelope::parse(&text, "one").is_err();
        let check = place.zeta(&["claim", "check", "--item", "B-1"]);
        assert_eq!(check.status, if shows_item { 3 } else { 0 }, "{what}: {check:?}");
        let acquire = ["claim", "acquire", "--from", "otto", "--item", "B-1"];
        let acquired = place.zeta(&acquire);
        assert_eq!(acquired.status, check.status, "{what}: {acquired:?}");
        for named in [&check, &acquired] {
            assert!(shows_item || named.err.contains("one.json"), "{what}: {named:?}");
        }
        assert!(place.ends(0, &["claim", "list"]).err.contains("one.json") || !no_message);
        // An item that nobody names stays free.
        place.acquire(0, "otto", "B-2");
        if no_message {
            let watch = ["bus", "watch", "--from-start", "--timeout", "1ms"];
            let subscribe = ["bus", "subscribe", "--surface", "otto"];
            for args in [&["bus", "list"][..], &["bus", "status"], &watch, &subscribe] {
                let out = place.ends(0, args);
                assert!(out.err.contains("one.json"), "{what}: {args:?}: {out:?}");
                assert_eq!(out.err.matches("one.json").count(), 1, "{what}: {out:?}");
            }
            let list = place.json(0, &["bus", "list"]);
            assert!(
                list["findings"][0]["message"].as_str().unwrap().contains("one.json"),
                "{list}"
            );
            let read = place.ends(7, &["bus", "read", "one"]);
            assert!(read.err.contains("one.json"), "{what}: {read:?}");
        }
        // When it is whole it says what it says, and gone it says nothing.
        if no_message {
            put(&place, "one", claim("one", "vera", "claim", "B-3").to_string());
            place.acquire(3, "otto", "B-3");
        }
        std::fs::remove_file(place.bus.join("one.json")).unwrap();
        if shows_item {
            place.acquire(0, "otto", "B-1");
        }
    }
}

#[test]
fn a_claim_that_was_broken_for_long_counts_when_it_is_whole() {
    let place = Place::new();
    place.ends(0, &BEAT);
    let text = claim("one", "vera", "claim", "B-1").to_string();
    put(&place, "one", &text[..40]);
    // No program may set the time of a change; the index remembers what it finds after ten seconds.
    std::thread::sleep(Duration::from_millis(10_200));
    place.ends(0, &["claim", "check", "--item", "B-1"]);
    let names = std::fs::read_to_string(place.bus.join(".zeta/index/names")).unwrap();
    assert!(names.contains("one.json"), "{names}");
    put(&place, "one", &text);
    place.acquire(3, "otto", "B-1");
    put(&place, "two", &claim("two", "vera", "claim", "B-2").to_string()[..120]);
    place.acquire(3, "otto", "B-2");
}

#[test]
fn a_claim_in_a_file_whose_name_is_no_id_counts() {
    let place = Place::new();
    place.ends(0, &BEAT);
    for name in ["a copy of one", ".one", "ü"] {
        let text = claim(name, "vera", "claim", name).to_string();
        put(&place, name, text);
        place.acquire(3, "otto", name);
        let list = place.ends(0, &["bus", "list"]);
        assert!(list.err.contains(&format!("{name}.json")), "{list:?}");
    }
}

#[test]
fn messages_of_one_sender_keep_their_order_however_fast_they_come() {
    let place = Place::new();
    let draft = zeta_bus::messages::NewMessage {
        from: zeta_core::bus::Address::new("otto-cli").unwrap(),
        to: zeta_core::bus::Recipient::All,
        topic: "shadow-catch".to_owned(),
        payload: json!({ "content": "x" }),
        life_ms: None,
        unchecked: false,
        reply: None,
    };
    let publish = |_| zeta_bus::messages::publish(&place.bus, &draft).unwrap();
    let sent: Vec<_> = (0..150).map(publish).collect();
    // A fast machine sends many within a millisecond. All of them get one timestamp here, and keep
    // the time of their file, so that a slow one tests the same.
    for message in &sent {
        let path = place.bus.join(format!("{}.json", message.id));
        let stored = std::fs::metadata(&path).unwrap().modified().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&message.timestamp, &sent[0].timestamp)).unwrap();
        std::fs::File::open(&path).unwrap().set_modified(stored).unwrap();
    }
    std::fs::remove_dir_all(place.bus.join(".zeta/index")).unwrap();
    let sent: Vec<String> = sent.into_iter().map(|message| message.id).collect();
    let ids = |out: &str| -> Vec<String> {
        let id =
            |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        out.lines().map(id).collect()
    };
    let check = |when: &str| {
        let listed = list(&place.bus, &Filter::default()).unwrap().messages;
        let listed: Vec<String> = listed.into_iter().map(|seen| seen.envelope.id).collect();
        assert_eq!(listed, sent, "{when}");
        let json = place.json(0, &["bus", "list"]);
        let listed: Vec<&str> = json["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].as_str().unwrap())
            .collect();
        assert_eq!(listed, sent, "{when}");
        let watch = ["bus", "watch", "--json", "--from-start", "--timeout", "1ms"];
        assert_eq!(ids(&place.ends(0, &watch).out), sent, "{when}");
    };
    check("as remembered");
    std::fs::remove_dir_all(place.bus.join(".zeta/index")).unwrap();
    check("read from the files");
    let subscribed = place.ends(0, &["bus", "subscribe", "--json", "--surface", "vera"]);
    assert_eq!(ids(&subscribed.out), sent);
}

#[test]
fn of_claim_messages_of_one_timestamp_the_file_that_was_changed_last_decides() {
    let place = Place::new();
    place.ends(0, &BEAT);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let now_us = zeta_os::host::wall_us();
    for round in 0..20 {
        let item = format!("B-{round}");
        let mut last = (SystemTime::UNIX_EPOCH, "");
        for at in 0..30 {
            let id = format!("{:016x}", dice.u64(..));
            let action = if dice.bool() { "claim" } else { "release" };
            let mut message = claim(&id, "vera", action, &item);
            message["timestamp"] = utc_ms(now_us).into();
            put(&place, &id, message.to_string());
            let stored = SystemTime::now() - Duration::from_micros(1 + (at * 7919) % 10_007);
            let file = std::fs::File::options();
            let file = file.clone().write(true).open(place.bus.join(format!("{id}.json"))).unwrap();
            file.set_modified(stored).unwrap();
            last = last.max((stored, action));
        }
        let status = if last.1 == "claim" { 3 } else { 0 };
        place.ends(status, &["claim", "check", "--item", &item]);
        let original = place.original_holders(&item);
        assert_eq!(original.is_empty(), status == 0, "{original:?}");
    }
}
