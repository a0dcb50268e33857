//! What a followed tree is read from: the view of its records, and the directories beside it, which
//! hold the grants of joint leases and the queues.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};

use zeta_core::layout::{self, Kind};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Now;

use super::line::Line;
use crate::directory::copied::BridgeDir;
use crate::directory::tree::{Bytes, Node};
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use crate::lease::joint::{Grants, standing_of};
use crate::lease::read_only;
use crate::presence::view::{Change, View};
use zeta_os::error::Result;
use zeta_os::inotify::{DirectoryWatcher, Event};

/// A lease: its node and its name.
pub(super) type LeaseKey = (Label, RecordName);
/// A grant: its node, its lease, and its file if that is a joint one.
pub(super) type GrantKey = (Label, RecordName, String);

/// A directory that is followed beside the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// That of the guards of a node.
    Guards(Label),
    /// The queue of a lease, or its guard.
    Line(LeaseKey),
    /// That of the grants of a joint lease.
    Grants(LeaseKey),
    /// That of the bridge.
    Cluster,
}

/// What changed in a tree.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Records, by node and file.
    pub(super) records: BTreeSet<(Label, String)>,
    /// Names that are no record's, and whether they are there.
    pub(super) others: Vec<(Label, String, bool)>,
    /// Nodes in which every queue may be another one.
    pub(super) guards: BTreeSet<Label>,
    /// Leases whose queue changed.
    pub(super) lines: BTreeSet<LeaseKey>,
    /// Grants of joint leases.
    pub(super) grants: BTreeSet<GrantKey>,
    /// Nodes whose history may have grown.
    pub(super) histories: BTreeSet<Label>,
    /// Joint leases whose grants must be listed again.
    pub(super) listings: BTreeSet<LeaseKey>,
    /// What the bridge says of itself may be something else.
    pub(super) is_cluster_changed: bool,
}

impl Place {
    fn node(&self) -> Option<&Label> {
        match self {
            Place::Guards(node) | Place::Line((node, _)) | Place::Grants((node, _)) => Some(node),
            Place::Cluster => None,
        }
    }
}

impl News {
    /// Adds what happened to a name in a directory.
    fn add(&mut self, place: &Place, name: &str) {
        match place {
            Place::Guards(node) => {
                let lease = layout::into_lease(name.to_owned());
                self.lines.extend(lease.map(|lease| (node.clone(), lease)).ok());
            }
            Place::Line(key) => _ = self.lines.insert(key.clone()),
            Place::Grants((node, lease)) if layout::is_grant_file(name) => {
                self.grants.insert((node.clone(), lease.clone(), name.to_owned()));
            }
            Place::Grants(_) => {}
            Place::Cluster => self.is_cluster_changed |= name == layout::CLUSTER_STATUS,
        }
    }
}

/// The sources of a tree that is there.
#[derive(Debug)]
pub(super) struct Sources {
    view: View,
    watcher: Option<DirectoryWatcher>,
    places: HashMap<i32, Place>,
    /// Leases whose queue or grants are not followed.
    unfollowed: BTreeSet<LeaseKey>,
    is_cluster_followed: bool,
    is_moved: bool,
}

impl Sources {
    pub(super) fn new(mut view: View) -> Sources {
        let watcher = if view.follow() { DirectoryWatcher::new() } else { None };
        let (places, unfollowed) = Default::default();
        let is_cluster_followed = false;
        Sources { view, watcher, places, unfollowed, is_cluster_followed, is_moved: false }
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn base(&self) -> &TrustedDir {
        &self.view.tree().base
    }

    /// A record as it was read last.
    pub(super) fn record(&self, node: &Label, file: &str) -> Option<&Bytes> {
        self.view.nodes().get(node)?.records.get(file)
    }

    /// The record of a lease that is there.
    pub(super) fn lease(&self, (node, lease): &LeaseKey) -> Option<&Bytes> {
        self.record(node, &layout::lease_file(lease))
    }

    /// Returns whether a lease is a joint one, for whose grants its record only stands.
    pub(super) fn is_joint(&self, key: &LeaseKey) -> bool {
        let is_joint = |bytes: &Bytes| {
            // Most are none, which their text shows.
            let text = std::str::from_utf8(&bytes.bytes).unwrap_or_default();
            text.contains("\njoint: ")
                && standing_of(&read_only(Some(bytes.clone()), &key.1)).is_some()
        };
        self.lease(key).is_some_and(is_joint)
    }

    pub(super) fn check_place(&mut self) {
        self.is_moved = true;
    }

    pub(super) fn must_poll(&self) -> bool {
        self.view.must_poll() || self.watcher.is_none() || !self.unfollowed.is_empty()
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.view.fd().into_iter().chain(self.watcher.as_ref().map(AsFd::as_fd))
    }

    /// Finds what changed since the last call.
    ///
    /// # Errors
    /// The tree was removed or replaced.
    pub(super) fn news(&mut self) -> Result<News> {
        let mut news = News::default();
        let mut replaced = BTreeSet::new();
        let mut take = |change: Change<'_>| match change {
            Change::NodeReplaced(node) => _ = replaced.insert(node.clone()),
            Change::Record(node, file, _) => {
                news.records.insert((node.clone(), file.to_owned()));
            }
            Change::Other(node, name, is_there) => {
                news.others.push((node.clone(), name.to_owned(), is_there));
            }
            Change::NodeAdded(node) => _ = news.histories.insert(node.clone()),
            Change::NodeRemoved(_) => {}
        };
        self.view.refresh(&mut take)?;
        if std::mem::take(&mut self.is_moved) {
            // Where there are no events, it checks that the tree is still there.
            self.view.refresh(&mut take)?;
        }
        self.drain(&replaced, &mut news);
        let is_log = |name: &str| layout::kind_of(name) == Kind::History;
        let changed = news.others.iter().filter(|(_, name, _)| is_log(name));
        news.histories.extend(changed.map(|(node, ..)| node.clone()).chain(replaced));
        if self.view.fd().is_none() {
            news.histories.extend(self.view.nodes().keys().cloned());
        }
        for key in std::mem::take(&mut self.unfollowed) {
            news.lines.insert(key.clone());
            news.listings.insert(key);
        }
        if !self.is_cluster_followed {
            self.follow_cluster();
            news.is_cluster_changed = true;
        }
        let guards = news.others.iter().filter(|(_, name, _)| name == layout::GUARDS);
        news.guards.extend(guards.map(|(node, ..)| node.clone()));
        for node in &news.guards {
            self.follow_guards(node);
        }
        Ok(news)
    }

