//! What the verbs of one machine say about the leases and claims of another one: by the copies that
//! the bridge has written, without a server.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::{nats, program};
use super::{Node, cluster, value};
use crate::json::{judge, misfits};
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
fn a_claim_of_another_machine_alone_holds_nothing_here_and_is_named() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let b = Node::new("node-b", &server).started();
    let claim = ["claim", "acquire", "B-7", "--branch", "feat/x"];
    let token = zeta(&a, "otto", &claim).out;
    assert_eq!(zeta(&a, "otto", &["claim", "acquire", "B-77"]).status, 0);
    b.wait_until("it came", |b| {
        check(b, &["claim", "check", "B-7"], 0).get("claims_elsewhere").is_some()
    });
    let free = check(&b, &["claim", "check", "B-7"], 0);
    assert_eq!((&free["claimed"], &free["claims"]), (&json!(false), &json!([])));
    let [claim] = free["claims_elsewhere"].as_array().unwrap().as_slice() else { panic!("{free}") };
    assert_eq!((&claim["from"], &claim["branch"]), (&json!("otto"), &json!("feat/x")));
    assert_eq!((&claim["scope"], &claim["node"]), (&json!("node"), &json!("node-a")));
    assert_eq!(claim["copy"]["node"], "node-a");
    let out = zeta(&b, "mira", &["claim", "check", "B-7"]);
    assert_eq!((out.status, out.out.trim_end()), (0, "free"), "{out:?}");
    for part in ["otto on node-a", "on branch feat/x", "holds nothing here", "--scope cluster"] {
        assert!(out.err.contains(part), "{part}: {out:?}");
    }
    // It is that of another checkout: the item can be claimed here, and then has both.
    let granted = zeta(&b, "mira", &["claim", "acquire", "B-7"]);
    assert_eq!(granted.status, 0, "{granted:?}");
    let held = check(&b, &["claim", "check", "B-7"], 3);
    assert_eq!(held["claims"].as_array().unwrap().len(), 1, "{held}");
    assert_eq!(held["claims_elsewhere"][0]["from"], "otto", "{held}");
    // The machine itself knows of none elsewhere but this one's.
    a.wait_until("that came, too", |a| {
        let own = check(a, &["claim", "check", "B-7"], 3);
        own.get("claims_elsewhere").is_some_and(|claims| claims[0]["from"] == "mira")
    });
    let release = ["claim", "release", "B-7", "--token", token.trim_end()];
    assert_eq!(zeta(&a, "otto", &release).status, 0);
    b.wait_until("it ended", |b| {
        check(b, &["claim", "check", "B-7"], 3).get("claims_elsewhere").is_none()
    });
}

/// The cluster in what `zeta watch` shows first.
fn watched(node: &Node) -> Value {
    let mut command = node.sandbox.cmd(&["--json", "watch"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let overview: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(misfits("watch", &overview), Vec::<String>::new(), "{overview}");
    overview["cluster"].clone()
}

#[test]
fn the_views_say_how_many_servers_are_there_and_when_they_are_too_few() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let mut trio = nats::Trio::start(&program, &sandbox.dir.join("trio"), "").unwrap();
    let urls = trio.urls();
    sandbox.ok(&["cluster", "init", "--server", &urls, "--replicas", "3"]);
    let mut node = Node::new("node-a", &trio.servers[0]).started();
    node.wait_until("it looked", |node| {
        node.status("quorum_current") == "3" && !node.status("lag").is_empty()
    });
    let all = watched(&node);
    assert!(all["summary"].as_str().unwrap().starts_with("1 node, 3 of 3 servers"), "{all}");
    assert_eq!((&all["has_quorum"], &all["unsent"]), (&json!(true), &json!(0)), "{all}");
    assert_eq!((&all["messages_behind"], &all["messages_unsent"]), (&json!(0), &json!(0)), "{all}");
    assert!(all["behind"].as_u64().is_some_and(|behind| behind < 10), "{all}");
    trio.servers[2].kill();
    node.wait_until("the others miss it", |node| {
        let out = node.sandbox.zeta(&["--json", "cluster", "status", "--server", &urls]);
        serde_json::from_str::<Value>(&out.out).is_ok_and(|seen| seen["quorum_current"] == 2)
    });
    // It looks when it begins, and each minute.
    node.start();
    node.wait_until("it looked again", |node| {
        node.state() == "connected" && node.status("quorum_current") == "2"
    });
    assert!(watched(&node)["quorum"].as_str().unwrap().contains("one more must not fail"));
    trio.servers[1].kill();
    node.wait_until("they are too few", |node| node.status("no_quorum") == "true");
    let few = watched(&node);
    assert!(few["summary"].as_str().unwrap().ends_with("no quorum"), "{few}");
    assert_eq!(few["has_quorum"], false, "{few}");
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
