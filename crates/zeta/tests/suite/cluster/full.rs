//! Servers without room: streams at their limit, and a disk that is full or cannot be written.

use serde_json::Value;

use super::bridge::{Node, cluster};
use super::nats::{Client, Server};
use super::{nats, program};
use crate::support::{Out, Sandbox, run, test_name};

/// Writes into a stream until nothing more fits, under subjects of a node.
fn fill(client: &mut Client, subject: impl Fn(&str) -> String) {
    for (name, size) in [("big", 80_000), ("mid", 2_000), ("low", 100)] {
        for at in 0.. {
            let answer: Value =
                client.request(&subject(&format!("{name}-{at}")), &"x".repeat(size)).unwrap();
            assert!(at < 10_000, "the stream has no limit for {size} bytes: {answer}");
            if answer.get("error").is_some() {
                break;
            }
        }
    }
}

fn verb(node: &Node, server: &Server, args: &[&str]) -> Out {
    let mut command = node.sandbox.cmd(args);
    run(command.env("ZETA_CLUSTER_SERVER", server.url()).env("ZETA_AGENT", "otto"))
}

#[test]
fn full_streams_are_named_nothing_is_lost_and_all_goes_on_when_there_is_room() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let held = verb(&a, &server, &["lease", "acquire", "job", "--scope", "cluster"]);
    assert_eq!(held.status, 0, "{held:?}");
    let mut client = server.client().unwrap();
    fill(&mut client, |name| format!("zeta1.lease.{name}.node-x"));
    fill(&mut client, |name| format!("zeta1.state.node-x.marker.{name}"));
    // A new lease is refused by name. What is held is renewed if it gets no longer by that, and
    // else it is the holder's until its deadline.
    let args = ["lease", "acquire", "other", "--scope", "cluster"];
    let out = verb(&a, &server, &args);
    assert!(out.status == 7 && out.err.contains("is full"), "{out:?}");
    let token = held.out.trim();
    let out = verb(&a, &server, &["lease", "renew", "job", "--token", token]);
    let is_kept = out.err.contains("is full") && out.err.contains("is yours for");
    assert!(out.status == 0 || out.status == 6 && is_kept, "{out:?}");
    let out = verb(&a, &server, &["cluster", "status"]);
    assert_eq!(out.status, 7, "{out:?}");
    for stream in ["ZETA1_LEASE", "ZETA1_STATE"] {
        let line = format!("the stream {stream} is full");
        assert!(out.out.contains(&line), "{out:?}");
    }
    // The bridge says it, also one that begins now, and what others have is read.
    a.sandbox.ok(&["marker", "set", "waits", "note=here"]);
    a.wait_until("it is told", |a| a.status("fault").contains("maximum bytes"));
    let mut b = Node::new("node-b", &server);
    b.start();
    b.wait_until("it is connected", |b| b.state() == "connected");
    b.wait_until("it has read", |b| b.read("node-a", ".copy").is_some());
    for (stream, theirs) in [("LEASE", "zeta1.lease.*.node-x"), ("STATE", "zeta1.state.node-x.>")] {
        let purge = format!("STREAM.PURGE.ZETA1_{stream}");
        client.api(&purge, &serde_json::json!({ "filter": theirs })).unwrap();
    }
    b.wait_until("what waited has come", |b| b.read("node-a", "waits.marker").is_some());
    a.wait_until("the card has come", |a| a.read("node-b", ".copy").is_some());
    let out = verb(&a, &server, &["lease", "renew", "job", "--token", token]);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(verb(&a, &server, &args).status, 0);
    assert_eq!(a.status("epoch"), "1");
}

#[test]
fn a_server_of_debian_that_is_nearly_full_is_said_to_drop_what_is_old() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let (mut client, body) = (server.client().unwrap(), "x".repeat(80_000));
    for at in 0..750 {
        client.request(&format!("zeta1.lease.big-{at}.node-x"), &body).unwrap();
    }
    let out = sandbox.zeta(&["cluster", "status", "--server", &server.url()]);
    assert!(out.out.contains("the stream ZETA1_LEASE has") && out.status == 0, "{out:?}");
    assert!(out.out.contains("drops its oldest values"), "{out:?}");
}
