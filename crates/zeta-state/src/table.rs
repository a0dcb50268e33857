//! Columns of text: as wide as their content, and never wider than the terminal where there is one.

mod cell;

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(crate) use self::cell::Cell;

/// How a cell is shown on a terminal with colours. Nothing is ever green: the evidence shows that
/// an agent is alive, not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CellStyle {
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
    pub(crate) fn paint(self, text: &str) -> Cow<'_, str> {
        match self {
            CellStyle::Plain => Cow::Borrowed(text),
            CellStyle::Doubt => Cow::Owned(format!("\u{1b}[33m{text}\u{1b}[0m")),
            CellStyle::Bad => Cow::Owned(format!("\u{1b}[31m{text}\u{1b}[0m")),
        }
    }
}

/// What happens to a column on a narrow terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
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
pub(crate) type Column = (&'static str, Fit);

/// A table; its first row is its head.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    /// The text of all cells, row by row.
    text: String,
    /// For each row, where each of its cells ends.
    rows: Vec<([usize; N], CellStyle)>,
}

/// The space between two columns.
const GAP: usize = 2;
/// The width that text keeps before a column is left out for it.
const ROOM: usize = 16;
/// The width that text keeps before the other columns are cut, too.
const SHORTEST: usize = 8;

impl<const N: usize> Table<N> {
    /// Makes a table with these columns, and with space for `count` rows.
    pub(crate) fn new(columns: [Column; N], count: usize) -> Table<N> {
        let rows = Vec::with_capacity(count + 1);
        let mut table = Table { columns, text: String::with_capacity(count * 64), rows };
        table.row(columns.map(|(name, _)| name.into()), CellStyle::Plain);
        table
    }

    /// Adds a row; an empty cell is shown as `-`, so that columns can be counted.
    pub(crate) fn row(&mut self, cells: [Cell<'_>; N], style: CellStyle) {
        let ends = cells.map(|cell| {
            let start = self.text.len();
            cell.write(&mut self.text);
            if self.text.len() == start {
                self.text.push('-');
            }
            self.text.len()
        });
        self.rows.push((ends, style));
    }

    /// Calls `each` with every row: the text and the width of each of its cells.
    fn each(&self, mut each: impl FnMut([(&str, usize); N], CellStyle)) {
        let is_ascii = self.text.is_ascii();
        let mut start = 0;
        for (ends, style) in &self.rows {
            let cells = ends.map(|end| {
                let cell = self.text.get(start..end).unwrap_or_default();
                start = end;
                (cell, if is_ascii { cell.len() } else { cell.width() })
            });
            each(cells, *style);
        }
    }

    /// Writes the table; `limit` is the terminal's width, `colour` says whether rows show their
    /// style.
    pub(crate) fn write(&self, text: &mut String, limit: Option<usize>, colour: bool) {
        let widths = self.widths(limit);
        text.reserve(self.rows.len() * (total(widths.into_iter()) + GAP));
        let mut line = String::new();
        self.each(|cells, style| {
            line.clear();
            let mut blanks = 0;
            for (((cell, wide), (_, fit)), width) in cells.into_iter().zip(self.columns).zip(widths)
            {
                let Some(width) = width else { continue };
                pad(&mut line, blanks);
                if wide <= width {
                    line.push_str(cell);
                    blanks = width - wide + GAP;
                } else {
                    let cell = cut(cell, width, fit == Fit::CutStart);
                    line.push_str(&cell);
                    blanks = width.saturating_sub(cell.width()) + GAP;
                }
            }
            let line = line.trim_end();
            match colour {
                true => text.push_str(&style.paint(line)),
                false => text.push_str(line),
            }
            text.push('\n');
        });
    }

    /// Returns the widths of the columns; `None` for one that is left out. Columns are left out
    /// until each text has some room; then the widest text is cut, then any other column.
    fn widths(&self, limit: Option<usize>) -> [Option<usize>; N] {
        let mut widths = [0; N];
        self.each(|cells, _| {
            for ((_, wide), width) in cells.into_iter().zip(&mut widths) {
                *width = wide.max(*width);
            }
        });
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

    fn table(tasks: &[&str]) -> Table<3> {
        let mut table = Table::new(COLUMNS, tasks.len());
        for task in tasks {
            table.row(["otto-cli", "process runs", *task].map(Cell::from), CellStyle::Plain);
        }
        table
    }

    fn written(table: &Table<3>, limit: Option<usize>) -> String {
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
                assert!(line.width() <= limit, "{limit}: {line:?}");
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
        table.row(["rex", "", ""].map(Cell::from), CellStyle::Bad);
        let mut text = String::new();
        table.write(&mut text, None, true);
        assert_eq!(text, "AGENT  EVIDENCE  TASK\n\u{1b}[31mrex    -         -\u{1b}[0m\n");
    }
}
