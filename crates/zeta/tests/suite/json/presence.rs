//! Every answer and every refusal of `run`, `status`, `heartbeat`, `marker` and `persona` fits its
//! schema.

use rustix::process::Signal;
use serde_json::json;

use super::{Locked, check, loosen};
use crate::support::{Sandbox, signal, wait_for};

#[test]
fn run() {
    let sandbox = Sandbox::new();
    let script = sandbox.dir.join("no-program");
    std::fs::write(&script, "x").unwrap();
    let script = script.to_str().unwrap();
    for (command, status) in [("no-such-tool", 127), (script, 126)] {
        let error = check(&sandbox, &["run", "--as", "a", "--", command], status);
        assert_eq!(error["error"], "fault");
    }
    let ready = sandbox.dir.join("ready");
    let script = "echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; exec sleep 60";
    let path = ready.to_str().unwrap();
    let mut first = sandbox.cmd(&["run", "--as", "a", "--", "sh", "-c", script, path]);
    let mut first = first.spawn().unwrap();
    wait_for("the first session", || ready.exists());
    let second = check(&sandbox, &["run", "--as", "a", "--", "true"], 3);
    assert_eq!(second["error"], "refused");
    let pid = std::fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
    signal(pid, Signal::TERM);
    assert_eq!(crate::support::wait(&mut first, crate::support::LIMIT), 128 + 15);
    let missing = check(&sandbox, &["run", "--as", "a"], 2);
    assert!(missing["message"].as_str().unwrap().contains("<CMD>"), "{missing}");
    check(&sandbox, &["run", "--on-lost", "cry", "--", "true"], 2);
    check(&sandbox, &["run", "--as", "Odd", "--", "true"], 2);
    // A command that was started has stdout and the exit status for itself.
    let started = ["--json", "run", "--as", "b", "--", "sh", "-c", "echo data; exit 9"];
    let out = sandbox.zeta(&started);
    assert_eq!((out.status, out.out.as_str()), (9, "data\n"), "{out:?}");
    assert!(!out.err.contains('{'), "{out:?}");
    loosen(&sandbox);
    check(&sandbox, &["run", "--as", "a", "--", "true"], 7);
}

