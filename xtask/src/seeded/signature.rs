//! The bugs of signed commits.

use super::bugs::{Bug, bug};

const TRAILER: &str = "crates/zeta-core/src/signature/trailer.rs";
const BLOCK: &str = "crates/zeta-core/src/signature/block.rs";
const CHECK: &str = "crates/zeta-core/src/signature/check.rs";
const AUDIT: &str = "crates/zeta-core/src/signature/audit.rs";
const BEAT: &str = "crates/zeta-core/src/signature/beat.rs";
const CO_AUTHOR: &str = "crates/zeta-core/src/signature/co_author.rs";
const MESSAGE: &str = "crates/zeta-core/src/signature/message.rs";
const HOOK: &str = "crates/zeta-signature/src/hook.rs";

const TABLES: &[&str] = &["-p", "zeta-core", "--lib", "signature::"];
const GIT: &[&str] = &["-p", "zeta-signature", "--test", "git"];
const HOOKS: &[&str] = &["-p", "zeta-signature", "--lib", "hook::"];

/// All bugs.
pub const BUGS: [Bug; 10] = [
    bug(
        "a quarter of trailers is not enough in a paragraph with a line of git's",
        TRAILER,
        "let is_mixed = by_git && trailers * 3 >= others;",
        "let is_mixed = by_git && trailers * 3 > others;",
        GIT,
    ),
    bug(
        "a line of three hyphens ends no message",
        TRAILER,
        "if line.starts_with(b\"---\") && line.get(3).is_some_and(|byte| is_space(*byte)) {",
        "if line.starts_with(b\"----\") && line.get(4).is_some_and(|byte| is_space(*byte)) {",
        GIT,
    ),
    bug(
        "a byte of zero ends no message",
        TRAILER,
        "let end = find(0, text);",
        "let end = find(0, text).filter(|_| text.is_empty());",
        GIT,
    ),
    bug(
        "words may stand below a block",
        CHECK,
        "if !String::from_utf8_lossy(below).trim().is_empty() {",
        "if String::from_utf8_lossy(below).contains('\\0') {",
        TABLES,
    ),
    bug(
        "of two lines with one key the last counts",
        BLOCK,
        "block.values[key as usize].get_or_insert(value);",
        "block.values[key as usize] = Some(value);",
        TABLES,
    ),
    bug(
        "a commit of the day on which the convention began is older",
        AUDIT,
        "at_us < ship_us",
        "at_us <= ship_us",
        TABLES,
    ),
    bug(
        "a pattern of stars is each person",
        CO_AUTHOR,
        "let is_some = !inner.is_empty() && inner != \"-\";",
        "let is_some = inner != \"-\";",
        TABLES,
    ),
    bug(
        "a clock that goes wrong keeps an agent alive",
        BEAT,
        "if at_us > now_us.saturating_add(FUTURE_US) {",
        "if at_us == i64::MAX && at_us > now_us.saturating_add(FUTURE_US) {",
        TABLES,
    ),
    bug(
        "a value brings lines of its own",
        MESSAGE,
        "if value.chars().any(char::is_control) {",
        "if value.contains('\\u{1b}') {",
        TABLES,
    ),
    bug(
        "a hook of another program is written over",
        HOOK,
        "if is_there && !is_own && !place.is_half_moved() {\n",
        "if is_there && !is_own && place.before.is_dir() {\n",
        HOOKS,
    ),
];
