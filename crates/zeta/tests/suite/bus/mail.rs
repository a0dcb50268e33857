//! Mail that arrives: threads, channels, a wait that ends at the first message, and what is known
//! of a recipient.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::place::Place;
use crate::support::{LIMIT, Out, finish, signal, until, wait};

/// Sends a text and returns its id.
fn send(place: &Place, from: &str, to: &str, text: &str, more: &[&str]) -> String {
    let args = [&["bus", "send", to, text, "--as", from], more].concat();
    place.ends(0, &args).out.trim().to_owned()
}

/// The texts in an inbox, which are read by that.
fn inbox(place: &Place, agent: &str) -> Vec<String> {
    let inbox = place.json(0, &["bus", "inbox", "--as", agent]);
    let messages = inbox["messages"].as_array().unwrap();
    messages.iter().map(|one| one["payload"]["text"].as_str().unwrap().to_owned()).collect()
}

/// Starts a wait, and returns when it is armed.
fn start_wait(place: &Place, agent: &str, more: &[&str]) -> Child {
    let args = [&["bus", "wait", "--as", agent, "--json"], more].concat();
    let mut command = place.cmd(&args);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(until(LIMIT, || is_armed(place, agent)), "the wait of {agent} is armed");
    waiting
}

/// Waits for mail that is there already.
fn wait_at_once(place: &Place, agent: &str) {
    place.ends(0, &["bus", "wait", "--as", agent, "--timeout", "60s"]);
}

fn is_armed(place: &Place, agent: &str) -> bool {
    let bus = zeta_bus::directory::Bus::open(&place.bus).unwrap();
    bus.is_some_and(|bus| zeta_bus::messages::wake::armed(&bus, agent).is_some())
}

fn ends_with(child: Child, status: i32) -> Value {
    let out: Out = finish(child, Instant::now(), LIMIT);
    assert_eq!(out.status, status, "{out:?}");
    serde_json::from_str(&out.out).unwrap_or(Value::Null)
}

