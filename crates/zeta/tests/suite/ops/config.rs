//! The configuration file: what it gives, what is over it, and what is said when it is wrong.

use std::process::Command;

use super::sandbox::{Done, Sandbox};

#[test]
fn configuration_is_read_and_overruled_in_order() {
    let sandbox = Sandbox::new();
    let tree = sandbox.dir().join("configured");
    let agent = "agent = \"otto-cli\"\nttl = \"5m\"\n";
    sandbox.configure(&format!("state_dir = \"{}\"\n{agent}", tree.display()));
    let shown = |call: &mut Command| Done::of(call).expect(0).json();
    let call = &["lease", "acquire", "a", "--json"];
    let lease = shown(sandbox.command(call).env_remove("ZETA_STATE_DIR"));
    assert_eq!((&lease["agent"], &lease["ttl_ms"]), (&"otto-cli".into(), &300_000.into()));
    assert!(tree.join("nodes").exists());
    let lease = shown(sandbox.command(call).env("ZETA_AGENT", "max"));
    assert_eq!(lease["agent"], "max");
    assert!(sandbox.tree().exists(), "ZETA_STATE_DIR is over the file");
    let call = &["lease", "acquire", "b", "--json", "--as", "eve", "--ttl", "7s"];
    let lease = shown(sandbox.command(call).env("ZETA_AGENT", "max"));
    assert_eq!((&lease["agent"], &lease["ttl_ms"]), (&"eve".into(), &7_000.into()));
}

#[test]
fn a_broken_configuration_is_status_7_with_file_line_and_remedy() {
    for (text, line, words) in [
        ("\nstate-dir = \"/x\"\n", 2, "did you mean \"state_dir\""),
        ("agnet = \"otto\"\n", 1, "did you mean \"agent\""),
        ("ttl = \"10 parsecs\"\n", 1, "10m"),
        ("ttl = 10\n", 1, "string"),
        ("node = \"A\"\n", 1, "RFC 1123"),
        ("# fine\n\nttl = \n", 3, ""),
    ] {
        let sandbox = Sandbox::new();
        sandbox.configure(text);
        // Each verb that reads the file; those of the bus need nothing that stands in it.
        for verb in [
            "init",
            "doctor",
            "clean",
            "status",
            "heartbeat",
            "run true",
            "marker list",
            "persona list",
            "lease list",
            "lease acquire a",
            "lease exec a true",
            "claim list",
            "node show",
        ] {
            let call: Vec<&str> = verb.split(' ').collect();
            let done = sandbox.zeta(&call).expect(7);
            let place = format!("config.toml:{line}: ");
            // What the doctor finds is its answer.
            let said = done.out + &done.err;
            assert!(said.contains(&place) && said.contains(words), "{verb}: {text:?}: {said}");
        }
        assert!(!sandbox.tree().exists());
    }
}
