//! The bugs of leases that several holders have: counted ones, and claims on paths.

use super::bugs::{Bug, bug};

const DECIDE: &str = "crates/zeta-core/src/lease/joint/decide.rs";
const JOIN: &str = "crates/zeta-state/src/lease/acquire/joint.rs";
const GRANTS: &str = "crates/zeta-state/src/lease/joint/mod.rs";
const SPACE: &str = "crates/zeta-state/src/lease/space.rs";
const INDEX: &str = "crates/zeta-core/src/pattern/index.rs";

const JOINT_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "lease::joint::tests"];
const PATTERN_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "pattern::"];

/// All bugs.
pub const BUGS: [Bug; 27] = [
    bug(
        "a path that is not there is claimed without what lies below it",
        SPACE,
        "match pattern.is_exact() && !self.has_file(&pattern) {",
        "match pattern.is_exact() && pattern.literal_prefix().count() > 99 {",
        &["-p", "zeta", "--test", "suite", "bus::paths::a_file_is_claimed_alone"],
    ),
    bug(
        "a file is claimed with what lies below it",
        SPACE,
        "path.metadata().is_ok_and(|found| !found.is_dir())",
        "path.metadata().is_ok_and(|found| found.is_symlink())",
        &["-p", "zeta", "--test", "suite", "bus::paths::a_file_is_claimed_alone"],
    ),
    bug(
        "a claim is not found by the words that made it",
        INDEX,
        "matches!(rest, [b'\\n', ..] | [b'/', b'\\n', ..])",
        "matches!(rest, [b'\\n', ..])",
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
        INDEX,
        "line.mode().is_ascii_uppercase() || texts",
        "texts",
        PATTERN_TESTS,
    ),
    bug(
        "a claim reaches into a repository within another",
        SPACE,
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
    bug(
        "a token is above that of one grant only",
        DECIDE,
        "FencingToken::after(highest, token.max(),",
        "FencingToken::after(highest, token.min(),",
        JOINT_TESTS,
    ),
    bug(
        "an attempt gets the grant of another request",
        DECIDE,
        "Observed::Ours(record, ..) => Joint::of(record) == ask.joint,",
        "Observed::Ours(..) => true,",
        JOINT_TESTS,
    ),
    bug(
        "what a holder was promised does not count",
        DECIDE,
        "promised.fold(slots, u32::min)",
        "promised.fold(slots, |slots, _| slots)",
        JOINT_TESTS,
    ),
    bug(
        "a claim of which the mode is not known is shared",
        "crates/zeta-core/src/pattern/claim.rs",
        "text(MODE).is_some_and(|mode| mode == Mode::Shared.word())",
        "text(MODE).is_some_and(|mode| mode != Mode::Exclusive.word())",
        PATTERN_TESTS,
    ),
    bug(
        "a shared claim stands beside an exclusive one",
        "crates/zeta-core/src/pattern/claim.rs",
        "self.mode == Mode::Shared && other.mode == Mode::Shared",
        "self.mode == Mode::Shared || other.mode == Mode::Shared",
        PATTERN_TESTS,
    ),
    bug(
        "a pattern that ends in any depth needs a name more",
        "crates/zeta-core/src/pattern/mod.rs",
        "            row |= row << 1;
",
        "            row &= !(1 << 127);
",
        PATTERN_TESTS,
    ),
    bug(
        "an index vouches for its lines",
        INDEX,
        "(whole && add_words(head.epoch, lines) == head.sum)",
        "(whole && add_words(head.epoch, lines) != 0)",
        PATTERN_TESTS,
    ),
    bug(
        "an index of another time counts",
        INDEX,
        "(head.render(owner) == line).then_some(head)",
        "(head.render(owner).len() == line.len()).then_some(head)",
        PATTERN_TESTS,
    ),
    bug(
        "the end of a pattern is taken for another letter",
        INDEX,
        "b'*' | b'?' | b'[' | b'\\\\' | b'\\n'))",
        "b'*' | b'?' | b'[' | b'\\\\'))",
        PATTERN_TESTS,
    ),
    bug(
        "a plain lease does not look at grants",
        JOIN,
        "(record, Some(grants), _) if standing_of(record).is_some() => {",
        "(record, Some(grants), Some(_)) if standing_of(record).is_some() => {",
        &["-p", "zeta", "--test", "suite", "it::slots::a_plain_lease_and_a_counted_one"],
    ),
    bug(
        "what was broken comes back with the next grant",
        JOIN,
        "grants.remove_all(section, ctx, &self.request.lease)?;",
        "grants.files()?;",
        &["-p", "zeta", "--test", "suite", "it::slots::what_an_old_program_breaks"],
    ),
    bug(
        "each worktree is a space",
        SPACE,
        "Ok(common) => existing(&dir.join(common)),",
        "Ok(_) => Ok(dir),",
        &["-p", "zeta", "--test", "suite", "bus::paths::claims_that_share_a_path_exclude"],
    ),
    bug(
        "a dead holder's claim on paths stays announced",
        GRANTS,
        "            (ctx.lease_ended)(ctx, record);
",
        "            let _ = (ctx, record);
",
        &["-p", "zeta", "--test", "suite", "bus::announced::claims_that_end_without"],
    ),
    bug(
        "a grant that was handed over keeps the name of the one before",
        GRANTS,
        "let _ = grants.give_name(section, file, record, now.host);",
        "let _ = (grants, file);",
        &["-p", "zeta", "--test", "suite", "bus::announced::a_claim_on_paths_is_handed_over"],
    ),
    bug(
        "a grant is found by its name alone",
        GRANTS,
        "let files = self.files()?.into_iter().chain([named]);",
        "let files = [named].into_iter();",
        &["-p", "zeta", "--test", "suite", "faults::a_fault_at_any_call_of_a_handover_of_paths"],
    ),
    bug(
        "the index does not know that a grant was handed over",
        GRANTS,
        "            Put::Renewed => String::new(),
            Put::New | Put::Replaced => lines_of_record(file, record),",
        "            Put::Renewed | Put::Replaced => String::new(),
            Put::New => lines_of_record(file, record),",
        &["-p", "zeta", "--test", "suite", "faults::a_fault_at_any_call_of_a_handover_of_paths"],
    ),
    bug(
        "a reader does not look again for a grant that is gone",
        "crates/zeta-state/src/lease/joint/outside.rs",
        "        if !was_gone {
",
        "        if !was_gone || LOOKS > 1 {
",
        &["-p", "zeta", "--test", "suite", "faults::handover::a_claim_is_not_free_to_a_reader"],
    ),
    bug(
        "a search for claims in the way has no bound",
        "crates/zeta-state/src/lease/joint/index.rs",
        "const STEPS_MAX: u64 = 50_000_000;",
        "const STEPS_MAX: u64 = u64::MAX;",
        &["-p", "zeta", "--test", "suite", "bus::paths::no_search_for_claims"],
    ),
    bug(
        "a lease without grants leaves its directory",
        GRANTS,
        "        grants.remove_empty(section);
",
        "        let _ = &grants;
",
        &["-p", "zeta", "--test", "suite", "it::slots::each_holder_has_a_token"],
    ),
];
