//! The histories of all nodes, each entry once.

use std::collections::BTreeMap;

use zeta_core::history::Entry;
use zeta_core::name::Label;

use crate::history::reader::Reader;
use crate::presence::view::View;
use zeta_os::error::Result;

/// Most entries that are kept until they are taken: the newest.
pub const HISTORY_MAX: usize = 10_000;

/// What was read of the histories.
#[derive(Debug, Default)]
pub(super) struct Histories {
    readers: BTreeMap<Label, Reader>,
    entries: Vec<Entry>,
}

impl Histories {
    /// Reads what was added to the history of a node; returns whether anything was.
    pub(super) fn read(&mut self, view: &View, name: &Label) -> Result<bool> {
        let Some(node) = view.open_node(name)? else { return Ok(false) };
        let reader = self.readers.entry(name.clone()).or_default();
        let added = reader.read(&view.tree().base, &node)?.entries;
        let has_grown = !added.is_empty();
        self.entries.extend(added);
        if self.entries.len() > 2 * HISTORY_MAX {
            self.cut();
        }
        Ok(has_grown)
    }

    /// Takes the entries out, in the order of time.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.cut();
        std::mem::take(&mut self.entries)
    }

    fn cut(&mut self) {
        // Those of one moment stay in the order of their log.
        self.entries.sort_by_key(|entry| entry.at_us);
        let more = self.entries.len().saturating_sub(HISTORY_MAX);
        self.entries.drain(..more);
    }
}
