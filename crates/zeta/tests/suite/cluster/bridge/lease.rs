//! Leases of the cluster: copies for the short verbs, and dead holders that their node frees.

use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use zeta_cluster::member::Member;
use zeta_cluster::store::Written;

use super::super::{nats, program, programs};
use super::{Node, cluster, value};
use crate::support::{Sandbox, run, signal, test_name};

/// A connection of a node beside its bridge, as a verb makes it.
fn member(node: &Node) -> Member {
    Member::open(&super::setting(node.url.parse().unwrap()), &node.identity()).unwrap()
}

/// What the grants of a tree say of it.
fn mark(node: &Node) -> String {
    let dir = std::fs::File::open(node.sandbox.state.join("nodes").join(&node.name)).unwrap();
    zeta_state::directory::trusted_dir::mark(dir.as_fd()).unwrap()
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
    let (node_name, tree) = (&node.name, mark(node));
    let scope = format!(
        "scope: \"cluster\"\nnode: \"{node_name}\"\ntree: \"{tree}\"\ncluster_epoch: 1\nend: true"
    );
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

/// A verb of a node, in another state directory if one is named.
pub(super) fn verb(node: &Node, state: Option<&str>, args: &[&str]) -> Command {
    let mut command = node.sandbox.cmd(args);
    command.env("ZETA_CLUSTER_SERVER", node.url()).env("ZETA_NODE", &node.name);
    if let Some(state) = state {
        command.env("ZETA_STATE_DIR", node.sandbox.dir.join(state));
    }
    command
}

#[test]
fn a_bridge_leaves_the_holders_of_another_tree_of_its_node_alone() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let args = ["lease", "acquire", "job", "--scope", "cluster"];
    let granted = run(&mut verb(&a, Some("two"), &args));
    assert_eq!(granted.status, 0, "{granted:?}");
    a.wait_until("it came", |a| value(&a.lease_copy("job"), "kind") == "lease");
    // One that begins anew compares everything.
    a.stop(Signal::KILL);
    a.start();
    a.wait_until("it is connected", |a| a.state() == "connected");
    // A grant of its own tree without a record is what it ends, and by then it saw the other one.
    let gone = run(&mut verb(&a, None, &["lease", "acquire", "gone", "--scope", "cluster"]));
    assert_eq!(gone.status, 0, "{gone:?}");
    std::fs::remove_file(a.sandbox.state.join("nodes/node-a/gone.lock")).unwrap();
    a.wait_until("the other one is released", |a| {
        value(&a.lease_copy("gone"), "ended") == "released"
    });
    let refused = run(&mut verb(&a, None, &args));
    assert_eq!(refused.status, 3, "{refused:?}");
    let token = granted.out.trim();
    let renewed = run(&mut verb(&a, Some("two"), &["lease", "renew", "job", "--token", token]));
    assert_eq!(renewed.status, 0, "{renewed:?}");
    // The bridge of the other tree would send what this one takes back.
    let bridge = run(&mut verb(&a, Some("two"), &["cluster", "bridge"]));
    assert!(bridge.status == 6 && bridge.err.contains("identity of this node"), "{bridge:?}");
    assert_eq!(a.state(), "connected");
}

#[test]
fn a_holder_whose_guard_was_removed_keeps_its_lease() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server);
    let args = ["lease", "acquire", "job", "--scope", "cluster"];
    let granted = run(&mut verb(&a, None, &args));
    assert_eq!(granted.status, 0, "{granted:?}");
    let node = a.sandbox.state.join("nodes/node-a");
    std::fs::remove_dir_all(node.join(".guard")).unwrap();
    a.start();
    a.wait_until("it came", |a| value(&a.lease_copy("job"), "kind") == "lease");
    let gone = run(&mut verb(&a, None, &["lease", "acquire", "gone", "--scope", "cluster"]));
    assert_eq!(gone.status, 0, "{gone:?}");
    std::fs::remove_file(node.join("gone.lock")).unwrap();
    a.wait_until("the other one is released", |a| {
        value(&a.lease_copy("gone"), "ended") == "released"
    });
    assert_eq!(value(&a.lease_copy("job"), "kind"), "lease");
    let renewed =
        run(&mut verb(&a, None, &["lease", "renew", "job", "--token", granted.out.trim()]));
    assert_eq!(renewed.status, 0, "{renewed:?}");
}

