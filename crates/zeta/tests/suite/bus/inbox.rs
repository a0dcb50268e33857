//! Texts from one agent to another: sent, counted, read once, and followed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::place::Place;
use crate::support::{LIMIT, signal, wait, wait_for};

fn count_of(place: &Place, agent: &str) -> u64 {
    let status = place.json(0, &["status"]);
    let all = status["unread"].as_array().unwrap();
    let of_agent = all.iter().find(|one| one["agent"] == agent);
    of_agent.map_or(0, |one| one["messages"].as_u64().unwrap())
}

#[test]
fn a_text_waits_in_the_inbox_of_its_recipient_until_it_is_read() {
    let place = Place::new();
    assert_eq!(place.ends(0, &["bus", "inbox"]).out, "no unread messages\n");
    assert!(!place.bus.exists(), "a look makes no bus");
    let out = place.ends(0, &["bus", "send", "vera", "main is red", "--as", "otto"]);
    assert!(out.err.contains("no agent \"vera\" was here yet"), "{out:?}");
    place.ends(0, &["heartbeat", "--as", "vera"]);
    let sent = place.json(0, &["bus", "send", "vera", "do", "not", "merge", "--as", "otto"]);
    assert_eq!(
        (&sent["topic"], &sent["payload"]),
        (&json!("text"), &json!({"text": "do not merge"}))
    );
    assert_eq!(sent["recipient_known"], true);
    place.ends(0, &["bus", "send", "*", "to all", "--as", "otto"]);
    // What programs publish to all does not fill it.
    place.acquire(0, "otto", "B-1");
    let beat = ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];
    place.ends(0, &beat);
    // The broadcast counts, too: vera was here when it was sent.
    assert_eq!((count_of(&place, "vera"), count_of(&place, "otto")), (3, 0));
    let status = place.ends(0, &["status"]);
    assert!(status.out.contains("vera has 3 unread messages: zeta bus inbox"), "{status:?}");
    let kept = place.json(0, &["bus", "inbox", "--as", "vera", "--keep"]);
    assert_eq!(kept["messages"].as_array().unwrap().len(), 3, "{kept}");
    let read = place.ends(0, &["bus", "inbox", "--as", "vera"]).out;
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(lines.len(), 3, "{read}");
    for (line, end) in
        lines.iter().zip(["otto: main is red", "otto: do not merge", "otto to all: to all"])
    {
        assert!(line.contains(" ago ") && line.ends_with(end), "{line}");
    }
    assert_eq!(place.ends(0, &["bus", "inbox", "--as", "vera"]).out, "no unread messages\n");
    assert_eq!(place.ends(0, &["bus", "inbox", "--as", "otto"]).out, "no unread messages\n");
    assert_eq!(count_of(&place, "vera"), 0);
    // The handlers of a subscriber and a reader by id take it from there, too.
    place.ends(0, &["bus", "send", "vera", "four", "--as", "otto"]);
    assert_eq!(count_of(&place, "vera"), 1);
    let out = place.ends(0, &["bus", "subscribe", "--surface", "vera", "--topic", "text"]);
    assert!(out.out.contains("ago [text] otto -> vera"), "{out:?}");
    assert_eq!(count_of(&place, "vera"), 0);
    let id = place.ends(0, &["bus", "send", "vera", "five", "--as", "otto"]).out;
    place.ends(0, &["bus", "read", id.trim(), "--as", "vera"]);
    assert_eq!(count_of(&place, "vera"), 0);
    place.ends(0, &["bus", "send", "vera", "six", "--as", "otto"]);
    place.ends(0, &["bus", "clean"]);
    assert_eq!(count_of(&place, "vera"), 0);
    place.ends(2, &["bus", "send", "vera"]);
    place.ends(2, &["bus", "send", "Vera!", "x"]);
}

#[test]
fn the_inbox_shows_what_the_original_wrote_and_the_original_can_read_a_text() {
    let place = Place::new();
    place.ends(0, &["bus", "send", "lior", "hello", "--as", "vera"]);
    let message = json!({
        "topic": "review-request", "payload": { "artifact": "a.md" }, "id": "m1", "from": "otto",
        "to": "lior", "timestamp": "2026-05-27T12:00:01.000Z",
        "expiresAt": "2099-01-01T00:00:00.000Z",
    });
    std::fs::write(place.bus.join("m1.json"), message.to_string()).unwrap();
    let inbox = place.json(0, &["bus", "inbox", "--as", "lior"]);
    let from: Vec<&str> =
        inbox["messages"].as_array().unwrap().iter().map(|m| m["from"].as_str().unwrap()).collect();
    assert_eq!(from, ["otto", "vera"]);
    // Every key that the original asks for is text, and the expiry is a date.
    let listed = place.json(0, &["bus", "list", "--topic", "text"]);
    let message = &listed["messages"][0];
    for key in ["id", "topic", "timestamp", "expiresAt", "from", "to"] {
        assert!(message[key].is_string(), "{key}: {message}");
    }
}

#[test]
fn a_subscriber_that_follows_gets_each_message_as_it_comes() {
    let place = Place::new();
    place.ends(0, &["bus", "send", "vera", "one", "--as", "otto"]);
    let mut command = place.cmd(&["bus", "subscribe", "--surface", "vera", "--follow", "--json"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        message["payload"]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "one");
    for text in ["two", "three"] {
        place.ends(0, &["bus", "send", "vera", text, "--as", "otto"]);
        assert_eq!(next(), text);
    }
    wait_for("the delivery is recorded", || count_of(&place, "vera") == 0);
    signal(follower.id(), Signal::TERM);
    wait(&mut follower, LIMIT);
    // Of a bus that is gone nothing would come any more.
    let mut follower = place.cmd(&["bus", "subscribe", "--surface", "vera", "--follow"]);
    let mut follower = follower.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::fs::rename(&place.bus, place.sandbox.dir.join("moved")).unwrap();
    assert_eq!(wait(&mut follower, LIMIT), 7);
}