#[test]
fn a_reply_is_in_the_thread_of_what_it_answers() {
    let place = Place::new();
    let first = send(&place, "otto", "vera", "shall I merge?", &[]);
    let second = send(&place, "vera", "otto", "not yet", &["--reply-to", &first]);
    let third = send(&place, "otto", "vera", "and now?", &["--reply-to", &second]);
    send(&place, "otto", "vera", "something else", &[]);
    for id in [&first, &second, &third] {
        let listed = place.json(0, &["bus", "list", "--thread", id]);
        let ids: Vec<&str> = listed["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [&first, &second, &third], "{id}");
    }
    let of_thread = place.json(0, &["bus", "inbox", "--as", "vera", "--thread", &third]);
    assert_eq!(of_thread["messages"].as_array().unwrap().len(), 2, "{of_thread}");
    assert_eq!(of_thread["messages"][1]["inReplyTo"], second);
    assert_eq!(inbox(&place, "vera"), ["something else"], "the rest stays unread");
    place.ends(4, &["bus", "send", "vera", "x", "--reply-to", "nosuch", "--as", "otto"]);
    place.ends(2, &["bus", "send", "vera", "x", "--reply-to", "../x", "--as", "otto"]);
    // A thread of another program is no text: that is no thread.
    let odd = json!({ "topic": "text", "payload": { "text": "odd" }, "id": "odd", "from": "x",
        "to": "vera", "timestamp": "2026-05-27T12:00:01.000Z",
        "expiresAt": "2099-01-01T00:00:00.000Z", "thread": { "a": [1] }, "inReplyTo": 7 });
    std::fs::write(place.bus.join("odd.json"), odd.to_string()).unwrap();
    assert_eq!(inbox(&place, "vera"), ["odd"]);
    let long = json!({ "topic": "text", "payload": { "text": "long" }, "id": "long", "to": "vera",
        "from": "x".repeat(9_000), "timestamp": "2026-05-27T12:00:01.000Z",
        "expiresAt": "2099-01-01T00:00:00.000Z", "thread": "../".repeat(9_000) });
    std::fs::write(place.bus.join("long.json"), long.to_string()).unwrap();
    let waited = place.ends(0, &["bus", "wait", "--as", "vera"]);
    assert!(waited.out.len() < 500, "{waited:?}");
    send(&place, "vera", "x", "re", &["--reply-to", "long"]);
    send(&place, "vera", "x", "re", &["--reply-to", "odd"]);
    let listed = place.json(0, &["bus", "list", "--thread", "odd"]);
    assert_eq!(listed["messages"].as_array().unwrap().len(), 2, "{listed}");
}

#[test]
fn a_message_to_a_channel_reaches_each_member_once() {
    let place = Place::new();
    assert_eq!(place.json(0, &["bus", "leave", "#build"])["result"], "not_joined");
    assert!(!place.bus.exists(), "a look makes no bus");
    for agent in ["otto", "vera", "lior/cli"] {
        place.ends(0, &["bus", "join", "#build", "--as", agent.split('/').next().unwrap()]);
    }
    place.ends(0, &["bus", "join", "#other", "--as", "ace"]);
    let sent = place.json(0, &["bus", "send", "#build", "green?", "--as", "otto"]);
    let to: Vec<&str> = sent["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["agent"].as_str().unwrap())
        .collect();
    assert_eq!(to, ["lior", "vera"], "all but the sender");
    // Who joins later gets what is sent later.
    std::thread::sleep(Duration::from_millis(20));
    place.ends(0, &["bus", "join", "#build", "--as", "ace"]);
    assert_eq!(inbox(&place, "vera"), ["green?"]);
    for agent in ["vera", "otto", "ace", "lex"] {
        assert_eq!(inbox(&place, agent), [""; 0], "{agent}");
    }
    let handled = place.ends(0, &["bus", "subscribe", "--surface", "lior"]);
    assert_eq!(handled.out.matches("green?").count(), 1, "{handled:?}");
    assert_eq!(inbox(&place, "lior"), [""; 0]);
    let state = place.json(0, &["bus", "status", sent["id"].as_str().unwrap()]);
    assert_eq!(
        state["at"],
        json!([{"surface": "lior", "result": "delivered"}, {"surface": "vera", "result": "read"}])
    );
    // Who leaves gets nothing more; what nobody gets is said.
    place.ends(0, &["bus", "leave", "#build", "--as", "vera"]);
    send(&place, "otto", "#build", "later", &[]);
    assert_eq!((inbox(&place, "vera"), inbox(&place, "ace")), (vec![], vec!["later".to_owned()]));
    let nobody = place.ends(0, &["bus", "send", "#empty", "hello", "--as", "otto"]);
    assert!(nobody.err.contains("no other agent is in #empty"), "{nobody:?}");
    let names = std::fs::read_dir(place.bus.join(".zeta/channels")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["build,ace", "build,lior", "build,otto", "other,ace"]);
    for bad in ["build", "#", "#Build", "#a/b", "#a,b", "##a", "#..", ""] {
        place.ends(2, &["bus", "join", bad, "--as", "vera"]);
    }
    place.ends(2, &["bus", "send", "#a b", "x", "--as", "vera"]);
}

#[test]
fn a_broadcast_is_counted_for_each_agent_that_lives() {
    let place = Place::new();
    for agent in ["otto", "vera"] {
        place.ends(0, &["heartbeat", "--as", agent]);
    }
    let sent = place.json(0, &["bus", "send", "*", "main is red", "--as", "otto"]);
    assert_eq!(sent["recipients"], json!([{"agent": "vera", "known": true, "lives": true}]));
    let unread = place.json(0, &["status"])["unread"].clone();
    assert_eq!(unread, json!([{"agent": "vera", "messages": 1}]));
    assert_eq!(inbox(&place, "vera"), ["main is red"]);
    assert_eq!(place.json(0, &["status"])["unread"], json!([]));
}

#[test]
fn a_wait_ends_at_the_first_message_and_reads_nothing() {
    let place = Place::new();
    let waiting = start_wait(&place, "vera", &[]);
    let note = place.ends(0, &["bus", "send", "vera", "hello", "--as", "otto"]);
    assert!(note.err.contains("its 'zeta bus wait' ends now"), "{note:?}");
    let mail = ends_with(waiting, 0);
    assert_eq!(mail["messages"][0]["from"], "otto");
    assert!(!mail.to_string().contains("hello"), "no text: {mail}");
    let id = note.out.trim();
    let state = place.json(0, &["bus", "status", id]);
    assert_eq!((&state["result"], &state["at"][0]["woken_by"]), (&json!("woken"), &json!("wait")));
    // What is there already counts, also if it woke the agent before.
    wait_at_once(&place, "vera");
    assert_eq!(inbox(&place, "vera"), ["hello"]);
    let state = place.json(0, &["bus", "status", id]);
    assert_eq!(state["result"], "read");
    assert!(state["at"][0]["woken_at"].is_string(), "{state}");
    place.ends(6, &["bus", "wait", "--as", "vera", "--timeout", "50ms"]);
    place.ends(6, &["bus", "wait", "--as", "vera", "--timeout", "0"]);
}

#[test]
fn what_was_said_to_all_before_ends_no_wait() {
    let place = Place::new();
    let mut messages = vec![send(&place, "otto", "*", "to those who are here", &[])];
    let topic = ["--topic", "shadow-catch", "--payload", r#"{"content":"x"}"#, "--from", "otto"];
    messages.push(place.ends(0, &[&["bus", "publish"], &topic[..]].concat()).out.trim().to_owned());
    place.ends(6, &["bus", "wait", "--as", "vera", "--timeout", "200ms"]);
    for id in &messages {
        let status = place.json(0, &["bus", "status", id]);
        assert_eq!(status["result"], "stored", "{status}");
    }
    // One that waits is here, also without a record; what comes now wakes it.
    let waiting = start_wait(&place, "vera", &[]);
    place.ends(0, &[&["bus", "publish"], &topic[..]].concat());
    let note = place.json(0, &["bus", "send", "*", "now", "--as", "otto"]);
    assert_eq!(
        (&note["recipients"][0]["agent"], &note["recipients"][0]["wakes_by"]),
        (&json!("vera"), &json!("wait")),
        "{note}"
    );
    let mail = ends_with(waiting, 0);
    assert_eq!(mail["messages"].as_array().unwrap().len(), 1, "{mail}");
    assert_eq!(mail["messages"][0]["id"], note["id"]);
    // Who asks gets all.
    let inbox = place.json(0, &["bus", "inbox", "--as", "vera"]);
    assert_eq!(inbox["messages"].as_array().unwrap().len(), 4, "{inbox}");
}

#[test]
fn a_wait_for_one_sender_or_one_thread_sleeps_through_the_rest() {
    let place = Place::new();
    let first = send(&place, "lior", "ace", "question", &[]);
    let of_otto = start_wait(&place, "vera", &["--from", "otto"]);
    let of_thread = start_wait(&place, "ace", &["--thread", &first, "--from", "otto"]);
    for to in ["vera", "ace"] {
        send(&place, "lior", to, "noise", &[]);
    }
    send(&place, "otto", "ace", "also noise", &[]);
    send(&place, "otto", "vera", "for you", &[]);
    assert_eq!(ends_with(of_otto, 0)["messages"].as_array().unwrap().len(), 1);
    let answer = send(&place, "otto", "ace", "answer", &["--reply-to", &first]);
    let mail = ends_with(of_thread, 0);
    assert_eq!(mail["messages"][0]["id"], answer);
    assert_eq!(mail["messages"].as_array().unwrap().len(), 1, "{mail}");
}

#[test]
fn one_process_waits_for_an_agent_and_a_dead_one_does_not() {
    let place = Place::new();
    let mut first = start_wait(&place, "vera", &[]);
    let second = place.ends(3, &["bus", "wait", "--as", "vera"]);
    assert!(second.err.contains(&format!("process {}", first.id())), "{second:?}");
    let other = start_wait(&place, "otto", &[]);
    signal(first.id(), Signal::KILL);
    wait(&mut first, LIMIT);
    assert!(!is_armed(&place, "vera"), "the kernel let go of it");
    let note = place.ends(0, &["bus", "send", "vera", "x", "--as", "otto"]);
    assert!(!note.err.contains("bus wait"), "{note:?}");
    wait_at_once(&place, "vera");
    send(&place, "vera", "otto", "x", &[]);
    ends_with(other, 0);
}

#[test]
fn a_wait_ends_with_its_agent_and_with_its_bus() {
    let place = Place::new();
    let sleep = ["run", "--as", "vera", "--", "sleep", "600"];
    let mut agent = place.cmd(&sleep).stdout(Stdio::null()).spawn().unwrap();
    let lives = || place.zeta(&["persona", "get", "vera", "--json"]).out.contains("beat_at");
    assert!(until(LIMIT, lives));
    let waiting = start_wait(&place, "vera", &[]);
    signal(agent.id(), Signal::TERM);
    wait(&mut agent, LIMIT);
    assert_eq!(ends_with(waiting, 5)["error"], "lost");
    let waiting = start_wait(&place, "otto", &[]);
    std::fs::rename(&place.bus, place.sandbox.dir.join("moved")).unwrap();
    // Nothing happens in a directory that was moved: the next message would be in another one.
    send(&place, "vera", "otto", "x", &[]);
    std::fs::write(place.sandbox.dir.join("moved/stir"), "").unwrap();
    assert_eq!(ends_with(waiting, 7)["error"], "unsafe");
}

#[test]
fn a_hundred_messages_wake_once_each_and_none_is_lost() {
    let place = Place::new();
    let mut got: Vec<String> = Vec::new();
    std::thread::scope(|scope| {
        let place = &place;
        scope.spawn(move || {
            (0..100).for_each(|n| _ = send(place, "otto", "vera", &format!("m{n}"), &[]));
        });
        while got.len() < 100 {
            let args = ["bus", "wait", "--as", "vera", "--timeout", "60s"];
            place.ends(0, &args);
            got.extend(inbox(place, "vera"));
        }
    });
    let wanted: Vec<String> = (0..100).map(|n| format!("m{n}")).collect();
    assert_eq!(got, wanted);
}