/// The time that a process has used, in ticks of 10 ms.
fn used(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_child_that_outlives_its_wrapper_holds_the_lease_until_it_ends() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let args = ["lease", "exec", "job", "--scope", "cluster", "--", "sleep", "600"];
    let mut command = verb(&a, None, &args);
    let mut holder = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let record = || {
        std::fs::read_to_string(a.sandbox.state.join("nodes/node-a/job.lock")).unwrap_or_default()
    };
    // The record names the child before it may begin, and it ends if its wrapper does before that.
    a.wait_until("its child works", |_| {
        let name = std::fs::read(format!("/proc/{}/comm", value(&record(), "child_pid")));
        name.is_ok_and(|name| name == b"sleep\n")
    });
    let child: u32 = value(&record(), "child_pid").parse().unwrap();
    signal(holder.id(), Signal::KILL);
    holder.wait().unwrap();
    let bridge = a.status("pid").parse().unwrap();
    let before = used(bridge);
    std::thread::sleep(Duration::from_secs(2));
    let after = used(bridge);
    assert!(after - before < 50, "the bridge works all the time: {} ticks", after - before);
    assert_eq!(value(&a.lease_copy("job"), "kind"), "lease");
    signal(child, Signal::KILL);
    a.wait_until("it is freed", |a| value(&a.lease_copy("job"), "ended") == "dead");
}

#[test]
fn a_tree_in_the_place_of_another_keeps_its_leases_and_the_bridge_of_the_old_one_ends() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    let member = member(&a);
    std::fs::rename(&a.sandbox.state, a.sandbox.dir.join("old")).unwrap();
    a.make_tree();
    let (mut holder, sequence) = hold(&a, &member, "job");
    // The old tree does not have the record, and says nothing about the new one.
    assert_eq!(a.ended(), 7, "{}", a.log());
    assert!(a.log().contains("another directory is in its place"), "{}", a.log());
    a.start();
    a.wait_until("it has the new tree", |a| a.status("leases_granted") == "1");
    b.wait_until("it came", |b| value(&b.lease_copy("job"), "kind") == "lease");
    let last = member.last_of_lease(&"job".parse().unwrap()).unwrap().unwrap();
    assert_eq!(last.sequence, sequence, "{}", a.log());
    signal(holder.id(), Signal::TERM);
    holder.wait().unwrap();
    b.wait_until("it is released", |b| value(&b.lease_copy("job"), "ended") == "released");
}

#[test]
fn what_is_in_the_way_of_a_copy_keeps_no_other_one_away() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    assert_eq!(b.stop(Signal::TERM), 0);
    std::os::unix::fs::symlink(&sandbox.dir, b.sandbox.state.join("nodes/linked")).unwrap();
    let leases = b.sandbox.state.join("cluster/leases");
    for lease in ["job", "none"] {
        std::fs::create_dir_all(leases.join(format!("{lease}.lease/in-the-way"))).unwrap();
    }
    let member = member(&a);
    let mut holders = ["job", "other"].map(|lease| hold(&a, &member, lease).0);
    b.start();
    b.wait_until("the other one came", |b| value(&b.lease_copy("other"), "kind") == "lease");
    b.wait_until("it is connected", |b| b.state() == "connected" && !b.status("fault").is_empty());
    b.wait_until("records come", |b| b.read("node-a", "job.lock").is_some());
    b.sandbox.ok(&["cluster", "status", "--server", &server.url()]);
    for holder in &mut holders {
        signal(holder.id(), Signal::TERM);
        holder.wait().unwrap();
    }
    b.wait_until("an end came", |b| value(&b.lease_copy("other"), "ended") == "released");
    assert_eq!(b.stop(Signal::TERM), 0, "{}", b.log());
}
