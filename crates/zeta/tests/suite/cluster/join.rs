//! `zeta cluster join`: a key that stays, a name and a cluster that it is bound to.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::nats::Server;
use super::{identity_dir, nats, program, programs, seed};
use crate::support::{Sandbox, test_name};

fn answer(sandbox: &Sandbox, args: &[&str], status: i32) -> Value {
    let out = sandbox.zeta(&[&["--json", "cluster"], args].concat());
    assert_eq!(out.status, status, "{args:?}: {out:?}");
    serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{out:?}"))
}

#[test]
fn a_key_is_made_once_and_its_seed_is_never_shown() {
    let sandbox = Sandbox::new();
    let line = sandbox.ok(&["cluster", "join", "--key-only"]);
    let (node, key) = line.split_once(' ').unwrap();
    assert_eq!(std::fs::read_to_string(sandbox.state.join("local-node")).unwrap().trim(), node);
    assert!(key.starts_with('U') && key.len() == 56, "{line}");
    assert_eq!(sandbox.ok(&["cluster", "join", "--key-only"]), line);
    let found = answer(&sandbox, &["join", "--key-only"], 0);
    assert_eq!((&found["line"], &found["key_made"]), (&json!(line), &json!(false)));
    let path = identity_dir(&sandbox).join("node.nk");
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert!(seed(&sandbox).starts_with("SU") && !found.to_string().contains(seed(&sandbox).trim()));
    // A server that is not there changes nothing, and the line is said for its operator.
    let out = sandbox.refused(&["cluster", "join", "--server", "nats://127.0.0.1:1"], 6);
    assert!(out.err.contains(&line) && !out.err.contains(seed(&sandbox).trim()), "{out:?}");
    assert!(!identity_dir(&sandbox).join("identity").exists());
}

#[test]
fn eight_callers_at_once_make_one_key() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    let start = |_| {
        let mut command = sandbox.cmd(&["cluster", "join", "--key-only"]);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let calls: Vec<_> = (0..8).map(start).collect();
    let lines: std::collections::BTreeSet<String> = calls
        .into_iter()
        .map(|call| String::from_utf8(call.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines.first().unwrap().contains(" U"), "{lines:?}");
}

#[test]
fn a_machine_joins_one_cluster_under_one_name() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), "").unwrap();
        let url = server.url();
        let join = ["join", "--server", url.as_str()];
        let out = sandbox.refused(&[&["cluster"], join.as_slice()].concat(), 7);
        assert!(out.err.contains("no cluster") && out.err.contains("init"), "{out:?}");
        let made = answer(&sandbox, &["init", "--server", &url], 0);
        let first = answer(&sandbox, &join, 0);
        assert_eq!((&first["joined"], &first["joined_before"]), (&json!(true), &json!(false)));
        assert_eq!((&first["cluster"], &first["account"]), (&made["cluster"], &json!("store")));
        let again = answer(&sandbox, &join, 0);
        assert_eq!((&again["joined_before"], &again["line"]), (&json!(true), &first["line"]));
        let out = sandbox.zeta(&[&["cluster"], join.as_slice()].concat());
        assert!(out.out.contains("trust each other"), "{out:?}");

        // Another cluster is refused by both ids, and the identity stays.
        let other = Server::start(&program, &sandbox.dir.join("other"), "").unwrap();
        let url_there = other.url();
        // Where it is not, nothing is made in its place: holders may count on its leases.
        let status = answer(&sandbox, &["status", "--server", &url_there], 7);
        assert_eq!(status["findings"][0]["finding"], "other_cluster", "{status}");
        let out = sandbox.refused(&["cluster", "init", "--server", &url_there], 7);
        assert!(out.err.contains(made["cluster"].as_str().unwrap()), "{out:?}");
        let foreign = answer(&Sandbox::new(), &["init", "--server", &url_there], 0);
        let status = answer(&sandbox, &["status", "--server", &url_there], 7);
        assert_eq!(status["findings"][0]["finding"], "other_cluster", "{status}");
        let out = sandbox.refused(&["cluster", "join", "--server", &other.url()], 7);
        for id in [&made["cluster"], &foreign["cluster"]] {
            assert!(out.err.contains(id.as_str().unwrap()), "{out:?} has no {id}");
        }
        assert_eq!(answer(&sandbox, &join, 0)["joined_before"], true);

        // So is another name: of another node, and of this machine under a new one.
        let out = sandbox.refused(&["--node", "otto", "cluster", "join", "--server", &url], 7);
        assert!(out.err.contains("otto") && out.err.contains("--node"), "{out:?}");
        std::fs::remove_dir_all(&sandbox.state).unwrap();
        std::fs::remove_dir_all(sandbox.dir.join(".local/state/zeta/nodes")).ok();
        let mut command = sandbox.cmd(&["cluster", "join", "--server", &url]);
        command.env("XDG_STATE_HOME", sandbox.dir.join("new"));
        command.env("ZETA_CLUSTER_DIR", identity_dir(&sandbox));
        let out = crate::support::run(&mut command);
        let old = first["node"].as_str().unwrap();
        assert!(out.status == 7 && out.err.contains(old), "{out:?}");
    }
}

#[test]
fn a_name_that_another_machine_has_is_refused_and_both_keys_are_named() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    sandbox.ok(&["cluster", "init", "--server", &url]);
    let line = sandbox.ok(&["cluster", "join", "--key-only"]);
    let (node, key) = line.split_once(' ').unwrap();
    let other = nkeys::KeyPair::new_user().public_key();
    let card = format!("schema: 1\nkind: \"card\"\npublic_key: \"{other}\"\nend: true\n");
    let subject = format!("zeta1.state.{node}.card.self");
    server.client().unwrap().request(&subject, &card).unwrap();
    let out = sandbox.refused(&["cluster", "join", "--server", &url], 7);
    for part in [node, key, &other, "--new-key"] {
        assert!(out.err.contains(part), "{out:?} has no {part}");
    }
    assert!(!identity_dir(&sandbox).join("identity").exists());
    sandbox.ok(&["cluster", "join", "--server", &url, "--new-key"]);
}

#[test]
fn a_directory_that_is_not_as_it_was_is_named() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    sandbox.ok(&["cluster", "init", "--server", &url]);
    sandbox.ok(&["cluster", "join", "--server", &url]);
    let dir = identity_dir(&sandbox);
    let join = ["cluster", "join", "--server", url.as_str()];
    let keys = dir.join("keys");
    let good = std::fs::read_to_string(&keys).unwrap();
    // The operator wrote another key for this node.
    let node = good.split(' ').next().unwrap();
    let other = nkeys::KeyPair::new_user().public_key();
    std::fs::write(&keys, format!("strict\n{node} {other}\n")).unwrap();
    let out = sandbox.refused(&join, 7);
    assert!(out.err.contains("keys") && out.err.contains(good.trim()), "{out:?}");
    std::fs::write(&keys, format!("strict\n{good}")).unwrap();
    sandbox.ok(&join);
    std::fs::write(&keys, "node-a SUAB\n").unwrap();
    assert!(sandbox.refused(&join, 7).err.contains("line 1"));
    std::fs::write(&keys, good).unwrap();
    // Another key in place of its own.
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    std::fs::write(dir.join("node.nk"), format!("{seed}\n")).unwrap();
    let out = sandbox.refused(&join, 7);
    assert!(out.err.contains("not the key of") && !out.err.contains(&seed), "{out:?}");
}
