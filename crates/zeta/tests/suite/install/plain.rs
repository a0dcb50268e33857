//! What needs no disk: manifests, sticks and journals that are wrong, and plans of the examples.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeta_core::record::is_unprintable;

use crate::support::{Out, Sandbox, run};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/install")
}

/// A listing of disks that are nowhere: nothing of them can be read.
const LISTING: &str = r#"{"blockdevices": [
    {"name": "/dev/sdx", "path": "/dev/sdx", "type": "disk", "tran": "sata", "size": 512110190592,
     "ro": false, "serial": "S4EVNX0M123456", "model": "M", "mountpoints": [null]},
    {"name": "/dev/sdy", "path": "/dev/sdy", "type": "disk", "tran": "usb", "size": 32010190592,
     "ro": false, "serial": "U1", "model": "M", "mountpoints": ["/iso"]}]}"#;

fn call(sandbox: &Sandbox, listing: &str, args: &[&str]) -> Out {
    let bin = sandbox.dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let lsblk = bin.join("lsblk");
    fs::write(sandbox.dir.join("listing"), listing).unwrap();
    let text = format!("#!/bin/sh\ncat {}\n", sandbox.dir.join("listing").display());
    fs::write(&lsblk, text).unwrap();
    fs::set_permissions(&lsblk, fs::Permissions::from_mode(0o755)).unwrap();
    let state = sandbox.dir.join("install");
    let args = [args, &["--state", state.to_str().unwrap()]].concat();
    let mut command = sandbox.cmd(&[&["install"][..], &args].concat());
    let path = std::env::var("PATH").unwrap();
    run(command.env("PATH", format!("{}:{path}", bin.display())))
}

#[test]
fn a_plan_of_each_example_shows_every_step_and_changes_nothing() {
    let sandbox = Sandbox::new();
    for name in ["worker.toml", "laptop.toml"] {
        let manifest = examples().join(name);
        let svg = sandbox.dir.join("steps.svg");
        let args = ["plan", "--json", "--manifest", manifest.to_str().unwrap()];
        let args = [&args[..], &["--svg", svg.to_str().unwrap()]].concat();
        let out = call(&sandbox, LISTING, &args);
        let plan: Value = serde_json::from_str(&out.out).unwrap();
        assert_eq!(plan["steps"].as_array().unwrap().len(), 15, "{out:?}");
        let destructive = |step: &&Value| step["is_destructive"] == true;
        assert_eq!(plan["steps"].as_array().unwrap().iter().filter(destructive).count(), 3);
        // The disk is nowhere, so it is left out by name, and the plan is refused.
        let left = plan["left"].as_array().unwrap();
        assert_eq!(left.len(), 2, "{plan}");
        assert!(left[1]["why"].as_str().unwrap().contains("/iso"), "{plan}");
        assert!([3, 7].contains(&out.status), "{out:?}");
        assert!(fs::read_to_string(&svg).unwrap().ends_with("</svg>\n"));
        assert!(!sandbox.dir.join("install").exists(), "a plan writes nothing");
        let text = call(&sandbox, LISTING, &["plan", "--manifest", manifest.to_str().unwrap()]);
        assert!(text.out.contains("wipe the chosen disks") && text.out.contains("is not set"));
    }
}

#[test]
fn a_listing_that_cannot_be_read_and_a_manifest_that_is_wrong_end_with_7() {
    let sandbox = Sandbox::new();
    let laptop = examples().join("laptop.toml");
    let laptop = laptop.to_str().unwrap();
    for listing in ["", "{", "3", "{\"blockdevices\": 3}"] {
        let out = call(&sandbox, listing, &["plan", "--manifest", laptop]);
        assert_eq!(out.status, 7, "{listing:?}: {out:?}");
        assert!(out.err.contains("lsblk printed what cannot be read"), "{out:?}");
        assert_eq!(call(&sandbox, listing, &["run", "--manifest", laptop]).status, 7);
    }
    let text = fs::read_to_string(laptop).unwrap();
    let file = sandbox.dir.join("node.toml");
    for (from, to, words) in [
        ("schema = 1", "schema = 2", "node.toml:2: it is of version 2"),
        ("wipe_strategy", "wipe_stratgy", "the nearest key is ace.disks.wipe_strategy"),
        ("data = \"none\"", "", "the key ace.disks.data is not set"),
    ] {
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        for verb in ["plan", "run", "status"] {
            let out = call(&sandbox, LISTING, &[verb, "--manifest", file.to_str().unwrap()]);
            assert_eq!(out.status, 7, "{verb}, {to:?}: {out:?}");
            assert!(out.err.contains(words), "{out:?}");
        }
    }
    let out =
        call(&sandbox, LISTING, &["run", "--manifest", laptop, "--answer", "password=secret"]);
    assert!(out.status == 2 && out.err.contains("a password is no argument"), "{out:?}");
    assert!(!out.err.contains("=secret"));
    assert_eq!(call(&sandbox, LISTING, &["run", "--manifest", laptop, "--anew"]).status, 4);
    assert_eq!(call(&sandbox, LISTING, &["status"]).status, 0);
}

