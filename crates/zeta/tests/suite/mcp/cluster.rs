//! Leases and claims of the cluster by the tools: two nodes, each with a server for its agent, and
//! real servers of the cluster.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::client::{Client, LEGACY, Said};
use crate::cluster::bridge::{self, cluster};
use crate::cluster::lease::{Node, Nodes, serve};
use crate::cluster::{nats, program, programs};
use crate::support::{LIMIT, Sandbox, run, signal, test_name, until, wait_for};

/// For a lease whose TTL runs out, on a machine that is busy.
const LONG: Duration = Duration::from_secs(100);

/// A client of the server on a node.
fn on(node: &Node, name: &str) -> Client {
    let mut client = Client::of(&mut node.cmd(&["mcp"]));
    client.greet(name, LEGACY);
    client
}

/// Writes the configuration of a node.
fn configure(node: &Node, text: &str) {
    let dir = node.sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(Path::new(&dir).join("config.toml"), text).unwrap();
}

#[track_caller]
fn assert_parts(said: &Said, outcome: &str, parts: &[&str]) {
    assert_eq!(said.outcome(), outcome, "{said:?}");
    for part in parts {
        assert!(said.has(part), "{part:?} is missing: {said:?}");
    }
}

#[test]
fn a_lease_of_the_cluster_excludes_the_agents_of_other_machines() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = serve(&program, &sandbox, name);
        let nodes = Nodes::new(&server, 2);
        let (a, b) = nodes.pair();
        let (mut one, mut two) = (on(a, "one"), on(b, "two"));
        let deploy = json!({"name": "deploy", "scope": "cluster", "purpose": "release 7"});
        let first = one.call("acquire", deploy.clone());
        assert_parts(&first, "granted", &["hold: lease deploy of the cluster (token "]);
        assert_eq!(first.object["holdings"][0]["scope"], "cluster");
        assert!(a.record("deploy").unwrap().contains("scope: \"cluster\""));
        let held = two.call("acquire", deploy.clone());
        assert_parts(&held, "held", &[first.agent(), "on node-a", "release 7", "Next: "]);
        // The record says which lease it is: no call names the scope again.
        assert_parts(&one.call("check", json!({"name": "deploy"})), "mine", &["of the cluster"]);
        let strong = json!({"name": "deploy", "strong": true});
        assert_parts(&one.call("check", strong.clone()), "mine", &["it was renewed now"]);
        assert_parts(&two.call("check", strong), "error", &["you do not hold"]);
        // The other agent waits in its line, and its other calls are answered meanwhile.
        let mut waits = deploy.clone();
        waits["wait_s"] = 45.into();
        let waiting = two.ask_tool("acquire", waits);
        let progress = two.read(LIMIT).unwrap();
        assert!(progress["params"]["message"].as_str().unwrap().contains("on node-a"));
        assert_parts(&two.call("status", json!({})), "status", &["you wait for deploy"]);
        assert_eq!(one.call("release", json!({"name": "deploy"})).outcome(), "released");
        let second = two.said(waiting);
        assert_parts(&second, "granted", &["lease deploy of the cluster"]);
        assert!(second.token() > first.token(), "{name}");
        assert_parts(&one.call("acquire", deploy), "held", &["on node-b"]);
        two.call("release", json!({"name": "deploy"}));

        // A lease of one machine is another right, and is not called one of the cluster.
        let local = one.call("acquire", json!({"name": "mine"}));
        assert!(!local.has("of the cluster"), "{local:?}");
        let wider = one.call("acquire", json!({"name": "mine", "scope": "cluster"}));
        assert_parts(&wider, "error", &["of this machine alone", "release first"]);
        for (arguments, part) in [
            (json!({"name": "x", "scope": "cluster", "slots": 2}), "no slots"),
            (json!({"name": "x", "scope": "cluster", "ttl": "5s"}), "at least 30s"),
        ] {
            assert_parts(&one.call("acquire", arguments), "error", &[part]);
        }
    }
}

#[test]
fn a_claim_of_the_cluster_excludes_the_agents_of_other_machines() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 2);
    let (a, b) = nodes.pair();
    // On one node by the argument, on the other one by the configuration.
    configure(b, "lease_scope = \"cluster\"\nclaim_scope = \"cluster\"\n");
    let (mut one, mut two) = (on(a, "one"), on(b, "two"));
    let granted = one.call("claim", json!({"item": "B-1", "scope": "cluster"}));
    assert_parts(&granted, "granted", &["item \"B-1\" of the cluster"]);
    let held = two.call("claim", json!({"item": "B-1"}));
    assert_parts(&held, "held", &[granted.agent(), "on node-a"]);
    assert_eq!(one.call("claim", json!({"item": "B-1", "scope": "cluster"})).outcome(), "renewed");
    assert_eq!(one.call("unclaim", json!({"item": "B-1"})).outcome(), "released");
    assert_parts(&two.call("claim", json!({"item": "B-1"})), "granted", &["of the cluster"]);
    let paths = json!({"paths": ["src"], "scope": "cluster"});
    assert_parts(&one.call("claim", paths), "error", &["of one machine"]);
    assert_parts(&two.call("acquire", json!({"name": "job"})), "granted", &["of the cluster"]);
    let local = two.call("acquire", json!({"name": "own", "scope": "node"}));
    assert!(local.outcome() == "granted" && !local.has("lease own of the cluster"), "{local:?}");
}

