//! The store: compare-and-set, what a full stream answers, and answers that never come.

use std::time::Duration;

use rustix::process::Signal;
use zeta_cluster::store::{Store, Written};
use zeta_cluster::{Setting, Write};
use zeta_os::error::Kind;

use super::nats::Server;
use super::{nats, program, programs};
use crate::support::{Sandbox, signal, test_name};

fn open(server: &Server) -> Store {
    let servers = server.url().parse().unwrap();
    Store::open(&Setting::new(servers)).unwrap()
}

fn write<'a>(subject: &'a str, expected: u64, body: &'a [u8]) -> Write<'a> {
    Write { subject, expected: Some(expected), expected_on: None, headers: &[], body }
}

fn stored(written: Written) -> u64 {
    match written {
        Written::Stored(sequence) => sequence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_wins_only_over_what_it_expects() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        sandbox.ok(&["cluster", "init", "--server", &server.url()]);
        let (one, two) = (open(&server), open(&server));
        let subject = "zeta1.lease.job.node-a";
        assert_eq!(one.last("ZETA1_LEASE", subject).unwrap(), None);
        let first = stored(one.write(write(subject, 0, b"first")).unwrap());
        assert_eq!(two.write(write(subject, 0, b"other")).unwrap(), Written::Conflict);
        assert_eq!(two.write(write(subject, first + 7, b"other")).unwrap(), Written::Conflict);
        let read = two.last("ZETA1_LEASE", subject).unwrap().unwrap();
        assert_eq!((read.sequence, read.body.as_slice()), (first, b"first".as_slice()));
        let second = stored(two.write(write(subject, first, b"second")).unwrap());
        assert!(second > first);
        assert_eq!(one.write(write(subject, first, b"late")).unwrap(), Written::Conflict);
        // Any bytes come back as they were.
        let odd: Vec<u8> = (0..=255).collect();
        let third = stored(one.write(write(subject, second, &odd)).unwrap());
        let read = two.last("ZETA1_LEASE", subject).unwrap().unwrap();
        assert_eq!((read.sequence, read.body), (third, odd));
    }
}

#[test]
fn a_pattern_guards_the_subjects_of_all_nodes() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    sandbox.ok(&["cluster", "init", "--server", &server.url()]);
    let store = open(&server);
    let guarded = |node: &str, expected| {
        let subject = format!("zeta1.lease.job.{node}");
        let pattern = Some("zeta1.lease.job.*");
        let write = Write { expected_on: pattern, ..write(&subject, expected, b"x") };
        store.write(write).unwrap()
    };
    let first = stored(guarded("node-a", 0));
    assert_eq!(guarded("node-b", 0), Written::Conflict);
    let second = stored(guarded("node-b", first));
    assert_eq!(guarded("node-a", first), Written::Conflict);
    stored(guarded("node-a", second));
}

#[test]
fn a_full_stream_is_an_error_and_not_a_doubt() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    sandbox.ok(&["cluster", "init", "--server", &url]);
    let store = open(&server);
    let body = vec![b'x'; 64 * 1024];
    let mut refused = None;
    // 64 MiB hold less than 1,100 of them.
    for at in 0..1100 {
        let subject = format!("zeta1.lease.job-{at}.node-a");
        match store.write(write(&subject, 0, &body)) {
            Ok(written) => drop(stored(written)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let error = refused.expect("the stream has a limit");
    assert_eq!(error.kind, Kind::Unsafe, "{error}");
    assert!(error.text.contains("zeta1.lease.job-") && error.text.contains("10077"), "{error}");
    // Reads go on, the state is shown, and what is there can be replaced.
    let first = store.last("ZETA1_LEASE", "zeta1.lease.job-0.node-a").unwrap().unwrap();
    let out = sandbox.zeta(&["cluster", "status", "--server", &url]);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("zeta cluster compact"), "{out:?}");
    stored(store.write(write("zeta1.lease.job-0.node-a", first.sequence, b"gone")).unwrap());
}

#[test]
fn an_answer_that_never_comes_is_unknown_and_the_write_does_not_come_later() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    sandbox.ok(&["cluster", "init", "--server", &server.url()]);
    let (store, subject) = (open(&server), "zeta1.lease.job.node-a");
    signal(server.pid(), Signal::STOP);
    let pid = server.pid();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        signal(pid, Signal::KILL);
    });
    match store.write(write(subject, 0, b"x")).unwrap() {
        Written::Unknown(why) => assert!(why.contains("connection ended"), "{why}"),
        other => panic!("{other:?}"),
    }
    killer.join().unwrap();
    // The connection stays closed: each later request is unknown at once.
    let error = store.last("ZETA1_LEASE", subject).unwrap_err();
    assert_eq!(error.kind, Kind::Busy, "{error}");
    server.restart().unwrap();
    assert_eq!(open(&server).last("ZETA1_LEASE", subject).unwrap(), None);
    assert!(matches!(store.write(write(subject, 0, b"x")), Ok(Written::Unknown(_))));
}

#[test]
fn a_write_without_a_stream_is_known_not_to_be_stored() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let error = open(&server).write(write("zeta1.lease.job.node-a", 0, b"x")).unwrap_err();
    assert_eq!(error.kind, Kind::Busy, "{error}");
    assert!(error.text.contains("nothing answers on zeta1.lease.job.node-a"), "{error}");
}
