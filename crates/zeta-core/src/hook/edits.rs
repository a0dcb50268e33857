//! The paths that an agent wrote in the last half minute, as its record keeps them, and when two
//! agents write one file.

use std::fmt::Write as _;
use std::path::Path;

use super::place::{shown, shown_path};
use crate::record::printable;
use crate::time::NS_PER_MS;

/// The key of the persona record: one line for each path, `<ms of the boot clock> <path>`.
pub const KEY: &str = "edits";
/// How long an edit is remembered.
pub const WINDOW_MS: u64 = 30_000;
/// Most paths that are remembered.
const PATHS_MAX: usize = 16;
/// Longest path that is remembered, in bytes.
const PATH_MAX: usize = 1_024;

/// One path that was written, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The boot clock, in ms.
    pub at_ms: u64,
    /// The path, with its links resolved.
    pub path: String,
}

/// Reads the edits of a record; a line that is none is left out.
pub fn parse(text: &str) -> Vec<Edit> {
    let edit = |line: &str| {
        let (at_ms, path) = line.split_once(' ')?;
        Some(Edit { at_ms: at_ms.parse().ok()?, path: path.to_owned() })
    };
    text.lines().filter_map(edit).take(PATHS_MAX).collect()
}

/// Adds paths that are written now, and forgets what is older than the window. Returns the text of
/// the record; empty if nothing is left.
pub fn add(text: &str, paths: &[String], now_ns: u64) -> String {
    let now_ms = now_ns / NS_PER_MS;
    // Each character that is escaped takes six bytes or more of the record.
    let fits = |path: &&String| path.len() <= PATH_MAX && printable(path) == path.as_str();
    let new = paths.iter().filter(fits).map(|path| Edit { at_ms: now_ms, path: path.clone() });
    let mut edits: Vec<Edit> = new.collect();
    edits.extend(
        parse(text).into_iter().filter(|old| is_recent(old, now_ms) && !paths.contains(&old.path)),
    );
    let mut out = String::new();
    for Edit { at_ms, path } in edits.iter().take(PATHS_MAX) {
        let _ = writeln!(out, "{at_ms} {path}");
    }
    out
}

fn is_recent(edit: &Edit, now_ms: u64) -> bool {
    now_ms.checked_sub(edit.at_ms).is_some_and(|age_ms| age_ms <= WINDOW_MS)
}

/// Says which of the paths other agents wrote within the window: each with its name and its edits.
pub fn judge_both(paths: &[String], others: &[(String, Vec<Edit>)], now_ns: u64) -> Option<String> {
    let now_ms = now_ns / NS_PER_MS;
    let mut lines = Vec::new();
    for path in paths {
        for (agent, edits) in others {
            let of_path = edits.iter().filter(|edit| edit.path == *path);
            let newest =
                of_path.filter(|edit| is_recent(edit, now_ms)).map(|edit| edit.at_ms).max();
            if let Some(at_ms) = newest {
                let age_s = (now_ms - at_ms) / 1_000;
                let path = shown_path(Path::new(path));
                lines.push(format!("{} wrote {path} {age_s} s ago", shown(agent)));
            }
        }
    }
    let first = lines.first()?;
    let more = match lines.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Some(format!(
        "zeta: two agents write one file: {first}{more}. Read it again before you go on, and agree \
         who works on it."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::PERSONA_MAX;
    use crate::record::quote;

    const S: u64 = 1_000_000_000;

    fn paths(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_edit_is_remembered_for_half_a_minute_and_once() {
        let one = add("", &paths(&["/a", "/b c"]), 100 * S);
        assert_eq!(one, "100000 /a\n100000 /b c\n");
        let two = add(&one, &paths(&["/a"]), 130 * S);
        assert_eq!(two, "130000 /a\n100000 /b c\n");
        assert_eq!(add(&two, &[], 131 * S), "130000 /a\n");
        assert_eq!(add(&two, &[], 10 * S), "", "of another boot, by its clock");
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let many: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
        assert_eq!(add("", &many, S).lines().count(), PATHS_MAX);
        assert_eq!(add("", &paths(&["/a\nb", &"x".repeat(PATH_MAX + 1)]), S), "");
        // A record has room for all that is remembered, also where it escapes characters.
        for one in ["\u{1}", "\"", "\\", "\u{e0041}", "x"] {
            let many: Vec<String> = (0..16).map(|n| format!("/{n}{}", one.repeat(1_000))).collect();
            assert!(quote(&add("", &many, S)).len() < PERSONA_MAX / 2, "{one:?}");
        }
        assert!(parse("x /a\n\n12\n99999999999999999999999 /b").is_empty());
    }

    #[test]
    fn two_agents_that_write_one_file_within_half_a_minute_are_named() {
        let others = vec![("vera".to_owned(), parse("100000 /a\n101000 /b"))];
        let said = |names: &[&str], now_s: u64| judge_both(&paths(names), &others, now_s * S);
        let text = said(&["/a"], 112).unwrap();
        assert!(text.contains("vera wrote /a 12 s ago."), "{text}");
        assert!(said(&["/a", "/b"], 112).unwrap().contains("(and 1 more)"));
        for (names, now_s) in [(&["/a"][..], 131), (&["/c"][..], 112), (&["/a"][..], 99)] {
            assert_eq!(said(names, now_s), None, "{names:?} {now_s}");
        }
    }
}
