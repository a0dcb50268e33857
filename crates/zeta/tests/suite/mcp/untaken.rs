//! Answers that a client does not take: it cancels the call while the answer is made, or after it.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde_json::json;

use super::client::{Client, LEGACY};
use crate::support::{LIMIT, Sandbox, until, wait_for};

/// The times after which a call is cancelled: before, in and after its answer.
fn delays() -> impl Iterator<Item = Duration> {
    [0, 300, 700, 1500, 3000, 8000].into_iter().map(Duration::from_micros)
}

/// Sends a call, cancels it after a time, and waits until the server has seen that.
fn cancelled(client: &mut Client, tool: &str, arguments: serde_json::Value, after: Duration) {
    let call = client.ask_tool(tool, arguments);
    std::thread::sleep(after);
    client.cancel(call);
    client.request("ping", json!({}));
}

#[test]
fn the_messages_of_a_cancelled_answer_stay_unread() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    let name = client.call("check", json!({})).agent().to_owned();
    for (number, after) in delays().enumerate() {
        let text = format!("message {number}");
        let id = sandbox.ok(&["bus", "send", &name, &text]);
        cancelled(&mut client, "inbox", json!({}), after);
        let status = || sandbox.ok(&["bus", "status", id.trim()]);
        // The worker carries out what came before this call.
        assert!(client.call("status", json!({})).has("1 unread message"), "{after:?}");
        assert!(!status().contains("read\n"), "{after:?}: {}", status());
        let read = client.call("inbox", json!({}));
        assert!(read.has(&text), "{after:?}: {read:?}");
        assert!(until(LIMIT, || status().contains("read\n")), "{}", status());
        assert!(client.call("inbox", json!({})).has("no unread messages"));
    }
}

#[test]
fn a_server_that_is_killed_before_its_answer_is_written_has_read_nothing() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.cmd(&["--as", "otto", "mcp"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sandbox.ok(&["bus", "send", "otto", "hello"]);
    let mut stdin = server.stdin.take().unwrap();
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": LEGACY, "capabilities": {},
         "clientInfo": {"name": "deaf", "version": "1"}}});
    writeln!(stdin, "{hello}").unwrap();
    // Nothing reads: the pipe is full before the answers of this are written.
    for id in 1..100 {
        let list = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
        writeln!(stdin, "{list}").unwrap();
    }
    let call = json!({"jsonrpc": "2.0", "id": 100, "method": "tools/call", "params":
        {"name": "inbox", "arguments": {}}});
    writeln!(stdin, "{call}").unwrap();
    wait_for("the call", || sandbox.zeta(&["persona", "get", "otto", "hooked_by"]).status == 0);
    std::thread::sleep(Duration::from_millis(300));
    server.kill().unwrap();
    server.wait().unwrap();
    let unread = sandbox.ok(&["--as", "otto", "bus", "inbox"]);
    assert!(unread.contains("hello"), "{unread}");
}

#[test]
fn a_loss_in_a_cancelled_answer_is_told_again() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    for after in delays() {
        let token = client.call("acquire", json!({"name": "x"})).token().to_string();
        sandbox.ok(&["lease", "break", "x", "--expect", &token, "--reason", "test"]);
        cancelled(&mut client, "status", json!({}), after);
        let told = client.call("status", json!({}));
        assert!(told.has("NOTE: You have LOST lease x"), "{after:?}: {told:?}");
        assert!(!client.call("status", json!({})).has("NOTE"), "{after:?}");
    }
}

#[test]
fn a_grant_in_a_cancelled_answer_is_given_back_or_announced() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    for after in delays() {
        cancelled(&mut client, "acquire", json!({"name": "x"}), after);
        let next = client.call("status", json!({}));
        if sandbox.lock_exists("x") {
            assert!(next.has("NOTE: lease x is yours now"), "{after:?}: {next:?}");
            let mine = client.call("acquire", json!({"name": "x"}));
            assert_eq!(mine.outcome(), "mine");
            assert!(!mine.has("NOTE"), "{mine:?}");
            client.call("release", json!({"name": "x"}));
        } else {
            assert!(!next.has("lease x"), "{after:?}: {next:?}");
        }
    }
    // The answer was read, so another call may count on it: it is not given back at once.
    let call = client.ask_tool("acquire", json!({"name": "x"}));
    assert_eq!(client.said(call).outcome(), "granted");
    client.cancel(call);
    client.request("ping", json!({}));
    assert!(client.call("status", json!({})).has("NOTE: lease x is yours now, and stays so"));
    assert!(sandbox.lock_exists("x"));
}

#[test]
fn what_was_said_of_a_turn_is_not_said_again_when_it_is_not_so() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    for (x, then) in [("x", "release"), ("y", "acquire"), ("z", "break")] {
        one.call("acquire", json!({"name": x}));
        two.call("acquire", json!({"name": x, "wait_s": 1}));
        one.call("release", json!({"name": x}));
        wait_for("the grant", || sandbox.zeta(&["lease", "show", x]).out.contains("two-"));
        let (mut call, mut token) = (0, String::new());
        wait_for("the news", || {
            call = two.ask_tool("check", json!({}));
            let said = two.said(call);
            token = said.object["holdings"][0]["fencing_token"].to_string();
            said.has("is yours now, and no call waits for it")
        });
        if then == "break" {
            sandbox.ok(&["lease", "break", x, "--expect", &token, "--reason", "test"]);
            assert!(two.call("check", json!({})).has("You have LOST"));
        } else {
            assert!(!two.call(then, json!({"name": x})).is_error);
        }
        two.cancel(call);
        two.request("ping", json!({}));
        let next = two.call("check", json!({}));
        assert!(!next.has("is yours now"), "{then}: {next:?}");
        two.call("release", json!({"name": x}));
    }
}

