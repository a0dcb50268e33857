//! Bugs in the history: entries that are lost, mixed up, or written where they must not be.

use super::bugs::{Bug, bug};

const WRITER: &str = "crates/zeta-state/src/history/mod.rs";
const READER: &str = "crates/zeta-state/src/history/reader.rs";
const SPAN: &str = "crates/zeta-core/src/history/span.rs";
const LINE: &str = "crates/zeta-core/src/history/line.rs";

const fn suite(test: &'static str) -> [&'static str; 5] {
    ["-p", "zeta", "--test", "suite", test]
}

/// The tests of the core.
const CORE: &[&str] = &["-p", "zeta-core", "--lib", "history::tests"];

/// All bugs of this subject.
pub const BUGS: [Bug; 9] = [
    bug(
        "an entry is written into a file that is not the tree's",
        WRITER,
        "    check_file(&stat, section.base()).map_err(|_| Errno::PERM)?;",
        "",
        &suite("it::history::a_log_that_is_no_file_of_the_tree"),
    ),
    bug(
        "a full log is written on",
        WRITER,
        "stat.st_size < LOG_MAX as i64 ||",
        "stat.st_size < 2 * LOG_MAX as i64 ||",
        &suite("it::history::a_full_log_stays_beside_the_new_one"),
    ),
    bug(
        "a release leaves no entry",
        "crates/zeta-state/src/lease/joint/mod.rs",
        "            history::append(section, entry);
            return Ok(());",
        "            return Ok(());",
        &suite("it::history::each_change_of_a_holder_is_in_the_history"),
    ),
    bug(
        "a follower reads a log that became the full one once more",
        READER,
        "[&self.log, &self.full].into_iter()",
        "[&self.full].into_iter()",
        &suite("it::history::a_follower_prints_each_change_as_it_comes"),
    ),
    bug(
        "a log with the number of one that was removed is read from the middle",
        READER,
        " && start.starts_with(&seen.start)",
        "",
        &suite("it::history::a_log_in_the_place_of_another"),
    ),
    bug(
        "what comes while the queue of events is emptied is lost",
        "crates/zeta-os/src/inotify.rs",
        "while taken < events || !reader.is_buffer_empty() {",
        "while taken < events {",
        &["-p", "zeta-os", "--lib", "inotify::tests"],
    ),
    bug(
        "what a full disk has torn takes the next entry with it",
        LINE,
        "entry.or_else(|| torn_from(line, node))",
        "entry",
        CORE,
    ),
    bug(
        "a grant whose end is not recorded lasts beside the next one",
        SPAN,
        "let stays = is_joint(&span.grant) && is_joint(entry);",
        "let stays = true;",
        CORE,
    ),
    bug(
        "grants of a joint lease end each other",
        SPAN,
        "let stays = is_joint(&span.grant) && is_joint(entry);",
        "let stays = false;",
        CORE,
    ),
];
