//! The bugs of messages across nodes: one is lost, comes twice, or says here what holds only there.

use super::bugs::{Bug, bug};

const CORE: &str = "crates/zeta-core/src/cluster/mail/mod.rs";
const OUTBOX: &str = "crates/zeta-bus/src/exchange/outbox.rs";
const INBOX: &str = "crates/zeta-bus/src/exchange/inbox.rs";

const CORE_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "cluster::mail::tests"];
const EXCHANGE_TESTS: &[&str] = &["-p", "zeta-bus", "--lib", "exchange::tests"];

/// All bugs.
pub const BUGS: [Bug; 9] = [
    bug(
        "a sender does not look at the end of its chain",
        OUTBOX,
        "            _ => Stage::Unknown,
",
        "            (Stage::Sending(expected, _), _) => Stage::Known(expected),
            _ => Stage::Unknown,
",
        EXCHANGE_TESTS,
    ),
    bug(
        "a message that the store lost is not sent again",
        CORE,
        "Some(at) => Resume::Send { keep: at + 1, expected: last.sequence },",
        "Some(_) => Resume::Send { keep: sent.len(), expected: last.sequence },",
        CORE_TESTS,
    ),
    bug(
        "a message with any id becomes a file",
        INBOX,
        "if !is_id(id) || id_of(&file_of(id)).is_none() {",
        "if !is_id(id) && id_of(&file_of(id)).is_some() {",
        EXCHANGE_TESTS,
    ),
    bug(
        "a message of another node is sent on",
        OUTBOX,
        "let is_own = !file.is_imported && !inbox.has(&header.id);",
        "let is_own = !file.is_imported || !inbox.has(&header.id);",
        EXCHANGE_TESTS,
    ),
    bug(
        "the life of a message ends by the clock of its sender",
        "crates/zeta-core/src/bus/envelope.rs",
        "Ok(_) if seen.is_imported => match self.life_us() {",
        "Ok(_) if seen.is_imported && seen.now_us < 0 => match self.life_us() {",
        CORE_TESTS,
    ),
    bug(
        "a claim of another node holds its item here",
        "crates/zeta-bus/src/directory/index/mod.rs",
        "if seen.is_imported { About::Imported } else { About::of(&said) };",
        "About::of(&said);",
        EXCHANGE_TESTS,
    ),
    bug(
        "a message that was listed and has no name is lost",
        INBOX,
        "        if self.is_unfinished {
",
        "        if self.is_unfinished && self.imported.is_empty() {
",
        EXCHANGE_TESTS,
    ),
    bug(
        "a reader goes on in a store that was rolled back",
        CORE,
        "Some((sequence, sum)) if sequence == cursor.sequence => sum == cursor.sum,",
        "Some((sequence, _)) if sequence == cursor.sequence => true,",
        CORE_TESTS,
    ),
    bug(
        "a message that was sent again is the one that was read",
        INBOX,
        "&carried.counter.to_le_bytes()[..]",
        "&0_u64.to_le_bytes()[..]",
        EXCHANGE_TESTS,
    ),
];
