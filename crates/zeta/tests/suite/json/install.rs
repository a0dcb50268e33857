//! The answers and the refusals of `install` fit their schemas, and so do manifests.

use std::path::Path;

use serde_json::Value;

use super::{check, misfits};
use crate::support::Sandbox;

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/install")
}

#[test]
fn install() {
    let sandbox = Sandbox::new();
    let manifest = examples().join("worker.toml");
    let state = sandbox.dir.join("install");
    let places = ["--state", state.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()];
    let call = |verb: &[&str], status| check(&sandbox, &[verb, &places].concat(), status);
    // No machine that runs tests has the disk of the example.
    let plan = call(&["install", "plan"], 7);
    let words: Vec<&Value> =
        plan["findings"].as_array().unwrap().iter().map(|one| &one["finding"]).collect();
    assert_eq!(words, ["disk_vanished", "not_on_stick", "not_on_stick"], "{plan}");
    assert_eq!(call(&["install", "run", "--dry-run"], 7)["refusal"], "disk_vanished");
    assert_eq!(call(&["install", "run"], 7)["refusal"], "disk_vanished");
    assert_eq!(call(&["install", "status"], 7)["findings"][0]["finding"], "disk_vanished");
    call(&["install", "run", "--override", "cache"], 2);
    call(&["install", "run", "--anew"], 4);
    assert!(!state.exists(), "what is refused leaves no file");
    let status = check(&sandbox, &["install", "status", "--state", places[1]], 0);
    assert_eq!(status["state"], "not_begun");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("journal"), "{}\n").unwrap();
    let status = check(&sandbox, &["install", "status", "--state", places[1]], 7);
    assert_eq!(
        (&status["state"], &status["findings"][0]["finding"]),
        (&"damaged".into(), &"journal_damaged".into())
    );
}

/// The least that a manifest has.
const LEAST: &str = "schema = 1\n[ace]\nsource = \"/srv/nodes\"\n[ace.disks]\nboot = \"Z9\"\n\
    data = \"none\"\nwipe_strategy = \"full\"\n[ace.initial_password]\nsource = \"generate\"\n";

/// Keys that are added, and whether the manifest is right then.
const MORE: [(&str, bool); 40] = [
    ("[ace.discovery.disks]\ninternal = false", true),
    ("[ace.discovery.disks]\ninternal = \"no\"", false),
    ("[ace.partitions.boot]\nesp = \"512M\"\nroot = \"rest\"\nlonghorn1 = \"none\"", true),
    ("[ace.partitions.boot]\nesp = \"31M\"", false),
    ("[ace.partitions.boot]\nesp = \"rest\"", false),
    ("[ace.partitions.boot]\nroot = \"none\"", false),
    ("[ace.partitions.boot]\nroot = \"64\"", false),
    ("[ace.partitions.data]\nlonghorn = \"1T\"", true),
    ("[ace.partitions.data]\nlonghorn2 = \"1T\"", false),
    ("[ace.filesystems]\nroot = \"btrfs\"\nesp = \"vfat\"", true),
    ("[ace.filesystems]\nroot = \"zfs\"", false),
    ("[ace.filesystems]\nesp = \"ext4\"", false),
    ("[ace.ssh]\noperator_pubkey = \"manual\"", true),
    ("[ace.ssh]\noperator_pubkey = \"ssh-ed25519 AAAA\"", false),
    ("[ace.auth.github]\nmethod = \"pat\"\npat = \"env:GH\"", true),
    ("[ace.auth.github]\nmethod = \"pat\"", false),
    ("[ace.auth.github]\nmethod = \"pat\"\npat = \"ghp_x\"", false),
    ("[ace.auth]\nuser = \"ace\"\npersona = \"otto\"\ngithub.method = \"skip\"", true),
    ("[ace.auth]\nuser = \"--x\"", false),
    ("[ace.auth]\npersona = \"a b\"", false),
    ("[ace.auth.github]\nblob = \"a b\"", false),
    ("[ace.auth.github]\npassphrase = \"env:P\"", false),
    ("[ace.hostname]\nsource = \"env\"\nenv = \"NAME\"", true),
    ("[ace.hostname]\nsource = \"env\"", false),
    ("[ace.hostname]\nrfc1123 = false", false),
    ("[ace.hostname]\nprefix = \"Node\"", false),
    ("[ace.network]\nranges = [\"10.42.0.0/16\"]\nwifi.persist_from_live_usb = false", true),
    ("[ace.network]\nranges = [\"10.42.0.0\"]", false),
    ("[ace.cluster.self_register]\nidempotent = true\ndedup = true", true),
    ("[ace.cluster.self_register]\npost_install_first_boot = true", false),
    ("[ace.cluster.self_register]\ndedup = false", false),
    ("[ace.cluster.self_register]\nrepository = \"acme\"", false),
    ("[ace.cluster.self_register]\nmaintainer = \"--x\"", false),
    ("[ace.nixos_install]\nflags = [\"--impure\", \"--cores\", \"4\"]", true),
    ("[ace.nixos_install]\nflags = [\"--cores\", \"4\"]", false),
    ("[ace.nixos_install]\nflags = [\"--impure\", \"--root\"]", false),
    ("[ace.nixos_install]\nflake = \"a#b\"", false),
    ("[ace.post_install.banner.sections]\ngithub = \"log in\"", true),
    ("[ace.post_install.banner.sections]\nother = \"x\"", false),
    ("[ace.unknown]\nkey = 1", false),
];

