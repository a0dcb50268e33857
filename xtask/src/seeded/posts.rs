//! The bugs of guard posts and of the gate of repairs.

use super::bugs::{Bug, bug};

const ASSIGN: &str = "crates/zeta-core/src/schedule/assign.rs";
const CHOICE: &str = "crates/zeta-core/src/schedule/choice.rs";
const HEALTH: &str = "crates/zeta-core/src/schedule/health.rs";
const ORDER: &str = "crates/zeta-core/src/schedule/order.rs";
const STATE: &str = "crates/zeta-core/src/schedule/state.rs";
const REPAIR: &str = "crates/zeta-core/src/repair/mod.rs";
const REPAIR_LOG: &str = "crates/zeta-posts/src/repair/log.rs";

const TABLES: &[&str] = &["-p", "zeta-core", "--lib", "schedule::"];
const YEAR: &[&str] = &["-p", "zeta-core", "--test", "posts"];
const REPAIR_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "repair::"];
const LOG_TESTS: &[&str] = &["-p", "zeta-posts", "--lib", "repair::log::"];

/// All bugs.
pub const BUGS: [Bug; 30] = [
    bug(
        "a persona that stands is taken for a free post again",
        ASSIGN,
        "!taken.contains(at) && fits(*at, &begun)",
        "taken.len() < posts && fits(*at, &begun)",
        YEAR,
    ),
    bug(
        "one persona that fails takes a line from all",
        ASSIGN,
        "const PERSONAS_FAILING: usize = 2;",
        "const PERSONAS_FAILING: usize = 1;",
        TABLES,
    ),
    bug(
        "an outage counts as a failed tick",
        ASSIGN,
        "Outcome::Outage => (is_believed || was_failing) && health.go_down(failover, by),",
        "Outcome::Outage => health.fail(failover),",
        YEAR,
    ),
    bug(
        "one persona that says outage of each line takes all lines down",
        ASSIGN,
        "let is_believed = is_trial || !self.has_taken_down(persona.as_ref());",
        "let is_believed = is_trial || outcome != &Outcome::Ok;",
        TABLES,
    ),
    bug(
        "the one that took a line down tries it",
        ASSIGN,
        "able.iter().find(|name| Some(**name) != taken_by)",
        "able.iter().find(|_| taken_by.is_some())",
        TABLES,
    ),
    bug(
        "a word of the network is an outage",
        "crates/zeta-core/src/schedule/outage.rs",
        "all.any(|sign| !sign.is_empty() && text.contains(&sign))",
        "all.any(|sign| text.contains(&sign)) || text.contains(\"refused\")",
        TABLES,
    ),
    bug(
        "a minimum that was raised counts later",
        CHOICE,
        "&& *tier >= persona.min_tier;",
        "&& *tier >= Tier::Fast;",
        TABLES,
    ),
    bug(
        "assignments of a clock that was ahead count",
        STATE,
        "let is_ahead = self.fencing_token > token;",
        "let is_ahead = self.fencing_token == 0 && token > 0;",
        TABLES,
    ),
    bug(
        "a tick that could not begin counts against its line",
        "crates/zeta-posts/src/tick.rs",
        "one.number > from && one.cut != Some(Cut::Start)",
        "one.number > from && one.cut != Some(Cut::Memory)",
        &["-p", "zeta-posts", "--lib", "tick::"],
    ),
    bug(
        "a persona may have the name of another one's agent",
        "crates/zeta-core/src/schedule/policy.rs",
        "&& agent_of(&other, post).as_ref() == Ok(&persona)",
        "&& agent_of(&other, post).is_err()",
        TABLES,
    ),
    bug(
        "those who stay change their posts",
        ASSIGN,
        "waiting.retain(|persona| match held.get(&persona.name) {",
        "waiting.retain(|persona| match held.get(&persona.name).filter(|number| **number < 2) {",
        YEAR,
    ),
    bug(
        "a turn never ends",
        ASSIGN,
        "if left > 0 && !is_first {",
        "if left < every_ms && !is_first {",
        TABLES,
    ),
    bug(
        "a weaker tier is enough",
        CHOICE,
        "enough.filter(|tier| *tier >= persona.min_tier)",
        "enough.filter(|tier| *tier >= persona.min_tier || *tier == Tier::Medium)",
        YEAR,
    ),
    bug(
        "a harness works with every line",
        CHOICE,
        "Some(list) if !list.contains(harness) => Verdict::NotCompatible,",
        "Some(list) if list.is_empty() => Verdict::NotCompatible,",
        YEAR,
    ),
    bug(
        "a line that is down is used",
        STATE,
        "(Some(health), _) if health.down_ms > 0 => Usable::Down(health.down_ms),",
        "(Some(health), _) if health.down_ms > 1 << 60 => Usable::Down(health.down_ms),",
        YEAR,
    ),
    bug(
        "all return at once to a line that was down",
        STATE,
        "if may { Usable::Yes } else { Usable::OnTrial }",
        "if may || health.times > 0 { Usable::Yes } else { Usable::OnTrial }",
        YEAR,
    ),
    bug(
        "a wall clock that jumps ends a turn",
        STATE,
        "if self.boot_id == now.boot_id {",
        "if self.boot_id == now.boot_id && now.wall_us < self.wall_us {",
        TABLES,
    ),
    bug(
        "a line is left alone for the longest time at once",
        HEALTH,
        "failover.down_ms.checked_shl(self.times.min(63)).unwrap_or(u64::MAX)",
        "failover.down_ms.checked_shl(63).unwrap_or(u64::MAX)",
        TABLES,
    ),
    bug(
        "the order begins where the last turn ended",
        ORDER,
        "(at + 1) % policy.personas.len().max(1)",
        "at % policy.personas.len().max(1)",
        YEAR,
    ),
    bug(
        "a lease without a supervisor of a post above it may repair",
        REPAIR,
        "Who::NoTick(_) => rules.needs_post.then(|| Refusal::NoTick(name())),",
        "Who::NoTick(_) => None,",
        REPAIR_TESTS,
    ),
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
