//! Columns of text: as wide as their content, cut to the terminal where there is one.

use std::borrow::Cow;

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
    pub(super) fn paint(self, text: &str) -> String {
        match self {
            CellStyle::Plain => text.to_owned(),
            CellStyle::Doubt => format!("\u{1b}[33m{text}\u{1b}[0m"),
            CellStyle::Bad => format!("\u{1b}[31m{text}\u{1b}[0m"),
        }
    }
}

/// A table; the first row is its head.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    rows: Vec<([Cow<'static, str>; N], CellStyle)>,
}

const GAP: usize = 2;
const SHORTEST: usize = 8;

impl<const N: usize> Table<N> {
    /// Makes a table with these names of columns.
    pub(super) fn new(head: [&'static str; N]) -> Table<N> {
        Table { rows: vec![(head.map(Cow::Borrowed), CellStyle::Plain)] }
    }

    /// Adds a row; an empty cell is shown as `-`, so that columns can be counted.
    pub(super) fn row(&mut self, cells: [String; N], style: CellStyle) {
        let cells = cells.map(|cell| match cell.is_empty() {
            true => Cow::Borrowed("-"),
            false => Cow::Owned(cell),
        });
        self.rows.push((cells, style));
    }

    /// Writes the table; `width` is the terminal's, `colour` says whether rows show their style.
    pub(super) fn write(&self, text: &mut String, width: Option<usize>, colour: bool) {
        let widths = self.widths(width);
        for (cells, style) in &self.rows {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let cell = cut(cell, width);
                line.push_str(&cell);
                let missing = width.saturating_sub(cell.chars().count()) + GAP;
                line.extend(std::iter::repeat_n(' ', missing));
            }
            let line = line.trim_end();
            text.push_str(&if colour { style.paint(line) } else { line.to_owned() });
            text.push('\n');
        }
    }

    /// Returns the widths of the columns: the widest are cut until all fit.
    fn widths(&self, limit: Option<usize>) -> [usize; N] {
        let mut widths = [0; N];
        for (cells, _) in &self.rows {
            for (cell, width) in cells.iter().zip(&mut widths) {
                *width = cell.chars().count().max(*width);
            }
        }
        let Some(limit) = limit else { return widths };
        while widths.iter().sum::<usize>() + GAP * N.saturating_sub(1) > limit {
            let Some(widest) = widths.iter_mut().max() else { break };
            if *widest <= SHORTEST {
                break;
            }
            *widest -= 1;
        }
        widths
    }
}

/// Cuts text to at most `width` characters; an ellipsis shows the cut.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<2> {
        let mut table = Table::new(["AGENT", "TASK"]);
        table.row(["otto-cli".to_owned(), "a task with many words".to_owned()], CellStyle::Bad);
        table.row(["rex".to_owned(), String::new()], CellStyle::Plain);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let mut text = String::new();
        table().write(&mut text, None, false);
        assert_eq!(text, "AGENT     TASK\notto-cli  a task with many words\nrex       -\n");
    }

    #[test]
    fn the_widest_column_gives_way_to_a_narrow_terminal() {
        let mut text = String::new();
        table().write(&mut text, Some(20), true);
        assert_eq!(text, "AGENT     TASK\n\u{1b}[31motto-cli  a task wi…\u{1b}[0m\nrex       -\n");
    }
}
