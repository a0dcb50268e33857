//! What a person makes again after the servers have lost it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zeta_core::time::parse_utc;
use zeta_os::host;

use super::super::nats::Server;
use super::super::{nats, program, with_each};
use super::hostile::Hostile;
use super::lease::verb;
use super::{Node, SOON, value};
use crate::support::{Out, Sandbox, run, test_name};

const STREAMS: [&str; 4] = ["ZETA1_STATE", "ZETA1_BUS", "ZETA1_LEASE", "ZETA1_META"];

/// Starts a server with a cluster whose leases last 30 s at most.
fn short(program: &Path, sandbox: &Sandbox, name: &str) -> Server {
    let server = Server::start(program, &sandbox.dir.join(name), "").unwrap();
    sandbox.ok(&["cluster", "init", "--server", &server.url(), "--max-ttl", "30s"]);
    server
}

fn lose(server: &Server, streams: &[&str]) {
    let mut client = server.client().unwrap();
    for stream in streams {
        client.api(&format!("STREAM.DELETE.{stream}"), &Value::Null).unwrap();
    }
}

fn call(node: &Node, args: &[&str]) -> Out {
    run(node.sandbox.cmd(args).env("ZETA_CLUSTER_SERVER", &node.url))
}

fn after_loss(node: &Node, more: &[&str]) -> Out {
    call(node, &[&["--json", "cluster", "init", "--after-loss"], more].concat())
}

fn restored(node: &Node, more: &[&str]) -> Value {
    let out = after_loss(node, more);
    assert_eq!(out.status, 0, "{out:?}");
    serde_json::from_str(&out.out).unwrap()
}

/// Asks for a lease of the cluster.
fn acquire(node: &Node, lease: &str) -> Out {
    call(node, &["lease", "acquire", lease, "--scope", "cluster", "--ttl", "30s"])
}