#[test]
fn what_could_not_be_renewed_until_its_deadline_is_lost_and_the_agent_is_told_before() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let mut server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 1);
    let mut one = on(&nodes.nodes[0], "one");
    let deploy = json!({"name": "deploy", "scope": "cluster", "ttl": "30s"});
    assert_eq!(one.call("acquire", deploy).outcome(), "granted");
    server.kill();
    // Nothing is lost yet, and nothing more is granted.
    assert_eq!(one.call("check", json!({"name": "deploy"})).outcome(), "mine");
    let strong = one.call("check", json!({"name": "deploy", "strong": true}));
    assert_parts(&strong, "error", &["is yours for"]);
    assert_eq!(strong.object["error"], "busy");
    assert_eq!(one.call("release", json!({"name": "deploy"})).object["error"], "busy");
    let other = json!({"name": "other", "scope": "cluster"});
    assert_parts(&one.call("acquire", other), "error", &["is not reached"]);
    let mut told = Vec::new();
    let is_lost = until(LONG, || {
        std::thread::sleep(Duration::from_millis(100));
        let said = one.call("check", json!({}));
        let notices = said.object["notices"].as_array().cloned().unwrap_or_default();
        told.extend(notices.iter().map(|notice| notice.as_str().unwrap().to_owned()));
        told.last().is_some_and(|last| last.contains("LOST"))
    });
    assert!(is_lost, "{told:?}");
    let [half, quarters, lost] = &*told else { panic!("{told:?}") };
    for warning in [half, quarters] {
        assert!(warning.contains("could not be renewed in the cluster"), "{told:?}");
    }
    assert!(lost.contains("stop that work") && lost.contains("before its deadline"), "{told:?}");
    assert!(one.call("check", json!({})).has("You hold nothing."));
    assert_eq!(nodes.nodes[0].record("deploy"), None);
}

#[test]
fn a_call_whose_answer_was_lost_names_the_id_that_repeats_it() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = serve(&program, &sandbox, "s");
    let nodes = Nodes::new(&server, 1);
    let mut one = on(&nodes.nodes[0], "one");
    for (tool, what, name) in [("acquire", "name", "job"), ("claim", "item", "B-1")] {
        let ask = |name: &str| json!({what: name, "scope": "cluster"});
        // From here on there is a connection, on which a call begins with its write.
        assert_eq!(one.call(tool, ask("first")).outcome(), "granted");
        signal(server.pid(), Signal::STOP);
        let unknown = one.call(tool, ask(name));
        signal(server.pid(), Signal::CONT);
        assert_parts(&unknown, "unknown", &["it is not known whether", "Next: call"]);
        assert_eq!(unknown.object["error"], "busy");
        let id = unknown.object["lease_id"].as_str().unwrap();
        assert!(unknown.has(&format!("lease_id {id}")), "{unknown:?}");
        let mut again = ask(name);
        again["lease_id"] = id.into();
        wait_for("the server that goes on", || {
            let said = one.call(tool, again.clone());
            // What it could not say is said now.
            assert_ne!(said.outcome(), "held", "{said:?}");
            said.outcome() == "granted"
        });
    }
}

#[test]
fn what_another_machine_has_is_shown_by_its_copy() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let [a, b] = ["node-a", "node-b"].map(|name| bridge::Node::new(name, &server).started());
    let mut command = a.sandbox.cmd(&["lease", "acquire", "deploy", "--scope", "cluster"]);
    assert_eq!(run(command.env("ZETA_CLUSTER_SERVER", server.url())).status, 0);
    a.sandbox.ok(&["claim", "acquire", "B-7", "--as", "otto"]);
    let mut one = Client::greeted(&b.sandbox, "one");
    b.wait_until("both came", |b| {
        let free = b.sandbox.zeta(&["--json", "claim", "check", "B-7"]).out;
        b.read("node-a", "deploy.lock").is_some() && free.contains("claims_elsewhere")
    });
    let held = one.call("check", json!({"name": "deploy"}));
    assert_parts(&held, "held", &["on node-a", "a copy of a record of node-a, first seen here"]);
    // A claim of that machine alone holds nothing here.
    let free = one.call("check", json!({"name": "B-7"}));
    assert_parts(&free, "free", &["But: claimed on another machine alone", "otto on node-a"]);
    assert_eq!(one.call("claim", json!({"item": "B-7"})).outcome(), "granted");
}
