//! Until when a registration counts: a node that died must not stay in the list for ever.
//!
//! Off by default. A node that lives moves its end when less than a week is left;
//! one that does not is dead three days after its end.

use super::node::{ClusterNode, EXPIRES_AT};
use crate::time::parse_utc;

const DAY_US: i64 = 86_400 * 1_000_000;
/// How long before its end a registration is renewed, in µs.
pub const REFRESH_US: i64 = 7 * DAY_US;
/// How long after its end a node counts as alive, in µs.
pub const GRACE_US: i64 = 3 * DAY_US;

/// How a registration stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It has no end.
    Never,
    /// Its end is far enough away.
    Fresh,
    /// Its end is near, or over by less than the grace.
    Due,
    /// Its end is over by more than the grace.
    Dead,
    /// It has an end that cannot be read.
    Unreadable,
}

/// Judges the end of a registration at `now_us`, in µs since the Unix epoch.
pub fn expiry(node: &ClusterNode, now_us: i64) -> Expiry {
    let Some(text) = node.metadata.annotations.get(EXPIRES_AT) else { return Expiry::Never };
    match parse_utc(text) {
        Err(_) => Expiry::Unreadable,
        Ok(end_us) if now_us > end_us.saturating_add(GRACE_US) => Expiry::Dead,
        Ok(end_us) if now_us > end_us.saturating_sub(REFRESH_US) => Expiry::Due,
        Ok(_) => Expiry::Fresh,
    }
}

/// Must the end be moved? A node that asks for an end and has none gets its first one.
pub fn is_due(expiry: Expiry) -> bool {
    expiry != Expiry::Fresh
}

/// The text of a `node.yaml` with another end, and else as it was: people may have written into it
/// what no type here knows. `None` where there is no one place for it.
pub fn with_end(text: &str, until: &str) -> Option<String> {
    let one = |matches: &dyn Fn(&str) -> bool| {
        let mut places = text.lines().enumerate().filter(|(_, line)| matches(line.trim()));
        places.next().filter(|_| places.next().is_none())
    };
    let is_end = |line: &str| {
        let (key, _) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        key.trim_matches(['"', '\'']) == EXPIRES_AT
    };
    let entry = format!("{EXPIRES_AT}: \"{until}\"");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if text.contains(EXPIRES_AT) {
        let (at, line) = one(&is_end)?;
        *lines.get_mut(at)? = format!("{}{entry}", " ".repeat(indent(line)));
    } else {
        let (at, _) = one(&|line| line == "annotations:")?;
        let first = lines.get(at + 1)?;
        lines.insert(at + 1, format!("{}{entry}", " ".repeat(indent(first))));
    }
    Some(lines.join("\n") + "\n")
}
