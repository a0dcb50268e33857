//! Bugs in the server for agent tools: what it says is not so any more.

use super::bugs::{Bug, bug};

const fn suite(test: &'static str) -> [&'static str; 5] {
    ["-p", "zeta", "--test", "suite", test]
}

/// All bugs of this subject.
pub const BUGS: [Bug; 2] = [
    bug(
        "a lease is given back that an answer has named",
        "crates/zeta-core/src/mcp.rs",
        "        (_, Known::Answered) => Step::Keep,
        (_, Known::Listed) => Step::Say,",
        "        (Some(_), Known::Answered) => Step::Keep,
        (Some(_), Known::Listed) => Step::Say,
        (None, Known::Answered | Known::Listed) => Step::GiveBack,",
        &suite("mcp::untaken::an_answer_that_a_lease_is_yours"),
    ),
    bug(
        "messages of a cancelled answer stay read",
        "crates/zeta-mcp/src/worker.rs",
        "        if given.written.is_some() {",
        "        if given.written.is_none() {",
        &suite("mcp::untaken::the_messages_of_a_cancelled_answer"),
    ),
];
