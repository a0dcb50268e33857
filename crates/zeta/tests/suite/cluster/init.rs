//! `zeta cluster init`: once, by many at once, over what is there, and after a loss.

use std::process::Stdio;

use serde_json::{Value, json};

use super::nats::{Server, Trio};
use super::{nats, program, programs};
use crate::support::{Sandbox, test_name};

const STREAMS: [&str; 4] = ["ZETA1_BUS", "ZETA1_LEASE", "ZETA1_META", "ZETA1_STATE"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text:?}"))
}

#[test]
fn a_cluster_is_made_once_and_found_after_that() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        let url = server.url();
        let out = sandbox.zeta(&["cluster", "status", "--server", &url]);
        assert_eq!(out.status, 7, "{out:?}");
        assert!(out.out.contains("zeta cluster init"), "{out:?}");
        let init = ["--json", "cluster", "init", "--server", &url];
        let first = json(&sandbox.ok(&init));
        assert_eq!((&first["created"], &first["replicas"]), (&json!(true), &json!(1)));
        assert_eq!(first["accepted"], json!(vec![1; 20]), "{name}");
        assert_eq!(first["lease_by_pattern"], json!(name == "newer"), "{first}");
        let second = json(&sandbox.ok(&init));
        assert_eq!(second["created"], false);
        assert_eq!(second["cluster"], first["cluster"]);
        let status = json(&sandbox.ok(&["--json", "cluster", "status", "--server", &url]));
        assert_eq!(status["healthy"], true, "{status}");
        let findings = status["findings"].as_array().unwrap().iter();
        let words: Vec<&Value> = findings.map(|one| &one["finding"]).collect();
        let known: &[&str] = if name == "debian" { &["known_holes"] } else { &[] };
        assert_eq!(words, known, "{name}");
        assert_eq!(status["account"], "store");
        assert_eq!(status["cluster"], first["cluster"]);
        let power = if name == "debian" { "no" } else { "unknown" };
        assert_eq!(status["power_safe"], power, "{status}");

        let mut client = server.client().unwrap();
        assert_eq!(client.streams().unwrap(), STREAMS, "the scratch stream is gone");
        for stream in STREAMS {
            let info = client.api(&format!("STREAM.INFO.{stream}"), &Value::Null).unwrap();
            let config = &info["config"];
            // One message of a node could remove those of all others.
            assert_ne!(config["allow_rollup_hdrs"], true, "{stream} of {name}");
            assert_eq!(config["discard"], "new", "{stream} of {name}");
            assert!(config["max_bytes"].as_u64().unwrap() > 0, "{stream} of {name}");
            let live = config["republish"]["dest"].as_str().unwrap();
            assert!(live.starts_with("zeta1.live."), "{live}");
        }
    }
}

#[test]
fn a_cluster_outlives_a_killed_server() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let mut server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        let made = json(&sandbox.ok(&["--json", "cluster", "init", "--server", &server.url()]));
        server.kill();
        server.restart().unwrap();
        let url = server.url();
        let status = json(&sandbox.ok(&["--json", "cluster", "status", "--server", &url]));
        assert_eq!(status["cluster"], made["cluster"], "{name}");
    }
}

/// Starts eight calls at once; all must end well, with one cluster, which one of them made.
fn eight(sandbox: &Sandbox, url: &str, replicas: &str) {
    let args = ["--json", "cluster", "init", "--server", url, "--replicas", replicas];
    let start = |_| {
        let mut command = sandbox.cmd(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let calls: Vec<_> = (0..8).map(start).collect();
    let outs: Vec<_> = calls.into_iter().map(|call| call.wait_with_output().unwrap()).collect();
    let mut made = 0;
    let mut ids = std::collections::BTreeSet::new();
    for out in outs {
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{text}");
        let answer = json(&text);
        made += u32::from(answer["created"] == true);
        ids.insert(answer["cluster"].as_str().unwrap().to_owned());
    }
    assert_eq!((made, ids.len()), (1, 1), "{ids:?}");
}

#[test]
fn eight_callers_at_once_make_one_cluster() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        eight(&sandbox, &server.url(), "1");
        assert_eq!(server.client().unwrap().streams().unwrap(), STREAMS, "{name}");
    }
}

#[test]
fn eight_callers_at_once_make_one_cluster_of_three_servers() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let trio = Trio::start(&program, &sandbox.dir.join("trio"), "").unwrap();
    eight(&sandbox, &trio.urls(), "3");
    for server in &trio.servers {
        assert_eq!(server.client().unwrap().streams().unwrap(), STREAMS);
    }
}

#[test]
fn a_stream_of_another_program_is_refused_and_left_alone() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        let mut client = server.client().unwrap();
        let foreign = json!({
            "name": "ZETA1_LEASE", "subjects": ["zeta1.lease.>"], "max_bytes": 4096,
            "allow_rollup_hdrs": true,
        });
        client.api("STREAM.CREATE.ZETA1_LEASE", &foreign).unwrap();
        let out = sandbox.refused(&["cluster", "init", "--server", &server.url()], 7);
        for part in ["ZETA1_LEASE", "max_bytes is 4096", "allow_rollup_hdrs is true", "discard"] {
            assert!(out.err.contains(part), "{out:?} has no {part:?}");
        }
        assert_eq!(client.streams().unwrap(), ["ZETA1_LEASE"], "nothing else was made");
        let info = client.api("STREAM.INFO.ZETA1_LEASE", &Value::Null).unwrap();
        assert_eq!(info["config"]["max_bytes"], 4096);
    }
}