#[test]
fn log() {
    let sandbox = Sandbox::new();
    let empty = check(&sandbox, &["log"], 0);
    assert_eq!((&empty["spans"], &empty["left_out"]), (&json!([]), &json!(0)));
    assert_eq!(check(&sandbox, &["log", "--follow"], 4)["error"], "not_found");
    let token = sandbox.acquire(&["a", "--as", "otto", "--purpose", "p"]).to_string();
    let why = ["--reason", "r", "--as", "max"];
    sandbox.ok(&[&["lease", "break", "a", "--expect", &token], &why[..]].concat());
    sandbox.acquire(&["a", "--as", "vera", "--ttl", "100ms", "--grace", "0s"]);
    std::thread::sleep(std::time::Duration::from_millis(150));
    sandbox.acquire(&["a", "--as", "lior"]);
    sandbox.ok(&["claim", "acquire", "B-1", "--branch", "b", "--as", "lior"]);
    let log = check(&sandbox, &["log"], 0);
    assert_eq!((log["spans"].as_array().unwrap().len(), &log["unread_lines"]), (4, &json!(0)));
    assert_eq!(log["entries"].as_array().unwrap().len(), 5);
    let last = check(&sandbox, &["log", "--limit", "1"], 0);
    assert_eq!((&last["left_out"], &last["spans"][0]["subject"]), (&json!(3), &json!("B-1")));
    let mut follower = sandbox.cmd(&["--json", "log", "--follow", "--since", "1h"]);
    let out = sandbox.dir.join("out");
    let mut follower = follower.stdout(std::fs::File::create(&out).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(&out).unwrap();
    wait_for("the entries", || said().lines().count() == 5);
    follower.kill().unwrap();
    follower.wait().unwrap();
    said().lines().for_each(|line| drop(super::judge_line(&["log"], &format!("{line}\n"), 0)));
    check(&sandbox, &["log", "--since", "x"], 2);
    std::fs::write(sandbox.lock("A B"), "x\n").unwrap();
    assert_eq!(check(&sandbox, &["log"], 7)["findings"].as_array().unwrap().len(), 1);
    std::fs::remove_file(sandbox.node().join("history.log")).unwrap();
    std::fs::create_dir(sandbox.node().join("history.log")).unwrap();
    assert_eq!(check(&sandbox, &["log"], 7)["error"], "unsafe");
    loosen(&sandbox);
    check(&sandbox, &["log"], 7);
}

#[test]
fn heartbeat() {
    let sandbox = Sandbox::new();
    let beat = check(&sandbox, &["heartbeat", "--as", "otto"], 0);
    assert_eq!((&beat["outcome"], &beat["beats"]), (&json!("recorded"), &json!(1)));
    let args = ["heartbeat", "--every", "100ms", "--count", "2"];
    assert_eq!(check(&sandbox, &args, 0)["beats"], 2);
    check(&sandbox, &["heartbeat", "--every", "1s", "--count", "0"], 2);
    let guard = sandbox.node().join(".guard/persona-otto.state");
    let locked = Locked::new(&guard);
    check(&sandbox, &["heartbeat", "--as", "otto"], 6);
    drop(locked);
    loosen(&sandbox);
    check(&sandbox, &["heartbeat"], 7);
}

#[test]
fn status() {
    let sandbox = Sandbox::new();
    let nothing = check(&sandbox, &["status"], 0);
    assert!(nothing["sharing"].is_null() && nothing["node"].is_null(), "{nothing}");
    sandbox.ok(&["init"]);
    check(&sandbox, &["status"], 0);
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.ok(&["persona", "set", "vera", "task=t", "--as", "otto"]);
    sandbox.ok(&["marker", "set", "m", "a=b"]);
    sandbox.acquire(&["job", "--as", "otto", "--purpose", "p"]);
    sandbox.acquire(&["odd-times"]);
    // What no clock of zeta reads, another hand may have written as it likes.
    let odd = ["timestamp", "acquired_at", "renewed_at", "expires_at"];
    sandbox.forge_keys("odd-times", &odd.map(|key| (key, Some("7"))));
    for (file, text) in [
        ("persona-rex.state", "pid: 7\nagent: rex\nLiveness: x\n"),
        ("persona-torn.state", "schema: 1\n"),
        ("persona-odd.state", "schema: 1\nkind: \"persona\"\npid: \"x\"\nend: true\n"),
        ("f.marker", "branch: b\n"),
        ("torn.marker", "schema: 1\n"),
        ("foreign.lock", "pid: 7\n"),
        ("torn.lock", "schema: 1\n"),
    ] {
        std::fs::write(sandbox.node().join(file), text).unwrap();
    }
    std::fs::create_dir(sandbox.state.join("nodes/Odd Name")).unwrap();
    let one = check(&sandbox, &["status"], 0);
    let node = &one["nodes"][0];
    for (list, count) in [("agents", 5), ("leases", 4), ("markers", 3)] {
        assert_eq!(node[list].as_array().unwrap().len(), count, "{list} of {node}");
    }
    assert!(!node["findings"].as_array().unwrap().is_empty(), "{node}");
    sandbox.ok(&["heartbeat", "--node", "another"]);
    let all = check(&sandbox, &["status", "--all"], 0);
    assert_eq!(all["nodes"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(all["findings"].as_array().unwrap().len(), 1, "{all}");
    check(&sandbox, &["status", "x"], 2);
    check(&sandbox, &["status", "--node", "a.b"], 2);
    loosen(&sandbox);
    check(&sandbox, &["status"], 7);
}

#[test]
fn marker_and_persona() {
    for (noun, name, file) in [("marker", "m", "m.marker"), ("persona", "p", "persona-p.state")] {
        let sandbox = Sandbox::new();
        check(&sandbox, &[noun, "list"], 0);
        check(&sandbox, &[noun, "get", name], 4);
        check(&sandbox, &[noun, "clear", name], 4);
        let set = check(&sandbox, &[noun, "set", name, "error=none", "x_y=1"], 0);
        assert_eq!(set["x_y"], "1");
        check(&sandbox, &[noun, "set", name, "--as", name, "task=t"], 0);
        assert_eq!(sandbox.zeta(&["--json", noun, "get", name]).status, 0);
        assert_eq!(check(&sandbox, &[noun, "get", name, "x_y"], 0), json!({"x_y": "1"}));
        check(&sandbox, &[noun, "get", name, "nosuch"], 4);
        check(&sandbox, &[noun, "set", name, "Odd=1"], 2);
        check(&sandbox, &[noun, "get"], 2);
        check(&sandbox, &[noun, "clear", "a/b"], 2);
        check(&sandbox, &[noun, "list", "x"], 2);
        let long = format!("k={}", "x".repeat(70_000));
        check(&sandbox, &[noun, "set", name, &long], 2);
        let locked = Locked::new(&sandbox.node().join(".guard").join(file));
        std::thread::scope(|scope| {
            // Each waits for five seconds, so both wait at once.
            scope.spawn(|| check(&sandbox, &[noun, "set", name, "a=b"], 6));
            scope.spawn(|| check(&sandbox, &[noun, "clear", name], 6));
        });
        drop(locked);
        let cleared = check(&sandbox, &[noun, "clear", name], 0);
        assert_eq!(cleared, json!({"outcome": "cleared", "file": file}));
        check(&sandbox, &[noun, "set", name, "a=b"], 0);
        let whole = check(&sandbox, &[noun, "get", name], 0);
        assert_eq!(whole["a"], "b");
        std::fs::write(sandbox.node().join(file), "agent: other\npid: 7\n").unwrap();
        assert_eq!(check(&sandbox, &[noun, "get", name], 0)["pid"], "7");
        assert_eq!(check(&sandbox, &[noun, "list"], 0)["findings"], json!([]));
        std::fs::write(sandbox.node().join(file), "schema: 1\n").unwrap();
        check(&sandbox, &[noun, "get", name], 7);
        check(&sandbox, &[noun, "list"], 7);
        loosen(&sandbox);
        for verb in ["get", "set", "clear"] {
            check(&sandbox, &[noun, verb, name], 7);
        }
        assert_eq!(check(&sandbox, &[noun, "list"], 7)["error"], "unsafe");
    }
}
