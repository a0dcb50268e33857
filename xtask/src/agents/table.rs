//! The table of `docs/use/hooks.md`: what works with which agent tool, made from
//! `docs/agents.tsv`, which a run of the real tools writes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::Tried;
use super::npm::{Pinned, TOOLS, pinned};
use crate::run;
use crate::tidy::{Finding, Page};

const DATA: &str = "docs/agents.tsv";
const PAGE: &str = "docs/use/hooks.md";
const HEAD: &str = "capability\ttool\tversion\toutcome\tnote";
const BEGIN: &str = "<!-- made from agents.tsv by 'cargo xtask agents --write' -->\n";
const END: &str = "<!-- end -->\n";

/// The capabilities: the key in the data, and the row of the table.
const ROWS: [(&str, &str); 15] = [
    ("presence", "presence"),
    ("end", "it is gone when it ends or dies"),
    ("greeting", "the model reads who is here"),
    ("edit", "an edit is refused, and the model reads why"),
    ("push", "a push is refused, and the model reads why"),
    ("killed", "the holder is killed: the same edit goes through at once"),
    ("warning", "the model reads a warning"),
    ("name", "what its commands claim is the agent's"),
    ("mail", "the model reads its mail in the middle of a turn"),
    ("goes_on", "mail lets a turn go on"),
    ("woken", "a message wakes it, in [`zeta run --pty --wake`](wake.md)"),
    ("server", "the model calls the tools of [`zeta mcp`](mcp.md)"),
    ("removed", "`zeta` is gone: no tool is blocked"),
    ("uninstall", "an uninstall brings back every byte"),
    ("waits", "it waits for a person"),
];

/// A line of the data.
#[derive(Clone)]
struct Line {
    what: String,
    tool: String,
    version: String,
    /// `tried`, `failed`, `documented`, or `none`: the tool has no means for it.
    outcome: String,
    note: String,
}

/// Writes the results of a run into the data, and makes the table anew.
pub fn write(tried: &[Tried]) -> Result<()> {
    let mut lines = lines(&read(DATA)?);
    for tried in tried.iter().filter(|tried| ROWS.iter().any(|(key, _)| *key == tried.what)) {
        let same = |line: &&mut Line| line.what == tried.what && line.tool == tried.tool;
        let version = pinned(&tried.tool)?.version.to_owned();
        let outcome = if tried.works { "tried" } else { "failed" }.to_owned();
        match lines.iter_mut().find(same) {
            Some(line) => (line.version, line.outcome) = (version, outcome),
            None => {
                let (what, tool) = (tried.what.clone(), tried.tool.clone());
                lines.push(Line { what, tool, version, outcome, note: String::new() });
            }
        }
    }
    let place = |line: &Line| {
        let row = ROWS.iter().position(|(key, _)| *key == line.what);
        (row, TOOLS.iter().position(|tool| tool.name == line.tool))
    };
    lines.sort_by_key(place);
    let mut data = format!("{HEAD}\n");
    for Line { what, tool, version, outcome, note } in &lines {
        let _ = writeln!(data, "{what}\t{tool}\t{version}\t{outcome}\t{note}");
    }
    fs::write(run::root().join(DATA), data).with_context(|| format!("cannot write {DATA}"))?;
    let page = replaced(&read(PAGE)?, &render(&lines));
    let page = page.with_context(|| format!("{PAGE} has no place for the table"))?;
    fs::write(run::root().join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))
}

/// Returns what the data says that works with these tools, as names of tests.
pub fn expected(tools: &[&Pinned]) -> Result<BTreeSet<String>> {
    let of =
        |line: &Line| line.outcome == "tried" && tools.iter().any(|tool| tool.name == line.tool);
    let lines = lines(&read(DATA)?).into_iter().filter(of);
    Ok(lines.map(|line| format!("agents: {}: {}", line.tool, line.what)).collect())
}

/// Checks that the table is that of the data, and the data that of the pinned versions.
pub fn check(pages: &[Page], findings: &mut Vec<Finding>) {
    let find = |path: &str| pages.iter().find(|page| page.path == path);
    let (Some(data), Some(page)) = (find(DATA), find(PAGE)) else { return };
    let lines = lines(&data.text);
    for (at, line) in lines.iter().enumerate() {
        let mut say = |what: String| findings.push(Finding::new(data, at + 2, what));
        let tool = TOOLS.iter().find(|tool| tool.name == line.tool);
        if tool.is_none() || !ROWS.iter().any(|(key, _)| *key == line.what) {
            say(format!("there is no '{}' of '{}'", line.what, line.tool));
        }
        let tried = matches!(line.outcome.as_str(), "tried" | "failed");
        if !tried && !matches!(line.outcome.as_str(), "documented" | "none") {
            say(format!("'{}' is none of tried, failed, documented, none", line.outcome));
        }
        if tried && tool.is_some_and(|tool| tool.version != line.version) {
            let (tool, version) = (&line.tool, &line.version);
            say(format!("tried with {version}: run 'cargo xtask agents {tool} --write'"));
        }
    }
    if replaced(&page.text, &render(&lines)).as_ref() != Some(&page.text) {
        let what = "the table is stale: run 'cargo xtask agents --write'";
        findings.push(Finding::new(page, 1, what));
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(run::root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn lines(data: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        let mut next = || cells.next().unwrap_or_default();
        Line { what: next(), tool: next(), version: next(), outcome: next(), note: next() }
    };
    data.lines().skip(1).map(line).collect()
}

/// Puts a table into its place of the page.
fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

fn render(lines: &[Line]) -> String {
    let mut table = "|".to_owned();
    for tool in &TOOLS {
        let _ = write!(table, " | {}", format!("{} {}", tool.title, tool.version).trim());
    }
    let _ = write!(table, " |\n|---|{}\n", "---|".repeat(TOOLS.len()));
    for (key, title) in ROWS {
        let _ = write!(table, "| {title}");
        for tool in &TOOLS {
            let line = lines.iter().find(|line| line.what == key && line.tool == tool.name);
            let _ = write!(table, " | {}", line.map_or_else(|| "–".to_owned(), cell));
        }
        table.push_str(" |\n");
    }
    table
}

fn cell(line: &Line) -> String {
    let word = match line.outcome.as_str() {
        "none" => "–",
        "failed" => "**does not work**",
        word => word,
    };
    match line.note.as_str() {
        "" => word.to_owned(),
        note if word == "–" => format!("– {note}"),
        note => format!("{word}: {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: String) -> Page {
        Page { path: path.to_owned(), text }
    }

    #[test]
    fn a_table_that_is_not_that_of_the_data_is_found() {
        let claude = pinned("claude").unwrap().version;
        let data = format!("{HEAD}\nedit\tclaude\t{claude}\ttried\tat once\n");
        let table = replaced(&format!("# x\n{BEGIN}{END}"), &render(&lines(&data))).unwrap();
        assert!(table.contains("| tried: at once |"), "{table}");
        let count = |data: &str, table: &str| {
            let mut findings = Vec::new();
            let pages = [page(DATA, data.to_owned()), page(PAGE, table.to_owned())];
            check(&pages, &mut findings);
            findings.len()
        };
        assert_eq!(count(&data, &table), 0);
        assert_eq!(count(&data, &table.replace("at once", "later")), 1);
        assert_eq!(count(&data.replace("tried", "works"), &table), 2, "a word and a table");
        assert_eq!(count(&data.replace(claude, "1.0.0"), &table), 1, "of another version");
        assert_eq!(count(&data.replace("edit", "edits"), &table), 2);
    }
}
