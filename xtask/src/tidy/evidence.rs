//! Binds each numbered rule and promise to its tests, its seeded bug and its figure.
//!
//! The rules (`S1`, `R1`) are in `docs/STANDARD.md`, the promises (`P1`) and their limits (`N1`)
//! in `docs/concurrency.md`. `docs/evidence.tsv` has one line for each: number, tests, bug, figure.
//! `docs/evidence.md` is the table that a person reads. It is written by `cargo xtask evidence`,
//! and `cargo xtask tidy` checks that all three agree with each other and with the code.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::{Finding, Page};
use crate::run;
use crate::seeded::bugs;

const DATA: &str = "docs/evidence.tsv";
const TABLE: &str = "docs/evidence.md";
/// The pages with numbers, and the name of each in the table.
const SOURCES: [(&str, &str); 2] = [
    ("docs/STANDARD.md", "The rules of the standard"),
    ("docs/concurrency.md", "The promises, and what is not promised"),
];
/// The pages that have figures, by their names in the data file.
const FIGURES: [(&str, &str); 2] =
    [("reliability", "docs/reliability.md"), ("performance", "docs/performance.md")];
const ATTACKS: &str = "docs/adversarial.md";

const INTRO: &str = "\
# The evidence for each rule and each promise

This page is generated: change [evidence.tsv](evidence.tsv), then run `cargo xtask evidence`. The
rules (`S`, `R`) are those of [the standard](STANDARD.md). The promises (`P`) and what is not
promised (`N`) are those of [the page about concurrency](concurrency.md).

- **Tests** are names of test functions; `cargo nextest run --workspace NAME` runs one. `faults` is
  short for the six tests of the fault suite (`a_fault_at_any_call_of_…`) of leases, markers,
  personas and heartbeats.
- **Seeded bug**: `cargo xtask seeded-bugs` takes the rule out of a copy of the code and demands
  that the tests notice. Every rule that is a decision in the code should have one. *model:* names
  a rule that the test `every_dropped_rule_is_missed` drops from the model of the protocol instead.
- **Figure**: an attack of [the attack table](adversarial.md#the-attack-table), or a heading of
  [the page about reliability](reliability.md) or [the page about speed](performance.md).
- 🔴 **MISSING** marks what should exist and does not. A dash and a reason mark what cannot exist.
";

/// `cargo xtask evidence`: writes the table; true if the check found nothing.
pub fn run() -> Result<bool> {
    let pages = super::collect_pages(&run::root())?;
    let mut findings = Vec::new();
    let numbers = numbers(&pages, &mut findings);
    let rows = rows(&pages, &mut findings);
    check_bindings(&pages, &numbers, &rows, &mut findings);
    for finding in &findings {
        println!("{finding}");
    }
    fs::write(run::root().join(TABLE), render(&pages, &numbers, &rows))
        .with_context(|| format!("cannot write {TABLE}"))?;
    println!("evidence: {}", summary(&numbers, &rows));
    Ok(findings.is_empty())
}

/// Checks the data file against the pages and the code, and the table against the data file.
pub fn check(pages: &[Page], findings: &mut Vec<Finding>) {
    let numbers = numbers(pages, findings);
    let rows = rows(pages, findings);
    check_bindings(pages, &numbers, &rows, findings);
    let fresh = render(pages, &numbers, &rows);
    match find(pages, TABLE) {
        Some(page) if page.text == fresh => {}
        Some(page) => findings.push(stale(page)),
        None => findings.push(stale(&Page { path: TABLE.to_owned(), text: String::new() })),
    }
}

fn stale(page: &Page) -> Finding {
    Finding::new(page, 1, "the page is stale: run 'cargo xtask evidence'")
}

fn find<'a>(pages: &'a [Page], path: &str) -> Option<&'a Page> {
    pages.iter().find(|page| page.path == path)
}

/// A numbered rule or promise of a page.
struct Number {
    name: String,
    page: &'static str,
    line: usize,
    /// The heading above the rule.
    section: String,
    /// The first sentence of the rule.
    text: String,
}

