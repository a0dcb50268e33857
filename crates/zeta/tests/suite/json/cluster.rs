//! The answers and the refusals of `cluster` fit their schemas.

use super::check;
use crate::cluster::{nats, program};
use crate::support::{Sandbox, test_name};

#[test]
fn cluster() {
    let sandbox = Sandbox::new();
    for verb in ["init", "status"] {
        check(&sandbox, &["cluster", verb], 2);
        check(&sandbox, &["cluster", verb, "--server", "nats://127.0.0.1:1"], 6);
        check(&sandbox, &["cluster", verb, "--server", "ws://a"], 2);
    }
    assert_eq!(check(&sandbox, &["cluster", "join", "--key-only"], 0)["joined"], false);
    check(&sandbox, &["cluster", "compact", "--server", "nats://127.0.0.1:1"], 7);
    check(&sandbox, &["cluster", "join", "--server", "nats://127.0.0.1:1"], 6);
    check(&sandbox, &["cluster", "bridge", "--server", "nats://127.0.0.1:1"], 7);
    let key = nkeys::KeyPair::new_user().public_key();
    let member = format!("node-a={key}");
    let config = check(&sandbox, &["cluster", "config", "--member", &member], 0);
    assert_eq!(config["nodes"][0]["public_key"], key);
    check(&sandbox, &["cluster", "config"], 2);
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let server = nats::Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    let call = |verb, status| check(&sandbox, &["cluster", verb, "--server", &url], status);
    assert_eq!(call("status", 7)["findings"][0]["finding"], "not_initialized");
    assert_eq!(call("init", 0)["created"], true);
    assert_eq!(call("init", 0)["created"], false);
    assert_eq!(call("status", 0)["healthy"], true);
    assert_eq!(call("join", 0)["joined"], true);
    assert_eq!(call("compact", 0)["removed"], 0);
    let compact = ["cluster", "compact", "--server", &url];
    let with = |more: &[&str], status| check(&sandbox, &[&compact, more].concat(), status);
    assert_eq!(with(&["--dry-run"], 0)["dry_run"], true);
    with(&["--older-than", "1s"], 2);
    with(&["--forget", "node-nowhere"], 4);
    server.client().unwrap().api("STREAM.DELETE.ZETA1_STATE", &serde_json::Value::Null).unwrap();
    assert_eq!(call("init", 7)["error"], "unsafe");
    assert_eq!(call("status", 7)["healthy"], false);
    let again = ["cluster", "init", "--after-loss", "--server", &url];
    assert_eq!(check(&sandbox, &again, 0)["restored"][0], "ZETA1_STATE");
    assert_eq!(check(&sandbox, &again, 7)["error"], "unsafe");
}
