//! A view of the tree that stays up to date: what did not change is not read again.
//!
//! **What is promised.** After [`View::refresh`] the view has every change that was complete before
//! the call began. It shows the latest content, and not each one in between.
//!
//! A view that *follows* gets an event from the kernel for every change, writing in place included.
//! If events were lost, everything is read again. There is no event for a second name that a record
//! gets in another directory.
//!
//! A view that does not follow, or not everything because too few watches are left, goes by file
//! times. The times of a node's directory show every rename and removal in it. They count only when
//! they are so old that a later change must show ([`judge_settled`]). Files that may be written in
//! place are checked one by one: `last-seen.iso`, and every record that is not of this standard.
//! Two changes are *not* promised then: a record of this standard that another program overwrites
//! in place, against the standard; and a change at the very tick that a clock which was set back
//! shows for the second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use zeta_core::evidence::judge_settled;
use zeta_core::name::Label;
use zeta_core::record::{Text, parse};

use crate::directory::listing;
use crate::directory::tree::{Bytes, Node, Nodes, Stamp, Tree};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::inotify;
use zeta_os::inotify::{DirectoryWatcher, Event};

/// How often a view that cannot follow reads the tree.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A node is new; its records follow.
    NodeAdded(&'a Label),
    /// The directory of a node is another one; what differs in it follows.
    NodeReplaced(&'a Label),
    /// A record of a node is new or changed, or is gone (`None`).
    Record(&'a Label, &'a str, Option<&'a Bytes>),
    /// A name that is no record's appeared in a node or changed (true), or is gone.
    Other(&'a Label, &'a str, bool),
    /// A node is gone; its records came before.
    NodeRemoved(&'a Label),
}

/// Called for each change.
pub type OnChange<'t> = dyn FnMut(Change<'_>) + 't;

/// A node as it was read last.
#[derive(Debug, Default)]
pub struct NodeSnapshot {
    /// Its records by file name, as they are on disk.
    pub records: BTreeMap<String, Bytes>,
    /// Errors of files that could not be read, by file name; "" is the node itself.
    pub faults: BTreeMap<String, Error>,
    /// Names in it that are no record's, such as those of directories.
    pub others: BTreeSet<String>,
    /// Records that may be written in place.
    in_place: BTreeSet<String>,
    /// The directory's stamp, if every later change must change it.
    stamp: Option<Stamp>,
    /// The watcher's number for the node.
    followed: Option<i32>,
    /// The node must be read again, whatever times and events show: it could not be read, or events
    /// were lost.
    must_reread: bool,
}

/// All nodes and records of a tree.
#[derive(Debug)]
pub struct View {
    tree: Tree,
    nodes: Nodes,
    seen: BTreeMap<Label, NodeSnapshot>,
    /// The stamp of the directory of the nodes, if every later change must change it.
    stamp: Option<Stamp>,
    watcher: Option<DirectoryWatcher>,
    /// The watcher's number for the directory of the nodes.
    followed: Option<i32>,
    /// The nodes by the watcher's numbers.
    numbers: HashMap<i32, Label>,
    /// Not everything is followed, so the next refresh must read file times.
    must_poll: bool,
}

impl View {
    /// Makes a view that has read nothing yet; `None` if there is no tree.
    pub fn open(state_dir: &std::path::Path) -> Result<Option<View>> {
        let Some(tree) = Tree::open(state_dir)? else { return Ok(None) };
        let Some(nodes) = tree.open_nodes()? else { return Ok(None) };
        Ok(Some(View {
            tree,
            nodes,
            seen: BTreeMap::new(),
            stamp: None,
            watcher: None,
            followed: None,
            numbers: HashMap::new(),
            must_poll: true,
        }))
    }

    /// Follows the tree by events of the kernel from now on. Returns false if no instances or
    /// watches are left: the view polls then. The next refresh reads everything.
    pub fn follow(&mut self) -> bool {
        if self.watcher.is_none() {
            self.watcher = DirectoryWatcher::new();
        }
        let Some(watcher) = &self.watcher else { return false };
        self.followed = watcher.follow(self.nodes.as_fd());
        self.invalidate();
        self.followed.is_some()
    }

    /// Returns the nodes, by name.
    pub fn nodes(&self) -> &BTreeMap<Label, NodeSnapshot> {
        &self.seen
    }

    /// Returns the opened tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Opens a node; `None` if it is gone.
    pub fn open_node(&self, name: &Label) -> Result<Option<Node>> {
        self.nodes.node(&self.tree.base, name)
    }

    /// Returns the descriptor that is readable after a change, if the view follows.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(AsFd::as_fd)
    }

    /// Returns whether no event comes for some changes: [`View::refresh`] finds these by itself.
    pub fn must_poll(&self) -> bool {
        self.must_poll
    }

    /// Brings the view up to date, and reports each change.
    ///
    /// # Errors
    ///
    /// The tree was removed or replaced: open a new view.
    pub fn refresh(&mut self, on_change: &mut OnChange<'_>) -> Result<()> {
        let mut dirty = Dirty::default();
        if let Some(watcher) = &self.watcher
            && watcher.drain(|event| dirty.add(event, self.followed, &self.numbers))
        {
            if dirty.lost {
                self.invalidate();
            }
            for name in &dirty.nodes {
                self.read_node(name, on_change);
            }
            for (name, file) in &dirty.files {
                self.read_record(name, file, on_change);
            }
            for (name, other) in &dirty.others {
                let is_there = self.nodes.stamp(&format!("{name}/{other}")).is_some();
                match self.seen.get_mut(name) {
                    Some(seen) if is_there && seen.others.contains(other) => {
                        on_change(Change::Other(name, other, true));
                    }
                    Some(seen) => seen.set_other(name, other, is_there, on_change),
                    None => {}
                }
            }
        } else if self.nodes.is_gone() {
            return Err(self.gone());
        }
        if self.must_poll || dirty.itself {
            return self.poll(on_change);
        }
        Ok(())
    }

    /// Sleeps until something changes, and reports each change; false if nothing did within
    /// `limit`.
    ///
    /// # Errors
    ///
    /// As [`View::refresh`].
    pub fn wait(&mut self, limit: Duration, on_change: &mut OnChange<'_>) -> Result<bool> {
        let started = Instant::now();
        let mut changed = false;
        loop {
            self.refresh(&mut |change| {
                changed = true;
                on_change(change);
            })?;
            let left = limit.saturating_sub(started.elapsed());
            if changed || left.is_zero() {
                return Ok(changed);
            }
            let left = if self.must_poll { left.min(POLL_INTERVAL) } else { left };
            let watcher = self.watcher.as_ref().map(AsFd::as_fd);
            inotify::poll_readable(watcher.as_slice(), left);
        }
    }

    /// Marks everything as to be read again.
    fn invalidate(&mut self) {
        (self.stamp, self.must_poll) = (None, true);
        for seen in self.seen.values_mut() {
            seen.must_reread = true;
        }
    }

    /// Checks everything that is not followed, and reads what may have changed.
    fn poll(&mut self, on_change: &mut OnChange<'_>) -> Result<()> {
        if self.nodes.is_gone() {
            return Err(self.gone());
        }
        let wall_us = host::wall_us();
        let stamp = self.nodes.stamp(".");
        if stamp.is_none() || stamp != self.stamp {
            self.find_nodes(on_change)?;
            self.stamp = stamp.filter(|stamp| judge_settled(stamp.times, wall_us));
        }
        let mut changed = Vec::new();
        for (name, seen) in &mut self.seen {
            let followed = seen.followed.is_some();
            if seen.must_reread || !followed && !seen.is_unchanged(name, &self.nodes, wall_us) {
                changed.push(name.clone());
            }
        }
        for name in &changed {
            self.read_node(name, on_change);
        }
        self.retry(on_change);
        self.must_poll = self.followed.is_none() || self.seen.values().any(NodeSnapshot::must_poll);
        Ok(())
    }

    /// Reads the files again that could not be read: no directory time shows a repaired mode, and
    /// no event a free descriptor.
    fn retry(&mut self, on_change: &mut OnChange<'_>) {
        let faults = self.seen.iter().flat_map(|(name, seen)| {
            let files = seen.faults.keys().filter(|file| !file.is_empty());
            files.map(move |file| (name.clone(), file.clone()))
        });
        for (name, file) in faults.collect::<Vec<_>>() {
            self.read_record(&name, &file, on_change);
        }
    }

    fn find_nodes(&mut self, on_change: &mut OnChange<'_>) -> Result<()> {
        let listing = self.nodes.list()?;
        let names: BTreeSet<Label> =
            listing.names.iter().filter_map(|name| Label::new("node", name).ok()).collect();
        let gone = self.seen.keys().filter(|name| !names.contains(*name));
        let new = names.iter().filter(|name| !self.seen.contains_key(*name));
        for name in gone.chain(new).cloned().collect::<Vec<_>>() {
            self.read_node(&name, on_change);
        }
        Ok(())
    }

    /// Reads a node that was added, removed or replaced. The node is followed first, so that a
    /// change during the read causes an event.
    fn read_node(&mut self, name: &Label, on_change: &mut OnChange<'_>) {
        let opened = self.nodes.node(&self.tree.base, name);
        if let Ok(None) = opened {
            return self.forget(name, on_change);
        }
        let seen = self.seen.entry(name.clone()).or_insert_with(|| {
            on_change(Change::NodeAdded(name));
            NodeSnapshot::default()
        });
        let wall_us = host::wall_us();
        match opened {
            Ok(Some(mut node)) => {
                let number = self.watcher.as_ref().and_then(|watcher| watcher.follow(node.as_fd()));
                self.numbers.extend(number.map(|number| (number, name.clone())));
                let before = std::mem::replace(&mut seen.followed, number);
                if before.is_some() && before != number {
                    on_change(Change::NodeReplaced(name));
                }
                seen.read(&mut node, &self.tree, wall_us, on_change);
                self.must_poll |= seen.must_poll();
                self.leave(name, before.filter(|before| Some(*before) != number));
            }
            Err(error) => {
                seen.empty(name, on_change);
                seen.fail(error);
                let before = seen.followed.take();
                self.must_poll = true;
                self.leave(name, before);
            }
            Ok(None) => {}
        }
    }

    fn forget(&mut self, name: &Label, on_change: &mut OnChange<'_>) {
        let Some(mut seen) = self.seen.remove(name) else { return };
        seen.empty(name, on_change);
        on_change(Change::NodeRemoved(name));
        self.leave(name, seen.followed);
    }

    /// Stops following a node. A directory that was renamed keeps its number, which may belong to
    /// another node by now.
    fn leave(&mut self, name: &Label, number: Option<i32>) {
        let Some(number) = number else { return };
        if self.numbers.get(&number).is_some_and(|meant| meant == name) {
            self.numbers.remove(&number);
            if let Some(watcher) = &self.watcher {
                watcher.leave(number);
            }
        }
    }

    fn read_record(&mut self, name: &Label, file: &str, on_change: &mut OnChange<'_>) {
        let opened = self.nodes.node(&self.tree.base, name);
        match (opened, self.seen.get_mut(name), listing::limit(file)) {
            (Ok(Some(node)), Some(seen), Some(max)) => {
                let was_fault = seen.faults.contains_key(file);
                seen.read_record(&node, &self.tree, file, max, on_change);
                // It may be a second name of another record, which is no record any more then.
                seen.must_reread |= !was_fault && seen.faults.contains_key(file);
                self.must_poll |= seen.must_poll();
            }
            (_, _, None) => {}
            _ => self.read_node(name, on_change),
        }
    }

    fn gone(&self) -> Error {
        let text = format!("{}: it was removed or replaced", self.tree.base.path.display());
        Error::new(Kind::Unsafe, text).hint("open it again")
    }
}

impl NodeSnapshot {
    /// Returns whether something may change without an event.
    fn must_poll(&self) -> bool {
        self.followed.is_none() || self.must_reread || !self.faults.is_empty()
    }

    /// Returns whether the times show that nothing can have changed.
    fn is_unchanged(&self, name: &Label, nodes: &Nodes, wall_us: i64) -> bool {
        let Some(stamp) = self.stamp else { return false };
        let unchanged = |file: &String| {
            let now = nodes.stamp(&format!("{name}/{file}")).map(|stamp| stamp.times);
            let then = self.records.get(file).map(|bytes| bytes.times);
            now == then && now.is_some_and(|times| judge_settled(times, wall_us))
        };
        nodes.stamp(name.as_str()) == Some(stamp) && self.in_place.iter().all(unchanged)
    }

    fn read(&mut self, node: &mut Node, tree: &Tree, wall_us: i64, on_change: &mut OnChange<'_>) {
        self.faults.clear();
        self.must_reread = false;
        // Taken before the names are read: a change meanwhile gives another stamp.
        let stamp = node.stamp();
        self.stamp = None;
        let listed = match node.list_alone() {
            Ok(listed) => listed,
            Err(error) => return self.fail(error),
        };
        let gone = |file: &&String| listed.names.binary_search(file).is_err();
        for file in self.records.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.drop_record(&node.name, &file, on_change);
        }
        let gone = self.others.iter().filter(|name| listed.names.binary_search(name).is_err());
        for name in gone.cloned().collect::<Vec<_>>() {
            self.set_other(&node.name, &name, false, on_change);
        }
        for file in &listed.names {
            match listing::limit(file) {
                Some(max) => self.read_record(node, tree, file, max, on_change),
                None => self.set_other(&node.name, file, true, on_change),
            }
        }
        if let Some(error) = listing::cut(node, &listed) {
            self.fail(error);
        }
        self.stamp = stamp.filter(|stamp| judge_settled(stamp.times, wall_us));
    }

    fn read_record(
        &mut self,
        node: &Node,
        tree: &Tree,
        file: &str,
        max: usize,
        on_change: &mut OnChange<'_>,
    ) {
        match node.read(&tree.base, file, max) {
            Ok(Some(bytes)) => {
                self.faults.remove(file);
                if self.records.get(file) == Some(&bytes) {
                    return;
                }
                if matches!(parse(&bytes.bytes, max), Ok(Text::Own(_))) {
                    self.in_place.remove(file);
                } else {
                    self.in_place.insert(file.to_owned());
                }
                on_change(Change::Record(&node.name, file, Some(&bytes)));
                self.records.insert(file.to_owned(), bytes);
            }
            Ok(None) => {
                self.faults.remove(file);
                self.drop_record(&node.name, file, on_change);
            }
            Err(error) => {
                self.drop_record(&node.name, file, on_change);
                self.faults.insert(file.to_owned(), error);
            }
        }
    }

    fn drop_record(&mut self, node: &Label, file: &str, on_change: &mut OnChange<'_>) {
        self.in_place.remove(file);
        if self.records.remove(file).is_some() {
            on_change(Change::Record(node, file, None));
        }
    }

    fn set_other(
        &mut self,
        node: &Label,
        name: &str,
        is_there: bool,
        on_change: &mut OnChange<'_>,
    ) {
        let changed = match is_there {
            true => self.others.insert(name.to_owned()),
            false => self.others.remove(name),
        };
        if changed {
            on_change(Change::Other(node, name, is_there));
        }
    }

    fn empty(&mut self, node: &Label, on_change: &mut OnChange<'_>) {
        for name in std::mem::take(&mut self.others) {
            on_change(Change::Other(node, &name, false));
        }
        for file in std::mem::take(&mut self.records).keys() {
            on_change(Change::Record(node, file, None));
        }
        *self = NodeSnapshot { followed: self.followed, ..NodeSnapshot::default() };
    }

    fn fail(&mut self, error: Error) {
        self.faults.insert(String::new(), error);
        self.must_reread = true;
    }
}

/// The nodes and files that events are about, each once.
#[derive(Debug, Default)]
struct Dirty {
    nodes: BTreeSet<Label>,
    files: BTreeSet<(Label, String)>,
    /// Names that are no record's.
    others: BTreeSet<(Label, String)>,
    /// The directory of the nodes was removed or moved.
    itself: bool,
    lost: bool,
}

impl Dirty {
    fn add(&mut self, event: Event<'_>, root: Option<i32>, numbers: &HashMap<i32, Label>) {
        let text = |name| std::str::from_utf8(name).ok();
        match event {
            Event::Lost => self.lost = true,
            Event::In(number, name) if Some(number) == root => {
                self.nodes.extend(text(name).and_then(|name| Label::new("node", name).ok()));
            }
            Event::In(number, name) => {
                if let (Some(node), Some(file)) = (numbers.get(&number), text(name)) {
                    let names = match listing::limit(file) {
                        Some(_) => &mut self.files,
                        None => &mut self.others,
                    };
                    names.insert((node.clone(), file.to_owned()));
                }
            }
            Event::Itself(number) if Some(number) == root => self.itself = true,
            Event::Itself(number) => self.nodes.extend(numbers.get(&number).cloned()),
        }
    }
}
