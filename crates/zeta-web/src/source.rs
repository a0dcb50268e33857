//! The real state: the tree and its bus, as the follower of the overview reads them.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use zeta_bus::overview::Follower;
use zeta_core::history::Entry;
use zeta_core::name::Label;
use zeta_core::overview::Overview;
use zeta_os::error::Result;
use zeta_state::context::Context;
use zeta_state::directory::tree::Tree;
use zeta_state::history::reader::Reader;

/// The entry of a change is written right after it: a look so much later finds it.
const AFTER: Duration = Duration::from_millis(300);

const IDLE: Duration = Duration::from_secs(24 * 3600);

/// The state of a tree and its bus.
pub struct Source {
    follower: Follower,
    has_changed: bool,
    state_dir: PathBuf,
    readers: BTreeMap<Label, Reader>,
}

impl Source {
    /// Opens it; neither needs to be there.
    pub fn open(ctx: &Context) -> Source {
        let (state_dir, readers) = (ctx.state_dir.clone(), BTreeMap::new());
        Source { follower: Follower::new(ctx), has_changed: true, state_dir, readers }
    }

    /// Reads what was added to the histories of all nodes.
    fn history(&mut self) -> Result<Vec<Entry>> {
        let Some(tree) = Tree::open(&self.state_dir)? else { return Ok(Vec::new()) };
        let Some(nodes) = tree.open_nodes()? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for name in nodes.list()?.names.iter().filter_map(|name| Label::new("node", name).ok()) {
            let Some(node) = nodes.node(&tree.base, &name)? else { continue };
            let reader = self.readers.entry(name).or_default();
            entries.extend(reader.read(&tree.base, &node)?.entries);
        }
        Ok(entries)
    }
}

impl crate::feed::Source for Source {
    fn read(&mut self) -> (Overview, Vec<Entry>) {
        self.follower.refresh();
        // One that cannot be read is named by `zeta doctor`.
        let entries = self.history().unwrap_or_default();
        (self.follower.overview().clone(), entries)
    }

    fn wait(&mut self, wake: BorrowedFd<'_>) {
        let limit = if self.has_changed { AFTER } else { IDLE };
        self.has_changed = self.follower.wait(limit, &[wake]).changed;
    }
}
