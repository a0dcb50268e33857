//! Exactly one of N simultaneous acquirers wins, round after round, by an oracle outside `zeta`.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

use super::oracle::{judge_file, monotonic_ns};
use super::worker::{Job, log, start};
use crate::support::{Sandbox, wait};

const CROWD_LIMIT: Duration = Duration::from_secs(300);

fn all_end_well(crowd: Vec<Child>) {
    for mut worker in crowd {
        assert_eq!(wait(&mut worker, CROWD_LIMIT), 0, "a worker failed: see its output");
    }
}

/// `ZETA_IT_SCALE=20` makes this the run of a release: twenty times as many rounds.
fn scale() -> u64 {
    std::env::var("ZETA_IT_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn in_turn(workers: u64, rounds: u64) {
    let rounds = rounds * scale();
    let sandbox = Sandbox::new();
    all_end_well((0..workers).map(|_| start(&sandbox, Job::Loop { rounds })).collect());
    let verdict = judge_file(&log(&sandbox), &BTreeSet::new());
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!(verdict.grants as u64, workers * rounds);
    eprintln!("{workers} workers: {} grants, 0 violations", verdict.grants);
}

#[test]
fn two_take_turns() {
    in_turn(2, 500);
}

#[test]
fn eight_take_turns() {
    in_turn(8, 90);
}

#[test]
fn sixty_four_take_turns() {
    in_turn(64, 12);
}

fn quiet(command: &mut std::process::Command) -> Child {
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

/// Lets all processes request the same new lease at the same moment; none of them releases it.
fn volleys(workers: u64, rounds: u64, every_ms: u64) {
    let sandbox = Sandbox::new();
    let start_ns = monotonic_ns() + 500_000_000 + workers * 20_000_000;
    let job = Job::Volley { rounds, start_ns, every_ns: every_ms * 1_000_000 };
    all_end_well((0..workers).map(|_| start(&sandbox, job)).collect());
    let text = std::fs::read_to_string(log(&sandbox)).unwrap();
    for round in 0..rounds {
        let count = |what: &str| {
            let start = format!("{what} {round} ");
            text.lines().filter(|line| line.starts_with(&start)).count() as u64
        };
        assert_eq!((count("won"), count("lost")), (1, workers - 1), "round {round} of {workers}");
    }
}

#[test]
fn one_of_two_wins() {
    volleys(2, 400, 3);
}

#[test]
fn one_of_eight_wins() {
    volleys(8, 150, 12);
}

#[test]
fn one_of_sixty_four_wins() {
    volleys(64, 25, 90);
}

#[test]
fn one_of_eight_commands_wins_even_on_first_use() {
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let calls: Vec<Child> =
            (0..8).map(|_| quiet(&mut sandbox.cmd(&["lease", "acquire", "x", "-q"]))).collect();
        let mut status: Vec<i32> =
            calls.into_iter().map(|mut c| wait(&mut c, CROWD_LIMIT)).collect();
        status.sort_unstable();
        assert_eq!(status, [0, 3, 3, 3, 3, 3, 3, 3]);
        let nodes = std::fs::read_dir(sandbox.state.join("nodes")).unwrap().count();
        assert_eq!(nodes, 1, "two agents resolved two names for one machine");
        let left = std::fs::read_dir(&sandbox.dir).unwrap().map(|entry| entry.unwrap().path());
        // Beside the tree is the name that is kept of it, in the home.
        let left: Vec<_> = left.filter(|path| !path.ends_with(".local")).collect();
        assert_eq!(left.len(), 1, "an unpublished tree was left behind: {left:?}");
    }
}

#[test]
fn the_harness_notices_when_nothing_is_locked() {
    let sandbox = Sandbox::new();
    all_end_well((0..4).map(|_| start(&sandbox, Job::Unlocked { rounds: 2000 })).collect());
    assert!(!judge_file(&log(&sandbox), &BTreeSet::new()).violations.is_empty());
}
