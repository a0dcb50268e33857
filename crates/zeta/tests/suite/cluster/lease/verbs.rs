//! What each verb says and does, one call after the other.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use super::{Node, Nodes, serve};
use crate::cluster::{nats, program, programs};
use crate::support::{LIMIT, Sandbox, run, signal, test_name, until, wait};

#[test]
fn one_node_holds_it_and_the_next_one_gets_a_higher_token() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = serve(&program, &sandbox, name);
        let nodes = Nodes::new(&server, 2);
        let (a, b) = nodes.pair();
        let first = a.acquire("deploy", &["--purpose", "release"]);
        let record = a.record("deploy").unwrap();
        for line in
            ["scope: \"cluster\"", "node: \"node-a\"", "cluster_epoch: 1", "cluster_revision: "]
        {
            assert!(record.contains(line), "{line} is not in {record}");
        }
        let out = b.refused(&["lease", "acquire", "deploy", "--scope", "cluster"], 3);
        for part in ["otto-node-a", "on node-a", "since", "until", "release"] {
            assert!(out.err.contains(part), "{part}: {out:?}");
        }
        assert_eq!(b.record("deploy"), None);
        let token = first.to_string();
        a.ok(&["lease", "check", "deploy", "--token", &token]);
        a.ok(&["lease", "check", "deploy", "--token", &token, "--strong"]);
        a.ok(&["lease", "renew", "deploy", "--token", &token]);
        a.release("deploy", first);
        assert_eq!(a.record("deploy"), None);
        let second = b.acquire("deploy", &[]);
        assert!(second > first, "{name}: {second} after {first}");
        a.refused(&["lease", "acquire", "deploy", "--scope", "cluster"], 3);
        // A lease of the node alone is another door.
        a.sandbox.ok(&["lease", "list"]);
        b.release("deploy", second);
        let third = a.acquire("deploy", &[]);
        assert!(third > second);
    }
}

#[test]
fn a_call_that_the_cluster_cannot_grant_says_why() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let mut server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 1);
    let node = &nodes.nodes[0];
    let acquire = ["lease", "acquire", "job", "--scope", "cluster"];
    for (more, part) in [
        (["--ttl", "5s"], "at least 30s"),
        (["--slots", "3"], "no --slots"),
        (["--grace", "5s"], "no --grace"),
        (["--policy", "kill"], "no --policy"),
        (["--ttl", "2h"], "longer than the cluster allows"),
    ] {
        let out = node.refused(&[&acquire[..], &more].concat(), 2);
        assert!(out.err.contains(part), "{more:?}: {out:?}");
    }
    let out = node.refused(&["lease", "acquire", "job", "--scope", "galaxy"], 2);
    assert!(out.err.contains("node or cluster"), "{out:?}");
    // A machine that has joined none.
    let stranger = Sandbox::new();
    let out = run(stranger.cmd(&acquire).env("ZETA_CLUSTER_SERVER", server.url()));
    assert!(out.status == 7 && out.err.contains("joined no cluster"), "{out:?}");
    assert!(!stranger.lock_exists("job"));
    // A server that is dead: what is held goes on, and local verbs do not ask it.
    let token = node.acquire("held", &[]).to_string();
    server.kill();
    let out = node.refused(&acquire, 6);
    assert!(out.err.contains("is not reached") && node.record("job").is_none(), "{out:?}");
    for verb in ["renew", "release"] {
        let out = node.refused(&["lease", verb, "held", "--token", &token], 6);
        assert!(node.record("held").is_some(), "{verb}: {out:?}");
    }
    node.ok(&["lease", "check", "held", "--token", &token]);
    node.refused(&["lease", "check", "held", "--token", &token, "--strong"], 6);
    let local = node.ok(&["lease", "acquire", "mine"]);
    node.ok(&["lease", "release", "mine", "--token", &local]);
}