#[test]
fn subjects_that_another_stream_has_are_named() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let foreign = json!({ "name": "ALL", "subjects": ["zeta1.bus.*"] });
    server.client().unwrap().api("STREAM.CREATE.ALL", &foreign).unwrap();
    let out = sandbox.refused(&["cluster", "init", "--server", &server.url()], 7);
    assert!(out.err.contains("ZETA1_BUS") && out.err.contains("another stream"), "{out:?}");
}

#[test]
fn the_number_of_replicas_is_what_is_there_or_it_is_refused() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    let out = sandbox.refused(&["cluster", "init", "--server", &url, "--replicas", "3"], 7);
    assert!(out.err.contains("--replicas 1"), "{out:?}");
    sandbox.ok(&["cluster", "init", "--server", &url]);
    let out = sandbox.refused(&["cluster", "init", "--server", &url, "--replicas", "3"], 7);
    assert!(out.err.contains("num_replicas is 1, where 3 is needed"), "{out:?}");
    sandbox.refused(&["cluster", "init", "--server", &url, "--replicas", "2"], 2);
}

#[test]
fn what_was_lost_is_an_alarm_and_no_first_start() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        let url = server.url();
        sandbox.ok(&["cluster", "init", "--server", &url]);
        let mut client = server.client().unwrap();
        client.api("STREAM.DELETE.ZETA1_BUS", &Value::Null).unwrap();
        let out = sandbox.refused(&["cluster", "init", "--server", &url], 7);
        assert!(out.err.contains("lost the stream ZETA1_BUS"), "{out:?}");
        let out = sandbox.zeta(&["cluster", "status", "--server", &url, "--json"]);
        assert_eq!(out.status, 7, "{out:?}");
        assert_eq!(json(&out.out)["findings"][0]["finding"], "stream_lost");

        // The record goes with its stream, and what a node wrote is still there.
        client.request("zeta1.state.node-a.lock.job", "x").unwrap();
        client.api("STREAM.DELETE.ZETA1_META", &Value::Null).unwrap();
        let out = sandbox.refused(&["cluster", "init", "--server", &url], 7);
        assert!(out.err.contains("the record of the cluster is lost"), "{out:?}");
        let left = client.streams().unwrap();
        assert_eq!(left, ["ZETA1_LEASE", "ZETA1_STATE"], "nothing was made");
    }
}

#[test]
fn a_damaged_record_is_named_and_kept() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    sandbox.ok(&["cluster", "init", "--server", &url]);
    server.client().unwrap().request("zeta1.meta", "schema: 2\nend: true\n").unwrap();
    let out = sandbox.refused(&["cluster", "init", "--server", &url], 7);
    assert!(out.err.contains("damaged") && out.err.contains("schema is 2"), "{out:?}");
    let out = sandbox.zeta(&["cluster", "status", "--server", &url, "--json"]);
    assert_eq!(out.status, 7, "{out:?}");
    assert_eq!(json(&out.out)["findings"][0]["finding"], "record_damaged");
}

/// Adds a monitoring port to the configuration of a server; returns it with the lines.
fn monitored(more: &str) -> (u16, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    (port, format!("http: \"127.0.0.1:{port}\"\n{more}"))
}

#[test]
fn a_server_says_on_its_monitoring_port_whether_it_outlives_a_loss_of_power() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    for (sync, wanted) in [(", sync_interval: always", "yes"), ("", "no")] {
        let sandbox = Sandbox::new();
        let dir = sandbox.dir.join("s");
        let store = format!("jetstream {{ store_dir: {:?}{sync} }}\n", dir.join("store"));
        let (port, more) = monitored(&store);
        let server = Server::start(&program, &dir, &more).unwrap();
        let url = server.url();
        sandbox.ok(&["cluster", "init", "--server", &url]);
        let status = |monitor: &str| {
            let args = ["--json", "cluster", "status", "--server", &url, "--monitor", monitor];
            json(&sandbox.ok(&args))
        };
        let seen = status(&format!("http://127.0.0.1:{port}"));
        assert_eq!((&seen["power_safe"], &seen["findings"]), (&json!(wanted), &json!([])));
        // One that does not answer is named, and nothing is known.
        let seen = status("http://127.0.0.1:1");
        assert_eq!(seen["power_safe"], "unknown", "{seen}");
        assert_eq!(seen["findings"][0]["finding"], "monitor_silent", "{seen}");
    }
}

#[test]
fn the_longest_ttl_is_chosen_once() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    let init = |more: &[&str]| {
        sandbox.zeta(&[&["--json", "cluster", "init", "--server", &url], more].concat())
    };
    for wrong in ["29s", "25h", "soon"] {
        assert_eq!(init(&["--max-ttl", wrong]).status, 2, "{wrong}");
    }
    assert_eq!(json(&init(&["--max-ttl", "2m"]).out)["max_ttl_ms"], 120_000);
    assert_eq!(json(&init(&[]).out)["max_ttl_ms"], 120_000);
    assert_eq!(init(&["--max-ttl", "2m"]).status, 0);
    let other = init(&["--max-ttl", "3m"]);
    assert_eq!(other.status, 7, "{other:?}");
    assert!(other.err.contains("2m") && other.err.contains("3m"), "{other:?}");
}
