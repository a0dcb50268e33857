//! The answers of `zeta bus`.

use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{judge, judge_line};
use crate::bus::place::Place;
use crate::support::{LIMIT, finish, signal, until, wait};

/// Runs a call with `--json` and compares its answer with the contract.
fn check(place: &Place, args: &[&str], status: i32) -> Value {
    judge(args, &place.zeta(&[&["--json"], args].concat()), status)
}

/// The same for a stream: each line is an answer.
fn lines(place: &Place, args: &[&str]) -> Vec<Value> {
    let out = place.zeta(&[&["--json"], args].concat());
    assert_eq!(out.status, 0, "{out:?}");
    out.out.split_inclusive('\n').map(|line| judge_line(args, line, 0)).collect()
}

const ASK: [&str; 10] = [
    "bus",
    "publish",
    "--from",
    "vera",
    "--to",
    "lior",
    "--topic",
    "review-request",
    "--payload",
    "{\"artifact\":\"docs/x.md\",\"question\":\"good?\"}",
];

fn publish(place: &Place) -> String {
    check(place, &ASK, 0)["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_and_lists_of_messages() {
    let place = Place::new();
    let empty = check(&place, &["bus", "list"], 0);
    assert_eq!(empty, json!({ "messages": [], "findings": [] }));
    let stored = check(&place, &ASK, 0);
    assert_eq!((&stored["result"], &stored["to"]), (&json!("stored"), &json!("lior")));
    let id = stored["id"].as_str().unwrap();
    let read = check(&place, &["bus", "read", id], 0);
    assert_eq!(check(&place, &["bus", "list"], 0)["messages"], json!([read]));
    let watch = ["bus", "watch", "--from-start", "--timeout", "1ms"];
    for stream in [&watch[..], &["bus", "subscribe", "--surface", "lior"]] {
        assert_eq!(json!(lines(&place, stream)), json!([read]), "{stream:?}");
    }
    // What is no message is a finding beside the messages.
    std::fs::write(place.bus.join("odd.json"), "42").unwrap();
    let list = check(&place, &["bus", "list"], 0);
    assert_eq!(list["messages"], json!([read]));
    assert!(list["findings"][0]["message"].as_str().unwrap().contains("odd.json"), "{list}");
    assert!(check(&place, &["bus", "status"], 0)["findings"][0].is_object());
    // A message that another program wrote keeps its blanks inside of strings only.
    let text =
        "{\n \"topic\" : \"note\", \"payload\": { \"a b\" : \" \u{9b} \" }, \"id\":\"other\",
        \"from\":\"x\",\"to\":\"*\", \"timestamp\":\"2026-05-27T12:00:01.000Z\",
        \"expiresAt\":\"2099-01-01T00:00:00.000Z\", \"more\": 1.50 }\n";
    std::fs::write(place.bus.join("other.json"), text).unwrap();
    let list = check(&place, &["bus", "list", "--topic", "note"], 0);
    assert_eq!(list["messages"][0]["payload"]["a b"], " \u{9b} ");
    let cleaned = check(&place, &["bus", "clean"], 0);
    assert_eq!(cleaned, json!({ "removed": 2, "dead_letters": 0, "temps_swept": 0 }));
}

#[test]
fn a_text_and_an_inbox() {
    let place = Place::new();
    let empty = json!({ "messages": [], "findings": [] });
    assert_eq!(check(&place, &["bus", "inbox"], 0), empty);
    let sent = check(&place, &["bus", "send", "lior", "hello", "there", "--from", "vera"], 0);
    assert_eq!((&sent["result"], &sent["recipient_known"]), (&json!("stored"), &json!(false)));
    let inbox = ["bus", "inbox", "--as", "lior"];
    assert_eq!(check(&place, &inbox, 0)["messages"][0]["payload"]["text"], "hello there");
    assert_eq!(check(&place, &inbox, 0), empty);
    check(&place, &["bus", "send", "lior"], 2);
    check(&place, &["bus", "inbox", "x"], 2);
}

#[test]
fn a_wait_for_mail_and_channels() {
    let place = Place::new();
    let wait = ["bus", "wait", "--as", "lior"];
    let timed = [&wait[..], &["--timeout", "1ms"]].concat();
    assert_eq!(check(&place, &timed, 6)["error"], "busy");
    let join = ["bus", "join", "#build", "--as", "lior"];
    assert_eq!(check(&place, &join, 0)["result"], "joined");
    assert_eq!(check(&place, &join, 0)["members"], json!(["lior"]));
    let status = check(&place, &["bus", "status"], 0);
    assert_eq!(status["channels"], json!([{ "channel": "#build", "members": ["lior"] }]));
    let sent = check(&place, &["bus", "send", "#build", "hello", "--from", "vera"], 0);
    let id = sent["id"].as_str().unwrap();
    let reply = ["bus", "send", "lior", "again", "--from", "vera", "--reply-to", id];
    assert_eq!(check(&place, &reply, 0)["thread"], id);
    let mail = check(&place, &wait, 0);
    assert_eq!(mail["messages"].as_array().unwrap().len(), 2, "{mail}");
    let state = check(&place, &["bus", "status", id], 0);
    assert_eq!((&state["result"], &state["at"][0]["woken_by"]), (&json!("woken"), &json!("wait")));
    check(&place, &["bus", "list", "--thread", id], 0);
    check(&place, &["bus", "inbox", "--thread", id, "--as", "lior"], 0);
    let leave = ["bus", "leave", "#build", "--as", "lior"];
    assert_eq!(check(&place, &leave, 0)["result"], "left");
    assert_eq!(check(&place, &leave, 0)["result"], "not_joined");
    check(&place, &["bus", "send", "lior", "x", "--reply-to", "nosuch"], 4);
    check(&place, &["bus", "wait", "--timeout", "soon"], 2);
    check(&place, &["bus", "join", "build"], 2);
}

#[test]
fn changes_of_the_state_directory() {
    let place = Place::new();
    let publish = ["bus", "publish", "--from", "otto", "--from-state"];
    assert_eq!(check(&place, &publish, 0), json!({ "messages": [] }));
    place.ends(0, &["marker", "set", "hello", "to=world"]);
    let all = check(&place, &publish, 0);
    assert_eq!(all["messages"][0]["payload"]["record"], "hello.marker");
    assert_eq!(all["messages"][0]["result"], "stored");
}

#[test]
fn the_state_of_the_bus_and_of_a_message() {
    let place = Place::new();
    check(&place, &["bus", "status"], 0);
    let id = publish(&place);
    let beat = ["--topic", "heartbeat", "--payload", "{\"status\":\"idle\",\"note\":\"n\"}"];
    check(&place, &[&["bus", "publish", "--from", "otto"], &beat[..]].concat(), 0);
    let claim = ["--topic", "claim", "--payload", "{\"action\":\"claim\",\"itemId\":\"B-1\"}"];
    check(&place, &[&["bus", "publish", "--from", "otto"], &claim[..]].concat(), 0);
    let status = check(&place, &["bus", "status"], 0);
    assert_eq!(status["review_requests"][0]["question"], "good?");
    assert_eq!(status["claims"][0]["item_id"], "B-1");
    assert_eq!(status["agents"][0]["agent"], "otto");
    assert_eq!(status["totals"]["shadow_catches"], 0);
    assert_eq!(check(&place, &["bus", "status", &id], 0)["result"], "stored");
    // Its handler fails until the message is a dead letter; stdout is the handler's.
    let topic = ["--topic", "review-request", "--", "false"];
    let subscribe = [&["--json", "bus", "subscribe", "--surface", "lior"], &topic[..]].concat();
    for attempt in 1..=5 {
        let out = place.zeta(&subscribe);
        assert_eq!((out.status, out.out.as_str()), (1, ""), "{out:?}");
        let warning: Value = serde_json::from_str(&out.err).unwrap();
        assert_eq!(super::misfits("warning", &warning), [""; 0], "{warning}");
        let message = warning["message"].as_str().unwrap();
        let wanted = match attempt {
            5 => "dead letter".to_owned(),
            attempt => format!("attempt {attempt} of 5"),
        };
        assert!(message.contains(&wanted), "{message}");
        if attempt == 1 {
            let state = check(&place, &["bus", "status", &id], 0);
            assert_eq!(
                state["at"],
                json!([{"surface": "lior", "result": "failed", "failures": 1}])
            );
        }
    }
    assert_eq!(check(&place, &["bus", "status", &id], 4)["result"], "dead");
    assert_eq!(check(&place, &["bus", "list", "--dead"], 0)["dead"][0]["id"], id);
}

#[test]
fn wrong_calls_and_what_is_not_there() {
    let place = Place::new();
    check(&place, &["bus", "publish", "--topic", "heartbeat"], 2);
    check(&place, &["bus", "publish", "--topic", "heartbeat", "--payload", "{"], 2);
    check(&place, &["bus", "publish", "--topic", "gossip", "--payload", "1"], 2);
    check(&place, &["bus", "read", "../x"], 2);
    check(&place, &["bus", "watch", "--interval", "0"], 2);
    check(&place, &["bus", "watch", "--interval", "1.5"], 2);
    check(&place, &["bus", "watch", "--timeout", "soon"], 2);
    check(&place, &["bus", "subscribe", "--surface", "../x"], 2);
    check(&place, &["bus", "list", "--nosuch"], 2);
    check(&place, &["bus", "clean", "--nosuch"], 2);
    check(&place, &["bus", "read", "nosuch"], 4);
    check(&place, &["bus", "status", "nosuch"], 4);
}

#[test]
fn a_bus_that_must_not_be_used() {
    let place = Place::new();
    std::fs::write(&place.bus, "").unwrap();
    for args in [
        &["bus", "list"][..],
        &["bus", "list", "--dead"],
        &["bus", "read", "x"],
        &["bus", "status"],
        &["bus", "status", "x"],
        &["bus", "clean"],
        &["bus", "watch"],
        &["bus", "wait"],
        &["bus", "join", "#build"],
        &["bus", "leave", "#build"],
        &["bus", "subscribe", "--surface", "lior"],
        &["claim", "list"],
        &["claim", "check", "--item", "B-1"],
        &["claim", "acquire", "--from", "otto", "--item", "B-1"],
        &["claim", "release", "--from", "otto", "--item", "B-1"],
        &["claim", "renew", "--from", "otto", "--item", "B-1"],
        &["claim", "handover", "--from", "otto", "--item", "B-1", "--to", "lior"],
    ] {
        assert_eq!(check(&place, args, 7)["error"], "unsafe");
    }
    check(&place, &ASK, 7);
}

#[test]
fn a_second_subscriber_is_refused() {
    let place = Place::new();
    publish(&place);
    let started = place.sandbox.dir.join("started");
    let script = format!("echo $$ >{}; exec sleep 60", started.display());
    let first = ["bus", "subscribe", "--surface", "lior", "--", "sh", "-c", &script];
    let mut command = place.cmd(&first);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let handler = || std::fs::read_to_string(&started).ok()?.trim().parse::<u32>().ok();
    assert!(until(LIMIT, || handler().is_some()));
    let since = Instant::now();
    let mut second = place.cmd(&["--json", "bus", "subscribe", "--surface", "lior"]);
    let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    judge(&["bus", "subscribe"], &finish(second, since, LIMIT), 6);
    signal(handler().unwrap(), Signal::KILL);
    assert_eq!(wait(&mut first, LIMIT), 1);
}

#[test]
fn the_shapes_of_the_original_stay_where_they_are_asked_for() {
    let place = Place::new();
    let original = |args: &[&str], status: i32| {
        let mut command = place.cmd(&[&["--json"], args].concat());
        let out = crate::support::run(command.env("ZETA_BUS_IDS", "original"));
        assert_eq!(out.status, status, "{args:?}: {out:?}");
        (serde_json::from_str::<Value>(&out.out).unwrap(), out.out.lines().count())
    };
    assert_eq!(original(&["bus", "list"], 0), (json!([]), 1));
    let (stored, count) = original(&ASK, 0);
    assert!(stored["expiresAt"].is_string() && count > 5, "{stored}");
    let (listed, count) = original(&["bus", "list"], 0);
    assert!(listed[0]["expiresAt"].is_string() && count > 5, "{listed}");
    let (read, count) = original(&["bus", "read", stored["id"].as_str().unwrap()], 0);
    assert!(read == listed[0] && count > 5, "{read}");
    let (granted, count) = original(&["claim", "acquire", "--from", "otto", "--item", "B-1"], 0);
    assert!(granted["itemId"] == "B-1" && granted["messageId"].is_string(), "{granted}");
    assert_eq!((&granted["acquired"], count), (&json!(true), 1));
    let (taken, _) = original(&["claim", "acquire", "--from", "vera", "--item", "B-1"], 3);
    assert_eq!(taken["claimedBy"], json!(["otto"]));
    assert!(taken["claims"][0]["expiresAt"].is_string(), "{taken}");
    let (claimed, count) = original(&["claim", "check", "--item", "B-1"], 3);
    assert!(claimed["itemId"] == "B-1" && claimed["claimed"] == true && count > 5, "{claimed}");
    let (claims, _) = original(&["claim", "list"], 0);
    assert_eq!(claims["claims"][0]["itemId"], "B-1");
    let (status, count) = original(&["bus", "status"], 0);
    assert!(status["claims"][0]["itemId"] == "B-1" && count > 5, "{status}");
    assert_eq!(status["totals"]["reviewRequests"], 1);
    assert_eq!(status["totals"]["shadowCatches"], 0);
    let (released, _) = original(&["claim", "release", "--from", "otto", "--item", "B-1"], 0);
    assert!(released["itemId"] == "B-1" && released["messageId"].is_string(), "{released}");
}

#[test]
fn a_noun_without_a_verb_is_a_wrong_call_but_for_the_original() {
    let place = Place::new();
    for noun in ["bus", "claim", "node", "creds"] {
        let out = place.ends(2, &[noun]);
        assert!(out.out.is_empty() && out.err.contains("Usage: zeta "), "{out:?}");
        assert!(out.err.contains("Examples:\n  zeta "), "{out:?}");
    }
    for noun in ["bus", "claim"] {
        let out = crate::support::run(place.cmd(&[noun]).env("ZETA_BUS_IDS", "original"));
        assert!(out.status == 0 && out.out.contains("Usage: "), "{out:?}");
    }
}