#[test]
fn what_was_lost_is_made_again_in_a_new_epoch_and_nobody_is_granted_a_lease_too_early() {
    with_each(test_name!(), |name, program| {
        let sandbox = Sandbox::new();
        let server = short(&program, &sandbox, "server");
        let a = Node::new("node-a", &server).started();
        let b = Node::new("node-b", &server).started();
        a.sandbox.acquire(&["job", "--ttl", "10m"]);
        let out = acquire(&a, "deploy");
        assert_eq!(out.status, 0, "{out:?}");
        let former: u64 = out.out.trim().parse().unwrap();
        b.wait_until("both came", |b| {
            b.read("node-a", "job.lock").is_some() && !b.lease_copy("deploy").is_empty()
        });
        let out = after_loss(&a, &[]);
        assert!(out.status == 7 && out.out.contains("nothing was lost"), "{out:?}");

        lose(&server, &STREAMS);
        for node in [&a, &b] {
            node.wait_until("it is missing", |node| node.state() == "missing");
        }
        // Nothing is left that says how many replicas there were.
        let out = after_loss(&a, &[]);
        assert!(out.status == 2 && out.out.contains("--replicas"), "{out:?}");
        let done = restored(&a, &["--replicas", "1"]);
        assert_eq!((&done["restored"], &done["created"]), (&json!(STREAMS), &json!(false)));
        assert_eq!(done["cluster_epoch"], 2, "{name}: {done}");
        let cluster = done["cluster"].as_str().unwrap();
        assert!(std::fs::read_to_string(a.identity().join("identity")).unwrap().contains(cluster));
        let until_us = parse_utc(done["no_grant_before"].as_str().unwrap()).unwrap();
        assert!(until_us > host::wall_us() + 10_000_000, "{done}");

        // The bridges agree, and all is sent again.
        b.wait_until("the copy is of the new epoch", |b| {
            let copy = b.read("node-a", "job.lock").unwrap_or_default();
            b.state() == "connected" && super::value(&copy, "copy_epoch") == "2"
        });
        a.sandbox.ok(&["marker", "set", "later", "note=x"]);
        b.wait_until("it came", |b| b.read("node-a", "later.marker").is_some());
        let floor: u64 = b.status("floor").parse().unwrap();
        assert!(floor >= former, "{floor}, {former}");

        let begun = Instant::now();
        let mut refused = 0;
        let granted = loop {
            let out = acquire(&b, "deploy");
            if out.status == 0 {
                break out.out.trim().parse::<u64>().unwrap();
            }
            refused += 1;
            assert!(begun.elapsed() < 2 * SOON, "{name}: {out:?}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        };
        assert!(refused > 0 && host::wall_us() >= until_us, "{name}: granted too early");
        assert!(granted > former, "{name}: {granted} after {former}");
        for node in [&a, &b] {
            assert_eq!((node.status("epoch").as_str(), node.state().as_str()), ("2", "connected"));
        }
    });
}

#[test]
fn only_what_is_missing_is_made_again_and_only_for_the_own_cluster() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = short(&program, &sandbox, "server");
    let mut a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    // A machine that has joined no cluster.
    let url = server.url();
    let out = sandbox.refused(&["cluster", "init", "--after-loss", "--server", &url], 7);
    assert!(out.err.contains("has joined no cluster"), "{out:?}");

    lose(&server, &["ZETA1_LEASE"]);
    let out = a.sandbox.refused(&["cluster", "init", "--server", &url], 7);
    assert!(out.err.contains("--after-loss"), "{out:?}");
    assert_eq!(restored(&a, &[])["restored"], json!(["ZETA1_LEASE"]));
    a.wait_until("it is epoch 2", |a| a.state() == "connected" && a.status("epoch") == "2");

    server.client().unwrap().api("STREAM.PURGE.ZETA1_META", &Value::Null).unwrap();
    let done = restored(&a, &[]);
    assert_eq!((&done["restored"], &done["cluster_epoch"]), (&json!([]), &json!(3)));
    a.stop(rustix::process::Signal::TERM);

    // The record is lost, and the values are not those of this cluster; and another cluster.
    let other = short(&program, &sandbox, "other");
    lose(&other, &["ZETA1_LEASE"]);
    a.move_to(&other);
    let out = after_loss(&a, &[]);
    assert!(out.status == 7 && out.out.contains("and this node is in"), "{out:?}");
    other.client().unwrap().request("zeta1.state.node-z.lock.job", "x").unwrap();
    lose(&other, &["ZETA1_META"]);
    let out = after_loss(&a, &[]);
    assert!(out.status == 7 && out.out.contains("ZETA1_STATE"), "{out:?}");
    assert_eq!(other.client().unwrap().streams().unwrap(), ["ZETA1_BUS", "ZETA1_STATE"]);
}

#[test]
fn a_bridge_that_was_connected_all_the_time_sees_the_new_epoch() {
    with_each(test_name!(), |name, program| {
        let sandbox = Sandbox::new();
        let server = short(&program, &sandbox, "server");
        let a = Node::new("node-a", &server).started();
        a.sandbox.acquire(&["job", "--ttl", "10m"]);
        lose(&server, &STREAMS);
        assert_eq!(restored(&a, &["--replicas", "1"])["cluster_epoch"], 2, "{name}");
        a.wait_until("it is epoch 2", |a| a.state() == "connected" && a.status("epoch") == "2");
        a.wait_until("all is sent again", |_| {
            let mut client = server.client().unwrap();
            client.last("ZETA1_STATE", "zeta1.state.node-a.lock.job").unwrap().is_some()
        });
    });
}

#[test]
fn a_clock_that_is_set_forward_ends_no_time_without_grants() {
    with_each(test_name!(), |name, program| {
        let sandbox = Sandbox::new();
        let server = short(&program, &sandbox, "server");
        let a = Node::new("node-a", &server).started();
        let evil = Hostile::new("node-x", &a, &server);
        let meta = String::from_utf8(evil.last("zeta1.meta").body).unwrap();
        let clock = sandbox.dir.join("clock");
        let pause_until = |until_us: i64| {
            let line = format!("no_grant_before_us: {until_us}\n");
            let body = meta.replace("no_grant_before_us: 0\n", &line);
            evil.write("zeta1.meta", body.as_bytes(), |_| {});
        };
        let acquire = |lease: &str, ahead: Duration| {
            let shift = i64::try_from(ahead.as_nanos()).unwrap();
            std::fs::write(&clock, shift.to_ne_bytes()).unwrap();
            let args = ["lease", "acquire", lease, "--scope", "cluster", "--ttl", "30s"];
            let mut verb = verb(&a, None, &args);
            run(verb.env("ZETA_TEST_CLOCK", &clock)).status
        };
        let hour = Duration::from_secs(3600);
        // What the bridge wrote shows that the servers are beyond it.
        pause_until(host::wall_us() - 60_000_000);
        assert_eq!(acquire("one", Duration::ZERO), 0, "{name}");
        pause_until(host::wall_us() + 600_000_000);
        assert_eq!((acquire("two", hour), acquire("two", hour)), (6, 6), "{name}");
        // Without a word of the servers, the boot clock of this machine ends it.
        let pause = a.identity().join("pause");
        assert_eq!(pause.exists(), name == "debian", "{name}");
        if let Ok(text) = std::fs::read_to_string(&pause) {
            let seen = format!("boot_ns: {}", value(&text, "boot_ns"));
            std::fs::write(&pause, text.replace(&seen, "boot_ns: 0")).unwrap();
            assert_eq!(acquire("two", Duration::ZERO), 0, "{name}");
        }
    });
}
