//! What a bridge follows: all, records without cards, or some nodes.

use rustix::process::Signal;

use super::super::programs;
use super::{Node, cluster, value};
use crate::support::{Sandbox, test_name};

#[test]
fn a_bridge_follows_the_nodes_or_the_records_that_it_is_to() {
    for (_, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let a = Node::new("node-a", &server).started();
        let c = Node::new("node-c", &server).started();
        a.sandbox.acquire(&["before", "--ttl", "10m"]);
        c.sandbox.acquire(&["before", "--ttl", "10m"]);
        let mut b = Node::new("node-b", &server).started();
        b.wait_until("both came", |b| {
            b.read("node-a", "before.lock").is_some() && b.read("node-c", "before.lock").is_some()
        });
        // Only node-a: what is there of node-c goes, and nothing comes.
        b.stop(Signal::TERM);
        b.follow = "node-a";
        b.start();
        b.wait_until("node-c is gone", |b| !b.copy("node-c", "").exists());
        b.wait_until("it says so", |b| b.status("not_followed") == "1");
        let relisted = b.status("relisted");
        c.sandbox.acquire(&["later", "--ttl", "10m"]);
        // Each change of node-c makes a gap in the numbers that node-b sees.
        for at in 0..20 {
            a.sandbox.acquire(&[&format!("job-{at}"), "--ttl", "10m"]);
            c.sandbox.acquire(&[&format!("job-{at}"), "--ttl", "10m"]);
        }
        b.wait_until("all of node-a came", |b| b.read("node-a", "job-19.lock").is_some());
        let card = value(&b.read("node-a", ".copy").unwrap(), "counter");
        b.wait_until("a later card of node-a came", |b| {
            value(&b.read("node-a", ".copy").unwrap_or_default(), "counter") != card
        });
        assert!(!b.copy("node-c", "").exists(), "{}", b.log());
        assert_eq!(b.status("relisted"), relisted, "a part is no gap: {}", b.log());
        assert!(!b.log().contains("has a gap"), "{}", b.log());
        let status = b.sandbox.ok(&["cluster", "status", "--server", b.url()]);
        assert!(status.contains("follow   node-a; not followed: 1 other node\n"), "{status}");

        // Records: those of all nodes come, and no card does by itself.
        b.stop(Signal::TERM);
        b.follow = "records";
        b.start();
        b.wait_until("node-c is back", |b| b.read("node-c", "later.lock").is_some());
        b.wait_until("it says so", |b| b.status("follow") == "records");
        b.wait_until("it is connected", |b| b.state() == "connected");
        let card = b.read("node-c", ".copy").unwrap();
        assert_eq!(value(&card, "copy_card_every_ms"), "600000", "{card}");
        let stored = || {
            let mut client = server.client().unwrap();
            client.last("ZETA1_STATE", "zeta1.state.node-c.card.self").unwrap()
        };
        let before = stored();
        c.wait_until("a later card of node-c is stored", |_| stored() != before);
        c.sandbox.ok(&["marker", "set", "build", "note=green"]);
        b.wait_until("the marker came", |b| b.read("node-c", "build.marker").is_some());
        assert_eq!(b.read("node-c", ".copy").unwrap(), card, "{}", b.log());
        assert!(!b.log().contains("has a gap"), "{}", b.log());
    }
}
