//! Servers that die, come back, and are not what they were.

use std::time::Duration;

use rustix::process::Signal;

use super::super::{nats, program, with_each};
use super::{Node, SOON, cluster};
use crate::support::{Sandbox, signal, test_name, until};

#[test]
fn a_server_that_is_away_changes_nothing_here_and_is_found_again() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    let token = a.sandbox.acquire(&["job", "--ttl", "10m"]).to_string();
    b.wait_until("it came", |b| b.read("node-a", "job.lock").is_some());
    server.kill();
    a.wait_until("it is away", |a| a.state() == "away");
    // What this machine does, it does as before; the copies stay.
    a.sandbox.ok(&["lease", "release", "job", "--token", &token]);
    a.sandbox.acquire(&["next", "--ttl", "10m"]);
    assert!(b.read("node-a", "job.lock").is_some());
    server.restart().unwrap();
    for node in [&mut a, &mut b] {
        // The port is another one.
        node.stop(Signal::TERM);
        node.move_to(&server);
        node.start();
    }
    b.wait_until("what changed meanwhile came", |b| {
        b.read("node-a", "next.lock").is_some() && b.read("node-a", "job.lock").is_none()
    });
}

#[test]
fn a_server_that_stands_still_costs_no_time_and_nothing_is_sent_twice() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    signal(server.pid(), Signal::STOP);
    for at in 0..5 {
        a.sandbox.acquire(&[&format!("job-{at}"), "--ttl", "10m"]);
    }
    std::thread::sleep(Duration::from_secs(12));
    signal(server.pid(), Signal::CONT);
    b.wait_until("all came", |b| {
        (0..5).all(|at| b.read("node-a", &format!("job-{at}.lock")).is_some())
    });
    a.wait_until("it is connected", |a| a.state() == "connected");
}

#[test]
fn a_store_that_lost_values_is_seen_and_nobody_is_granted_a_lease_for_a_while() {
    with_each(test_name!(), |_, program| {
        let sandbox = Sandbox::new();
        let mut server = cluster(&program, &sandbox);
        let mut a = Node::new("node-a", &server).started();
        let mut b = Node::new("node-b", &server).started();
        a.sandbox.acquire(&["old", "--ttl", "10m"]);
        b.wait_until("it came", |b| b.read("node-a", "old.lock").is_some());
        // The store as it was now, and then as it is later.
        server.kill();
        let store = sandbox.dir.join("server/store");
        let kept = sandbox.dir.join("kept");
        super::copy_dir(&store, &kept);
        server.restart().unwrap();
        for node in [&mut a, &mut b] {
            node.move_to(&server);
            node.start();
        }
        a.sandbox.acquire(&["new", "--ttl", "10m"]);
        b.wait_until("it came", |b| b.read("node-a", "new.lock").is_some());
        for node in [&mut a, &mut b] {
            assert_eq!(node.stop(Signal::TERM), 0);
        }
        server.kill();
        std::fs::remove_dir_all(&store).unwrap();
        std::fs::rename(&kept, &store).unwrap();
        server.restart().unwrap();
        for node in [&mut a, &mut b] {
            node.move_to(&server);
            node.start();
        }
        a.wait_until("it is epoch 2", |a| a.state() == "connected" && a.status("epoch") == "2");
        b.wait_until("it is epoch 2", |b| b.state() == "connected" && b.status("epoch") == "2");
        let told = [&a, &b].map(|node| node.status("renewed_because"));
        assert!(told.contains(&"rolled_back".to_owned()), "{told:?}");
        assert!(!a.status("no_grant_before").is_empty());
        // Everything is sent again.
        b.wait_until("both are there", |b| {
            let epoch = |file| b.read("node-a", file).map(|copy| super::value(&copy, "copy_epoch"));
            epoch("new.lock").as_deref() == Some("2") && epoch("old.lock").as_deref() == Some("2")
        });
    });
}

