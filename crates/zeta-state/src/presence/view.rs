//! A view of the tree that stays up to date: what did not change is not read again.
//!
//! **What is promised.** After [`View::refresh`] the view has every change that was complete before
//! the call began. It shows the latest content, and not each one in between.
//!
//! A view that *follows* is told by the kernel, in the call that makes the change, writing in place
//! included. Where events were lost, everything is read again.
//!
//! A view that does not follow, or not all for want of watches, goes by file times. The times of a
//! node's directory tell of every rename and removal in it, and are believed only when they are so
//! old that a later change must show ([`judge_settled`]). Files that are written in place are asked
//! one by one: `last-seen.iso`, and every record that is not of this standard, whose writers need
//! not rename. *Not* promised then: that a record of this standard is seen to change if somebody
//! writes over it in place, against the standard, nor a change at the very tick that a clock which
//! was set back comes through a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsFd;
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

/// How often a view looks that cannot follow.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One thing that is other than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A node is there now; its records are told next.
    Came(&'a Label),
    /// A record of a node is new or changed, or is gone (`None`).
    Record(&'a Label, &'a str, Option<&'a Bytes>),
    /// A node is gone; its records were told before.
    Went(&'a Label),
}

/// Who is told of changes.
pub type Tell<'t> = dyn FnMut(Change<'_>) + 't;

/// A node as it was read last.
#[derive(Debug, Default)]
pub struct NodeSnapshot {
    /// Its records by file name, as they stand on disk.
    pub records: BTreeMap<String, Bytes>,
    /// What could not be read, by file name; "" is the node itself.
    pub faults: BTreeMap<String, Error>,
    /// Records that may be written in place.
    loose: BTreeSet<String>,
    /// Of the directory, if it tells of every later change.
    stamp: Option<Stamp>,
    /// The number that the feed knows it by.
    followed: Option<i32>,
    /// It must be read again, whatever times and events say: something could not be read, or
    /// events were lost.
    doubted: bool,
}

/// All nodes and records of a tree.
#[derive(Debug)]
pub struct View {
    tree: Tree,
    nodes: Nodes,
    seen: BTreeMap<Label, NodeSnapshot>,
    /// Of the directory of the nodes, if it tells of every later change.
    stamp: Option<Stamp>,
    feed: Option<DirectoryWatcher>,
    /// The number of the directory of the nodes.
    followed: Option<i32>,
    /// Which node the feed means by a number.
    numbers: HashMap<i32, Label>,
    /// Something is not followed, so that the next refresh has to look.
    blind: bool,
}

impl View {
    /// A view that has read nothing yet; `None` if there is no tree.
    pub fn open(state_dir: &std::path::Path) -> Result<Option<View>> {
        let Some(tree) = Tree::open(state_dir)? else { return Ok(None) };
        let Some(nodes) = tree.open_nodes()? else { return Ok(None) };
        Ok(Some(View {
            tree,
            nodes,
            seen: BTreeMap::new(),
            stamp: None,
            feed: None,
            followed: None,
            numbers: HashMap::new(),
            blind: true,
        }))
    }

    /// From now on the kernel tells what changes; false where it cannot, for want of instances or
    /// watches, and the view has to look for itself now and then. The next refresh reads all.
    pub fn follow(&mut self) -> bool {
        if self.feed.is_none() {
            self.feed = DirectoryWatcher::new();
        }
        let Some(feed) = &self.feed else { return false };
        self.followed = feed.follow(self.nodes.as_fd());
        self.distrust();
        self.followed.is_some()
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> &BTreeMap<Label, NodeSnapshot> {
        &self.seen
    }

    /// Brings the view up to date and tells what changed.
    ///
    /// # Errors
    ///
    /// The tree was removed or replaced, so that this view is of nothing: open another one.
    pub fn refresh(&mut self, tell: &mut Tell<'_>) -> Result<()> {
        let mut dirty = Dirty::default();
        if let Some(feed) = &self.feed
            && feed.drain(|event| dirty.add(event, self.followed, &self.numbers))
        {
            if dirty.lost {
                self.distrust();
            }
            for name in &dirty.nodes {
                self.read_node(name, tell);
            }
            for (name, file) in &dirty.files {
                self.read_record(name, file, tell);
            }
        } else if self.nodes.is_gone() {
            return Err(self.gone());
        }
        if self.blind || dirty.itself {
            return self.look(tell);
        }
        Ok(())
    }

    /// Sleeps until something changes, and tells what; false if nothing did within `limit`.
    ///
    /// # Errors
    ///
    /// As [`View::refresh`].
    pub fn wait(&mut self, limit: Duration, tell: &mut Tell<'_>) -> Result<bool> {
        let started = Instant::now();
        let mut told = false;
        loop {
            self.refresh(&mut |change| {
                told = true;
                tell(change);
            })?;
            let left = limit.saturating_sub(started.elapsed());
            if told || left.is_zero() {
                return Ok(told);
            }
            let left = if self.blind { left.min(LOOK_EVERY) } else { left };
            let feed = self.feed.as_ref().map(AsFd::as_fd);
            inotify::poll_readable(feed.as_slice(), left);
        }
    }

    /// Nothing that was read counts as unchanged any more.
    fn distrust(&mut self) {
        (self.stamp, self.blind) = (None, true);
        for seen in self.seen.values_mut() {
            seen.doubted = true;
        }
    }

    /// Looks at all that is not followed, and reads what may have changed.
    fn look(&mut self, tell: &mut Tell<'_>) -> Result<()> {
        if self.nodes.is_gone() {
            return Err(self.gone());
        }
        let wall_us = host::wall_us();
        let stamp = self.nodes.stamp(".");
        if stamp.is_none() || stamp != self.stamp {
            self.look_for_nodes(tell)?;
            self.stamp = stamp.filter(|stamp| judge_settled(stamp.times, wall_us));
        }
        let mut changed = Vec::new();
        for (name, seen) in &mut self.seen {
            let told = seen.followed.is_some();
            if seen.doubted || !told && !seen.is_as_it_was(name, &self.nodes, wall_us) {
                changed.push(name.clone());
            }
        }
        for name in &changed {
            self.read_node(name, tell);
        }
        let followed = |seen: &NodeSnapshot| seen.followed.is_some() && !seen.doubted;
        self.blind = self.followed.is_none() || !self.seen.values().all(followed);
        Ok(())
    }

    fn look_for_nodes(&mut self, tell: &mut Tell<'_>) -> Result<()> {
        let listing = self.nodes.list()?;
        let names: BTreeSet<Label> =
            listing.names.iter().filter_map(|name| Label::new("node", name).ok()).collect();
        let gone = self.seen.keys().filter(|name| !names.contains(*name));
        let new = names.iter().filter(|name| !self.seen.contains_key(*name));
        for name in gone.chain(new).cloned().collect::<Vec<_>>() {
            self.read_node(&name, tell);
        }
        Ok(())
    }

    /// Reads a node that came, went or was replaced. It is followed first, so that what changes
    /// while it is read is told later.
    fn read_node(&mut self, name: &Label, tell: &mut Tell<'_>) {
        let opened = self.nodes.node(&self.tree.base, name);
        if let Ok(None) = opened {
            return self.forget(name, tell);
        }
        let seen = self.seen.entry(name.clone()).or_insert_with(|| {
            tell(Change::Came(name));
            NodeSnapshot::default()
        });
        let wall_us = host::wall_us();
        match opened {
            Ok(Some(mut node)) => {
                let number = self.feed.as_ref().and_then(|feed| feed.follow(node.as_fd()));
                self.numbers.extend(number.map(|number| (number, name.clone())));
                let before = std::mem::replace(&mut seen.followed, number);
                seen.read(&mut node, &self.tree, wall_us, tell);
                self.blind |= number.is_none() || seen.doubted;
                self.leave(name, before.filter(|before| Some(*before) != number));
            }
            Err(error) => {
                seen.empty(name, tell);
                seen.fail(error);
                let before = seen.followed.take();
                self.blind = true;
                self.leave(name, before);
            }
            Ok(None) => {}
        }
    }

    fn forget(&mut self, name: &Label, tell: &mut Tell<'_>) {
        let Some(mut seen) = self.seen.remove(name) else { return };
        seen.empty(name, tell);
        tell(Change::Went(name));
        self.leave(name, seen.followed);
    }

    /// A directory that was renamed keeps its number, which may mean another node by now.
    fn leave(&mut self, name: &Label, number: Option<i32>) {
        let Some(number) = number else { return };
        if self.numbers.get(&number).is_some_and(|meant| meant == name) {
            self.numbers.remove(&number);
            if let Some(feed) = &self.feed {
                feed.leave(number);
            }
        }
    }

    fn read_record(&mut self, name: &Label, file: &str, tell: &mut Tell<'_>) {
        let opened = self.nodes.node(&self.tree.base, name);
        match (opened, self.seen.get_mut(name), listing::limit(file)) {
            (Ok(Some(node)), Some(seen), Some(max)) => {
                seen.read_record(&node, &self.tree, file, max, tell);
                self.blind |= seen.doubted;
            }
            (_, _, None) => {}
            _ => self.read_node(name, tell),
        }
    }

    fn gone(&self) -> Error {
        let text = format!("{}: it was removed or replaced", self.tree.base.path.display());
        Error::new(Kind::Unsafe, text).hint("look at it anew")
    }
}

impl NodeSnapshot {
    /// Do the times say that nothing can have changed?
    fn is_as_it_was(&self, name: &Label, nodes: &Nodes, wall_us: i64) -> bool {
        let Some(stamp) = self.stamp else { return false };
        let unchanged = |file: &String| {
            let now = nodes.stamp(&format!("{name}/{file}")).map(|stamp| stamp.times);
            let then = self.records.get(file).map(|bytes| bytes.times);
            now == then && now.is_some_and(|times| judge_settled(times, wall_us))
        };
        nodes.stamp(name.as_str()) == Some(stamp) && self.loose.iter().all(unchanged)
    }

    fn read(&mut self, node: &mut Node, tree: &Tree, wall_us: i64, tell: &mut Tell<'_>) {
        self.faults.clear();
        self.doubted = false;
        // Taken before the names are read: what changes meanwhile makes it another one.
        let stamp = node.stamp();
        self.stamp = None;
        let listed = match node.list_alone() {
            Ok(listed) => listed,
            Err(error) => return self.fail(error),
        };
        let gone = |file: &&String| listed.names.binary_search(file).is_err();
        for file in self.records.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.drop_record(&node.name, &file, tell);
        }
        for file in &listed.names {
            if let Some(max) = listing::limit(file) {
                self.read_record(node, tree, file, max, tell);
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
        tell: &mut Tell<'_>,
    ) {
        match node.read(&tree.base, file, max) {
            Ok(Some(bytes)) => {
                self.faults.remove(file);
                if self.records.get(file) == Some(&bytes) {
                    return;
                }
                if matches!(parse(&bytes.bytes, max), Ok(Text::Own(_))) {
                    self.loose.remove(file);
                } else {
                    self.loose.insert(file.to_owned());
                }
                tell(Change::Record(&node.name, file, Some(&bytes)));
                self.records.insert(file.to_owned(), bytes);
            }
            Ok(None) => {
                self.faults.remove(file);
                self.drop_record(&node.name, file, tell);
            }
            Err(error) => {
                self.drop_record(&node.name, file, tell);
                self.faults.insert(file.to_owned(), error);
                // Mended modes show in no directory, and spare descriptors in no event.
                self.doubted = true;
            }
        }
    }

    fn drop_record(&mut self, node: &Label, file: &str, tell: &mut Tell<'_>) {
        self.loose.remove(file);
        if self.records.remove(file).is_some() {
            tell(Change::Record(node, file, None));
        }
    }

    fn empty(&mut self, node: &Label, tell: &mut Tell<'_>) {
        for file in std::mem::take(&mut self.records).keys() {
            tell(Change::Record(node, file, None));
        }
        *self = NodeSnapshot { followed: self.followed, ..NodeSnapshot::default() };
    }

    fn fail(&mut self, error: Error) {
        self.faults.insert(String::new(), error);
        self.doubted = true;
    }
}

/// What events are about, each thing once.
#[derive(Debug, Default)]
struct Dirty {
    nodes: BTreeSet<Label>,
    files: BTreeSet<(Label, String)>,
    /// The directory of the nodes went or was moved.
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
                if let (Some(node), Some(file)) = (numbers.get(&number), text(name))
                    && listing::limit(file).is_some()
                {
                    self.files.insert((node.clone(), file.to_owned()));
                }
            }
            Event::Itself(number) if Some(number) == root => self.itself = true,
            Event::Itself(number) => self.nodes.extend(numbers.get(&number).cloned()),
        }
    }
}
