//! The programs in `examples/`, which show users the library, do what they say.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::{Out, Sandbox, run, run_within};

/// Runs an example. `cargo test` of the package builds it; a run of one test alone does not, so it
/// is built here then.
fn example(sandbox: &Sandbox, name: &str, args: &[&str]) -> Out {
    let tests = std::env::current_exe().unwrap();
    let built: PathBuf = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    if !built.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "zeta", "--example", name]);
        let out = run_within(&mut cargo, Duration::from_secs(100));
        assert_eq!(out.status, 0, "{out:?}");
    }
    let mut command = Command::new(&built);
    command.args(args).env("ZETA_STATE_DIR", &sandbox.state).env("HOME", &sandbox.dir);
    command.env("ZETA_BUS_DIR", sandbox.dir.join("bus")).env_remove("ZETA_SESSION");
    let out = run(&mut command);
    assert_eq!(out.status, 0, "{}: {out:?}", built.display());
    out
}

#[test]
fn the_example_of_a_lease_holds_and_releases_it() {
    let sandbox = Sandbox::new();
    let out = example(&sandbox, "hold_a_lease", &["job"]);
    assert!(out.out.contains("job is mine, with fencing token 1"), "{out:?}");
    assert!(out.out.contains("released: true"), "{out:?}");
    let token = sandbox.acquire(&["job"]);
    assert!(!out.out.contains(&token.to_string()), "the same token was granted twice");
}

#[test]
fn the_example_of_presence_shows_up_in_status() {
    let sandbox = Sandbox::new();
    let out = example(&sandbox, "be_present", &["builder", "2"]);
    assert_eq!(out.out.matches("builder beat at ").count(), 2, "{out:?}");
    let status = sandbox.ok(&["status"]);
    assert!(status.contains("builder"), "{status}");
}

#[test]
fn the_example_of_the_bus_gets_each_message_once() {
    let sandbox = Sandbox::new();
    let bus = sandbox.dir.join("bus");
    let bus = bus.to_str().unwrap();
    let payload = r#"{"content":"hello"}"#;
    sandbox.ok(&[
        "bus",
        "publish",
        "--bus-dir",
        bus,
        "--from",
        "vera",
        "--topic",
        "shadow-catch",
        "--payload",
        payload,
    ]);
    let out = example(&sandbox, "subscribe_to_bus", &["otto"]);
    assert!(out.out.contains("vera wrote about shadow-catch"), "{out:?}");
    assert!(example(&sandbox, "subscribe_to_bus", &["otto"]).out.contains("0 delivered"));
}
