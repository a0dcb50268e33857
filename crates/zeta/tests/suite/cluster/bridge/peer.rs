//! Other writers: a second machine with the same name, and peers that send what breaks the rules.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use zeta_core::cluster::subject::Subject;

use super::super::nats::Server;
use super::super::{nats, program};
use super::hostile::{Hostile, marker};
use super::{Node, SOON, cluster, value};
use crate::support::{Sandbox, finish, is_root, signal, skip, test_name, until};

#[test]
fn what_breaks_the_rules_is_refused_named_and_never_written() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let b = Node::new("node-b", &server).started();
    let evil = Hostile::new("node-x", &b, &server);
    // Before its card its key is not known: it is shown, and does not count.
    evil.write("zeta1.state.node-x.marker.early", &marker("early", ""), |_| {});
    b.wait_until("it is shown", |b| b.read("node-x", "early.marker").is_some());
    assert_eq!(value(&b.read("node-x", "early.marker").unwrap(), "copy_verified"), "false");
    evil.card();
    let unsigned = |headers: &mut Vec<_>| headers.retain(|(name, _)| name != "Zeta-Sig");
    let forged = |headers: &mut Vec<(String, String)>| {
        let signature = headers.iter_mut().find(|(name, _)| name == "Zeta-Sig").unwrap();
        let other = if signature.1.starts_with('A') { "B" } else { "A" };
        signature.1.replace_range(0..1, other);
    };
    let at = |name: &str| format!("zeta1.state.node-x.marker.{name}");
    evil.write(&at("good"), &marker("good", ""), |_| {});
    b.wait_until("its key is known", |b| {
        b.read("node-x", "good.marker").is_some_and(|copy| value(&copy, "copy_verified") == "true")
    });
    evil.write(&at("unsigned"), &marker("unsigned", ""), unsigned);
    b.wait_until("it is shown", |b| b.read("node-x", "unsigned.marker").is_some());
    assert_eq!(value(&b.read("node-x", "unsigned.marker").unwrap(), "copy_verified"), "false");
    // A forged one does not take the place of a good one.
    evil.write(&at("good"), &marker("good", "note: \"forged\"\n"), forged);
    evil.write(&at("long"), &marker("long", &format!("note: \"{}\"\n", "x".repeat(5000))), |_| {});
    evil.write(&at("keys"), &marker("keys", "copy_verified: true\n"), |_| {});
    evil.write(&at("cut"), b"schema: 1\nkind: \"marker\"\n", |_| {});
    // One that it has written before, sent again by another hand.
    let (parsed, body) = (Subject::parse(&at("again")).unwrap(), marker("again", "note: \"1\"\n"));
    let old = evil.signer.seal(1, evil.signer.next_counter(), &parsed, &body, None).unwrap();
    evil.put(&at("again"), &body, &old);
    evil.write(&at("again"), &marker("again", "note: \"2\"\n"), |_| {});
    b.wait_until("the second one came", |b| {
        b.read("node-x", "again.marker").is_some_and(|copy| value(&copy, "note") == "2")
    });
    evil.put(&at("again"), &body, &old);
    b.wait_until("all five are refused", |b| b.log().matches("node-x is refused").count() >= 5);
    for name in ["long", "keys", "cut"] {
        assert_eq!(b.read("node-x", &format!("{name}.marker")), None, "{name}");
    }
    assert!(!b.read("node-x", "good.marker").unwrap().contains("forged"));
    assert_eq!(value(&b.read("node-x", "again.marker").unwrap(), "note"), "2");
    // Another node's name, signed with this key.
    let other = "zeta1.state.node-b.marker.mine";
    evil.write(other, &marker("mine", ""), |_| {});
    // More of them, and it is ignored.
    for at_number in 0..10 {
        evil.write(&at(&format!("cut-{at_number}")), b"schema: 1\n", |_| {});
    }
    b.wait_until("it is ignored", |b| b.log().contains("node-x sends too much"));
    evil.write(&at("late"), &marker("late", ""), |_| {});
    // Others are heard, and what is refused is named.
    let a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    b.wait_until("it came", |b| b.read("node-a", "job.lock").is_some());
    assert_eq!(b.read("node-x", "late.marker"), None);
    b.wait_until("it is named", |b| b.status("refused_0_node") == "node-x");
    let shown = b.sandbox.ok(&["cluster", "status", "--server", &server.url()]);
    assert!(shown.contains("refused  node-x") && shown.contains("peer     node-a"), "{shown}");
    assert!(shown.contains("bridge   of node-b: connected"), "{shown}");
    assert!(shown.contains("\nlag      behind by ") && shown.contains("\nclock    "), "{shown}");
    counts_what_it_has_not_seen(&b, &server, &evil);
}

