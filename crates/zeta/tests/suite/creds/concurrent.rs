//! Calls at the same time, and calls that are killed: no save loses what another one put in, no
//! number is given twice, and a blob opens with its own factor at each moment.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use super::cli::{Desk, LOCK, Out, UUID, ran};
use crate::support::{can, is_root, skip, test_name};

/// Starts calls at once and waits for all of them.
fn at_once(desk: &Desk, calls: &[Vec<&str>]) -> Vec<Out> {
    let start = |args: &Vec<&str>| {
        let mut command = desk.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = calls.iter().map(start).collect();
    let ended = children.into_iter().map(|child| child.wait_with_output().unwrap());
    ended
        .map(|out| Out {
            status: out.status.code().unwrap_or(-1),
            said: String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
        })
        .collect()
}

/// The number of the save that a call said.
fn save_of(out: &Out) -> u64 {
    let rest = out.said.split(", save ").nth(1).unwrap_or_else(|| panic!("{}", out.said));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn updates_at_the_same_time_lose_nothing_and_have_numbers_of_their_own() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for bake in ["install-answers={}", "wifi={\"ssid\":\"a\"}"] {
        let mut call = vec!["persist", "--update", "--output", "stick/zeta-creds.enc"];
        call.extend(LOCK);
        call.extend(["--bake-cred", bake]);
        calls.push(call);
    }
    let mut pick = vec!["pick", "--update", "--output", "stick/zeta-creds.enc"];
    pick.extend(LOCK);
    pick.extend(["--persona", "otto", "--bake-cred", super::cli::CODEX]);
    calls.push(pick);
    let outs = at_once(&desk, &calls);
    let numbers: BTreeSet<u64> = outs.iter().map(save_of).collect();
    for out in &outs {
        assert_eq!(out.status, 0, "{}", out.said);
    }
    assert_eq!(numbers.len(), calls.len(), "a number was given twice: {numbers:?}");
    let holds = desk.run(&[&["inspect", "--input", "stick/zeta-creds.enc"], &LOCK[..]].concat());
    for id in ["gh-cli", "install-answers", "wifi", "codex"] {
        assert!(holds.said.contains(id), "{id} was lost: {}", holds.said);
    }
}

#[test]
fn two_blobs_of_one_stick_never_have_one_number() {
    let desk = Desk::new();
    let blobs = ["stick/zeta-creds.enc", "stick/other.enc", "home/zeta-creds.enc"];
    let call = |blob| -> Vec<&str> {
        [&["persist", "--bake-cred", "gh-cli=x", "--output", blob], &LOCK[..]].concat()
    };
    let outs = at_once(&desk, &blobs.map(call));
    let numbers: BTreeSet<u64> = outs.iter().map(save_of).collect();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn restores_at_the_same_time_remember_each_stick() {
    let desk = Desk::new();
    let sticks: Vec<String> = (0..5).map(|n| format!("stick-{n}")).collect();
    for stick in &sticks {
        fs::create_dir(desk.path(stick)).unwrap();
        fs::create_dir(desk.path(&format!("root-{stick}"))).unwrap();
        let output = format!("{stick}/zeta-creds.enc");
        let args = ["persist", "--usb-uuid", stick, "--passphrase-file", "stick.txt"];
        let more = ["--output", &output, "--bake-cred", "gh-cli=x"];
        assert_eq!(desk.run(&[&args[..], &more].concat()).status, 0);
    }
    fs::remove_dir_all(desk.path("state")).unwrap();
    let names: Vec<(String, String)> =
        sticks.iter().map(|s| (format!("{s}/zeta-creds.enc"), format!("root-{s}"))).collect();
    let call = |(stick, (blob, root))| -> Vec<&str> {
        let lock = ["restore", "--usb-uuid", stick, "--passphrase-file", "stick.txt"];
        [&lock[..], &["--input", blob, "--target-root", root]].concat()
    };
    let pairs = sticks.iter().map(String::as_str);
    let pairs = pairs.zip(names.iter().map(|(blob, root)| (blob.as_str(), root.as_str())));
    for out in at_once(&desk, &pairs.map(call).collect::<Vec<_>>()) {
        assert_eq!(out.status, 0, "{}", out.said);
    }
    let seen = fs::read_to_string(desk.path("state/creds-seen")).unwrap();
    assert_eq!(seen.lines().count(), sticks.len(), "{seen}");
}

/// Runs a call that is killed at its `k`-th rename; `None` if it has fewer.
fn killed_at_rename(desk: &Desk, args: &[&str], k: usize) -> Option<()> {
    let plain = desk.command(args);
    let mut traced = Command::new("strace");
    let inject = format!("inject=renameat,renameat2,rename:signal=SIGKILL:when={k}");
    traced.args(["-f", "-o", "/dev/null", "-e", "trace=renameat,renameat2,rename", "-e", &inject]);
    traced.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    traced.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let out = traced.current_dir(&desk.place.0).output().unwrap();
    (!out.status.success()).then_some(())
}

#[test]
fn a_save_whose_backup_alone_opens_is_not_verified() {
    if !can("strace", &["-e", "inject=read:retval=0", "-P", "/dev/null", "true"]) {
        return skip(test_name!(), "no strace that can inject");
    }
    if !is_root() {
        return skip(test_name!(), "only root's strace sees the file names of a hardened process");
    }
    let desk = Desk::new();
    let save = ["persist", "--verify", "--output", "stick/zeta-creds.enc", "--bake-cred"];
    let save = [&save[..], &["gh-cli=x"], &LOCK].concat();
    assert_eq!(desk.run(&save).status, 0);
    let (plain, log) = (desk.command(&save), desk.path("log"));
    let with = |more: &[&str]| {
        let mut traced = Command::new("strace");
        traced.args(["-f", "-e", "trace=read", "-P"]).arg(desk.blob());
        traced.arg("-o").arg(&log).args(more);
        traced.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
        traced.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
        ran(traced.current_dir(&desk.place.0))
    };
    let out = with(&[]);
    assert_eq!(out.status, 0, "{}", out.said);
    // The last read finds the end, and the one before it reads what is compared.
    let reads = fs::read_to_string(&log).unwrap().matches(" read(").count();
    let out = with(&["-e", &format!("inject=read:retval=0:when={}", reads - 1)]);
    assert_eq!(out.status, 5, "{}", out.said);
    assert!(out.said.contains("does not hold the given credentials"), "{}", out.said);
}

const BY_UUID: [&str; 2] = ["--usb-uuid", UUID];
const BY_SERIAL: [&str; 2] = ["--usb-iserial", "S1"];

#[test]
fn a_kill_at_any_rename_of_the_first_save_locks_no_factor_out() {
    kill_at_each_rename(test_name!(), None, BY_SERIAL);
}

#[test]
fn a_kill_at_any_rename_of_a_change_of_the_factor_locks_no_factor_out() {
    kill_at_each_rename(test_name!(), Some(BY_SERIAL), BY_UUID);
}

/// Kills a save at each of its renames. Whatever is there then opens with one of the factors, and
/// no other file keeps it closed.
fn kill_at_each_rename(test: &str, old: Option<[&str; 2]>, new: [&str; 2]) {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "no strace (Debian package strace)");
    }
    let word = ["--passphrase-file", "stick.txt"];
    let output = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred"];
    let begun = Desk::new();
    if let Some(old) = old {
        let args = [&output[..], &["gh-cli=old"], &old, &word].concat();
        assert_eq!(begun.run(&args).status, 0);
    }
    for k in 1.. {
        let desk = Desk::new();
        for (name, bytes) in super::cli::tree(&begun.path("stick")) {
            fs::write(desk.path("stick").join(name), bytes).unwrap();
        }
        let args = [&output[..], &["gh-cli=new"], &new, &word].concat();
        let killed = killed_at_rename(&desk, &args, k).is_some();
        let inspect = |factor: &[&str]| {
            let args = ["inspect", "--input", "stick/zeta-creds.enc"];
            desk.run(&[&args[..], factor, &word].concat())
        };
        // As at boot, where both factors are named and the note chooses.
        let by = ["--factor-file", "stick/zeta-creds.factor"];
        let both = inspect(&[&BY_UUID[..], &BY_SERIAL, &by].concat());
        let there = desk.blob().exists();
        assert!(there || old.is_none() && killed, "rename {k}");
        assert_eq!(both.status, if there { 0 } else { 3 }, "rename {k}: {}", both.said);
        if there {
            let alone = [inspect(&BY_UUID).status, inspect(&BY_SERIAL).status];
            assert!(alone == [0, 5] || alone == [5, 0], "rename {k}: {alone:?}");
        }
        if !killed {
            assert!(k > 3, "only {k} renames");
            break;
        }
    }
}
