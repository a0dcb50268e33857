//! The proof that a server can keep a cluster: Debian's fails it with three replicas.

use std::time::Duration;

use super::nats::Trio;
use super::{nats, program};
use crate::support::{Sandbox, test_name, until};

/// How long the servers may take to miss one of them.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn three_replicas_of_debian_are_refused_by_what_they_did() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let trio = Trio::start(&program, &sandbox.dir.join("trio"), "").unwrap();
    let init = ["cluster", "init", "--server", &trio.urls(), "--replicas", "3"];
    let out = sandbox.refused(&init, 7);
    // A race is won by chance, so one in which all went well names the version alone.
    assert!(out.err.contains("several writers win"), "{out:?}");
    for part in ["nats-server 2.9.", "3 replicas", "2.10 or later", "--replicas 1"] {
        assert!(out.err.contains(part), "{out:?} has no {part:?}");
    }
    let streams = trio.servers[0].client().unwrap().streams().unwrap();
    assert!(streams.is_empty(), "{streams:?}");
    eprintln!("{}", out.err);
    // One replica works there, although it is a cluster of servers.
    sandbox.ok(&["cluster", "init", "--server", &trio.urls(), "--replicas", "1"]);
}

#[test]
fn three_replicas_of_a_newer_server_are_accepted() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut trio = Trio::start(&program, &sandbox.dir.join("trio"), "").unwrap();
    let urls = trio.urls();
    sandbox.ok(&["cluster", "init", "--server", &urls, "--replicas", "3"]);
    let status = || {
        let out = sandbox.zeta(&["--json", "cluster", "status", "--server", &urls]);
        let answer: serde_json::Value = serde_json::from_str(&out.out).unwrap();
        (out.status, answer)
    };
    let (ended, answer) = status();
    assert_eq!((ended, &answer["healthy"]), (0, &serde_json::json!(true)), "{answer}");
    for stream in answer["streams"].as_array().unwrap() {
        assert_eq!(stream["replicas"], 3, "{answer}");
        assert!(stream["leader"].as_str().unwrap().starts_with('n'), "{answer}");
    }
    assert_eq!(answer["quorum_current"], 3, "{answer}");
    // One that is stopped is missed after some seconds.
    trio.servers[2].kill();
    let mut seen = answer;
    let is_missed = until(SOON, || {
        seen = status().1;
        seen["quorum_current"] == 2
    });
    assert!(is_missed, "{seen}");
    assert_eq!((&seen["quorum_servers"], &seen["quorum_needed"]), (&3.into(), &2.into()), "{seen}");
    for stream in seen["streams"].as_array().unwrap() {
        let followers = stream["followers"].as_array().unwrap();
        let behind: Vec<_> = followers.iter().filter(|one| one["current"] == false).collect();
        assert!(behind.iter().all(|one| one["server"] == "n3") && followers.len() == 2, "{seen}");
    }
    let text = sandbox.ok(&["cluster", "status", "--server", &urls]);
    let line = "quorum   2 of 3 servers have all that was written, 2 are needed, so one more must";
    assert!(text.contains(line) && text.contains("n3 does not keep up"), "{text}");
    // Without a majority nothing can be written, and that is said.
    trio.servers[1].kill();
    let mut out = sandbox.zeta(&["cluster", "status", "--server", &urls]);
    let is_said = until(SOON, || {
        out = sandbox.zeta(&["cluster", "status", "--server", &urls]);
        out.status == 6 && out.err.contains("no quorum")
    });
    assert!(is_said, "{out:?}");
}
