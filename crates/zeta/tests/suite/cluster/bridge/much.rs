//! More than a node may send, and peers that send more than anybody reads.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{nats, program};
use super::hostile::{Hostile, marker};
use super::{Node, cluster};
use crate::support::{Sandbox, test_name};

/// How many markers there are of another node.
fn markers(node: &Node, other: &str) -> usize {
    let Ok(files) = std::fs::read_dir(node.copy(other, "")) else { return 0 };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".marker")).count()
}

#[test]
fn more_records_than_a_node_may_send_are_counted_and_none_is_told_as_gone() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server);
    a.sandbox.ok(&["marker", "set", "m0000", "note=made"]);
    let dir = a.sandbox.state.join("nodes/node-a");
    for at in 1..5000 {
        let name = format!("m{at:04}");
        std::fs::write(dir.join(format!("{name}.marker")), marker(&name, "")).unwrap();
    }
    let b = Node::new("node-b", &server).started();
    a.start();
    b.wait_until("what may be sent came", |b| markers(b, "node-a") == 4088);
    a.wait_until("the rest is counted", |a| a.status("own_unsent") == "912");
    b.wait_until("others know it", |b| {
        b.read("node-a", ".copy").is_some_and(|card| card.contains("unsent: 912\n"))
    });
    // A new run, and another order of the names, send the same ones.
    a.stop(rustix::process::Signal::KILL);
    std::fs::write(dir.join("a-first.marker"), marker("a-first", "")).unwrap();
    a.start();
    a.wait_until("it is connected", |a| a.state() == "connected");
    a.wait_until("the rest is counted", |a| a.status("own_unsent") == "913");
    assert_eq!((markers(&b, "node-a"), a.status("sent")), (4088, "0".to_owned()));
    assert_eq!(b.read("node-a", "a-first.marker"), None);
    // The place of one that is gone is taken.
    std::fs::remove_file(dir.join("m0000.marker")).unwrap();
    b.wait_until("another one came", |b| {
        b.read("node-a", "m0000.marker").is_none() && markers(b, "node-a") == 4088
    });
}

#[test]
fn a_peer_that_floods_the_store_keeps_no_bridge_from_its_own_work() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    let evil = Hostile::new("node-x", &b, &server);
    evil.card();
    let card = |node: &str| evil.find(&format!("zeta1.state.{node}.card.self")).unwrap().sequence;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (server, b, ended) = (&server, &b, &ended);
            scope.spawn(move || {
                let evil = Hostile::again("node-x", b, server);
                let mut client = server.client().unwrap();
                let mut at = 0;
                while !ended.load(Ordering::Relaxed) {
                    at += 1;
                    let name = format!("w{writer}-{}", at % 500);
                    let subject = format!("zeta1.state.node-x.marker.{name}");
                    // One writes what is right and signed.
                    if writer == 0 {
                        evil.write(&subject, &marker(&name, ""), |_| {});
                        continue;
                    }
                    client.request(&subject, "schema: 1\n").unwrap();
                }
            });
        }
        let flooded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            b.wait_until("it is named", |b| b.status("flood_0_node") == "node-x");
            let (first, written) = (card("node-b"), b.status("written_boot_ns"));
            b.sandbox.ok(&["marker", "set", "mine", "note=here"]);
            b.wait_until("its own record is sent", |_| {
                evil.find("zeta1.state.node-b.marker.mine").is_some()
            });
            b.wait_until("it beats", |_| card("node-b") > first);
            b.wait_until("its status goes on", |b| b.status("written_boot_ns") != written);
            a.sandbox.ok(&["marker", "set", "theirs", "note=here"]);
            b.wait_until("others are heard", |b| b.read("node-a", "theirs.marker").is_some());
        }));
        ended.store(true, Ordering::Relaxed);
        if let Err(panic) = flooded {
            std::panic::resume_unwind(panic);
        }
    });
    let shown = b.sandbox.ok(&["cluster", "status", "--server", &server.url()]);
    assert!(shown.contains("\nflood    of node-x: "), "{shown}");
    // It is told as what it is, and the node itself is still heard.
    assert!(shown.contains("\nforged   in the name of node-x: "), "{shown}");
    evil.write("zeta1.state.node-x.marker.last", &marker("last", ""), |_| {});
    b.wait_until("it is heard", |b| b.read("node-x", "last.marker").is_some());
}
