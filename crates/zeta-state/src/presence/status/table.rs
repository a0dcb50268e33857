//! Columns of text: as wide as their content, and never wider than the terminal where there is one.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How a cell is shown on a terminal with colours. Nothing is ever green: the evidence shows that
/// an agent is alive, not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CellStyle {
    /// Nothing is wrong.
    #[default]
    Plain,
    /// A person should check it at some time.
    Doubt,
    /// A person should check it now.
    Bad,
}

impl CellStyle {
    /// Returns the text in its colour.
    pub(super) fn paint(self, text: &str) -> Cow<'_, str> {
        match self {
            CellStyle::Plain => Cow::Borrowed(text),
            CellStyle::Doubt => Cow::Owned(format!("\u{1b}[33m{text}\u{1b}[0m")),
            CellStyle::Bad => Cow::Owned(format!("\u{1b}[31m{text}\u{1b}[0m")),
        }
    }
}

/// What happens to a column on a narrow terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// The column is left out; the one with the lowest number first.
    Drop(u8),
    /// Long text is cut at its end.
    Cut,
    /// Long text is cut at its start: the end of a path tells most.
    CutStart,
    /// The column stays as it is, if that is possible at all.
    Keep,
}

/// The name of a column, and what happens to it on a narrow terminal.
pub(super) type Column = (&'static str, Fit);

/// A table; its first row is its head.
#[derive(Debug)]
pub(super) struct Table<'a, const N: usize> {
    columns: [Column; N],
    rows: Vec<([Cow<'a, str>; N], CellStyle)>,
}

/// The space between two columns.
const GAP: usize = 2;
/// The width that text keeps before a column is left out for it.
const ROOM: usize = 16;
/// The width that text keeps before the other columns are cut, too.
const SHORTEST: usize = 8;

impl<'a, const N: usize> Table<'a, N> {
    /// Makes a table with these columns, and with space for `count` rows.
    pub(super) fn new(columns: [Column; N], count: usize) -> Table<'a, N> {
        let mut rows = Vec::with_capacity(count + 1);
        rows.push((columns.map(|(name, _)| Cow::Borrowed(name)), CellStyle::Plain));
        Table { columns, rows }
    }

    /// Adds a row; an empty cell is shown as `-`, so that columns can be counted.
    pub(super) fn row(&mut self, cells: [Cow<'a, str>; N], style: CellStyle) {
        let cells = cells.map(|cell| match cell.is_empty() {
            true => Cow::Borrowed("-"),
            false => cell,
        });
        self.rows.push((cells, style));
    }

    /// Writes the table; `limit` is the terminal's width, `colour` says whether rows show their
    /// style.
    pub(super) fn write(&self, text: &mut String, limit: Option<usize>, colour: bool) {
        let widths = self.widths(limit);
        text.reserve(self.rows.len() * (total(widths.into_iter()) + GAP));
        let mut line = String::new();
        for (cells, style) in &self.rows {
            line.clear();
            for ((cell, (_, fit)), width) in cells.iter().zip(self.columns).zip(widths) {
                let Some(width) = width else { continue };
                let wide = width_of(cell);
                if wide <= width {
                    line.push_str(cell);
                    pad(&mut line, width - wide + GAP);
                } else {
                    let cell = cut(cell, width, fit == Fit::CutStart);
                    line.push_str(&cell);
                    pad(&mut line, width.saturating_sub(width_of(&cell)) + GAP);
                }
            }
            let line = line.trim_end();
            match colour {
                true => text.push_str(&style.paint(line)),
                false => text.push_str(line),
            }
            text.push('\n');
        }
    }

    /// Returns the widths of the columns; `None` for one that is left out. Columns are left out
    /// until each text has some room; then the widest text is cut, then any other column.
    fn widths(&self, limit: Option<usize>) -> [Option<usize>; N] {
        let mut widths = [0; N];
        for (cells, _) in &self.rows {
            for (cell, width) in cells.iter().zip(&mut widths) {
                *width = width_of(cell).max(*width);
            }
        }
        let mut widths = widths.map(Some);
        let Some(limit) = limit else { return widths };
        let is_text = |fit: Fit| matches!(fit, Fit::Cut | Fit::CutStart);
        let fits = self.columns.map(|(_, fit)| fit);
        loop {
            let least = widths.iter().zip(fits);
            let least = least.map(|(width, fit)| {
                width.map(|width| if is_text(fit) { width.min(ROOM) } else { width })
            });
            if total(least) <= limit {
                break;
            }
            let left = fits.iter().zip(&mut widths).filter(|(_, width)| width.is_some());
            match left.min_by_key(|(fit, _)| **fit) {
                Some((Fit::Drop(_), width)) => *width = None,
                _ => break,
            }
        }
        for shortest in [SHORTEST, 1] {
            let may_cut = |fit: Fit| shortest == 1 || is_text(fit);
            while total(widths.iter().copied()) > limit {
                let text = widths.iter_mut().zip(fits).filter(|(_, fit)| may_cut(*fit));
                let widest = text.filter_map(|(width, _)| width.as_mut()).max();
                match widest {
                    Some(width) if *width > shortest => *width -= 1,
                    _ => break,
                }
            }
        }
        widths
    }
}

fn pad(line: &mut String, mut count: usize) {
    const BLANKS: &str = "                                ";
    while count > 0 {
        let some = count.min(BLANKS.len());
        line.push_str(&BLANKS[..some]);
        count -= some;
    }
}

/// Returns the width of a row.
fn total(widths: impl Iterator<Item = Option<usize>>) -> usize {
    let (sum, count) =
        widths.flatten().fold((0, 0), |(sum, count), width| (sum + width, count + 1));
    sum + GAP * usize::saturating_sub(count, 1)
}

/// Returns how many columns of a terminal a text takes.
fn width_of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Cuts text to at most `width` columns of a terminal; an ellipsis shows the cut.
fn cut(text: &str, width: usize, at_start: bool) -> String {
    let mut room = width.saturating_sub(1);
    let mut fits = |c: &char| match room.checked_sub(c.width().unwrap_or(0)) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    };
    match at_start {
        false => text.chars().take_while(&mut fits).chain(['…']).collect(),
        true => {
            let end: Vec<char> = text.chars().rev().take_while(&mut fits).collect();
            std::iter::once('…').chain(end.into_iter().rev()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [("AGENT", Fit::Keep), ("EVIDENCE", Fit::Drop(1)), ("TASK", Fit::Cut)];

    fn table(tasks: &[&'static str]) -> Table<'static, 3> {
        let mut table = Table::new(COLUMNS, tasks.len());
        for task in tasks {
            let cells = ["otto-cli", "process runs", *task].map(Cow::Borrowed);
            table.row(cells, CellStyle::Plain);
        }
        table
    }

    fn written(table: &Table<'_, 3>, limit: Option<usize>) -> String {
        let mut text = String::new();
        table.write(&mut text, limit, false);
        text
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let text = "AGENT     EVIDENCE      TASK\notto-cli  process runs  many words\n\
            otto-cli  process runs  -\n";
        assert_eq!(written(&table(&["many words", ""]), None), text);
    }

    #[test]
    fn a_narrow_terminal_loses_a_column_before_it_loses_text() {
        let table = table(&["a task with many words"]);
        let text = "AGENT     TASK\notto-cli  a task with many words\n";
        assert_eq!(written(&table, Some(35)), text);
        let text = "AGENT     TASK\notto-cli  a task wi…\n";
        assert_eq!(written(&table, Some(20)), text);
        // Long text alone costs no column.
        assert!(written(&table, Some(44)).contains("process runs"));
    }

    #[test]
    fn rows_are_never_wider_than_the_terminal() {
        let table = table(&["日本語の仕事をする", "an ordinary task", "e\u{301}te\u{301}"]);
        for limit in 7..60 {
            let text = written(&table, Some(limit));
            for line in text.lines() {
                assert!(width_of(line) <= limit, "{limit}: {line:?}");
            }
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let text = written(&table(&["日本語", "abc"]), None);
        assert!(text.contains("process runs  日本語\n"), "{text}");
        assert_eq!(cut("日本語", 5, false), "日本…");
        assert_eq!(cut("日本語", 4, false), "日…");
        assert_eq!(cut("/home/zeta/wt-1", 8, true), "…ta/wt-1");
    }

    #[test]
    fn a_row_has_the_colour_of_its_style() {
        let mut table = Table::new(COLUMNS, 1);
        table.row(["rex", "", ""].map(Cow::Borrowed), CellStyle::Bad);
        let mut text = String::new();
        table.write(&mut text, None, true);
        assert_eq!(text, "AGENT  EVIDENCE  TASK\n\u{1b}[31mrex    -         -\u{1b}[0m\n");
    }
}
