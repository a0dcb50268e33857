//! The bugs of leases that several holders have.

use super::bugs::{Bug, bug};

const DECIDE: &str = "crates/zeta-core/src/lease/joint/decide.rs";

const JOINT_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "lease::joint::tests"];

/// All bugs.
pub const BUGS: [Bug; 2] = [
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
