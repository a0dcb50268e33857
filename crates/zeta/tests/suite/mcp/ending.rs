//! The ends of a client: what it held is free at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::client::Client;
use crate::support::{LIMIT, Sandbox, signal, until, wait, with_usual_signals};

/// A deadline for what takes milliseconds, and 5 s on a machine with 17 busy processes. The
/// shortest limit that the server could wait for instead is 10 s.
const SOON: Duration = Duration::from_secs(9);

#[test]
fn the_end_of_the_pipe_ends_the_server_and_frees_what_it_holds() {
    let sandbox = Sandbox::new();
    for in_a_call in [false, true] {
        let mut other = Client::greeted(&sandbox, "other");
        other.call("acquire", json!({"name": "held"}));
        let mut client = Client::greeted(&sandbox, "c");
        client.call("acquire", json!({"name": "deploy"}));
        client.call("claim", json!({"item": "B-1"}));
        if in_a_call {
            client.ask_tool("acquire", json!({"name": "held", "wait_s": 45}));
            assert!(client.read(LIMIT).is_some(), "progress");
        }
        let started = Instant::now();
        assert_eq!(client.close(LIMIT), 0);
        assert!(started.elapsed() < SOON, "{in_a_call}: {:?}", started.elapsed());
        assert!(!sandbox.lock_exists("deploy"), "{in_a_call}");
        assert_eq!(sandbox.zeta(&["claim", "check", "B-1"]).status, 0);
        let queue = sandbox.guard("held").join("queue");
        let waits = std::fs::read_dir(queue).map_or(0, Iterator::count);
        assert_eq!(waits, 0, "{in_a_call}: a ticket is left");
    }
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let sandbox = Sandbox::new();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": "2025-06-18", "capabilities": {},
         "clientInfo": {"name": "sh", "version": "1"}}});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
        {"name": "acquire", "arguments": {"name": "deploy"}}});
    let line =
        format!("printf '%s\\n%s\\n' '{hello}' '{call}' | '{}' mcp", env!("CARGO_BIN_EXE_zeta"));
    let out = crate::support::run(&mut sandbox.other("sh", &["-c", &line]));
    assert_eq!((out.status, out.out.lines().count()), (0, 2), "{out:?}");
    assert!(out.out.contains("lease deploy is yours"), "{out:?}");
    assert!(!sandbox.lock_exists("deploy"));
}

/// A client that is killed, idle or in a call: `sh` starts the server, and both ends of the pipes
/// stay open in this process, so that only the death of the client can be seen.
#[test]
fn the_death_of_the_client_frees_its_leases_also_when_the_pipe_stays_open() {
    let sandbox = Sandbox::new();
    for in_a_call in [false, true] {
        let mut other = Client::greeted(&sandbox, "other");
        other.call("acquire", json!({"name": "held"}));
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let mut client = Client::of(&mut sandbox.other("sh", &["-c", &format!("'{zeta}' mcp; :")]));
        client.greet("c", "2025-06-18");
        client.call("acquire", json!({"name": "deploy"}));
        if in_a_call {
            client.ask_tool("acquire", json!({"name": "held", "wait_s": 45}));
            assert!(client.read(LIMIT).is_some(), "progress");
        }
        client.server.kill().unwrap();
        let started = Instant::now();
        let is_free = || sandbox.zeta(&["lease", "acquire", "deploy", "--quiet"]).status == 0;
        assert!(until(SOON, is_free), "{in_a_call}: held {:?} after its death", started.elapsed());
        let token = sandbox.ok(&["--json", "lease", "show", "deploy"]);
        let token: serde_json::Value = serde_json::from_str(&token).unwrap();
        let token = token["fencing_token"].to_string();
        sandbox.ok(&["lease", "release", "deploy", "--token", &token]);
    }
}

#[test]
fn a_killed_server_holds_nothing() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    client.call("acquire", json!({"name": "deploy"}));
    signal(client.server.id(), Signal::KILL);
    assert_eq!(wait(&mut client.server, LIMIT), 128 + 9);
    let mut next = Client::greeted(&sandbox, "next");
    let granted = next.call("acquire", json!({"name": "deploy"}));
    assert_eq!(granted.outcome(), "granted");
    assert!(granted.has("whose processes ended"), "{granted:?}");
}

