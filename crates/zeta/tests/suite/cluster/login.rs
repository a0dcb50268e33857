//! Logins: which files are taken, and what the server refuses is named.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::nats::Server;
use super::{nats, program};
use crate::support::{Sandbox, test_name};

/// Without a login a caller is `plain`, who may do all. `reader` may only ask whether JetStream is
/// there.
const USERS: &str = r#"
authorization { users: [
  { user: plain, password: "plain-word" }
  { user: reader, password: "reader-word", permissions: { publish: ["$JS.API.INFO"] } }
] }
no_auth_user: plain
"#;

fn credentials(sandbox: &Sandbox, text: &str, mode: u32) -> String {
    let path = sandbox.dir.join("login");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn a_login_is_taken_from_a_private_file_and_a_refusal_is_named() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), USERS).unwrap();
    let url = server.url();
    let call = |verb: &str, text: &str, mode: u32, status: i32| {
        let file = credentials(&sandbox, text, mode);
        let out = sandbox.zeta(&["cluster", verb, "--server", &url, "--credentials", &file]);
        assert_eq!(out.status, status, "{text:?}: {out:?}");
        let secret = ["plain-word", "reader-word", "wrong-word"];
        assert!(!secret.iter().any(|word| out.err.contains(word)), "{out:?}");
        out.err
    };
    let err = call("init", "plain:wrong-word\n", 0o600, 7);
    assert!(err.contains("refuses the login"), "{err}");
    let err = call("init", "plain:plain-word", 0o644, 7);
    assert!(err.contains("0644") && err.contains("0600"), "{err}");
    let err = call("init", "plain-word", 0o600, 7);
    assert!(err.contains("no login") && err.contains("SU…"), "{err}");
    // The server tells of a permission that is missing by an event, and never answers.
    let begun = std::time::Instant::now();
    let err = call("init", "reader:reader-word", 0o600, 7);
    assert!(err.contains("Permissions Violation") && err.contains("STREAM.INFO"), "{err}");
    assert!(begun.elapsed().as_secs() < 8, "it waited for an answer: {err}");
    call("init", "plain:plain-word\n", 0o600, 0);
}

#[test]
fn the_configuration_names_the_server_and_the_login() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = Server::start(&program, &sandbox.dir.join("s"), USERS).unwrap();
    let file = credentials(&sandbox, "plain:plain-word", 0o600);
    let dir = sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&dir).unwrap();
    let text = format!("cluster_server = \"{}\"\ncluster_credentials = \"{file}\"\n", server.url());
    std::fs::write(dir.join("config.toml"), text).unwrap();
    sandbox.ok(&["cluster", "init"]);
    let mut command = sandbox.cmd(&["cluster", "status"]);
    command.env("ZETA_CLUSTER_SERVER", "nats://127.0.0.1:1");
    assert_eq!(crate::support::run(&mut command).status, 6, "a variable is over the file");
    let out = sandbox.zeta(&["cluster", "status", "--server", &server.url()]);
    assert_eq!(out.status, 0, "{out:?}");
}