/// Reads all numbers of the pages; a number that is defined twice is a finding.
fn numbers(pages: &[Page], findings: &mut Vec<Finding>) -> Vec<Number> {
    let mut numbers: Vec<Number> = Vec::new();
    for (path, _) in SOURCES {
        let Some(page) = find(pages, path) else {
            let page = Page { path: path.to_owned(), text: String::new() };
            findings.push(Finding::new(&page, 1, "the page does not exist"));
            continue;
        };
        for number in numbers_of(page, path) {
            if numbers.iter().any(|before| before.name == number.name) {
                let what = format!("the number {} is defined twice", number.name);
                findings.push(Finding::new(page, number.line, what));
            }
            numbers.push(number);
        }
    }
    numbers
}

fn numbers_of(page: &Page, path: &'static str) -> Vec<Number> {
    let lines: Vec<&str> = page.text.lines().collect();
    let mut numbers = Vec::new();
    let mut section = String::new();
    let mut fenced = false;
    for (at, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        if let Some((name, rest)) = definition(line) {
            let text = first_sentence(rest, lines.get(at + 1..).unwrap_or_default(), line);
            let (name, section) = (name.to_owned(), section.clone());
            numbers.push(Number { name, page: path, line: at + 1, section, text });
        }
    }
    numbers
}

/// Returns the number that a line defines, and the text after it: a line, a list item or the row of
/// a table begins with the number in bold.
fn definition(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("| ").or_else(|| rest.strip_prefix("- ")).unwrap_or(rest);
    let item = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = item.strip_prefix(". ").unwrap_or(rest);
    let rest = rest.strip_prefix("**")?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, rest) = rest.split_at(end);
    let digits = name.strip_prefix(['S', 'R', 'P', 'N'])?;
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (number && rest.starts_with(['.', '*'])).then_some((name, rest))
}

/// Returns the first sentence of a rule. It may continue on the next lines of its paragraph; the
/// row of a table is one line, whose cells are joined.
fn first_sentence(rest: &str, following: &[&str], line: &str) -> String {
    let mut text = rest.trim_start_matches(['.', '*']).trim().to_owned();
    if line.trim_start().starts_with('|') {
        let cells = text.split('|').map(str::trim).filter(|cell| !cell.is_empty());
        text = cells.collect::<Vec<_>>().join(": ");
    } else {
        for line in following {
            let line = line.trim();
            let starts = |mark: &str| line.starts_with(mark);
            let item = line.trim_start_matches(|c: char| c.is_ascii_digit());
            let item = item.len() < line.len() && item.starts_with(". ");
            if line.is_empty() || item || starts("- ") || starts("|") || definition(line).is_some()
            {
                break;
            }
            text.push(' ');
            text.push_str(line);
        }
    }
    let text = text.replace("**", "").replace('|', "\\|");
    let end = text.find(". ").map_or(text.len(), |at| at);
    let sentence = text.get(..end).unwrap_or(&text).trim().trim_end_matches(['.', ':', ',']);
    shortened(sentence)
}

/// Shortens a text to the width of a cell, never inside a code span.
fn shortened(text: &str) -> String {
    const MOST: usize = 110;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(MOST).collect();
    cut.truncate(cut.rfind(' ').unwrap_or(cut.len()));
    if cut.matches('`').count() % 2 == 1 {
        cut.truncate(cut.rfind('`').unwrap_or(cut.len()));
    }
    format!("{} …", cut.trim_end().trim_end_matches([',', ':', ';']))
}

/// A line of the data file.
struct Row {
    name: String,
    line: usize,
    tests: Vec<Binding>,
    bugs: Vec<Binding>,
    figures: Vec<Binding>,
}

/// One entry of a cell.
#[derive(Debug, PartialEq, Eq)]
enum Binding {
    /// The name of a test, a bug or a figure.
    Name(String),
    /// A missing entry; the text may say what is missing.
    Missing(String),
    /// The reason why there can be no entry.
    Without(String),
}

impl Row {
    fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.tests.iter().chain(&self.bugs).chain(&self.figures)
    }
}

/// Reads the data file.
fn rows(pages: &[Page], findings: &mut Vec<Finding>) -> Vec<Row> {
    let Some(page) = find(pages, DATA) else {
        let page = Page { path: DATA.to_owned(), text: String::new() };
        findings.push(Finding::new(&page, 1, "the data file does not exist"));
        return Vec::new();
    };
    let mut rows = Vec::new();
    for (at, line) in page.text.lines().enumerate().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, tests, bugs, figures] = cells.as_slice() else {
            let what = "a line has four cells: number, tests, bug, figure; a tab between two";
            findings.push(Finding::new(page, at + 1, what));
            continue;
        };
        rows.push(Row {
            name: (*name).to_owned(),
            line: at + 1,
            tests: cell(tests),
            bugs: cell(bugs),
            figures: cell(figures),
        });
    }
    rows
}

