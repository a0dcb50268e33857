//! Leases of the cluster: copies for the short verbs, and dead holders that their node frees.

use std::process::{Child, Stdio};

use rustix::process::Signal;
use zeta_cluster::member::Member;
use zeta_cluster::store::Written;

use super::super::{nats, program, programs};
use super::{Node, cluster, value};
use crate::support::{Sandbox, signal, test_name};

/// A connection of a node beside its bridge, as a verb makes it.
fn member(node: &Node) -> Member {
    Member::open(&super::setting(node.url.parse().unwrap()), &node.identity()).unwrap()
}

/// Holds a lease of the node by a process, and writes what a grant of the cluster would be.
fn hold(node: &Node, member: &Member, lease: &str) -> (Child, u64) {
    let args = ["lease", "exec", lease, "--ttl", "60s", "--", "sleep", "600"];
    let mut command = node.sandbox.cmd(&args);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    node.wait_until("the lease is held", |node| {
        std::fs::read_to_string(node.sandbox.lock(lease))
            .is_ok_and(|text| text.contains("child_pid:"))
    });
    let record = std::fs::read_to_string(node.sandbox.lock(lease)).unwrap();
    let scope = format!("scope: \"cluster\"\nnode: \"{}\"\ncluster_epoch: 1\nend: true", node.name);
    let grant = record.replace("end: true", &scope);
    let name = lease.parse().unwrap();
    let expected = member.last_of_lease(&name).unwrap().map_or(0, |last| last.sequence);
    match member.write_lease(&name, expected, grant.as_bytes()).unwrap() {
        Written::Stored(sequence) => (child, sequence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_holder_is_freed_by_the_bridge_of_its_node_and_a_live_one_is_left_alone() {
    for (_, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let a = Node::new("node-a", &server).started();
        let b = Node::new("node-b", &server).started();
        let member = member(&a);
        let (mut dies, _) = hold(&a, &member, "dies");
        let (mut lives, _) = hold(&a, &member, "lives");
        b.wait_until("both came", |b| {
            ["dies", "lives"].iter().all(|lease| value(&b.lease_copy(lease), "kind") == "lease")
        });
        assert!(b.lease_copy("lives").contains("copy_verified: true"));
        // Both processes at once: the child would outlive its wrapper.
        let child = value(&std::fs::read_to_string(a.sandbox.lock("dies")).unwrap(), "child_pid");
        signal(dies.id(), Signal::KILL);
        signal(child.parse().unwrap(), Signal::KILL);
        dies.wait().unwrap();
        b.wait_until("the dead one is freed", |b| {
            let copy = b.lease_copy("dies");
            value(&copy, "kind") == "lease_end" && value(&copy, "ended") == "dead"
        });
        assert_eq!(value(&b.lease_copy("lives"), "kind"), "lease");
        // The holder of the other one ends in order, and its record is gone.
        signal(lives.id(), Signal::TERM);
        lives.wait().unwrap();
        b.wait_until("the other one is released", |b| {
            value(&b.lease_copy("lives"), "ended") == "released"
        });
    }
}

#[test]
fn a_holder_that_died_while_the_bridge_was_away_is_freed_when_it_is_back() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    let member = member(&a);
    let (mut holder, _) = hold(&a, &member, "job");
    a.stop(Signal::KILL);
    let child = value(&std::fs::read_to_string(a.sandbox.lock("job")).unwrap(), "child_pid");
    signal(holder.id(), Signal::KILL);
    signal(child.parse().unwrap(), Signal::KILL);
    holder.wait().unwrap();
    // The bridge of another node does not speak for it.
    b.wait_until("it came", |b| value(&b.lease_copy("job"), "kind") == "lease");
    a.start();
    b.wait_until("it is freed", |b| value(&b.lease_copy("job"), "ended") == "dead");
}