#[test]
fn a_command_holds_it_and_its_end_frees_it() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 2);
    let (a, b) = nodes.pair();
    let exec = |more: &[&str], script: &str| {
        let args = ["lease", "exec", "deploy", "--scope", "cluster"];
        a.ok(&[&args, more, &["--", "sh", "-c", script]].concat())
    };
    let first: u64 = exec(&[], "echo $ZETA_FENCING_TOKEN").parse().unwrap();
    let fenced: u64 = exec(&["--fenced"], "echo $ZETA_FENCING_TOKEN").parse().unwrap();
    assert!(fenced > first);
    let token = b.acquire("deploy", &[]);
    assert!(token > fenced);
    // One that waits on the other node gets it when it is released here.
    let mut command =
        a.cmd(&["lease", "exec", "deploy", "--scope", "cluster", "-w", "15s", "--", "true"]);
    let mut waiting = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("waiting for otto-node-b"), "{line}");
    a.ok(&["lease", "list"]);
    b.release("deploy", token);
    assert_eq!(wait(&mut waiting, LIMIT), 0);
    // What a killed holder left is free for its own node at once: the kernel says so.
    let mut command = a.cmd(&["lease", "exec", "job", "--scope", "cluster", "--", "sleep", "60"]);
    let mut holder = command.spawn().unwrap();
    assert!(until(LIMIT, || a.record("job").is_some_and(|r| r.contains("child_pid"))));
    let record = a.record("job").unwrap();
    let key = |key: &str| record.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let child: u32 = key("child_pid: ").parse().unwrap();
    b.refused(&["lease", "acquire", "job", "--scope", "cluster"], 3);
    signal(holder.id(), Signal::KILL);
    wait(&mut holder, LIMIT);
    signal(child, Signal::KILL);
    // The bridge may have freed it for another node, whose grant does not replace this record.
    let check = ["lease", "check", "job", "--token", key("fencing_token: ")];
    assert!(until(LIMIT, || a.zeta(&check).status == 5), "{:?}", a.zeta(&check));
    a.acquire("job", &["--wait", "15s"]);
    b.refused(&["lease", "acquire", "job", "--scope", "cluster"], 3);
}

#[test]
fn an_operator_breaks_it_on_the_node_of_its_holder() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 2);
    let (a, b) = nodes.pair();
    let token = a.acquire("deploy", &[]).to_string();
    let out = b.refused(&["lease", "wait", "deploy", "--scope", "cluster", "--timeout", "1s"], 6);
    assert!(out.err.contains("otto-node-a"), "{out:?}");
    a.ok(&["lease", "break", "deploy", "--expect", &token, "--reason", "test"]);
    a.refused(&["lease", "renew", "deploy", "--token", &token], 5);
    b.ok(&["lease", "wait", "deploy", "--scope", "cluster", "--timeout", "15s"]);
    b.acquire("deploy", &[]);
}

#[test]
fn a_server_that_lets_several_writers_win_keeps_no_leases() {
    for (found, is_good) in [(nats::debian(), false), (nats::newer(), true)] {
        let Some(program) = program(test_name!(), found) else { continue };
        let sandbox = Sandbox::new();
        let trio = nats::Trio::start(&program, &sandbox.dir.join("trio"), "").unwrap();
        let nodes = Nodes::of(&trio.urls(), 1);
        // An operator may do that later.
        let mut client = trio.servers[0].client().unwrap();
        let info = client.api("STREAM.INFO.ZETA1_LEASE", &serde_json::Value::Null).unwrap();
        let mut settings = info["config"].clone();
        settings["num_replicas"] = 3.into();
        client.api("STREAM.UPDATE.ZETA1_LEASE", &settings).unwrap();
        let node = &nodes.nodes[0];
        let args = ["lease", "acquire", "job", "--scope", "cluster"];
        if is_good {
            node.acquire("job", &["--wait", "15s"]);
            let proven = std::fs::read_to_string(node.identity().join("proven")).unwrap();
            assert!(proven.trim_end().ends_with(" 3"), "{proven}");
        } else {
            let out = node.refused(&args, 7);
            assert!(out.err.contains("2.9.10") && out.err.contains("2.10 or later"), "{out:?}");
            assert_eq!(node.record("job"), None);
        }
    }
}

