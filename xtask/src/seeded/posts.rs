//! The bugs of guard posts and of the gate of repairs.

use super::bugs::{Bug, bug};

const REPAIR: &str = "crates/zeta-core/src/repair/mod.rs";
const REPAIR_LOG: &str = "crates/zeta-posts/src/repair/log.rs";

const REPAIR_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "repair::"];
const LOG_TESTS: &[&str] = &["-p", "zeta-posts", "--lib", "repair::log::"];

/// All bugs.
pub const BUGS: [Bug; 10] = [
    bug(
        "a grant never ends",
        REPAIR,
        "self.until_us.is_none_or(|until_us| now_us < until_us)",
        "self.until_us.is_none_or(|until_us| now_us < until_us || until_us > 0)",
        REPAIR_TESTS,
    ),
    bug(
        "a persona may write to the cluster for good",
        REPAIR,
        "if scope == Scope::WriteCluster {",
        "if scope == Scope::WriteCluster && grants.is_empty() && units.is_some() {",
        &["-p", "zeta-posts", "--lib", "repair::policy::"],
    ),
    bug(
        "units of a permission are not looked at",
        REPAIR,
        "_ if scope != Scope::Restart => true,",
        "_ if scope <= Scope::Restart => true,",
        REPAIR_TESTS,
    ),
    bug(
        "a name is enough to repair",
        REPAIR,
        "Who::Named => rules.needs_post.then(|| Refusal::NeedsPost(name())),",
        "Who::Named => None,",
        REPAIR_TESTS,
    ),
    bug(
        "the token of any lease is one of the post",
        "crates/zeta-posts/src/repair/mod.rs",
        "is_of_session || token == Some(record.fencing_token)",
        "is_of_session || token.is_some()",
        &["-p", "zeta", "--test", "suite", "repair::another_session_and_another_name"],
    ),
    bug(
        "a policy that others may write counts",
        "crates/zeta-os/src/trusted_file.rs",
        "match meta.mode() & 0o022 {",
        "match meta.mode() & 0o002 {",
        &["-p", "zeta-os", "--lib", "trusted_file::"],
    ),
    bug(
        "a broken policy of the machine makes room for the user's",
        "crates/zeta-posts/src/repair/policy.rs",
        "return match (toml?, yaml?) {",
        "return match (toml.unwrap_or_default(), yaml?) {",
        &["-p", "zeta", "--test", "suite", "repair::no_user_allows"],
    ),
    bug(
        "an answer that cannot be logged is given",
        "crates/zeta-posts/src/repair/mod.rs",
        "log::append(dir, &entry.render(host::wall_us()))?;",
        "let _ = log::append(dir, &entry.render(host::wall_us()));",
        &["-p", "zeta", "--test", "suite", "repair::what_cannot_be_logged"],
    ),
    bug(
        "a line goes on after a torn one",
        REPAIR_LOG,
        "let begin = if last == *b\"\\n\" { \"\" } else { \"\\n\" };",
        "let begin = if last == *b\"\\n\" { \"\" } else { \" \" };",
        LOG_TESTS,
    ),
    bug(
        "a log that was put aside is written",
        REPAIR_LOG,
        "if !is_named(&log, &path).map_err(unwritten)? {",
        "if !is_named(&log, &path).map_err(unwritten)? && size < LOG_MAX {",
        LOG_TESTS,
    ),
];
