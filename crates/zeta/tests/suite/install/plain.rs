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
    // What would fail after the wipe is refused when it is read.
    let network = br#"{"ssid":"n","password":"short"}"#;
    fs::write(stick.join("zeta-wifi-credentials.json"), network).unwrap();
    let digest = zeta_core::stick::manifest::digest(network);
    let of_wifi = list.replacen("zeta-hostname.txt", "zeta-wifi-credentials.json", 1);
    let of_wifi = of_wifi.replacen("\"bytes\":7", "\"bytes\":31", 1);
    let (before, after) = of_wifi.rsplit_once("sha256\":\"").unwrap();
    let of_wifi = format!("{before}sha256\":\"{digest}{}", &after[64..]);
    fs::write(stick.join("zeta-stick.json"), of_wifi).unwrap();
    assert_eq!(read("its password is not 8 to 63"), 7);
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

#[test]
fn answers_and_secrets_that_are_none_are_refused_and_not_kept() {
    let sandbox = Sandbox::new();
    let laptop = examples().join("laptop.toml");
    let laptop = laptop.to_str().unwrap();
    // A word that is no question could be a secret, and would stand in the journal.
    for answer in ["pat=ghp_0123", "wpie=wipe S3"] {
        for verb in ["plan", "run"] {
            let out = call(&sandbox, LISTING, &[verb, "--manifest", laptop, "--answer", answer]);
            assert!(out.status == 2 && out.err.contains("boot_disk, wipe, "), "{out:?}");
            assert!(!out.err.contains("ghp_0123"), "{out:?}");
        }
    }
    let file = sandbox.dir.join("secret");
    let answer = format!("password=@{}", file.display());
    let not_utf8: &[u8] = b"p\xe4ssword\n";
    for (secret, words) in
        [(not_utf8, "not UTF-8"), (b"a\nb\n", "one line"), (b"a\0b\n", "one line")]
    {
        fs::write(&file, secret).unwrap();
        let out = call(&sandbox, LISTING, &["run", "--manifest", laptop, "--answer", &answer]);
        assert!(out.status == 7 && out.err.contains(words), "{out:?}");
    }
}

#[test]
fn a_stick_that_is_a_pipe_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let laptop = examples().join("laptop.toml");
    let stick = sandbox.dir.join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &stick, mode).unwrap();
    let args = ["plan", "--manifest", laptop.to_str().unwrap(), "--stick", stick.to_str().unwrap()];
    let out = call(&sandbox, LISTING, &args);
    assert!(out.status == 7 && out.err.contains("neither a disk nor a file"), "{out:?}");
}

#[test]
fn a_journal_with_bytes_that_are_no_text_is_damaged_and_stays_as_it_is() {
    let sandbox = Sandbox::new();
    let state = sandbox.dir.join("install");
    fs::create_dir(&state).unwrap();
    let line = format!(
        "{{\"n\":1,\"at\":\"x\",\"event\":\"begun\",\"run\":\"{}\",\"manifest\":\"?\"}}\n",
        "0a".repeat(16)
    );
    let mut bytes = line.into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xff;
    fs::write(state.join("journal"), &bytes).unwrap();
    let laptop = examples().join("laptop.toml");
    for args in [&["status"][..], &["run", "--manifest", laptop.to_str().unwrap()]] {
        let out = call(&sandbox, LISTING, &[args, &["--json"]].concat());
        assert!(out.status == 7 && out.out.contains("journal_damaged"), "{args:?}: {out:?}");
    }
    assert_eq!(fs::read(state.join("journal")).unwrap(), bytes);
}

/// The bytes with one kind of damage.
fn damage(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len());
        match random.u8(..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end.min(at + 40))),
            2 => bytes.insert(at, random.u8(..)),
            3 => {
                let part = bytes[at..end.min(at + 200)].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let number = random.u64(..).to_string().into_bytes();
                bytes.splice(at..at, number);
            }
            _ => bytes[at..end.min(at + 4)].iter_mut().for_each(|byte| *byte = random.u8(..)),
        }
    }
    bytes
}

#[test]
fn no_input_is_too_odd_too_deep_or_too_long() {
    let seed = std::env::var("ZETA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("ZETA_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("node.toml");
    let read = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        zeta_install::manifest::read(&file)
    };
    let worker = fs::read(examples().join("worker.toml")).unwrap();
    let list = format!(
        "{{\"schema\":1,\"image\":{{\"bytes\":1,\"sha256\":\"{0}\"}},\"volume_id\":null,\
         \"files\":[{{\"name\":\"zeta-hostname.txt\",\"bytes\":7,\"sha256\":\"{0}\",\
         \"secret\":false}}]}}",
        "0a".repeat(32)
    );
    let journal = format!(
        "{{\"n\":1,\"at\":\"x\",\"event\":\"begun\",\"run\":\"{}\",\"manifest\":\"m\"}}\n\
         {{\"n\":2,\"at\":\"x\",\"event\":\"intent\",\"step\":\"discover\"}}\n",
        "0a".repeat(16)
    );
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..3_000 {
        match read(&damage(&worker, &mut random)) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(error.kind, zeta_os::error::Kind::Unsafe, "{error}");
                refused += 1;
            }
        }
        let _ = zeta_core::stick::manifest::Manifest::parse(&damage(list.as_bytes(), &mut random));
        let _ = zeta_core::install::Journal::read(&damage(journal.as_bytes(), &mut random));
        let _ = zeta_core::disk::Listing::parse(&damage(LISTING.as_bytes(), &mut random));
    }
    assert!(taken > 50 && refused > 500, "{taken} taken, {refused} refused");
    for text in [
        "[".repeat(1_000_000),
        format!("a = {}", "[".repeat(1_000_000)),
        format!("a = {}", "{b=".repeat(300_000)),
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("[{}a]", "a.".repeat(500_000)),
        format!("ace.{}a = 1", "ace.".repeat(250_000)),
        format!("{} = 1", "a".repeat(1_000_000)),
        format!("schema = {}", "1".repeat(1_000_000)),
        "#".repeat((1 << 20) + 1),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, zeta_os::error::Kind::Unsafe);
    }
}
