//! Which room may use which: imports go down only, and a new room is a new line in this table.
//!
//! The compiler keeps files, clocks and sockets out of the core; inside a crate it would let every
//! room import every other one, so the direction is checked here.

use super::{Finding, Page};

/// The rooms of one crate: for each, the rooms that it may use besides itself.
struct House {
    /// Where its rooms are.
    src: &'static str,
    /// How a path to a room begins.
    prefixes: &'static [&'static str],
    rooms: &'static [(&'static str, &'static [&'static str])],
}

const HOUSES: [House; 2] = [
    House {
        src: "crates/zeta-core/src/",
        prefixes: &["crate::"],
        rooms: &[
            ("name", &[]),
            ("time", &[]),
            ("record", &[]),
            ("layout", &["name"]),
            ("evidence", &["time"]),
            ("lease", &["name", "time", "record", "evidence"]),
            ("presence", &["name", "time", "record", "evidence", "lease"]),
            ("clean", &["name", "time", "record", "evidence", "lease", "presence"]),
            ("bus", &["name", "time"]),
            ("registration", &["time"]),
            ("creds", &["record"]),
        ],
    },
    House {
        src: "crates/zeta/src/",
        prefixes: &["crate::", "zeta::"],
        rooms: &[
            // Words that every floor may use.
            ("error", &[]),
            ("output", &["error"]),
            // The files that a person writes; only a door reads them.
            ("config", &["error"]),
            // Hands: one outside thing per file; they never decide.
            ("adapters", &["error"]),
            // The only bundle handed down; it chooses the adapters.
            ("context", &["adapters", "error"]),
            // One function per thing that zeta can do.
            ("ops", &["adapters", "context", "error"]),
            // Doors: they call ops and show the result.
            ("demo", &["adapters", "ops", "output", "error", "context"]),
            ("cli", &["demo", "ops", "output", "error", "context", "config"]),
            ("main", &["cli", "error"]),
        ],
    },
];

/// Checks the imports of one Rust file.
pub fn check(page: &Page, findings: &mut Vec<Finding>) {
    for house in &HOUSES {
        if let Some(inside) = page.path.strip_prefix(house.src) {
            check_in(house, inside, page, findings);
        }
    }
}

fn check_in(house: &House, inside: &str, page: &Page, findings: &mut Vec<Finding>) {
    let room = inside.split('/').next().unwrap_or(inside);
    let room = room.strip_suffix(".rs").unwrap_or(room);
    if room == "lib" {
        return; // the map of all rooms
    }
    let Some((_, may_use)) = house.rooms.iter().find(|(name, _)| *name == room) else {
        let what = format!("the room '{room}' is new: give it a line in {}", file!());
        findings.push(Finding::new(page, 1, what));
        return;
    };
    for (line, used) in rooms_used(&page.text, house.prefixes) {
        let known = house.rooms.iter().any(|(name, _)| *name == used);
        if known && used != room && !may_use.contains(&used.as_str()) {
            let what = format!("'{room}' may not use '{used}' (the table is in {})", file!());
            findings.push(Finding::new(page, line, what));
        }
    }
    for (at, line) in page.text.lines().enumerate() {
        if line.contains("super::super::") {
            let what = "say 'crate::' and the room, so that the direction can be seen";
            findings.push(Finding::new(page, at + 1, what));
        }
    }
}

/// The first names after each prefix, with their lines: of `crate::{a::B, c}`, `a` and `c`.
fn rooms_used(text: &str, prefixes: &[&str]) -> Vec<(usize, String)> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect();
    let code = code.join("\n");
    let mut used = Vec::new();
    for prefix in prefixes {
        for (at, _) in code.match_indices(prefix) {
            let (before, rest) = code.split_at(at);
            let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ':');
            if before.ends_with(joins) {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let rest = rest.get(prefix.len()..).unwrap_or_default();
            used.extend(first_names(rest).into_iter().map(|name| (line, name)));
        }
    }
    used
}

fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group.get(start..at).unwrap_or_default().trim_start()));
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' {
            match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => break,
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
