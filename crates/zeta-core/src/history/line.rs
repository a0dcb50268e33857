//! A line of the log: `TIME EVENT LEASE KEY=VALUE ...`. The values are those of records (strings in
//! quotes, numbers), so one decoder reads both.

use super::{Entry, Event};
use crate::lease::FencingToken;
use crate::name::{Label, RecordName};
use crate::overview::LeaseKind;
use crate::record::{is_key, number_of, push_quoted, unquote};
use crate::time::{format_utc, parse_utc, push_number};

/// A longer line is not read. A writer makes none: a record has at most 4 KiB.
pub const LINE_MAX: usize = 16 * 1024;

/// Bytes of the time, at the start of a line.
const TIME_LEN: usize = 27;

/// Returns the line of an entry, with its line feed.
pub fn render(entry: &Entry) -> String {
    let mut line = String::with_capacity(256);
    line.push_str(&format_utc(entry.at_us));
    for word in [entry.event.word(), &entry.lease] {
        line.push(' ');
        line.push_str(word);
    }
    push_some_number(&mut line, "fencing_token", entry.fencing_token);
    push_some_text(&mut line, "agent", entry.agent.as_deref());
    push_some_text(&mut line, "from_agent", entry.from_agent.as_deref());
    push_some_number(&mut line, "from_fencing_token", entry.from_fencing_token);
    push_some_text(&mut line, "cause", entry.cause.as_deref());
    push_some_text(&mut line, "by", entry.by.as_deref());
    push_some_text(&mut line, "reason", entry.reason.as_deref());
    match entry.kind {
        LeaseKind::Lease => {}
        LeaseKind::Claim => push_text(&mut line, "item", &entry.subject),
        LeaseKind::Paths => push_text(&mut line, "paths", &entry.subject),
        LeaseKind::Slot => push_text(&mut line, "joint", "slots"),
    }
    push_some_text(&mut line, "branch", entry.branch.as_deref());
    push_some_text(&mut line, "worktree", entry.worktree.as_deref());
    push_some_number(&mut line, "ttl_ms", entry.ttl_ms);
    push_some_text(&mut line, "session", entry.session.as_deref());
    push_some_text(&mut line, "purpose", entry.purpose.as_deref());
    line.push('\n');
    line
}

fn push_key(line: &mut String, key: &str) {
    line.push(' ');
    line.push_str(key);
    line.push('=');
}

fn push_text(line: &mut String, key: &str, value: &str) {
    push_key(line, key);
    push_quoted(line, value);
}

fn push_some_text(line: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        push_text(line, key, value);
    }
}

fn push_some_number(line: &mut String, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        push_key(line, key);
        push_number(line, value);
    }
}

/// What the lines of a log say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// The entries, in their order.
    pub entries: Vec<Entry>,
    /// How many lines could not be read: torn by a full disk, damaged, or with a word that this
    /// program does not know.
    pub unread: usize,
    /// How many bytes of the text were read: all but those behind the last line feed.
    pub len: usize,
}

/// Reads the whole lines of a log of `node`.
pub fn read_lines(text: &[u8], node: &str) -> Lines {
    let mut lines = Lines::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        lines.len += line.len() + 1;
        let read = std::str::from_utf8(line).ok().filter(|line| line.len() <= LINE_MAX);
        let entry = read.and_then(|line| parse(line, node));
        lines.unread += usize::from(entry.is_none());
        // Behind a line that a full disk has torn, the next one begins without a line feed.
        let entry = entry.or_else(|| torn_from(line, node));
        lines.entries.extend(entry);
    }
    lines
}

/// Reads the entry at the end of a line whose beginning is torn.
fn torn_from(line: &[u8], node: &str) -> Option<Entry> {
    let line = line.get(line.len().saturating_sub(LINE_MAX)..).unwrap_or(line);
    let line = String::from_utf8_lossy(line);
    let starts = line.match_indices('T').filter_map(|(at, _)| at.checked_sub(10));
    starts.filter(|at| *at > 0).find_map(|at| parse(line.get(at..)?, node))
}

/// Reads a line, without its line feed. Keys that are not known are passed over.
fn parse(line: &str, node: &str) -> Option<Entry> {
    let (time, rest) = line.split_at_checked(TIME_LEN)?;
    let at_us = parse_utc(time).ok()?;
    let (event, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let (lease, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    RecordName::is_valid(lease).then_some(())?;
    let mut entry = Entry::new(node, Event::of_word(event)?, lease, at_us);
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = tail.split_at_checked(value_len(tail))?;
        is_key(key).then_some(())?;
        set(&mut entry, key, value)?;
        rest = match tail.strip_prefix(' ') {
            Some(next) if !next.is_empty() => next,
            None if tail.is_empty() => tail,
            _ => return None,
        };
    }
    let is_known = entry.fencing_token.is_some() && entry.agent.is_some();
    (is_known || !entry.event.begins()).then_some(entry)
}

/// The length of the value at the start of a text: a string in quotes, or all up to a blank.
fn value_len(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('"') else {
        return text.find(' ').unwrap_or(text.len());
    };
    let mut is_escaped = false;
    let end = inner.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

fn set(entry: &mut Entry, key: &str, value: &str) -> Option<()> {
    let text = || unquote(value).map(|text| text.into_owned());
    let name = || text().filter(|name| Label::new("agent", name).is_ok());
    let number = || number_of(value);
    let token = || number().and_then(FencingToken::new).map(FencingToken::get);
    match key {
        "fencing_token" => entry.fencing_token = Some(token()?),
        "agent" => entry.agent = Some(name()?),
        "from_agent" => entry.from_agent = Some(name()?),
        "from_fencing_token" => entry.from_fencing_token = Some(token()?),
        "cause" => entry.cause = Some(text()?),
        "by" => entry.by = Some(name()?),
        "reason" => entry.reason = Some(text()?),
        "item" => (entry.kind, entry.subject) = (LeaseKind::Claim, text()?),
        "paths" => (entry.kind, entry.subject) = (LeaseKind::Paths, text()?),
        "joint" => entry.kind = LeaseKind::Slot,
        "branch" => entry.branch = Some(text()?),
        "worktree" => entry.worktree = Some(text()?),
        "ttl_ms" => entry.ttl_ms = Some(number()?),
        "session" => entry.session = Some(text()?),
        "purpose" => entry.purpose = Some(text()?),
        _ => {}
    }
    Some(())
}
