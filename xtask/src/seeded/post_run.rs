//! The bugs of a running post.

use super::bugs::{Bug, bug};

const AGENT_TICK: &str = "crates/zeta-posts/src/run/agent_tick.rs";
const WORK: &str = "crates/zeta-posts/src/run/work.rs";
const WORKTREE: &str = "crates/zeta-posts/src/run/worktree.rs";
const ADVERT: &str = "crates/zeta-posts/src/run/advert.rs";

const RUN_TESTS: &[&str] = &["-p", "zeta", "--test", "suite", "post::run::a_persona"];
const TICK_TESTS: &[&str] = &["-p", "zeta", "--test", "suite", "post::ticks::"];
const PLACE_TESTS: &[&str] = &["-p", "zeta", "--test", "suite", "post::place::"];

/// All bugs.
pub const BUGS: [Bug; 9] = [
    bug(
        "a persona that works elsewhere has failed",
        AGENT_TICK,
        "(false, command::BUSY) => Went::Busy,",
        "(false, command::BUSY) => Went::NotBegun,",
        RUN_TESTS,
    ),
    bug(
        "a persona that left a post still stands there",
        ADVERT,
        "KEYS.iter().for_each(|key| fields.remove(key));",
        "",
        RUN_TESTS,
    ),
    bug(
        "what a tick leaves behind works on",
        WORK,
        "let left = if holds_post { self.end_all() } else { descent::end_below(END_LIMIT) };",
        "let left = Vec::new();",
        TICK_TESTS,
    ),
    bug(
        "a tick that hangs went well",
        AGENT_TICK,
        "Some(Cut::Time) => End::TimedOut,",
        "Some(Cut::Time) => End::Status(0),",
        TICK_TESTS,
    ),
    bug(
        "a worktree is removed with uncommitted files",
        WORKTREE,
        "if changed > 0 {",
        "if changed > 1_000_000 {",
        PLACE_TESTS,
    ),
    bug(
        "a branch is removed with commits that no other one has",
        WORKTREE,
        "&[tip, \"--not\", &without_own, \"--branches\", \"--remotes\", \"--tags\"]",
        "&[tip, \"--not\", &without_own, \"--all\"]",
        PLACE_TESTS,
    ),
    bug(
        "a directory that zeta did not make becomes a worktree",
        WORKTREE,
        "None if place.path.exists() => {",
        "None if place.path.is_file() => {",
        PLACE_TESTS,
    ),
    bug(
        "an option is the id of a session",
        "crates/zeta-core/src/hook/session.rs",
        "&& id.starts_with(|first: char| first.is_ascii_alphanumeric())",
        "",
        &["-p", "zeta-posts", "--lib", "run::session"],
    ),
    bug(
        "an agent that fails is started in a hurry",
        "crates/zeta-core/src/schedule/pace.rs",
        "Some(last) if last.failures > 0 => {",
        "Some(last) if last.failures > 99 => {",
        &["-p", "zeta-core", "--lib", "schedule::pace"],
    ),
];
