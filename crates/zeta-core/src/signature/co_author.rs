//! Which co-authors, and which authors, are agents: a table of names and addresses.
//!
//! A row of `co_authors.tsv` has the agent, a pattern of its name and one of its address; `*`
//! stands for any text at the beginning or at the end, and `-` for no pattern. A name alone is
//! enough for a co-author, because the address is often made up. An author is an agent by the
//! address only. `docs/use/signatures.md` says how a row is added.

use super::trailer::find;

/// The table, as it ships.
const TABLE: &str = include_str!("co_authors.tsv");

/// Names and addresses of agents.
#[derive(Debug, Clone)]
pub struct CoAuthors {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    agent: String,
    name: Option<Pattern>,
    address: Option<Pattern>,
}

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no row: write an agent, a name and an address, with '|' between them and '-' for none"
)]
pub struct BadRow(pub String);

/// A text in which `*` at the beginning or the end stands for any other.
#[derive(Debug, Clone)]
struct Pattern {
    text: Vec<u8>,
    open: (bool, bool),
}

impl Pattern {
    fn of(text: &str) -> Option<Pattern> {
        let text = text.trim();
        let (begin, inner) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
        let (end, inner) = inner.strip_suffix('*').map_or((false, inner), |rest| (true, rest));
        // A pattern of nothing but stars would make an agent of each person.
        let is_some = !inner.is_empty() && inner != "-";
        is_some.then(|| Pattern { text: inner.as_bytes().to_vec(), open: (begin, end) })
    }

    fn matches(&self, text: &[u8]) -> bool {
        let len = self.text.len();
        let same = |part: Option<&[u8]>| part.is_some_and(|p| p.eq_ignore_ascii_case(&self.text));
        match self.open {
            (false, false) => same(Some(text)),
            (false, true) => same(text.get(..len)),
            (true, false) => same(text.len().checked_sub(len).and_then(|at| text.get(at..))),
            (true, true) => text.windows(len).any(|part| same(Some(part))),
        }
    }
}

impl Default for CoAuthors {
    fn default() -> CoAuthors {
        let rows = TABLE.lines().skip(1).filter_map(|line| row(line, '\t'));
        CoAuthors { rows: rows.collect() }
    }
}

impl CoAuthors {
    /// Adds the rows of a person: `agent | name | address`, several with `;` between them.
    ///
    /// # Errors
    /// A row is none.
    pub fn add(&mut self, rows: &str) -> Result<(), BadRow> {
        for text in rows.split(';').filter(|text| !text.trim().is_empty()) {
            self.rows.push(row(text, '|').ok_or_else(|| BadRow(text.trim().to_owned()))?);
        }
        Ok(())
    }

    /// Returns the first agent that a message names as a co-author, in any line of it.
    pub fn in_message(&self, message: &[u8]) -> Option<&str> {
        let mut rest = message;
        while !rest.is_empty() {
            let end = find(b'\n', rest).unwrap_or(rest.len());
            let (line, below) = rest.split_at(end);
            if let Some(found) = co_author(line).and_then(|(name, address)| self.of(name, address))
            {
                return Some(found);
            }
            rest = below.get(1..).unwrap_or_default();
        }
        None
    }

    /// Returns the agent whose name or address these are.
    fn of(&self, name: &[u8], address: &[u8]) -> Option<&str> {
        let matches = |pattern: &Option<Pattern>, text: &[u8]| {
            pattern.as_ref().is_some_and(|pattern| pattern.matches(text))
        };
        let mut rows = self.rows.iter();
        let found = rows.find(|row| matches(&row.name, name) || matches(&row.address, address));
        found.map(|row| row.agent.as_str())
    }

    /// Returns the agent whose address this is.
    pub fn of_address(&self, address: &[u8]) -> Option<&str> {
        self.of(b"", address)
    }
}

fn row(line: &str, between: char) -> Option<Row> {
    let mut columns = line.split(between).map(str::trim);
    let (agent, name, address) = (columns.next()?, columns.next()?, columns.next()?);
    let row = Row { agent: agent.into(), name: Pattern::of(name), address: Pattern::of(address) };
    let is_whole = !agent.is_empty() && columns.next().is_none();
    (is_whole && (row.name.is_some() || row.address.is_some())).then_some(row)
}

/// Reads a line that names a co-author: the name and the address.
fn co_author(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const KEY: &[u8] = b"co-authored-by";
    let (key, rest) = line.split_at_checked(KEY.len())?;
    let rest = key.eq_ignore_ascii_case(KEY).then(|| rest.trim_ascii_start())?;
    let value = rest.strip_prefix(b":")?.trim_ascii();
    let at = value.iter().position(|byte| *byte == b'<').unwrap_or(value.len());
    let (name, address) = value.split_at(at);
    let address = address.strip_prefix(b"<").unwrap_or_default();
    let end = address.iter().position(|byte| *byte == b'>').unwrap_or(address.len());
    Some((name.trim_ascii(), address.get(..end).unwrap_or_default().trim_ascii()))
}