/// Reads a cell: names with `; ` between them, `MISSING: what`, or `– reason`.
fn cell(text: &str) -> Vec<Binding> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    let binding = |entry: &str| {
        if let Some(what) = entry.strip_prefix("MISSING") {
            return Binding::Missing(what.trim_start_matches(':').trim().to_owned());
        }
        match entry.strip_prefix('–') {
            Some(reason) => Binding::Without(reason.trim().to_owned()),
            None => Binding::Name(entry.to_owned()),
        }
    };
    entries.map(binding).collect()
}

/// Checks that pages and data file have the same numbers, and that all that is named exists.
fn check_bindings(pages: &[Page], numbers: &[Number], rows: &[Row], findings: &mut Vec<Finding>) {
    let Some(data) = find(pages, DATA) else { return };
    for number in numbers {
        if !rows.iter().any(|row| row.name == number.name) {
            let what = format!("{} has no line in {DATA}", number.name);
            if let Some(page) = find(pages, number.page) {
                findings.push(Finding::new(page, number.line, what));
            }
        }
    }
    let tests = tests_of(pages);
    for (at, row) in rows.iter().enumerate() {
        let mut say = |what: String| findings.push(Finding::new(data, row.line, what));
        if !numbers.iter().any(|number| number.name == row.name) {
            say(format!("'{}' is no number of {} or {}", row.name, SOURCES[0].0, SOURCES[1].0));
        }
        if rows.iter().take(at).any(|before| before.name == row.name) {
            say(format!("{} has two lines", row.name));
        }
        for cell in [&row.tests, &row.bugs, &row.figures] {
            if cell.is_empty() {
                say(format!("{} has an empty cell: write MISSING, or '– ' and why", row.name));
            }
            if cell.iter().any(|entry| *entry == Binding::Without(String::new())) {
                say(format!("{} has a dash without a reason", row.name));
            }
        }
        for name in names(&row.tests) {
            match tests.get(name) {
                _ if name == FAULTS => {}
                Some(1) => {}
                Some(count) => say(format!("{count} tests have the name '{name}'")),
                None => say(format!("no test has the name '{name}'")),
            }
        }
        for name in names(&row.bugs).filter(|name| !bug_exists(name, pages)) {
            say(format!("no seeded bug and no rule of the model has the name '{name}'"));
        }
        for name in names(&row.figures).filter(|name| link(name, pages).is_none()) {
            say(format!("no heading and no attack is '{name}'"));
        }
    }
    for test in FAULT_TESTS.iter().filter(|test| tests.get(**test) != Some(&1)) {
        findings.push(Finding::new(data, 1, format!("the fault suite has no test '{test}'")));
    }
}

/// The entry of the data file that stands for the tests of [`FAULT_TESTS`].
const FAULTS: &str = "faults";
const FAULT_TESTS: [&str; 6] = [
    "a_fault_at_any_call_of_acquire_grants_all_or_nothing",
    "a_fault_at_any_call_of_renew_leaves_the_old_or_the_new_term",
    "a_fault_at_any_call_of_release_leaves_the_lease_or_nothing",
    "a_fault_at_any_call_of_marker_set_leaves_the_old_or_the_new_marker",
    "a_fault_at_any_call_of_persona_set_leaves_the_old_or_the_new_persona",
    "a_fault_at_any_call_of_heartbeat_leaves_the_old_or_the_new_beat",
];

fn names(cell: &[Binding]) -> impl Iterator<Item = &str> {
    cell.iter().filter_map(|binding| match binding {
        Binding::Name(name) => Some(name.as_str()),
        Binding::Missing(_) | Binding::Without(_) => None,
    })
}

/// Reports whether a seeded bug has this name, or the name is `model: ` and a rule that the model
/// drops.
fn bug_exists(name: &str, pages: &[Page]) -> bool {
    let Some(rule) = name.strip_prefix("model: ") else {
        return bugs().any(|bug| bug.name == name);
    };
    let line = format!("    {rule},");
    let mutants = pages.iter().find(|page| page.path.ends_with("/model/mutant.rs"));
    mutants.is_some_and(|page| page.text.lines().any(|found| found == line))
}