#[test]
fn of_a_stick_only_listed_files_are_taken_and_each_only_with_its_digest() {
    let sandbox = Sandbox::new();
    let laptop = examples().join("laptop.toml");
    let stick = sandbox.dir.join("stick");
    fs::create_dir(&stick).unwrap();
    let read = |words: &str| {
        let args = ["plan", "--manifest", laptop.to_str().unwrap(), "--stick"];
        let out = call(&sandbox, LISTING, &[&args[..], &[stick.to_str().unwrap()]].concat());
        assert!(out.err.contains(words), "{words:?}: {out:?}");
        out.status
    };
    assert_eq!(read("so nothing on it can be taken"), 7);
    let digest = zeta_core::stick::manifest::digest(b"node-1\n");
    let list = format!(
        "{{\"schema\":1,\"image\":{{\"bytes\":1,\"sha256\":\"{digest}\"}},\"volume_id\":null,\
         \"files\":[{{\"name\":\"zeta-hostname.txt\",\"bytes\":7,\"sha256\":\"{digest}\",\
         \"secret\":false}}]}}"
    );
    fs::write(stick.join("zeta-stick.json"), &list).unwrap();
    assert_eq!(read("the listed file \"zeta-hostname.txt\" is not there"), 7);
    fs::write(stick.join("zeta-hostname.txt"), "node-2\n").unwrap();
    assert_eq!(read("its digest differs"), 7);
    fs::write(stick.join("zeta-hostname.txt"), "node-1\n").unwrap();
    // A file that is not in the list is as if it were not there.
    fs::write(stick.join("zeta-authorized-keys.pub"), "ssh-ed25519 AAAA evil\n").unwrap();
    assert_eq!(read(""), 7, "no disk");
    fs::write(stick.join("zeta-stick.json"), list.replacen("\"schema\":1", "\"schema\":2", 1))
        .unwrap();
    assert_eq!(read("it is of version 2"), 7);
    fs::write(stick.join("zeta-stick.json"), "").unwrap();
    assert_eq!(read("it is no list of files"), 7);
}

#[test]
fn a_journal_that_another_user_could_have_written_has_no_consent() {
    let sandbox = Sandbox::new();
    let state = sandbox.dir.join("install");
    fs::create_dir(&state).unwrap();
    let journal = state.join("journal");
    fs::write(&journal, "").unwrap();
    let laptop = examples().join("laptop.toml");
    let laptop = laptop.to_str().unwrap();
    assert_eq!(call(&sandbox, LISTING, &["status"]).status, 0);
    for (path, mode) in [(&journal, 0o666), (&state, 0o777)] {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for args in
            [&["status"][..], &["plan", "--manifest", laptop], &["run", "--manifest", laptop]]
        {
            let out = call(&sandbox, LISTING, args);
            assert_eq!(out.status, 7, "{args:?}: {out:?}");
            assert!(out.err.contains("may write") || out.err.contains("write to it"), "{out:?}");
        }
        fs::set_permissions(path, before).unwrap();
    }
}

#[test]
fn what_a_disk_says_of_itself_moves_no_cursor_and_makes_no_line() {
    let sandbox = Sandbox::new();
    let laptop = examples().join("laptop.toml");
    // The path, the mount point and the serial number are not zeta's.
    let listing = LISTING
        .replace("/iso", "/iso\\u001b[31m\\nforged")
        .replace("/dev/sdx", "/dev/sdx\\u001b]0;x\\u0007")
        .replace("U1", "U1\\u009b\\nforged");
    let out = call(&sandbox, &listing, &["plan", "--manifest", laptop.to_str().unwrap()]);
    assert!(out.out.contains("is left out") && out.out.contains("forged"), "{out:?}");
    for text in [&out.out, &out.err] {
        assert!(!text.chars().any(|c| c != '\n' && is_unprintable(c)), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    }
}
