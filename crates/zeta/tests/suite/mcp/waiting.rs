//! Waiting for a lease: the place in the line outlives the call.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use crate::support::{LIMIT, Sandbox, wait, wait_for};

#[test]
fn a_call_that_waits_gets_the_lease_and_is_told_who_has_it() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    let holder = one.call("acquire", json!({"name": "deploy"})).agent().to_owned();
    let waits = two.ask_tool("acquire", json!({"name": "deploy", "wait_s": 45}));
    let progress = two.read(LIMIT).unwrap();
    assert_eq!(progress["method"], "notifications/progress", "{progress}");
    assert_eq!(progress["params"]["progressToken"], waits);
    assert!(progress["params"]["message"].as_str().unwrap().contains(&holder), "{progress}");
    // Other tools answer meanwhile.
    assert!(two.call("status", json!({})).has("you wait for deploy (0 ahead)"));
    one.call("release", json!({"name": "deploy"}));
    assert_eq!(two.said(waits).outcome(), "granted");
}

#[test]
fn a_call_that_waited_in_vain_keeps_its_place() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    one.call("acquire", json!({"name": "deploy"}));
    let waiting = two.call("acquire", json!({"name": "deploy", "wait_s": 1}));
    assert!(!waiting.is_error);
    assert_eq!((waiting.outcome(), &waiting.object["ahead"]), ("waiting", &json!(0)));
    assert!(waiting.has("is held by") && waiting.has("Next: "), "{waiting:?}");
    // Who comes later is behind, even while no call waits.
    let mut late = sandbox.cmd(&["lease", "acquire", "deploy", "--wait", "20s"]).spawn().unwrap();
    let queue = sandbox.guard("deploy").join("queue");
    wait_for("two tickets", || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() == 2));
    one.call("release", json!({"name": "deploy"}));
    wait_for("the place to come up", || {
        two.call("check", json!({})).object["holdings"][0]["lease"] == "deploy"
    });
    let mine = two.call("acquire", json!({"name": "deploy", "wait_s": 5}));
    assert_eq!(mine.outcome(), "mine", "{mine:?}");
    two.call("release", json!({"name": "deploy"}));
    assert_eq!(wait(&mut late, LIMIT), 0, "the next in the line gets it");
}

#[test]
fn a_lease_that_came_while_no_call_waited_is_told_at_once() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    one.call("acquire", json!({"name": "deploy"}));
    two.call("acquire", json!({"name": "deploy", "wait_s": 1}));
    one.call("release", json!({"name": "deploy"}));
    wait_for("the grant", || sandbox.zeta(&["lease", "show", "deploy"]).out.contains("two-"));
    let told = two.call("inbox", json!({}));
    assert!(told.has("NOTE: lease deploy is yours now"), "{told:?}");
    assert_eq!(told.object["notices"].as_array().unwrap().len(), 1);
    assert!(!two.call("inbox", json!({})).has("NOTE"), "it is told once");
    // The end of the server gives it back, whatever the session keeps.
    assert_eq!(two.close(LIMIT), 0);
    assert_eq!(one.call("acquire", json!({"name": "deploy"})).outcome(), "granted");
}

#[test]
fn a_cancelled_call_leaves_the_line() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    one.call("acquire", json!({"name": "deploy"}));
    let waits = two.ask_tool("acquire", json!({"name": "deploy", "wait_s": 45}));
    assert!(two.read(LIMIT).is_some(), "progress");
    two.cancel(waits);
    wait_for("no place", || two.call("check", json!({})).object.get("waiting").is_none());
    one.call("release", json!({"name": "deploy"}));
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(two.call("check", json!({"name": "deploy"})).outcome(), "free");
}

#[test]
fn release_leaves_the_line_and_answers_the_call_that_waits() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    one.call("acquire", json!({"name": "deploy"}));
    let waits = two.ask_tool("acquire", json!({"name": "deploy", "wait_s": 45}));
    let started = Instant::now();
    let left = two.ask_tool("release", json!({"name": "deploy"}));
    assert_eq!(two.said(waits).outcome(), "released");
    assert_eq!(two.said(left).outcome(), "released");
    assert!(started.elapsed() < Duration::from_secs(10));
}
