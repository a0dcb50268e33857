//! The bugs of leases that several holders have.

use super::bugs::{Bug, bug};

const DECIDE: &str = "crates/zeta-core/src/lease/joint/decide.rs";

const JOINT_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "lease::joint::tests"];

const PATTERN_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "pattern::"];

/// All bugs.
pub const BUGS: [Bug; 6] = [
    bug(
        "a path does not cover what lies below it",
        "crates/zeta-core/src/pattern/mod.rs",
        "if components.iter().all(Component::is_literal) {",
        "if components.is_empty() {",
        PATTERN_TESTS,
    ),
    bug(
        "a claim of one worktree and one of all of them stand side by side",
        "crates/zeta-core/src/pattern/claim.rs",
        "apart.is_some_and(|(one, other)| one != other)",
        "apart != Some((&String::new(), &String::new())) && self.worktree != other.worktree",
        PATTERN_TESTS,
    ),
    bug(
        "a claim on paths that was handed over is not found",
        "crates/zeta-core/src/pattern/index.rs",
        "line.mode().is_ascii_uppercase() || texts",
        "texts",
        PATTERN_TESTS,
    ),
    bug(
        "a claim reaches into a repository within another",
        "crates/zeta-state/src/lease/space.rs",
        "dir.join(\".git\").symlink_metadata().is_ok()",
        "dir.join(\".git\").symlink_metadata().is_ok_and(|found| found.is_symlink())",
        &["-p", "zeta", "--test", "suite", "bus::paths::a_claim_ends"],
    ),
    bug(
        "the record that stands for grants ends with a short one",
        "crates/zeta-core/src/lease/joint/mod.rs",
        "ttl_ms: ttl_ms.max(rest_ms).min(TTL_MAX_MS),",
        "ttl_ms: ttl_ms.min(TTL_MAX_MS).max(rest_ms.min(1)),",
        JOINT_TESTS,
    ),
    bug(
        "a late holder is fenced although there is room",
        DECIDE,
        "late.into_iter().take(too_many)",
        "late",
        JOINT_TESTS,
    ),
];
