//! The directory of this node: which records travel, and what changed. inotify only says where to
//! look; each beat compares the whole directory.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use zeta_core::cluster::copy::{self, About, Moment};
use zeta_core::cluster::envelope::body_max;
use zeta_core::cluster::local::{Local, RECORDS_MAX, Stored};
use zeta_core::cluster::subject::{Item, Subject};
use zeta_core::layout::ENTRIES_MAX;
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::list;
use zeta_os::inotify::{DirectoryWatcher, Event};
use zeta_state::directory::tree::{Node, Tree};

use super::readable::Readable;

/// Most names that are looked at in a directory.
const NAMES_MAX: usize = 16 * ENTRIES_MAX;

/// Most records that are kept from a look until they are sent.
const FRESH_MAX: usize = 64;

/// The records of this node, as they were seen last.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) tree: Tree,
    pub(super) node: Node,
    watcher: Option<DirectoryWatcher>,
    readable: Readable,
    /// Files of which inotify said something.
    dirty: BTreeSet<String>,
    /// All files must be looked at.
    all: bool,
    /// The records that travel.
    pub(super) records: BTreeMap<Item, Local>,
    /// Those that do not, because they are damaged or too long.
    damaged: BTreeSet<Item>,
    /// Those that do not, because there are more than a node may send.
    pub(super) unsent: BTreeSet<Item>,
    /// The bytes of some that were looked at last.
    fresh: BTreeMap<Item, Vec<u8>>,
}

impl Directory {
    /// Follows a node. Where inotify is used up, only the beats look.
    ///
    /// # Errors
    /// The descriptors of this process are used up.
    pub(super) fn new(tree: Tree, node: Node) -> Result<Directory> {
        let watcher =
            DirectoryWatcher::new().filter(|watcher| watcher.follow(node.as_fd()).is_some());
        let readable = Readable::new(watcher.as_ref().map(|watcher| watcher.as_fd()))?;
        let (dirty, records, damaged, unsent, fresh) = Default::default();
        let all = true;
        Ok(Directory { tree, node, watcher, readable, dirty, all, records, damaged, unsent, fresh })
    }

    /// Returns whether the directory of this node, or the whole tree, is gone, or another one
    /// stands in its place. What that one holds is not seen from here.
    pub(super) fn is_gone(&self) -> bool {
        self.node.is_gone()
    }

    /// Waits for a hint that something changed.
    pub(super) async fn changed(&self) {
        self.readable.changed().await;
    }

    /// How many records do not travel.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.len() as u64
    }

    /// Looks at all files the next time.
    pub(super) fn look_at_all(&mut self) {
        self.all = true;
    }

    /// Takes the hints, and reports whether there is something to look at.
    pub(super) fn take_hints(&mut self) -> bool {
        let (dirty, all) = (&mut self.dirty, &mut self.all);
        if let Some(watcher) = &self.watcher {
            let take = |event: Event<'_>| match event {
                Event::In(_, name) => {
                    let name = std::str::from_utf8(name).unwrap_or_default();
                    if Item::of_file(name).is_some() {
                        dirty.insert(name.to_owned());
                    }
                }
                Event::Itself(_) | Event::Lost => *all = true,
            };
            watcher.drain(take);
        }
        self.all || !self.dirty.is_empty()
    }

    /// Looks at the files that may have changed. Returns whether a lease was among them, and why a
    /// file could not be read. Where there are too many, those in the store go on travelling.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn look(
        &mut self,
        stored: &BTreeMap<Item, Stored>,
    ) -> Result<(bool, Option<Error>)> {
        let mut failed = None;
        self.fresh.clear();
        if std::mem::take(&mut self.all) {
            let listing = list(self.node.as_fd(), NAMES_MAX, &self.node.path)?;
            let mut there: BTreeSet<Item> =
                listing.names.iter().filter_map(|name| Item::of_file(name)).collect();
            if listing.cut {
                // What is not among them may be there: it is looked at by its name.
                there.extend(self.records.keys().chain(stored.keys()).cloned());
            }
            self.records.retain(|item, _| there.contains(item));
            self.damaged.retain(|item| there.contains(item));
            self.unsent.clear();
            self.dirty.extend(there.iter().filter_map(Item::file));
        }
        let mut has_lease = false;
        let dirty = std::mem::take(&mut self.dirty);
        let items = dirty.into_iter().filter_map(|name| Item::of_file(&name));
        let is_stored =
            |item: &Item| stored.get(item).is_some_and(|stored| stored.record.is_some());
        let (first, then): (Vec<Item>, Vec<Item>) = items.partition(is_stored);
        for item in first.into_iter().chain(then) {
            has_lease |= matches!(item, Item::Lock(_));
            if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&item) {
                self.unsent.insert(item);
                continue;
            }
            match self.read(&item) {
                Ok(Some(bytes)) => {
                    self.damaged.remove(&item);
                    self.records.insert(item.clone(), Local::of(&item, &bytes));
                    if self.fresh.len() < FRESH_MAX {
                        self.fresh.insert(item, bytes);
                    }
                }
                Ok(None) => _ = self.records.remove(&item),
                // It may be there: it is not told as gone, and looked at again.
                Err(error) => {
                    self.dirty.extend(item.file());
                    failed = Some(error);
                }
            }
        }
        Ok((has_lease, failed))
    }

    /// Returns a record that travels, as it was looked at last if that is known. What changed since
    /// then is a hint of its own.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub(super) fn take(&mut self, item: &Item) -> Result<Option<Vec<u8>>> {
        match self.fresh.remove(item) {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read(item),
        }
    }

    /// Reads a record that travels; none if it is gone, or damaged.
    ///
    /// # Errors
    /// The tree cannot be read.
    fn read(&mut self, item: &Item) -> Result<Option<Vec<u8>>> {
        let Some(file) = item.file() else { return Ok(None) };
        let subject = Subject::State { node: self.node.name.clone(), item: item.clone() };
        let max = body_max(&subject);
        let read = match self.node.read(&self.tree.base, &file, max) {
            Ok(read) => read,
            // What is no plain file is the matter of `zeta doctor`.
            Err(error) if error.kind == Kind::Unsafe => None,
            Err(error) => return Err(error),
        };
        let Some(bytes) = read.map(|read| read.bytes) else {
            self.damaged.remove(item);
            return Ok(None);
        };
        if travels(&bytes, max, &self.node.name) {
            return Ok(Some(bytes));
        }
        self.damaged.insert(item.clone());
        Ok(None)
    }
}

/// Reports whether another node would take the record.
fn travels(bytes: &[u8], max: usize, node: &Label) -> bool {
    let zeros = || "0".repeat(32).parse();
    let Ok(cluster) = zeros() else { return false };
    let observed = Moment { boot_ns: 0, boot_id: String::new(), time_ns: None };
    let node = node.clone();
    let (verified, counter, gone) = (true, Some((1, 0)), Some((0, (1, 0))));
    let card_every_ms = Some(0);
    let (epoch, sequence) = (0, 0);
    let about =
        About { node, cluster, epoch, sequence, observed, verified, counter, gone, card_every_ms };
    !bytes.is_empty() && copy::write(bytes, max, &about).is_ok()
}