#[test]
fn a_signal_ends_the_server_and_leaves_nothing_wrong_behind() {
    let sandbox = Sandbox::new();
    let mut other = Client::greeted(&sandbox, "other");
    other.call("acquire", json!({"name": "held"}));
    for sent in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut client = Client::of(with_usual_signals(&mut sandbox.cmd(&["mcp"])));
        client.greet("c", super::client::LEGACY);
        client.call("acquire", json!({"name": "deploy"}));
        client.call("claim", json!({"item": "B-1"}));
        client.ask_tool("acquire", json!({"name": "held", "wait_s": 45}));
        assert!(client.read(LIMIT).is_some(), "progress");
        signal(client.server.id(), sent);
        assert_eq!(wait(&mut client.server, LIMIT), 0, "{sent:?}");
        assert!(!sandbox.lock_exists("deploy"), "{sent:?}");
        let status = sandbox.ok(&["status"]);
        assert!(status.contains("nothing wrong was found"), "{sent:?}: {status}");
    }
}

/// Writes so many calls and reads no answer; false if the server was gone before all were written.
fn ask_on(stdin: &mut ChildStdin, calls: u32) -> bool {
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": "2025-06-18", "capabilities": {},
         "clientInfo": {"name": "deaf", "version": "1"}}});
    writeln!(stdin, "{hello}").unwrap();
    (1..calls).all(|id| {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params":
            {"name": "acquire", "arguments": {"name": "deploy"}}});
        writeln!(stdin, "{call}").is_ok()
    })
}

#[test]
fn a_reader_that_does_not_read_cannot_keep_what_it_holds() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.cmd(&["mcp"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let stdout = server.stdout.take().unwrap();
    let write = std::thread::spawn(move || ask_on(&mut stdin, 400));
    write.join().unwrap();
    // The pipe to this process is full, and its other end is closed by now.
    let status = wait(&mut server, Duration::from_secs(15));
    assert_eq!(status, 0);
    let lines = BufReader::new(stdout).lines().map_while(Result::ok).count();
    assert!(lines > 0);
    assert!(!sandbox.lock_exists("deploy"));
}

#[test]
fn a_server_that_nobody_speaks_to_ends_quietly() {
    let sandbox = Sandbox::new();
    let out = sandbox.zeta(&["mcp"]);
    assert_eq!((out.status, out.out.as_str(), out.err.as_str()), (0, "", ""), "{out:?}");
    assert!(!sandbox.state.exists(), "no call was made, and nothing was created");
}

#[test]
fn a_client_that_asks_on_and_reads_nothing_comes_to_its_end() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.cmd(&["mcp"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let write = std::thread::spawn(move || ask_on(&mut stdin, 100_000));
    // Both ends of the pipes are open.
    assert_eq!(wait(&mut server, 2 * LIMIT), 0);
    assert!(!write.join().unwrap(), "it read everything");
    assert!(!sandbox.lock_exists("deploy"));
}

#[test]
fn the_end_of_a_client_that_waits_for_all_that_it_may_ends_the_server_at_once() {
    let sandbox = Sandbox::new();
    let mut other = Client::greeted(&sandbox, "other");
    let mut client = Client::greeted(&sandbox, "c");
    let name = |number: u32| json!({"name": format!("x{number}"), "wait_s": 45});
    for number in 0..20 {
        other.call("acquire", name(number));
    }
    client.call("acquire", json!({"name": "deploy"}));
    let calls: Vec<u64> = (0..16).map(|number| client.ask_tool("acquire", name(number))).collect();
    let refused = client.call("acquire", name(16));
    assert_eq!((refused.outcome(), &refused.object["error"]), ("error", &json!("busy")));
    assert!(refused.has("16 leases") && refused.has("release"), "{refused:?}");
    // More calls of the same names wait in the same places, up to 64.
    let more: Vec<u64> = (0..64).map(|_| client.ask_tool("acquire", name(0))).collect();
    let busy = more.iter().rev().take(16).map(|call| client.said(*call));
    assert!(busy.into_iter().all(|said| said.object["error"] == "busy" && said.has("64 calls")));
    assert_eq!(calls.len() + more.len(), 80);
    let started = Instant::now();
    assert_eq!(client.close(LIMIT), 0);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(!sandbox.lock_exists("deploy"));
}
