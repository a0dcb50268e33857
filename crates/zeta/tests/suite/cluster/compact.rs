//! `zeta cluster compact`, beside bridges and leases that go on, and killed between its steps.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use zeta_cluster::member::Member;
use zeta_cluster::store::Written;
use zeta_core::cluster::envelope::Gone;
use zeta_core::cluster::epoch::Meta;
use zeta_core::cluster::subject::{Item, Subject};

use super::accounts::Accounts;
use super::bridge::{Node, cluster, setting, value};
use super::nats::Server;
use super::{nats, program, programs};
use crate::support::{Sandbox, run, signal, test_name, until};

/// What is older than this goes.
const OLDER: Duration = Duration::from_secs(1);

fn member(node: &Node) -> Member {
    Member::open(&setting(node.url().parse().unwrap()), &node.identity()).unwrap()
}

/// Writes the longest TTL into the record of the cluster: nothing younger is removed.
fn set_max_ttl(node: &Node, max_ttl_ms: u64) {
    let member = member(node);
    let (meta, revision) = member.meta();
    let held = Meta { max_ttl_ms, ..meta.held.clone() };
    let body = held.to_fields().render();
    let written = member.write(&Subject::Meta, revision, body.as_bytes(), None).unwrap();
    assert!(matches!(written, Written::Stored(_)), "{written:?}");
}

/// A call on the node, with its agent and its server.
fn call(node: &Node, args: &[&str]) -> String {
    let mut command = node.sandbox.cmd(args);
    command.env("ZETA_CLUSTER_SERVER", node.url()).env("ZETA_AGENT", "otto");
    let out = run(&mut command);
    assert_eq!(out.status, 0, "{args:?}: {out:?}");
    out.out.trim_end().to_owned()
}

fn acquire(node: &Node, lease: &str) -> u64 {
    call(node, &["lease", "acquire", lease, "--scope", "cluster"]).parse().unwrap()
}

fn release(node: &Node, lease: &str, token: u64) {
    call(node, &["lease", "release", lease, "--token", &token.to_string()]);
}

fn compact(node: &Node, more: &[&str]) -> Value {
    let args = ["--json", "cluster", "compact", "--older-than", "1s"];
    serde_json::from_str(&call(node, &[&args, more].concat())).unwrap()
}

/// The bodies under the subjects of a lease, with those of each node.
fn stored(server: &Server, stream: &str) -> Vec<(String, u64)> {
    let mut client = server.client().unwrap();
    let (mut found, mut from) = (Vec::new(), 0_u64);
    loop {
        let asked = json!({ "seq": from, "next_by_subj": "zeta1.>" });
        let answer = client.api(&format!("STREAM.MSG.GET.{stream}"), &asked);
        let Ok(answer) = answer else { return found };
        let message = &answer["message"];
        let sequence = message["seq"].as_u64().unwrap();
        found.push((message["subject"].as_str().unwrap().to_owned(), sequence));
        from = sequence + 1;
    }
}

fn last_sequence(server: &Server, stream: &str) -> u64 {
    let info = server.client().unwrap().api(&format!("STREAM.INFO.{stream}"), &Value::Null);
    info.unwrap()["state"]["last_seq"].as_u64().unwrap()
}

#[test]
fn a_name_whose_end_was_removed_is_granted_with_a_higher_token() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let mut server = cluster(&program, &sandbox);
        let a = Node::new("node-a", &server).started();
        let b = Node::new("node-b", &server).started();
        let first = acquire(&a, "job");
        release(&a, "job", first);
        let second = acquire(&b, "job");
        release(&b, "job", second);
        let held = acquire(&b, "held");
        for node in [&a, &b] {
            node.wait_until("the end came", |n| value(&n.lease_copy("job"), "kind") == "lease_end");
            node.wait_until("the grant came", |n| value(&n.lease_copy("held"), "kind") == "lease");
        }
        a.wait_until("its record is gone there", |_| {
            stored(&server, "ZETA1_STATE").iter().any(|(s, _)| s == "zeta1.state.node-a.lock.job")
        });
        set_max_ttl(&a, 500);
        std::thread::sleep(OLDER + Duration::from_millis(200));
        let before = stored(&server, "ZETA1_LEASE");
        let planned = compact(&a, &["--dry-run"]);
        assert_eq!((&planned["removed"], &planned["records"]), (&json!(0), &json!(0)), "{name}");
        assert!(planned["leases"].as_u64() >= Some(1) && planned["gone"].as_u64() >= Some(1));
        assert_eq!(stored(&server, "ZETA1_LEASE"), before);
        let done = compact(&a, &[]);
        let of = |key: &str| done[key].as_u64().unwrap();
        assert_eq!(of("removed") + of("changed"), of("leases") + of("gone"), "{name}: {done}");
        assert!(of("token_floor") >= second, "{done}");
        let left = stored(&server, "ZETA1_LEASE");
        assert!(left.iter().all(|(subject, _)| !subject.contains(".job")), "{name}: {left:?}");
        assert!(left.iter().any(|(subject, _)| subject.contains(".held")), "{name}: {left:?}");

        // The bridges still have a copy of the end, and nobody has to wait for them.
        set_max_ttl(&a, 900_000);
        std::thread::sleep(Duration::from_secs(6));
        assert_eq!(value(&b.lease_copy("job"), "kind"), "lease_end");
        let third = acquire(&b, "job");
        assert!(third > second && third > of("token_floor"), "{name}: {second} {third}");
        call(&b, &["lease", "renew", "held", "--token", &held.to_string()]);
        // A record whose word was removed is sent again.
        call(&a, &["lease", "acquire", "job"]);
        b.wait_until("the record came", |b| b.read("node-a", "job.lock").is_some());
        for node in [&a, &b] {
            assert_eq!((node.state().as_str(), node.status("epoch").as_str()), ("connected", "1"));
        }
        // A server that is killed remembers how far its streams were.
        drop((a, b));
        let numbers =
            |server: &Server| ["ZETA1_STATE", "ZETA1_LEASE"].map(|s| last_sequence(server, s));
        let before = numbers(&server);
        server.restart().unwrap();
        assert_eq!(numbers(&server), before, "{name}");
    }
}

