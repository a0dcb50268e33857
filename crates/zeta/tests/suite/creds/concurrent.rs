//! Calls at the same time, and calls that are killed: no save loses what another one put in, no
//! number is given twice, and a blob opens with its own factor at each moment.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use super::cli::{Desk, LOCK, Out, UUID};
use crate::support::{skip, test_name};

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
    fs::create_dir(desk.path("stick2")).unwrap();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let update = [&["persist", "--update", "--verify", "--output"], &LOCK[..]].concat();
    let bakes = [
        "install-answers={}",
        "wifi={\"ssid\":\"a\"}",
        "ssh-operator-pubkey=ssh-ed25519 AAAA me",
        "gh-cli=y",
    ];
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for bake in bakes {
        let mut call = update.clone();
        call.insert(4, "stick/zeta-creds.enc");
        call.extend(["--bake-cred", bake]);
        calls.push(call);
    }
    // Another blob of the same stick, and a pick.
    for (blob, verb) in [("stick2/zeta-creds.enc", "persist"), ("stick/zeta-creds.enc", "pick")] {
        let mut call = vec![verb, "--update", "--output", blob];
        call.extend(LOCK);
        call.extend(["--persona", "otto", "--bake-cred", super::cli::CODEX]);
        calls.push(call);
    }
    let outs = at_once(&desk, &calls);
    let numbers: BTreeSet<u64> = outs.iter().map(save_of).collect();
    for out in &outs {
        assert_eq!(out.status, 0, "{}", out.said);
    }
    assert_eq!(numbers.len(), calls.len(), "a number was given twice: {numbers:?}");
    let holds = desk.run(&[&["inspect", "--input", "stick/zeta-creds.enc"], &LOCK[..]].concat());
    for id in ["gh-cli", "install-answers", "wifi", "ssh-operator-pubkey", "codex"] {
        assert!(holds.said.contains(id), "{id} was lost: {}", holds.said);
    }
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
fn a_kill_at_any_rename_of_a_save_locks_no_factor_out() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test_name!(), "no strace (Debian package strace)");
    }
    let uuid = ["--usb-uuid", UUID];
    let serial = ["--usb-iserial", "S1"];
    let word = ["--passphrase-file", "stick.txt"];
    let output = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred"];
    let mut kills = 0;
    for (old, new) in [(None, serial), (Some(serial), uuid), (Some(uuid), serial)] {
        for k in 1.. {
            let desk = Desk::new();
            if let Some(old) = old {
                let args = [&output[..], &["gh-cli=old"], &old, &word].concat();
                assert_eq!(desk.run(&args).status, 0);
            }
            let args = [&output[..], &["gh-cli=new"], &new, &word].concat();
            let killed = killed_at_rename(&desk, &args, k).is_some();
            kills += usize::from(killed);
            let inspect = |factor: &[&str]| {
                let args = ["inspect", "--input", "stick/zeta-creds.enc"];
                desk.run(&[&args[..], factor, &word].concat())
            };
            let outs = [inspect(&uuid), inspect(&serial)];
            let opened = outs.iter().filter(|out| out.status == 0).count();
            let there = desk.blob().exists();
            let what = format!("{old:?} to {new:?}, rename {k}: {} {}", outs[0].said, outs[1].said);
            assert_eq!(opened, usize::from(there), "{what}");
            assert!(there || (old.is_none() && killed), "{what}");
            let none = outs.iter().filter(|out| out.status == if there { 5 } else { 3 }).count();
            assert_eq!(none, 2 - opened, "a factor is refused without a look: {what}");
            // As at boot, where both factors are named and the note chooses.
            let by = ["--factor-file", "stick/zeta-creds.factor"];
            let out = inspect(&[&uuid[..], &serial, &by].concat());
            assert_eq!(out.status, if there { 0 } else { 3 }, "{what}");
            if !killed {
                break;
            }
        }
    }
    assert!(kills >= 8, "only {kills} kills");
}
