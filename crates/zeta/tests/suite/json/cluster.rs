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
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let server = nats::Server::start(&program, &sandbox.dir.join("s"), "").unwrap();
    let url = server.url();
    let call = |verb, status| check(&sandbox, &["cluster", verb, "--server", &url], status);
    assert_eq!(call("status", 7)["findings"][0]["finding"], "not_initialized");
    assert_eq!(call("init", 0)["created"], true);
    assert_eq!(call("init", 0)["created"], false);
    assert_eq!(call("status", 0)["healthy"], true);
    server.client().unwrap().api("STREAM.DELETE.ZETA1_STATE", &serde_json::Value::Null).unwrap();
    assert_eq!(call("init", 7)["error"], "unsafe");
    assert_eq!(call("status", 7)["healthy"], false);
}