#[test]
fn a_store_that_shows_old_values_for_a_moment_has_lost_nothing() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let (store, old) = (sandbox.dir.join("server/store"), sandbox.dir.join("old"));
    let newest = sandbox.dir.join("newest");
    server.kill();
    super::copy_dir(&store, &old);
    server.restart().unwrap();
    a.move_to(&server);
    a.start();
    a.wait_until("it is connected", |a| a.state() == "connected");
    a.sandbox.acquire(&["new", "--ttl", "10m"]);
    let is_sent = |server: &nats::Server| {
        let subject = "zeta1.state.node-a.lock.new";
        server.client().unwrap().last("ZETA1_STATE", subject).unwrap().is_some()
    };
    a.wait_until("it was sent", |_| is_sent(&server));
    assert_eq!(a.stop(Signal::TERM), 0);
    server.kill();
    std::fs::rename(&store, &newest).unwrap();
    std::fs::rename(&old, &store).unwrap();
    server.restart().unwrap();
    a.move_to(&server);
    a.start();
    a.wait_until("it looks again", |a| a.log().contains("it is looked at again"));
    server.kill();
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&newest, &store).unwrap();
    server.restart().unwrap();
    a.move_to(&server);
    a.start();
    a.wait_until("it is connected", |a| a.state() == "connected");
    let meta = server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
    assert!(meta.contains("epoch: 1\n"), "{meta}");
}

#[test]
fn a_store_that_is_gone_is_an_alarm_and_is_never_made_again() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    a.sandbox.acquire(&["job", "--ttl", "10m"]);
    a.stop(Signal::TERM);
    server.kill();
    std::fs::remove_dir_all(sandbox.dir.join("server/store")).unwrap();
    server.restart().unwrap();
    a.move_to(&server);
    a.start();
    a.wait_until("it is missing", |a| {
        a.state() == "missing" && a.status("fault").contains("was lost")
    });
    assert!(server.client().unwrap().streams().unwrap().is_empty());
    a.sandbox.acquire(&["other", "--ttl", "1m"]);
    // A cluster that is made anew there is another one.
    sandbox.ok(&["cluster", "init", "--server", &server.url()]);
    assert_eq!(a.ended(), 7, "{}", a.log());
    assert!(a.log().contains("this node is in"), "{}", a.log());
}

#[test]
fn a_bridge_that_is_killed_at_any_moment_leaves_copies_whole_and_goes_on() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    let seed = std::process::id();
    eprintln!("seed {seed}");
    let mut random = u64::from(seed);
    for round in 0..20 {
        let token = a.sandbox.acquire(&["job", "--ttl", "10m"]).to_string();
        a.sandbox.ok(&["marker", "set", "round", &format!("note={round}")]);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis((random >> 33) % 60));
        if round % 2 == 0 {
            a.start()
        } else {
            b.start()
        }
        std::thread::sleep(Duration::from_millis((random >> 40) % 60));
        if random & 0x1000 == 0 {
            a.start();
        }
        a.sandbox.ok(&["lease", "release", "job", "--token", &token]);
    }
    let own = std::fs::read_to_string(a.sandbox.node().join("round.marker")).unwrap();
    b.wait_until("the copies are those of the last round", |b| {
        let copy = b.read("node-a", "round.marker").unwrap_or_default();
        super::original(&copy) == own && b.read("node-a", "job.lock").is_none()
    });
    // Nothing half written is left, and nobody took it for a second machine or a loss.
    b.stop(Signal::TERM);
    b.start();
    b.wait_until("it is connected", |b| b.state() == "connected");
    let names = std::fs::read_dir(b.copy("node-a", "")).unwrap();
    let left: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("tmp")), "{left:?}");
    for node in [&a, &b] {
        assert_eq!(node.status("epoch"), "1", "{}", node.log());
    }
}

#[test]
fn a_server_without_a_name_is_called_by_its_address() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let config = "jetstream { store_dir: \"{dir}/store\" }";
    let dir = sandbox.dir.join("s");
    let server = nats::Server::start_configured(&program, &dir, config).unwrap();
    // The first call waits until JetStream is there.
    let made =
        until(SOON, || sandbox.zeta(&["cluster", "init", "--server", &server.url()]).status == 0);
    assert!(made);
    let node = Node::new("node-a", &server).started();
    let url = server.url();
    assert_eq!(node.status("server"), url);
    let line = format!("connected to {url} (");
    node.wait_until("the log has its address", |node| node.log().contains(&line));
}