/// Counts the test functions of each name in the workspace.
fn tests_of(pages: &[Page]) -> BTreeMap<&str, usize> {
    let mut tests = BTreeMap::new();
    for page in pages.iter().filter(|page| page.path.ends_with(".rs")) {
        let mut lines = page.text.lines().map(str::trim);
        while lines.any(|line| line == "#[test]") {
            let more = |line: &&str| line.starts_with("#[") || line.starts_with("//");
            let head = lines.by_ref().find(|line| !more(line)).unwrap_or_default();
            if let Some(rest) = head.strip_prefix("fn ")
                && let Some((name, _)) = rest.split_once('(')
            {
                *tests.entry(name).or_insert(0) += 1;
            }
        }
    }
    tests
}

/// Finds the page and the anchor of a figure: `A7`, or `reliability: ` and the start of a heading.
fn link(figure: &str, pages: &[Page]) -> Option<String> {
    if figure.starts_with('A') {
        let row = format!("| {figure} | ");
        let stands = find(pages, ATTACKS)?.text.lines().any(|line| line.starts_with(&row));
        return stands.then(|| "adversarial.md#the-attack-table".to_owned());
    }
    let (word, start) = figure.split_once(": ")?;
    let (_, path) = FIGURES.iter().find(|(name, _)| *name == word)?;
    let mut fenced = false;
    for line in find(pages, path)?.text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#').trim_start();
        if !fenced && line.starts_with('#') && heading.starts_with(start) {
            return Some(format!("{word}.md#{}", anchor(heading)));
        }
    }
    None
}

/// Makes the anchor of a heading, as GitHub and mdBook do.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn summary(numbers: &[Number], rows: &[Row]) -> String {
    let missing = |cell: fn(&Row) -> &Vec<Binding>| {
        let lacks = |row: &&Row| cell(row).iter().any(|b| matches!(b, Binding::Missing(_)));
        rows.iter().filter(lacks).count()
    };
    let (tests, bugs) = (missing(|row| &row.tests), missing(|row| &row.bugs));
    let figures = missing(|row| &row.figures);
    let whole = rows.iter().filter(|row| {
        let mut bindings = row.bindings();
        !bindings.any(|binding| matches!(binding, Binding::Missing(_)))
    });
    format!(
        "{} numbers; {} lack nothing, {tests} lack a test, {bugs} a seeded bug, {figures} a figure",
        numbers.len(),
        whole.count()
    )
}

/// Makes the whole table.
fn render(pages: &[Page], numbers: &[Number], rows: &[Row]) -> String {
    let mut out = format!("{INTRO}\n{}.\n", summary(numbers, rows));
    let (mut page, mut section) = ("", "");
    for number in numbers {
        if number.page != page {
            let title = SOURCES.iter().find(|(path, _)| *path == number.page);
            let _ = write!(out, "\n## {}\n", title.map_or("", |(_, title)| title));
            (page, section) = (number.page, "");
        }
        if number.section != section {
            section = &number.section;
            let file = page.trim_start_matches("docs/");
            let _ = write!(out, "\n[{section}]({file}#{})\n\n", anchor(section));
            out.push_str("| | | tests | seeded bug | figure |\n|---|---|---|---|---|\n");
        }
        let row = rows.iter().find(|row| row.name == number.name);
        let code = |name: &str| format!("`{name}`");
        let figure = |name: &str| match link(name, pages) {
            Some(to) => format!("[{}]({to})", name.split_once(": ").map_or(name, |(_, text)| text)),
            None => name.to_owned(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            number.name,
            number.text,
            shown(row.map(|row| row.tests.as_slice()), code),
            shown(row.map(|row| row.bugs.as_slice()), |name| name.replace("model: ", "*model:* ")),
            shown(row.map(|row| row.figures.as_slice()), figure),
        );
    }
    out
}

/// Formats a cell: one entry per line.
fn shown(cell: Option<&[Binding]>, name: impl Fn(&str) -> String) -> String {
    let Some(cell) = cell else { return "🔴 **MISSING**".to_owned() };
    let entry = |binding: &Binding| match binding {
        Binding::Name(text) => name(text),
        Binding::Missing(text) if text.is_empty() => "🔴 **MISSING**".to_owned(),
        Binding::Missing(text) => format!("🔴 **MISSING**: {text}"),
        Binding::Without(reason) => format!("– {reason}"),
    };
    cell.iter().map(entry).collect::<Vec<_>>().join("<br>")
}