#[test]
fn a_change_in_a_cancelled_answer_is_told() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    for (number, after) in delays().enumerate() {
        let item = format!("B-{number}");
        cancelled(&mut client, "claim", json!({"item": item}), after);
        let next = client.call("status", json!({}));
        let is_told = next.has("NOTE: a call that was cancelled was carried out before: item");
        assert_eq!(is_told, next.has(&format!("item \"{item}\" (token")), "{after:?}: {next:?}");
    }
}

/// A waiting call is cancelled, or its line is left, while the turn comes and the server is busy
/// with another call: whatever the next `acquire` says, is so.
#[test]
fn an_answer_that_a_lease_is_yours_is_never_followed_by_a_silent_release() {
    for (way, wait_s) in [("cancel", 0), ("release", 0), ("cancel", 20), ("release", 20)] {
        let sandbox = Sandbox::new();
        let mut holder = Client::greeted(&sandbox, "holder");
        let mut waiter = Client::greeted(&sandbox, "waiter");
        holder.call("acquire", json!({"name": "x"}));
        holder.call("acquire", json!({"name": "slow"}));
        holder.call("release", json!({"name": "slow"}));
        let waits = waiter.ask_tool("acquire", json!({"name": "x", "wait_s": 40}));
        let queue = sandbox.guard("x").join("queue");
        wait_for("a ticket", || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() == 1));
        let guard = sandbox.guard("slow");
        let guard = open(&guard, OFlags::RDONLY, Mode::empty()).unwrap();
        flock(&guard, FlockOperation::LockExclusive).unwrap();
        let slow = waiter.ask_tool("acquire", json!({"name": "slow"}));
        std::thread::sleep(Duration::from_millis(50));
        if way == "cancel" {
            waiter.cancel(waits);
        } else {
            waiter.ask_tool("release", json!({"name": "x"}));
        }
        let again = waiter.ask_tool("acquire", json!({"name": "x", "wait_s": wait_s}));
        holder.call("release", json!({"name": "x"}));
        wait_for("the turn", || sandbox.zeta(&["lease", "show", "x"]).out.contains("waiter-"));
        flock(&guard, FlockOperation::Unlock).unwrap();
        waiter.said(slow);
        let said = waiter.said(again);
        assert!(["mine", "granted"].contains(&said.outcome()), "{way} {wait_s}: {said:?}");
        std::thread::sleep(Duration::from_millis(300));
        let check = waiter.call("check", json!({"name": "x"}));
        assert_eq!((check.outcome(), check.token()), ("mine", said.token()), "{way} {wait_s}");
        let other = holder.call("acquire", json!({"name": "x"}));
        assert_eq!(other.outcome(), "held", "{way} {wait_s}: {other:?}");
        waiter.call("release", json!({"name": "x"}));
        assert_eq!(holder.call("acquire", json!({"name": "x"})).outcome(), "granted");
    }
}

#[test]
fn agents_that_change_their_mind_near_their_turn_are_never_two_in_one_lease() {
    let sandbox = Sandbox::new();
    let inside = AtomicI32::new(0);
    let end = Instant::now() + Duration::from_secs(6);
    let work = |number: u32| {
        let mut client = Client::greeted(&sandbox, &format!("w{number}"));
        let mut round = number;
        let mut grants = 0;
        while Instant::now() < end {
            round += 1;
            let mut call = client.ask_tool("acquire", json!({"name": "x", "wait_s": 10}));
            if round.is_multiple_of(2) {
                std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 30_000)));
                match round.is_multiple_of(4) {
                    true => client.cancel(call),
                    false => drop(client.ask_tool("release", json!({"name": "x"}))),
                }
                call = client.ask_tool("acquire", json!({"name": "x", "wait_s": 10}));
            }
            let said = client.said(call);
            if !["mine", "granted"].contains(&said.outcome()) {
                continue;
            }
            grants += 1;
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once: {said:?}");
            std::thread::sleep(Duration::from_millis(5));
            inside.fetch_sub(1, Ordering::SeqCst);
            client.call("release", json!({"name": "x"}));
        }
        grants
    };
    let grants: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|number| scope.spawn(move || work(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(grants > 3, "{grants}");
}

#[test]
fn news_of_a_turn_do_not_stand_beside_the_answer_that_makes_them_untrue() {
    let sandbox = Sandbox::new();
    let mut one = Client::greeted(&sandbox, "one");
    let mut two = Client::greeted(&sandbox, "two");
    one.call("acquire", json!({"name": "x"}));
    two.call("acquire", json!({"name": "x", "wait_s": 1}));
    one.call("release", json!({"name": "x"}));
    wait_for("the grant", || sandbox.zeta(&["lease", "show", "x"]).out.contains("two-"));
    let mine = two.call("acquire", json!({"name": "x"}));
    assert!(mine.outcome() == "mine" && !mine.has("NOTE"), "{mine:?}");
}