#[test]
fn a_node_that_was_forgotten_and_comes_back_is_no_loss() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let a = Node::new("node-a", &server).started();
        let mut c = Node::new("node-c", &server).started();
        call(&c, &["lease", "acquire", "own"]);
        a.wait_until("the record came", |a| a.read("node-c", "own.lock").is_some());
        set_max_ttl(&a, 500);
        let args = ["--json", "cluster", "compact", "--older-than", "9s", "--forget", "node-c"];
        let mut command = a.sandbox.cmd(&args);
        let out = run(command.env("ZETA_CLUSTER_SERVER", a.url()));
        assert!(out.status == 3 && out.out.contains("node-c"), "{name}: {out:?}");
        c.stop(Signal::KILL);
        std::thread::sleep(OLDER + Duration::from_millis(200));
        // Something newer than what goes is there.
        call(&a, &["lease", "acquire", "later"]);
        a.wait_until("it is sent", |_| {
            stored(&server, "ZETA1_STATE").iter().any(|(s, _)| s.ends_with("node-a.lock.later"))
        });
        let done = compact(&a, &["--forget", "node-c"]);
        assert_eq!(done["nodes_forgotten"], json!(["node-c"]), "{name}: {done}");
        let left = stored(&server, "ZETA1_STATE");
        assert!(left.iter().all(|(subject, _)| !subject.contains("node-c")), "{name}: {left:?}");
        c.start();
        c.wait_until("it is connected", |node| node.state() == "connected");
        let left = stored(&server, "ZETA1_STATE");
        assert!(left.iter().any(|(subject, _)| subject.ends_with("node-c.lock.own")), "{left:?}");
        assert_eq!(c.status("epoch"), "1", "{name}: {}", c.log());
    }
}

#[test]
fn a_call_that_is_killed_is_repeated() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let node = Node::new("node-a", &server);
        let all = 2000;
        let writer = member(&node);
        for at in 0..all {
            let item = Item::Marker(format!("m{at}").parse().unwrap());
            let subject = Subject::State { node: "node-a".parse().unwrap(), item };
            let written = writer.write(&subject, 0, b"", Some(Gone::Removed)).unwrap();
            assert!(matches!(written, Written::Stored(_)), "{written:?}");
        }
        set_max_ttl(&node, 500);
        std::thread::sleep(OLDER + Duration::from_millis(200));
        let start = || {
            let mut command = node.sandbox.cmd(&["cluster", "compact", "--older-than", "1s"]);
            command.env("ZETA_CLUSTER_SERVER", node.url());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let count = || {
            let info = server.client().unwrap().api("STREAM.INFO.ZETA1_STATE", &Value::Null);
            info.unwrap()["state"]["messages"].as_u64().unwrap()
        };
        let meta = || server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
        let kill_when = |so: &dyn Fn() -> bool| {
            let mut child = start();
            let came = until(Duration::from_secs(60), so);
            signal(child.id(), Signal::KILL);
            child.wait().unwrap();
            assert!(came, "{name}: the call did not come so far");
        };
        // After the record of the cluster, and then in the middle of the removals.
        kill_when(&|| meta().contains("state_removed_up_to"));
        assert_eq!(count(), all, "{name}: something was removed before all nodes could know");
        kill_when(&|| count() < all);
        let left = count();
        assert!((2..all).contains(&left), "{name}: {left}");
        let begun = Instant::now();
        let done = compact(&node, &[]);
        assert!(begun.elapsed() >= Duration::from_secs(6), "nodes may not have read the record");
        // The last one of the stream stays.
        assert_eq!((done["removed"].as_u64(), count()), (Some(left - 1), 1), "{name}: {done}");
    }
}

#[test]
fn only_the_administrator_removes() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let accounts = Accounts::start(&program);
    accounts.init();
    let url = accounts.server.url();
    let (_, node) = &accounts.nodes[0];
    let compact = ["cluster", "compact", "--server", &url];
    let out = node.refused(&compact, 7);
    assert!(out.err.contains("has joined no cluster") && out.err.contains("join"), "{out:?}");
    node.ok(&["cluster", "join", "--server", &url]);
    let out = node.refused(&compact, 7);
    assert!(out.err.contains("may remove nothing") && out.err.contains("--credentials"), "{out:?}");
    node.ok(&[&compact, ["--dry-run"].as_slice()].concat());
    node.ok(&[&compact, ["--credentials", &accounts.admin_file()].as_slice()].concat());
}
