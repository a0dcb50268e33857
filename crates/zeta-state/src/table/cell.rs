//! A cell of a table, which becomes text in its place: hundreds of rows are shown at once.

use std::borrow::Cow;

use zeta_core::lease::Record;
use zeta_core::time::push_duration;

use crate::lease::report::push_holder;

/// What a cell shows.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    /// This text.
    Text(Cow<'a, str>),
    /// The holder of a lease.
    Holder(&'a Record),
    /// So many ms before now.
    Ago(u64),
    /// In so many ms.
    In(u64),
    /// In so many ms, when the grace of a lease ends.
    InGrace(u64),
}

impl Cell<'_> {
    /// A cell without text.
    pub(crate) const EMPTY: Cell<'static> = Cell::Text(Cow::Borrowed(""));

    /// Appends the text of the cell.
    pub(crate) fn write(&self, text: &mut String) {
        match self {
            Cell::Text(own) => text.push_str(own),
            Cell::Holder(record) => push_holder(text, record),
            Cell::Ago(ms) => {
                push_duration(text, *ms);
                text.push_str(" ago");
            }
            Cell::In(ms) => {
                text.push_str("in ");
                push_duration(text, *ms);
            }
            Cell::InGrace(ms) => {
                Cell::In(*ms).write(text);
                text.push_str(" (grace)");
            }
        }
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Cell<'a> {
        Cell::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<Cow<'a, str>> for Cell<'a> {
    fn from(text: Cow<'a, str>) -> Cell<'a> {
        Cell::Text(text)
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Text(Cow::Owned(text))
    }
}
