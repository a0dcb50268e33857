//! Claims on a machine whose wall clock is set back: what an agent says last stays its last word,
//! and the numbers of its grants only grow.

use std::path::PathBuf;

use super::place::Place;
use crate::support::{Out, run, skip, test_name};

/// A bus whose callers read a wall clock that the test sets.
struct Shifted {
    place: Place,
    clock: PathBuf,
}

impl Shifted {
    fn new() -> Shifted {
        let place = Place::new();
        Shifted { clock: place.sandbox.dir.join("clock"), place }
    }

    /// A call whose wall clock is so many milliseconds ahead.
    fn at(&self, ahead_ms: i64, env: &[(&str, &str)], args: &[&str]) -> Out {
        std::fs::write(&self.clock, (ahead_ms * 1_000_000).to_ne_bytes()).unwrap();
        let mut command = self.place.cmd(args);
        let out = run(command.env("ZETA_TEST_CLOCK", &self.clock).envs(env.iter().copied()));
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out
    }

    fn acquire(&self, ahead_ms: i64, from: &str, item: &str) -> u64 {
        let args = ["claim", "acquire", item, "--from", from, "--branch", "b", "--worktree", "/w"];
        self.at(ahead_ms, &[], &args).out.trim().parse().unwrap()
    }

    fn release(&self, ahead_ms: i64, from: &str, item: &str) {
        let args = ["claim", "release", item, "--from", from, "--branch", "b", "--worktree", "/w"];
        self.at(ahead_ms, &[], &args);
    }

    fn hand_over(&self, ahead_ms: i64, item: &str, token: u64) {
        let token = token.to_string();
        let args = ["claim", "handover", item, "--from", "ann", "--to", "vera", "--token", &token];
        self.at(ahead_ms, &[], &args);
    }

    fn holders(&self, item: &str) -> Vec<String> {
        self.place.original_holders(item)
    }
}

#[test]
fn the_last_word_of_a_sender_is_its_newest_when_the_clock_is_set_back() {
    if !zeta_os::clock::HAS_SEAM {
        return skip(test_name!(), "a build without the seam");
    }
    // Less than the difference between clocks that a reader of messages allows for.
    const AHEAD_MS: i64 = 4_000;
    let bus = Shifted::new();
    bus.acquire(AHEAD_MS, "ann", "B-1");
    bus.release(0, "ann", "B-1");
    assert!(bus.holders("B-1").is_empty(), "a release after its claim");

    bus.acquire(AHEAD_MS, "ann", "B-2");
    bus.release(AHEAD_MS, "ann", "B-2");
    bus.acquire(0, "ann", "B-2");
    assert_eq!(bus.holders("B-2"), ["ann"], "a claim after a release");

    bus.acquire(AHEAD_MS, "vera", "B-3");
    bus.release(AHEAD_MS, "vera", "B-3");
    let token = bus.acquire(AHEAD_MS, "ann", "B-3");
    bus.hand_over(0, "B-3", token);
    assert_eq!(bus.holders("B-3"), ["vera"], "both words of a handover");

    let token = bus.acquire(AHEAD_MS, "ann", "B-4").to_string();
    let listed = bus.at(0, &[], &["lease", "list", "--json"]).out;
    let lease = listed.split('"').find(|word| word.starts_with("claim.b-4.")).unwrap();
    bus.at(0, &[], &["lease", "break", lease, "--expect", &token, "--reason", "a test"]);
    assert!(bus.holders("B-4").is_empty(), "the end of a claim whose lease was broken");
}

#[test]
fn a_token_that_a_claim_got_on_its_way_is_not_granted_again_when_the_clock_is_set_back() {
    if !zeta_os::clock::HAS_SEAM {
        return skip(test_name!(), "a build without the seam");
    }
    const AHEAD_MS: i64 = 3_600_000;
    let bus = Shifted::new();
    let first = bus.acquire(0, "ann", "B-1");
    bus.hand_over(AHEAD_MS, "B-1", first);
    let handed = bus.acquire(AHEAD_MS, "vera", "B-1");
    assert!(handed > first, "{handed}, after {first}");
    bus.release(AHEAD_MS, "vera", "B-1");
    let next = bus.acquire(0, "lior", "B-1");
    assert!(next > handed, "{next}, after a handover with {handed}");

    let first = bus.acquire(0, "ann", "B-2");
    let args = ["claim", "acquire", "B-2", "--from", "ann", "--branch", "b", "--worktree", "/w"];
    let out = bus.at(AHEAD_MS, &[("ZETA_SESSION", "0b")], &args);
    let moved: u64 = out.out.trim().parse().unwrap();
    assert!(moved > first, "{moved}, after {first}");
    let moved_text = moved.to_string();
    bus.at(AHEAD_MS, &[], &["claim", "release", "B-2", "--from", "ann", "--token", &moved_text]);
    let next = bus.acquire(0, "lior", "B-2");
    assert!(next > moved, "{next}, after a move into a session with {moved}");
}
