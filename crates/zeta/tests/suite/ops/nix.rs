//! The modules for NixOS, evaluated by Nix itself: they make the units that we ship.

mod posts;
mod register;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Map, Value};

use super::sandbox::{Done, Sandbox};
use crate::support::{find, skip, test_name};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What the module for credentials makes of these settings, or what Nix says about them.
fn evaluate(settings: &str) -> Result<Value, String> {
    evaluate_module("creds-restore", &format!("zeta.credsRestore = {{ {settings} }};"))
}

/// What modules, whose names blanks divide, make of these settings, or what Nix says about them.
fn evaluate_module(names: &str, settings: &str) -> Result<Value, String> {
    let sandbox = Sandbox::new();
    let evaluator = format!("{ROOT}/crates/zeta/tests/suite/ops/nix/evaluate.nix");
    let modules: String = names.split(' ').map(|name| format!("{ROOT}/nix/{name}.nix ")).collect();
    let modules = format!("[ {modules}]");
    let text =
        format!("import {evaluator} {{ modules = {modules}; settings = {{ {settings} }}; }}");
    let file = sandbox.dir().join("ask.nix");
    fs::write(&file, text).unwrap();
    let mut nix = Command::new("nix-instantiate");
    nix.args(["--eval", "--strict", "--json"]).arg(file);
    // Nix keeps its store and its caches in the home and in /nix, which this test does not use.
    nix.env("NIX_REMOTE", "dummy://").env("HOME", sandbox.dir());
    let done = Done::of(&mut nix);
    match done.status {
        0 => Ok(serde_json::from_str(&done.out).unwrap()),
        _ => Err(done.err),
    }
}

const LEAST: &str = "enable = true; package = \"/p\";";

fn unit(made: &Value) -> &Map<String, Value> {
    made["systemd"]["services"]["zeta-creds-restore"].as_object().unwrap()
}

fn start(made: &Value) -> String {
    unit(made)["serviceConfig"]["ExecStart"].as_str().unwrap().to_owned()
}

/// Each key of a section of the shipped unit for credentials.
fn shipped(section: &str) -> Keys {
    shipped_unit("zeta-creds-restore.service", section)
}

/// Keys of a section, each with all words that it is given.
type Keys = BTreeMap<String, Vec<String>>;

/// Each key of a section of a shipped unit.
fn shipped_unit(unit: &str, section: &str) -> Keys {
    let text = fs::read_to_string(format!("{ROOT}/units/{unit}")).unwrap();
    let mut here = false;
    let mut keys = Keys::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with('[') {
            here = line == section;
        } else if here {
            let (key, words) = line.split_once('=').unwrap();
            let words = words.split_whitespace().map(str::to_owned);
            keys.entry(key.to_owned()).or_default().extend(words);
        }
    }
    keys
}

/// The options of a unit that a module made, as words of a unit.
fn keys(made: &Value) -> Keys {
    let options = made.as_object().into_iter().flatten();
    options.map(|(key, value)| (key.clone(), words(value))).collect()
}

/// A value of Nix, as words of a unit.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(true) => vec!["yes".to_owned()],
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(values) => values.iter().flat_map(words).collect(),
        other => panic!("what would systemd make of {other}?"),
    }
}

#[test]
fn the_module_of_nixos_makes_the_unit_that_is_shipped() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let made = evaluate(LEAST).unwrap();
    let unit = unit(&made);
    let mut service = shipped("[Service]");
    let start = service.remove("ExecStart").unwrap().join(" ");
    // The options stand in the unit itself, so no file of arguments is read.
    service.remove("EnvironmentFile").unwrap();
    let mut from_module = keys(&unit["serviceConfig"]);
    let module_start = from_module.remove("ExecStart").unwrap().join(" ");
    assert_eq!(from_module, service);
    let common = start.strip_suffix(" $ZETA_CREDS_ARGS").unwrap();
    let common = common.replace("/usr/local/bin", "/p/bin");
    assert!(module_start.starts_with(&format!("{common} --")), "{module_start}");

    let file = shipped("[Unit]");
    for (key, option) in [("After", "after"), ("Before", "before")] {
        assert_eq!(file[key], words(&unit[option]), "{key}");
    }
    assert_eq!(file["Description"].join(" "), unit["description"]);
    assert_eq!(file["RequiresMountsFor"], words(&unit["unitConfig"]["RequiresMountsFor"]));
    assert_eq!(shipped("[Install]")["WantedBy"], words(&unit["wantedBy"]));
    assert_eq!((words(&unit["requiredBy"]), words(&made["warnings"])), (vec![], vec![]));
}

#[test]
fn the_options_of_nixos_become_arguments() {
    if find("nix-instantiate").is_none() {
        return skip(test_name!(), "no nix-instantiate");
    }
    let made = evaluate(LEAST).unwrap();
    let names = "blobPath enable factorPath group home package passphraseFile passphraseMode \
                 persona repoRoot scriptPath uefiKeyfilePath usbISerialPath usbUuidPath user";
    let options = words(&made["options"]);
    for name in names.split_whitespace() {
        let option = format!("zeta.credsRestore.{name}");
        assert!(options.contains(&option), "no option {name}");
    }
    let said = start(&made);
    assert!(said.contains("--user zeta ") && !said.contains("--ask"), "{said}");

    let all = format!(
        "{LEAST} user = \"ace\"; home = \"/srv/ace\"; blobPath = \"/esp/c.enc\"; persona = \"otto\";
        usbUuidPath = \"/u\"; usbISerialPath = \"/s\"; uefiKeyfilePath = \"/k\";
        factorPath = \"/f\";
        passphraseMode = \"interactive\"; passphraseFile = \"/run/p\"; blockRegistration = true;
        passphraseCredential = \"/c.cred\"; repoRoot = \"/r\"; group = \"users\";"
    );
    let made = evaluate(&all).unwrap();
    assert_eq!(
        start(&made),
        "/p/bin/zeta creds restore --at-boot --input /esp/c.enc --user ace --factor-file /f \
         --usb-uuid-file /u --usb-iserial-file /s --uefi-keyfile /k --passphrase-file /run/p \
         --ask --persona otto"
    );
    let unit = unit(&made);
    assert_eq!(words(&unit["unitConfig"]["RequiresMountsFor"]), ["/esp"]);
    assert_eq!(words(&unit["requiredBy"]), ["zeta-node-register.service"]);
    let service = &unit["serviceConfig"];
    assert!(words(&service["ReadWritePaths"]).contains(&"-/srv/ace".to_owned()));
    assert_eq!(service["LoadCredentialEncrypted"], "zeta-creds-passphrase:/c.cred");
    let warnings = made["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");

    // What systemd would split, expand or take for an option is refused by its type.
    for wrong in [
        "user = \"-r\";",
        "user = \"a b\";",
        "blobPath = \"/boot/$HOME\";",
        "blobPath = \"boot/x\";",
        "passphraseMode = \"fiel\";",
        "persona = \"%n\";",
    ] {
        let said = evaluate(&format!("{LEAST} {wrong}")).unwrap_err();
        assert!(said.contains("is of another type"), "{wrong}: {said}");
    }
    let off = evaluate("enable = false;").unwrap();
    assert!(off.get("systemd").is_none(), "{off}");
}
