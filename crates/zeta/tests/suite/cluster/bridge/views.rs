//! What the verbs of one machine say about the leases and claims of another one: by the copies that
//! the bridge has written, without a server.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::{nats, program};
use super::{Node, cluster, value};
use crate::json::judge;
use crate::support::{Out, Sandbox, run, test_name};

fn zeta(node: &Node, agent: &str, args: &[&str]) -> Out {
    let mut command = node.sandbox.cmd(args);
    run(command.env("ZETA_CLUSTER_SERVER", node.url()).env("ZETA_AGENT", agent))
}

/// The answer to a call that needs no server, which fits its schema.
#[track_caller]
fn check(node: &Node, args: &[&str], status: i32) -> Value {
    judge(args, &run(&mut node.sandbox.cmd(&[&["--json"], args].concat())), status)
}

/// What came was seen by this machine a while before it was.
fn age(node: &Node, path: &str, by_ns: u64) {
    let path = node.sandbox.state.join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    let seen = value(&text, "copy_observed_boot_ns");
    let earlier = seen.parse::<u64>().unwrap() - by_ns;
    std::fs::write(&path, text.replace(&seen, &earlier.to_string())).unwrap();
}

#[test]
fn what_another_machine_holds_is_shown_with_the_age_of_its_copy() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let mut server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    check(&b, &["lease", "show", "deploy"], 4);
    let scope = ["--scope", "cluster"];
    let acquire = [&["lease", "acquire", "deploy", "--purpose", "release"], &scope[..]].concat();
    let token = zeta(&a, "otto", &acquire);
    assert_eq!(token.status, 0, "{token:?}");
    let claim = ["claim", "acquire", "B-7", "--branch", "feat/x", "--worktree", "/w"];
    assert_eq!(zeta(&a, "otto", &[&claim[..], &scope].concat()).status, 0);
    zeta(&b, "mira", &["lease", "acquire", "deploy"]);
    b.wait_until("both came", |b| {
        let list = check(b, &["lease", "list"], 0);
        list["leases"].as_array().unwrap().len() == 3
    });
    // The store is not asked, so the answers are the same without it.
    server.kill();
    let shown = check(&b, &["lease", "show", "deploy"], 0);
    let (own, other) = (&shown["holders"][0], &shown["holders"][1]);
    assert_eq!((&own["agent"], &own["copy"]), (&json!("mira"), &Value::Null));
    assert_eq!((&other["agent"], &other["node"]), (&json!("otto"), &json!("node-a")));
    assert_eq!((&other["scope"], &other["lease_state"]), (&json!("cluster"), &json!("held")));
    assert!(other["rest_ms"].as_u64().unwrap() <= 60_001, "{other}");
    let copy = &other["copy"];
    assert_eq!((&copy["node"], &copy["verified"]), (&json!("node-a"), &json!(true)));
    assert!(copy["age_ms"].as_u64().is_some() && copy["heard_ms"].as_u64().is_some(), "{copy}");
    let text = zeta(&b, "mira", &["lease", "show", "deploy"]).out;
    for part in ["otto (on node-a", "copy     of a record of node-a, first seen here", "left     "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = zeta(&b, "mira", &["lease", "list"]).out;
    assert!(text.contains("a copy of a record of node-a, first seen here"), "{text}");
    // On the node that holds it, nothing is a copy.
    let own = check(&a, &["lease", "show", "deploy"], 0);
    assert_eq!((&own["node"], &own["copy"]), (&json!("node-a"), &Value::Null));
    // A claim that another machine holds is held, also for an agent of the same name.
    let held = check(&b, &["claim", "check", "B-7"], 3);
    let claim = &held["claims"][0];
    assert_eq!((&claim["from"], &claim["node"]), (&json!("otto"), &json!("node-a")));
    assert_eq!((&claim["scope"], &claim["copy"]["node"]), (&json!("cluster"), &json!("node-a")));
    let work = ["claim", "check", "B-7", "--branch", "feat/x", "--worktree", "/w"];
    let out = zeta(&b, "otto", &work);
    assert_eq!(out.status, 3, "{out:?}");
    for part in ["otto on node-a", "a copy of a record of node-a", "--scope cluster"] {
        assert!(out.err.contains(part), "{part}: {out:?}");
    }
    let list = check(&b, &["claim", "list"], 0);
    assert_eq!(list["claims"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["claims"][0]["node"], "node-a", "{list}");
    assert!(zeta(&b, "mira", &["claim", "list"]).out.contains("B-7  otto on node-a"));
    let own = check(&a, &["claim", "list"], 0);
    assert_eq!(
        (&own["claims"][0]["node"], &own["claims"][0]["copy"]),
        (&json!("node-a"), &Value::Null)
    );
    // Nothing was heard of that machine for a while, and then its time is over.
    b.stop(Signal::KILL);
    age(&b, "nodes/node-a/.copy", 50_000_000_000);
    let silent = check(&b, &["lease", "show", "deploy"], 0);
    assert_eq!(silent["holders"][1]["copy"]["silent"], true, "{silent}");
    let text = zeta(&b, "mira", &["lease", "list"]).out;
    assert!(text.contains("it may be another one by now"), "{text}");
    age(&b, "cluster/leases/deploy.lease", 70_000_000_000);
    let over = check(&b, &["lease", "show", "deploy"], 0);
    assert_eq!(over["holders"][1]["lease_state"], "expired", "{over}");
}

#[test]
fn a_copy_that_its_machine_did_not_sign_names_no_holder() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    let acquire = ["lease", "acquire", "deploy", "--scope", "cluster"];
    assert_eq!(zeta(&a, "otto", &acquire).status, 0);
    b.wait_until("it came", |b| value(&b.lease_copy("deploy"), "copy_verified") == "true");
    b.stop(Signal::KILL);
    let file = b.sandbox.state.join("cluster/leases/deploy.lease");
    let unsigned = b.lease_copy("deploy").replace("copy_verified: true", "copy_verified: false");
    std::fs::write(file, unsigned).unwrap();
    let shown = check(&b, &["lease", "show", "deploy"], 0);
    assert_eq!((&shown["lease_state"], &shown["agent"]), (&json!("damaged"), &Value::Null));
    assert_eq!(shown["copy"]["verified"], false);
    let text = zeta(&b, "mira", &["lease", "show", "deploy"]).out;
    assert!(text.contains("not signed with a key that is known"), "{text}");
}