    /// Takes in what happened in the directories beside the view. Those of nodes that were replaced
    /// are others now.
    fn drain(&mut self, replaced: &BTreeSet<Label>, news: &mut News) {
        let Some(watcher) = &self.watcher else { return };
        let places = &self.places;
        let mut lost = false;
        let mut again = Vec::new();
        watcher.drain(|event| match event {
            Event::Lost => lost = true,
            Event::In(number, name) => {
                if let (Some(place), Ok(name)) = (places.get(&number), std::str::from_utf8(name)) {
                    news.add(place, name);
                }
            }
            Event::Itself(number) => again.extend(places.get(&number).cloned()),
        });
        if lost || !replaced.is_empty() {
            let others = places
                .values()
                .filter(|place| lost || place.node().is_some_and(|node| replaced.contains(node)));
            again.extend(others.cloned());
        }
        for place in again {
            match place {
                Place::Guards(node) => _ = news.guards.insert(node),
                Place::Line(key) => _ = news.lines.insert(key),
                Place::Grants(key) => _ = news.listings.insert(key),
                Place::Cluster => self.is_cluster_followed = false,
            }
        }
    }

    /// Follows the directory of the guards, in which that of a lease appears.
    fn follow_guards(&mut self, node: &Label) {
        let follow = || {
            let node = self.view.open_node(node).ok()??;
            let path = || node.path.join(layout::GUARDS);
            let base = &self.view.tree().base;
            let (guards, _) = open_inner(node.as_fd(), layout::GUARDS, base, path).ok()??;
            self.watcher.as_ref()?.follow_published(guards.as_fd())
        };
        if let Some(number) = follow() {
            self.places.insert(number, Place::Guards(node.clone()));
        }
    }

    /// Follows the directory of the bridge, if it is there. A bridge that comes later shows by the
    /// records of other nodes.
    fn follow_cluster(&mut self) {
        let follow = || {
            let dir = BridgeDir::find_cluster(self.view.tree(), None).ok()??;
            self.watcher.as_ref()?.follow_published(dir.as_fd())
        };
        if let Some(number) = follow() {
            self.is_cluster_followed = true;
            self.places.insert(number, Place::Cluster);
        }
    }

    /// Reads the line for a lease, and follows it.
    pub(super) fn read_line(&mut self, node: &Node, key: &LeaseKey, now: &Now) -> Line {
        let file = layout::lease_file(&key.1);
        let line = Line::read(&self.view.tree().base, node, &file, self.watcher.as_ref(), now);
        self.note(line.followed, line.must_poll, Place::Line(key.clone()), key);
        line
    }

    /// Lists the grants of a joint lease, and follows them; returns the watcher's number.
    pub(super) fn list_grants(
        &mut self,
        node: &Node,
        key: &LeaseKey,
    ) -> (Option<i32>, Vec<String>) {
        let base = &self.view.tree().base;
        // Its directory may not be there yet; it shows in the node then.
        let Ok(Some(grants)) = Grants::open(base, node, &key.1) else { return Default::default() };
        let followed = self.watcher.as_ref().and_then(|watcher| watcher.follow(grants.fd()));
        let files = grants.files().unwrap_or_default();
        self.note(followed, followed.is_none(), Place::Grants(key.clone()), key);
        (followed, files)
    }

    fn note(&mut self, followed: Option<i32>, must_poll: bool, place: Place, key: &LeaseKey) {
        if let Some(number) = followed {
            self.places.insert(number, place);
        }
        if must_poll {
            self.unfollowed.insert(key.clone());
        }
    }

    /// Does not read the directories of a lease any more that cannot be followed.
    pub(super) fn forget(&mut self, key: &LeaseKey) {
        self.unfollowed.remove(key);
    }

    /// Stops following a directory. One that was moved keeps its number, which may belong to
    /// another place by now.
    pub(super) fn leave(&mut self, number: Option<i32>, place: &Place) {
        if let Some(number) = number
            && self.places.get(&number) == Some(place)
            && let Some(watcher) = &self.watcher
        {
            self.places.remove(&number);
            watcher.leave(number);
        }
    }
}