/// Values that are changed, and whether the manifest is right then.
const CHANGED: [(&str, &str, bool); 18] = [
    ("\"Z9\"", "\"auto\"", true),
    ("\"Z9\"", "\" \"", false),
    ("\"none\"", "\"all\"", false),
    ("boot = \"Z9\"\n", "", false),
    ("\"full\"", "\"preserve_data\"", true),
    ("wipe_strategy = \"full\"\n", "", false),
    ("schema = 1", "schema = 2", false),
    ("schema = 1\n", "", false),
    ("\"/srv/nodes\"", "\"-x\"", false),
    ("\"/srv/nodes\"", "\"\"", false),
    ("\"/srv/nodes\"", "\"/srv/nodes\"\nsource_commit = \"main\"", false),
    ("\"/srv/nodes\"", "\"/srv/nodes\"\nruntimes = [\"node@22\", \"bun\"]", true),
    ("\"/srv/nodes\"", "\"/srv/nodes\"\nruntimes = [\"node@\"]", false),
    ("\"/srv/nodes\"", "\"/srv/nodes\"\ncli_install = [\"cursor\"]", false),
    ("\"generate\"", "\"env\"\nenv = \"P\"\nhash = \"yescrypt\"", true),
    ("\"generate\"", "\"env\"", false),
    ("\"generate\"", "\"zeta-change-me\"", false),
    ("source = \"generate\"\n", "", false),
];

#[test]
fn install_manifest() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("node.toml");
    let state = sandbox.dir.join("install");
    let compare = |text: &str, is_right: bool| {
        std::fs::write(&file, text).unwrap();
        let args = ["install", "plan", "--json", "--manifest", file.to_str().unwrap()];
        let out = sandbox.zeta(&[&args[..], &["--state", state.to_str().unwrap()]].concat());
        let answer: Value = serde_json::from_str(&out.out).unwrap();
        assert_eq!(answer.get("error").is_none(), is_right, "the program, of {text:?}: {answer}");
        let fits =
            toml::from_str::<Value>(text).map(|value| misfits("file install-manifest", &value));
        assert_eq!(fits == Ok(Vec::new()), is_right, "the schema, of {text:?}: {fits:?}");
    };
    compare(LEAST, true);
    for name in ["worker.toml", "laptop.toml"] {
        compare(&std::fs::read_to_string(examples().join(name)).unwrap(), true);
    }
    for (more, is_right) in MORE {
        compare(&format!("{LEAST}{more}\n"), is_right);
    }
    for (from, to, is_right) in CHANGED {
        assert!(LEAST.contains(from), "{from}");
        compare(&LEAST.replacen(from, to, 1), is_right);
    }
}