/// The bridge is stopped, and what it has not seen is counted, and what it refused of each node.
fn counts_what_it_has_not_seen(b: &Node, server: &Server, evil: &Hostile) {
    let status = || -> serde_json::Value {
        let shown = b.sandbox.ok(&["cluster", "status", "--server", &server.url(), "--json"]);
        serde_json::from_str(&shown).unwrap()
    };
    let behind = |seen: &serde_json::Value| seen["bridge"][0]["behind"].as_u64().unwrap();
    b.wait_until("it has seen all but the last cards", |_| behind(&status()) < 5);
    signal(b.bridge.as_ref().unwrap().id(), Signal::STOP);
    for number in 0..5 {
        let subject = format!("zeta1.state.node-x.marker.unseen-{number}");
        evil.write(&subject, &marker("unseen", ""), |_| {});
    }
    let seen = status();
    assert!(behind(&seen) >= 5, "{seen}");
    let peers = seen["peers"].as_array().unwrap();
    let refused =
        |node: &str| peers.iter().find(|one| one["node"] == node).unwrap()["refused"].clone();
    assert!(refused("node-x").as_u64() >= Some(10) && refused("node-a") == 0, "{seen}");
}

#[test]
fn a_node_that_writes_an_impossible_record_of_the_cluster_does_not_stop_it() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let b = Node::new("node-b", &server).started();
    let evil = Hostile::new("node-x", &b, &server);
    let meta = server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
    let body = &meta[meta.find("schema:").unwrap()..];
    let body = body.replace("floor: 0\n", &format!("floor: {}\n", (1_u64 << 53) - 1));
    evil.write("zeta1.meta", body.as_bytes(), |_| {});
    b.wait_until("it is written over", |b| b.state() == "connected" && b.status("epoch") == "2");
    let meta = server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
    assert!(meta.contains("epoch: 2\n") && meta.contains("floor: 0\n"), "{meta}");
    let memory = std::fs::read_to_string(b.identity().join("memory")).unwrap();
    assert!(!memory.contains(&((1_u64 << 53) - 1).to_string()), "{memory}");
}

#[test]
fn two_machines_with_one_name_are_found_and_both_are_named() {
    if !is_root() {
        return skip(test_name!(), "not root: it needs another /etc/machine-id");
    }
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut first = Node::new("node-a", &server).started();
    let second = Node::new("node-a", &server);
    let other = "0123456789abcdef0123456789abcdef";
    let id = second.sandbox.dir.join("machine-id");
    std::fs::write(&id, format!("{other}\n")).unwrap();
    let script = format!(
        "mount --bind {} /etc/machine-id && exec {} cluster bridge --server {}",
        id.display(),
        env!("CARGO_BIN_EXE_zeta"),
        server.url()
    );
    let mut command: Command = second.sandbox.other("unshare", &["-m", "sh", "-c", &script]);
    let begun = std::time::Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It waits for the first one's next card, which comes.
    let out = finish(child, begun, SOON);
    assert_eq!(out.status, 7, "{out:?}");
    let here = std::fs::read_to_string("/etc/machine-id").unwrap();
    assert!(out.err.contains(other) && out.err.contains(here.trim()), "{out:?}");
    first.wait_until("the first one goes on", |first| first.state() == "connected");
    assert_eq!(first.stop(Signal::TERM), 0, "{}", first.log());
}

#[test]
fn a_full_disk_is_told_and_what_was_missed_comes_when_there_is_room() {
    if !is_root() {
        return skip(test_name!(), "not root: it needs a small file system");
    }
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let b = Node::new("node-b", &server);
    // The tree in a small file system that only the bridge sees.
    let script = format!(
        "cp -a {0} {0}.kept && mount -t tmpfs -o size=64k,mode=700 none {0} && \
         cp -a {0}.kept/. {0} && head -c 60000 /dev/zero > {0}/fill; \
         exec {1} cluster bridge --server {2}",
        b.sandbox.state.display(),
        env!("CARGO_BIN_EXE_zeta"),
        server.url()
    );
    let log = std::fs::File::create(b.log_path()).unwrap();
    let mut command: Command = b.sandbox.other("unshare", &["-m", "sh", "-c", &script]);
    let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    let inside = |path: &str| {
        let state = b.sandbox.state.display().to_string();
        std::path::PathBuf::from(format!("/proc/{}/root{state}/{path}", child.id()))
    };
    let told = until(SOON, || {
        std::thread::sleep(Duration::from_millis(10));
        b.log().contains("No space left")
    });
    assert!(told, "{}", b.log());
    std::fs::remove_file(inside("fill")).unwrap();
    let came = until(SOON, || {
        std::thread::sleep(Duration::from_millis(10));
        inside("nodes/node-a/job.lock").exists()
    });
    assert!(came, "{}", b.log());
    child.kill().unwrap();
    child.wait().unwrap();
}
