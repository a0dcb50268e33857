//! Records of one node as files of another: they come, change and go, and no verb changes them.

use rustix::process::Signal;

use super::super::{nats, program, programs};
use super::{Node, cluster, original, value};
use crate::support::{Sandbox, test_name};

#[test]
fn a_record_becomes_a_file_of_other_nodes_and_vanishes_with_it() {
    for (_, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let a = Node::new("node-a", &server);
        a.sandbox.acquire(&["before", "--ttl", "10m"]);
        let a = a.started();
        let b = Node::new("node-b", &server).started();
        let mut c = Node::new("node-c", &server).started();
        b.wait_until("the lease that was there is there", |b| {
            b.read("node-a", "before.lock").is_some_and(|copy| copy.contains("copy_verified: true"))
        });
        let token = a.sandbox.acquire(&["job", "--ttl", "10m"]);
        a.sandbox.ok(&["marker", "set", "build", "note=green"]);
        let own = std::fs::read_to_string(a.sandbox.lock("job")).unwrap();
        for other in [&b, &c] {
            other.wait_until("the lease and the marker came", |node| {
                node.read("node-a", "job.lock").is_some()
                    && node.read("node-a", "build.marker").is_some()
            });
            let copy = other.read("node-a", "job.lock").unwrap();
            assert_eq!(original(&copy), own);
            assert!(copy.contains("copy_verified: true"), "{copy}");
            other.wait_until("its card came", |node| node.copy("node-a", "last-seen.iso").exists());
        }
        // A bridge that was away reads what it missed.
        c.stop(Signal::KILL);
        a.sandbox.ok(&["lease", "release", "job", "--token", &token.to_string()]);
        b.wait_until("the lease is gone", |b| b.read("node-a", "job.lock").is_none());
        assert!(c.read("node-a", "job.lock").is_some());
        c.start();
        c.wait_until("the lease is gone", |c| c.read("node-a", "job.lock").is_none());
        assert!(c.read("node-a", "before.lock").is_some());
    }
}

#[test]
fn a_copy_is_read_and_never_changed_by_the_verbs_of_this_machine() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    let token = a.sandbox.acquire(&["job", "--ttl", "10m"]).to_string();
    a.sandbox.ok(&["marker", "set", "build", "note=green"]);
    b.wait_until("both came", |b| {
        b.read("node-a", "job.lock").is_some() && b.read("node-a", "build.marker").is_some()
    });
    let before = std::fs::read_dir(b.copy("node-a", "")).unwrap().count();
    for refused in [
        &["lease", "acquire", "job", "--ttl", "1m"][..],
        &["lease", "acquire", "other", "--ttl", "1m"],
        &["lease", "renew", "job", "--token", &token],
        &["lease", "release", "job", "--token", &token],
        &["lease", "break", "job", "--expect", &token, "--reason", "x"],
        &["lease", "exec", "other", "--", "true"],
        &["marker", "set", "build", "note=red"],
        &["marker", "clear", "build"],
        &["heartbeat"],
        &["clean"],
        &["run", "--as", "otto", "--", "true"],
    ] {
        let args: Vec<&str> = refused.iter().copied().chain(["--node", "node-a"]).collect();
        let args = match args.iter().position(|arg| *arg == "--") {
            Some(at) => [&refused[..at], &["--node", "node-a"], &refused[at..]].concat(),
            None => args,
        };
        let out = b.sandbox.refused(&args, 7);
        assert!(out.err.contains("copies of another machine"), "{args:?}: {out:?}");
    }
    assert_eq!(std::fs::read_dir(b.copy("node-a", "")).unwrap().count(), before);
    // What reads works, and says who holds it.
    let shown = b.sandbox.ok(&["lease", "show", "job", "--node", "node-a", "--json"]);
    assert!(shown.contains(&token) && shown.contains("held"), "{shown}");
    let status = b.sandbox.ok(&["status", "--node", "node-a"]);
    assert!(status.contains("job"), "{status}");
    // Cleaning all nodes leaves it alone, also where its processes are not those of this machine.
    b.sandbox.ok(&["clean"]);
    assert!(b.read("node-a", "job.lock").is_some());
    // The same name on the own node is free.
    b.sandbox.acquire(&["job", "--ttl", "1m"]);
}

#[test]
fn a_directory_of_this_tree_never_becomes_a_copy() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let b = Node::new("node-b", &server);
    // A caller of this machine that took the other name before.
    b.sandbox.acquire(&["job", "--ttl", "10m", "--node", "node-a"]);
    let before = b.read("node-a", "job.lock").unwrap();
    let a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    let b = b.started();
    b.wait_until("it is refused", |b| b.log().contains("a directory of its own"));
    assert_eq!(b.read("node-a", "job.lock").unwrap(), before);
}

#[test]
fn a_second_bridge_of_a_tree_ends_and_the_first_ends_cleanly() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let out = a.sandbox.refused(&["cluster", "bridge", "--server", &server.url()], 6);
    assert!(out.err.contains("another bridge"), "{out:?}");
    assert_eq!(a.stop(Signal::TERM), 0, "{}", a.log());
    assert_eq!(a.status("state"), "stopped");
    // One that has joined nothing.
    let out = sandbox.refused(&["cluster", "bridge", "--server", &server.url()], 7);
    assert!(out.err.contains("joined no cluster"), "{out:?}");
}

#[test]
fn a_node_that_is_silent_is_called_silent_and_not_dead() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    let b = Node::new("node-b", &server).started();
    b.wait_until("it came", |b| b.read("node-a", "job.lock").is_some());
    a.stop(Signal::KILL);
    let status = || b.sandbox.ok(&["status", "--node", "node-a", "--json"]);
    assert!(status().contains("\"silent\":false"), "{}", status());
    // The observer's own stamp is a minute old.
    let mark = b.copy("node-a", ".copy");
    let text = std::fs::read_to_string(&mark).unwrap();
    let at: u64 = value(&text, "copy_observed_boot_ns").parse().unwrap();
    let line = format!("copy_observed_boot_ns: {at}");
    let older = format!("copy_observed_boot_ns: {}", at.saturating_sub(60_000_000_000));
    std::fs::write(&mark, text.replace(&line, &older)).unwrap();
    let silent = status();
    assert!(silent.contains("\"silent\":true") && silent.contains("\"copy_verified\":true"));
    let lease = b.sandbox.ok(&["lease", "show", "job", "--node", "node-a", "--json"]);
    assert!(lease.contains("held"), "{lease}");
    let shown = b.sandbox.ok(&["status", "--all"]);
    assert!(shown.contains("it is silent: whether it works is not known"), "{shown}");
}
