//! Servers that are none, have no JetStream, do not answer, or are full.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::nats::Server;
use super::{nats, program};
use crate::support::{Sandbox, signal, test_name};

#[test]
fn what_is_no_server_is_named() {
    let sandbox = Sandbox::new();
    let out = sandbox.refused(&["cluster", "status"], 2);
    assert!(out.err.contains("cluster_server"), "{out:?}");
    for wrong in ["http://a.lan", "nats://", "nats://otto:hunter2@a.lan"] {
        let out = sandbox.refused(&["cluster", "status", "--server", wrong], 2);
        assert!(!out.err.contains("hunter2"), "{out:?}");
    }
    // A port on which nothing listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("nats://{}", free.local_addr().unwrap());
    drop(free);
    for verb in ["init", "status"] {
        let out = sandbox.refused(&["cluster", verb, "--server", &address], 6);
        assert!(out.err.contains(&address) && out.err.contains("refused"), "{out:?}");
        assert!(out.err.contains("goes on without it"), "{out:?}");
    }
    // Another protocol.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("nats://{}", other.local_addr().unwrap());
    let greet = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    });
    let out = sandbox.refused(&["cluster", "status", "--server", &address], 7);
    assert!(out.err.contains("no NATS server"), "{out:?}");
    greet.join().unwrap();
    // One that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("nats://{}", silent.local_addr().unwrap());
    let out = sandbox.refused(&["cluster", "status", "--server", &address], 6);
    assert!(out.err.contains("is not reached"), "{out:?}");
}

#[test]
fn a_server_without_jetstream_is_named() {
    for (name, program) in super::programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start_plain(&program, &sandbox.dir.join(name)).unwrap();
        for verb in ["init", "status"] {
            let out = sandbox.refused(&["cluster", verb, "--server", &server.url()], 7);
            assert!(out.err.contains("JetStream") && out.err.contains("switch"), "{out:?}");
        }
    }
}

#[test]
fn a_dead_server_and_one_that_stands_still_end_with_6() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    sandbox.ok(&["cluster", "init", "--server", &url]);
    signal(server.pid(), Signal::STOP);
    let begun = Instant::now();
    let out = sandbox.refused(&["cluster", "status", "--server", &url], 6);
    assert!(begun.elapsed() < Duration::from_secs(60), "{out:?}");
    signal(server.pid(), Signal::CONT);
    sandbox.ok(&["cluster", "status", "--server", &url]);
    server.kill();
    sandbox.refused(&["cluster", "status", "--server", &url], 6);
    // What is on this machine does not ask the server.
    sandbox.ok(&["lease", "acquire", "job", "--ttl", "1m"]);
}

#[test]
fn a_server_that_has_too_little_room_is_named_and_nothing_stays() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let dir = sandbox.dir.join("s");
    let more = format!("jetstream {{ store_dir: {:?}, max_file_store: 32MB }}", dir.join("store"));
    let server = Server::start(&program, &dir, &more).unwrap();
    let out = sandbox.refused(&["cluster", "init", "--server", &server.url()], 7);
    assert!(out.err.contains("ZETA1_STATE") && out.err.contains("max_file_store"), "{out:?}");
    assert!(server.client().unwrap().streams().unwrap().is_empty());
}
