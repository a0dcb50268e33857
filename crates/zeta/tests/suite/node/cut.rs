//! A registration that is killed at each call by which it changes something outside of itself: the
//! next run brings it to its end, with one pull request.
//!
//! The short form takes every fourth of these calls; `ZETA_FAULTS=all` takes all.

use std::collections::BTreeMap;
use std::process::Command;

use super::fake_github::FakeGithub;
use super::machine::{Machine, opened};
use crate::support::{run, skip, test_name};

/// What may be seen from outside: files, programs, connections.
const CALLS: &str = "?vfork,clone3,?renameat2,?rename,?renameat,fsync,connect,?sendto,?sendmsg,\
                     ?mkdir,?unlinkat,?linkat,write";

fn traced(machine: &Machine, forge: &FakeGithub, options: &[&str]) -> (i32, String) {
    let log = machine.home.join("trace");
    let command = machine.command(forge, "register", &["--maintainer", "ace"]);
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(&log).args(options).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(key, value),
            None => strace.env_remove(key),
        };
    }
    let out = run(&mut strace);
    (out.status, std::fs::read_to_string(&log).unwrap_or_default())
}

#[test]
fn a_registration_that_is_killed_at_any_of_its_calls_is_brought_to_its_end() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    if !run(Command::new("strace").args(["-o", "/dev/null", "true"])).err.is_empty() {
        return skip(test_name!(), "strace does not work here");
    }
    let (status, log) = traced(&machine, &forge, &["-e", &format!("trace={CALLS}")]);
    assert_eq!((status, opened(&forge)), (0, 1), "{log}");
    let mut counts = BTreeMap::<&str, usize>::new();
    let points: Vec<(String, usize)> = log
        .lines()
        .filter_map(|line| {
            let (call, _) = line.split_once('(')?;
            let count = counts.entry(call).or_default();
            *count += 1;
            Some((call.to_owned(), *count))
        })
        .collect();
    assert!(points.len() > 60, "{log}");
    let all = std::env::var_os("ZETA_FAULTS").is_some_and(|value| value == "all");
    let seed = fastrand::usize(..4);
    println!("{} calls, from {seed}", points.len());
    let chosen = points.iter().skip(if all { 0 } else { seed }).step_by(if all { 1 } else { 4 });
    let chosen: Vec<_> = chosen.collect();
    std::thread::scope(|scope| {
        for half in chosen.chunks(chosen.len().div_ceil(2)) {
            scope.spawn(move || half.iter().for_each(|(call, k)| cut(call, *k)));
        }
    });
}

fn cut(call: &str, k: usize) {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let inject = format!("inject={call}:signal=KILL:when={k}");
    let (_, log) = traced(&machine, &forge, &["-e", &format!("trace={call}"), "-e", &inject]);
    let struck = log.contains("killed by SIGKILL");
    assert!(struck || log.contains("exited with 0"), "{call} {k}: {log}");
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 0, "{call} {k}: {out:?}");
    assert_eq!(opened(&forge), 1, "{call} {k}");
    let shown = machine.show();
    assert!(shown["pr_url"].as_str().is_some_and(|url| url.ends_with("/pull/1")), "{shown}");
}
