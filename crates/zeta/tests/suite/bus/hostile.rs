//! Files that no sane program writes: each is named, nothing crashes, and no message is lost.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::place::Place;
use crate::support::{Out, is_root, skip, test_name};

const GOOD: &str = "11111111-1111-4111-8111-111111111111";

fn message(id: &str) -> String {
    json!({
        "topic": "shadow-catch", "payload": { "content": "c" }, "id": id, "from": "vera",
        "to": "*", "timestamp": "2026-05-27T12:00:01.000Z",
        "expiresAt": "2099-01-01T00:00:00.000Z",
    })
    .to_string()
}

/// A bus with one good message.
fn place() -> Place {
    let place = Place::new();
    place.ends(0, &["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#]);
    std::fs::write(place.bus.join(format!("{GOOD}.json")), message(GOOD)).unwrap();
    place
}

/// Lists; the good message is there, and stderr names `file`.
fn still_lists(place: &Place, file: &str) -> Out {
    let out = place.ends(0, &["bus", "list"]);
    assert!(out.out.contains(GOOD), "{out:?}");
    assert!(out.err.contains(file), "{file} is not named: {out:?}");
    place.ends(0, &["claim", "check", "--item", "B-1"]);
    place.ends(0, &["bus", "status"]);
    out
}

#[test]
fn whatever_stands_where_a_message_belongs_is_named_and_left_alone() {
    let nested = "[".repeat(100_000);
    let huge = format!("{{\"topic\":\"{}\"}}", "x".repeat(1 << 20));
    let other = message("22222222-2222-4222-8222-222222222222");
    let cases: &[(&str, &[u8])] = &[
        ("half", b"{\"topic\":\"cl"),
        ("empty", b""),
        ("number", b"42"),
        ("array", b"[1,2]"),
        ("keyless", b"{}"),
        ("twice", b"{\"topic\":\"a\",\"topic\":\"b\"}"),
        ("latin1", b"{\"topic\":\"\xe9\"}"),
        ("nul", b"{\"topic\":\"\0\"}"),
        ("deep", nested.as_bytes()),
        ("huge", huge.as_bytes()),
        ("other-id", other.as_bytes()),
        ("numbers", br#"{"topic":1,"id":"numbers","from":2,"to":3,"timestamp":4,"expiresAt":5}"#),
        ("surrogate", b"{\"topic\":\"\\ud800\",\"id\":\"surrogate\"}"),
    ];
    for (id, bytes) in cases {
        let place = place();
        let file = format!("{id}.json");
        std::fs::write(place.bus.join(&file), bytes).unwrap();
        let out = still_lists(&place, &file);
        assert!(!out.err.contains("panick"), "{out:?}");
        assert_eq!(std::fs::read(place.bus.join(&file)).unwrap(), *bytes);
        let read = place.zeta(&["bus", "read", id]);
        assert_eq!(read.status, 7, "{read:?}");
    }
}

#[test]
fn what_is_no_plain_file_is_named_and_never_waited_for() {
    let place = place();
    let at = |name: &str| place.bus.join(name);
    let elsewhere = place.sandbox.dir.join("elsewhere");
    std::fs::write(&elsewhere, message("link")).unwrap();
    symlink(&elsewhere, at("link.json")).unwrap();
    symlink("nowhere", at("dangling.json")).unwrap();
    std::fs::create_dir(at("dir.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    std::fs::hard_link(at(&format!("{GOOD}.json")), place.sandbox.dir.join("second")).unwrap();
    let out = place.ends(0, &["bus", "list"]);
    for name in ["link.json", "dangling.json", "dir.json", "fifo.json", GOOD] {
        assert!(out.err.contains(name), "{name}: {out:?}");
    }
    place.ends(7, &["bus", "read", "link"]);
    place.ends(0, &["bus", "clean"]);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), message("link"));
}

#[test]
fn a_bus_that_others_could_have_prepared_is_refused() {
    for mode in [0o755, 0o777, 0o1777] {
        let place = Place::new();
        std::fs::create_dir(&place.bus).unwrap();
        std::fs::set_permissions(&place.bus, PermissionsExt::from_mode(mode)).unwrap();
        let out = place.zeta(&["bus", "list"]);
        assert_eq!(out.status, 7, "{mode:o}: {out:?}");
        assert!(out.err.contains(&place.bus.display().to_string()), "{out:?}");
        place.ends(7, &["claim", "acquire", "--from", "otto", "--item", "B-1"]);
        assert_eq!(std::fs::read_dir(&place.bus).unwrap().count(), 0);
    }
    let place = Place::new();
    let real = place.sandbox.dir.join("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o700)).unwrap();
    symlink(&real, &place.bus).unwrap();
    let out = place.ends(7, &["bus", "list"]);
    assert!(out.err.contains("symbolic link") && out.err.contains("ZETA_BUS_DIR"), "{out:?}");
    if !is_root() {
        return skip(test_name!(), "needs root for an owner");
    }
    let place = Place::new();
    std::fs::create_dir(&place.bus).unwrap();
    std::fs::set_permissions(&place.bus, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&place.bus, Some(65_001), Some(65_001)).unwrap();
    let out =
        place.ends(7, &["bus", "publish", "--topic", "claim", "--payload", "{}", "--unchecked"]);
    assert!(out.err.contains("65001"), "{out:?}");
}

#[test]
fn messages_and_notes_of_another_user_are_not_believed() {
    if !is_root() {
        return skip(test_name!(), "needs root");
    }
    let place = place();
    let foreign = place.bus.join("foreign.json");
    std::fs::write(&foreign, message("foreign")).unwrap();
    std::os::unix::fs::chown(&foreign, Some(65_001), None).unwrap();
    still_lists(&place, "foreign.json");
    let seen = place.bus.join("seen-otto.json");
    std::fs::write(&seen, "[]").unwrap();
    std::os::unix::fs::chown(&seen, Some(65_001), None).unwrap();
    let out = place.ends(7, &["bus", "subscribe", "--surface", "otto"]);
    assert!(out.err.contains("seen-otto.json") && out.err.contains("65001"), "{out:?}");
    assert!(out.out.is_empty(), "{out:?}");
}

#[test]
fn locks_that_are_none_block_with_their_name_and_lose_nothing() {
    let place = place();
    std::fs::create_dir(place.bus.join("acquire-D.lock")).unwrap();
    symlink("nowhere", place.bus.join("acquire-S.lock")).unwrap();
    std::fs::write(place.bus.join("acquire-N.lock"), "-1").unwrap();
    for (item, file) in [("D", "acquire-D.lock"), ("S", "acquire-S.lock"), ("N", "acquire-N.lock")]
    {
        let out = place.zeta(&["claim", "acquire", "--from", "otto", "--item", item]);
        assert!(matches!(out.status, 6 | 7), "{out:?}");
        assert!(out.err.contains(file), "{out:?}");
        // It is a thing of another program: the text proposes no change of it.
        assert!(!out.err.contains("move"), "{out:?}");
        assert!(place.bus.join(file).symlink_metadata().is_ok());
        assert!(place.original_holders(item).is_empty());
    }
}

#[test]
fn what_is_published_is_checked_first() {
    let place = Place::new();
    let publish = |topic: &str, payload: &str, more: &[&str]| {
        let args = ["bus", "publish", "--from", "otto", "--topic", topic, "--payload", payload];
        place.zeta(&args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let deep = "[".repeat(40) + &"]".repeat(40);
    let big = format!("{{\"content\":\"{}\"}}", "x".repeat(70_000));
    for (topic, payload, word) in [
        ("heartbeat", "{\"status\":\"asleep\"}", "alive, idle, working"),
        ("heartbeat", "42", "object"),
        ("claim", "{\"action\":\"claim\"}", "itemId"),
        ("gossip", "{}", "--topic-ttl"),
        ("shadow-cath", "{}", "shadow-catch"),
        ("shadow-catch", &big, "65536"),
        ("../x", "{}", "not a name"),
    ] {
        let out = publish(topic, payload, &[]);
        assert_eq!(out.status, 2, "{topic}: {out:?}");
        assert!(out.err.contains(word), "{topic}: {word}: {out:?}");
    }
    assert_eq!(publish("gossip", &deep, &["--topic-ttl", "1h"]).status, 2);
    assert_eq!(publish("gossip", "{}", &["--topic-ttl", "90d"]).status, 2);
    assert!(!place.bus.exists(), "a message that is refused makes no bus");
    assert_eq!(publish("gossip", "\"any\"", &["--topic-ttl", "1h"]).status, 0);
    assert_eq!(publish("heartbeat", "42", &["--unchecked"]).status, 0);
    let long = "x".repeat(300);
    let out = place.zeta(&["claim", "acquire", "--from", "otto", "--item", &long]);
    assert_eq!(out.status, 2, "{out:?}");
    let out = place.zeta(&["claim", "acquire", "--from", "Otto!", "--item", "x"]);
    assert_eq!(out.status, 2, "{out:?}");
}

#[test]
fn a_message_from_the_future_is_bounded_and_a_later_release_counts() {
    let place = place();
    let claim = json!({
        "topic": "claim", "payload": { "action": "claim", "itemId": "F" }, "id": "future",
        "from": "lior", "to": "*", "timestamp": "2099-01-01T00:00:00.000Z",
        "expiresAt": "2199-01-01T00:00:00.000Z",
    });
    std::fs::write(place.bus.join("future.json"), claim.to_string()).unwrap();
    let out = place.ends(3, &["claim", "check", "--item", "F"]);
    assert!(out.err.contains("lior"), "{out:?}");
    still_lists(&place, "future");
    // The original could not release it for 73 years.
    place.original_publish("lior", "release", "F");
    place.ends(0, &["claim", "check", "--item", "F"]);
}

#[test]
fn hostile_words_are_printed_so_that_no_terminal_obeys_them() {
    let place = place();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J";
    let claim = json!({
        "topic": "claim", "payload": { "action": "claim", "itemId": "E", "branch": evil },
        "id": "evil", "from": evil, "to": evil, "timestamp": "2026-05-27T12:00:01.000Z",
        "expiresAt": "2099-01-01T00:00:00.000Z",
    });
    std::fs::write(place.bus.join("evil.json"), claim.to_string()).unwrap();
    for args in [
        &["bus", "list"][..],
        &["bus", "list", "--json"],
        &["bus", "status"],
        &["bus", "status", "--json"],
        &["bus", "read", "evil"],
        &["bus", "read", "evil", "--json"],
        &["claim", "check", "--item", "E"],
        &["claim", "check", "--item", "E", "--json"],
        &["claim", "list"],
        &["claim", "list", "--json"],
        &["claim", "acquire", "--from", "otto", "--item", "E", "--json"],
        &["bus", "watch", "--from-start", "--timeout", "1"],
        &["bus", "watch", "--from-start", "--timeout", "1", "--json"],
        &["bus", "subscribe", "--surface", "otto", "--json"],
    ] {
        let out = place.zeta(args);
        let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{9b}');
        assert!(!out.out.contains(bad) && !out.err.contains(bad), "{args:?}: {out:?}");
    }
}
