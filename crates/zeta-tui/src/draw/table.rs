//! A list: columns of fixed width, so that nothing moves when a text changes, and one that takes
//! the rest.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::text::{clip, clip_path, one_line};
use crate::theme::{Theme, Tone};

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Its width; of the one that takes the rest, its share of it.
    pub width: u16,
    /// The width of the screen from which on it is shown.
    pub from: u16,
    /// Whether it takes a share of what the others leave.
    pub grows: bool,
}

/// A column of this width.
pub const fn fixed(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, from, grows: false }
}

/// A column that takes this share of the rest.
pub const fn rest(title: &'static str, share: u16, from: u16) -> Column {
    Column { title, width: share, from, grows: true }
}

/// A text of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
    /// Whether its beginning is cut where it is too long.
    keeps_end: bool,
}

impl Cell {
    /// A text with a meaning.
    pub fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone, keeps_end: false }
    }

    /// A path: its end is kept.
    pub fn path(text: &Option<String>) -> Cell {
        Cell { keeps_end: true, ..Cell::maybe(text) }
    }

    /// A text that may be missing.
    pub fn maybe(text: &Option<String>) -> Cell {
        Cell::new(text.clone().unwrap_or_default(), Tone::Plain)
    }
}

/// The columns that a screen shows, and how wide they are. One column lies between two of them.
fn layout(columns: &[Column], width: u16) -> Vec<Option<u16>> {
    let shown = |column: &&Column| width >= column.from;
    let fixed: u16 = columns.iter().filter(shown).filter(|it| !it.grows).map(|it| it.width).sum();
    let count = u16::try_from(columns.iter().filter(shown).count()).unwrap_or(u16::MAX);
    // The first column is the sign of the row, and begins after the cursor.
    let left = width.saturating_sub(fixed + count.saturating_sub(1) + 2);
    let shares: u16 = columns.iter().filter(shown).filter(|it| it.grows).map(|it| it.width).sum();
    let grown = |share: u16| left.saturating_mul(share) / shares.max(1);
    let width = |column: &Column| if column.grows { grown(column.width) } else { column.width };
    columns.iter().map(|column| shown(&column).then(|| width(column))).collect()
}

/// Draws the titles of the columns.
pub fn head(buffer: &mut Buffer, area: Rect, columns: &[Column], theme: &Theme) {
    let cells: Vec<Cell> =
        columns.iter().map(|column| Cell::new(column.title, Tone::Faint)).collect();
    line(buffer, area, columns, &cells, theme, false);
}

/// Draws a row.
pub fn line(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    cells: &[Cell],
    theme: &Theme,
    selected: bool,
) {
    let mut x = area.x + 2;
    if selected {
        buffer.set_stringn(area.x, area.y, theme.signs.cursor, 1, theme.style(Tone::Key));
    }
    for (width, cell) in layout(columns, area.width).into_iter().zip(cells) {
        let Some(width) = width else { continue };
        let text = one_line(&cell.text);
        let (max, more) = (usize::from(width), theme.signs.more);
        let shown =
            if cell.keeps_end { clip_path(&text, max, more) } else { clip(&text, max, more) };
        buffer.set_stringn(x, area.y, shown, max, theme.style(cell.tone));
        x = x.saturating_add(width + 1);
        if x >= area.right() {
            break;
        }
    }
    if selected {
        let row = Rect { x: area.x, width: area.width, height: 1, y: area.y };
        let tone = cells.first().map(|cell| cell.tone).unwrap_or_default();
        buffer.set_style(row, theme.cursor(tone));
    }
}