#[test]
fn a_claim_of_the_cluster_is_refused_on_other_nodes() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 2);
    let (a, b) = nodes.pair();
    // Each machine has its bus where it likes, and no message tells the other node.
    let claim = |node: &Node, args: &[&str]| run(&mut node.cmd(&[&["claim"], args].concat()));
    let acquire = ["acquire", "B-1", "--scope", "cluster"];
    let granted = claim(a, &acquire);
    assert_eq!(granted.status, 0, "{granted:?}");
    let out = claim(b, &acquire);
    assert!(out.status == 3 && out.err.contains("otto-node-a"), "{out:?}");
    let token = granted.out.trim_end();
    let renewed = claim(a, &["renew", "B-1", "--token", token]);
    assert_eq!(renewed.status, 0, "{renewed:?}");
    let passed = claim(a, &["handover", "B-1", "--to", "mira", "--token", token]);
    assert_eq!(passed.status, 0, "{passed:?}");
    let token = passed.out.trim_end();
    let out = claim(b, &acquire);
    assert!(out.status == 3 && out.err.contains("mira"), "{out:?}");
    let released = claim(a, &["release", "B-1", "--token", token, "--from", "mira"]);
    assert_eq!(released.status, 0, "{released:?}");
    let again = claim(a, &["release", "B-1", "--token", token, "--from", "mira"]);
    assert_eq!(again.status, 0, "{again:?}");
    let granted = claim(b, &acquire);
    assert_eq!(granted.status, 0, "{granted:?}");
    let paths = claim(b, &["acquire", "--path", "src", "--scope", "cluster"]);
    assert!(paths.status == 2 && paths.err.contains("of one node"), "{paths:?}");
}

#[test]
fn a_claim_of_the_cluster_and_one_of_its_node_exclude_each_other() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 2);
    let (a, b) = nodes.pair();
    let claim = |node: &Node, agent: &str, args: &[&str]| {
        // By these, a call without a session shows that it is one of the same work.
        let worktree = node.sandbox.dir.to_str().unwrap();
        let work = ["--branch", "main", "--worktree", worktree];
        let mut command = node.cmd(&[&["claim"], args, &work].concat());
        run(command.env("ZETA_AGENT", agent))
    };
    let (of_node, of_cluster) = (["acquire", "B-1"], ["acquire", "B-1", "--scope", "cluster"]);
    let forget = || {
        for file in std::fs::read_dir(a.sandbox.dir.join("bus")).unwrap().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "json") {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
    };
    // Also where the messages are gone.
    for first in [&of_node[..], &of_cluster] {
        assert_eq!(claim(a, "otto", first).status, 0);
        for second in [&of_node[..], &of_cluster] {
            let out = claim(a, "vera", second);
            assert!(out.status == 3 && out.err.contains("otto"), "{first:?} {second:?}: {out:?}");
        }
        forget();
        for second in [&of_node[..], &of_cluster] {
            let out = claim(a, "vera", second);
            assert!(out.status == 3 && out.err.contains("otto"), "{first:?} {second:?}: {out:?}");
        }
        assert_eq!(claim(a, "otto", &["release", "B-1"]).status, 0);
    }
    // A claim of this node alone is none of the cluster: it is not called one.
    assert_eq!(claim(b, "mira", &of_cluster).status, 0);
    assert_eq!(claim(a, "otto", &of_node).status, 0);
    let out = claim(a, "otto", &of_cluster);
    assert!(out.status == 3 && out.err.contains("mira"), "{out:?}");
    assert_eq!(claim(b, "mira", &["release", "B-1"]).status, 0);
    assert_eq!(claim(a, "otto", &of_cluster).status, 0);
    assert_eq!(claim(b, "mira", &of_cluster).status, 3);
    // One release gives both back, and a claim of the cluster stays one if it is acquired again.
    assert_eq!(claim(a, "otto", &["release", "B-1"]).status, 0);
    let granted = claim(b, "mira", &of_cluster);
    assert_eq!(claim(b, "mira", &of_node).out, granted.out);
    assert_eq!(claim(a, "otto", &of_cluster).status, 3);
    let shared = claim(a, "otto", &["acquire", "B-2", "--scope", "cluster", "--shareable"]);
    assert!(shared.status == 2 && shared.err.contains("one holder"), "{shared:?}");
}
