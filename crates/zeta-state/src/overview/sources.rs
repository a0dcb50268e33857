//! What a followed tree is read from: the view of its records, and the directories beside it, which
//! hold the grants of joint leases and the queues.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};

use zeta_core::layout;
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Now;

use super::line::Line;
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
#[derive(Debug, Clone)]
enum Place {
    Guards(Label),
    Line(LeaseKey),
    Grants(LeaseKey),
}

/// What changed in a tree.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Records, by node and file.
    pub(super) records: BTreeSet<(Label, String)>,
    /// Names that are no record's, and whether they are there.
    pub(super) others: Vec<(Label, String, bool)>,
    /// Leases whose queue changed.
    pub(super) lines: BTreeSet<LeaseKey>,
    /// Grants of joint leases.
    pub(super) grants: BTreeSet<GrantKey>,
    /// Joint leases whose grants must be listed again.
    pub(super) listings: BTreeSet<LeaseKey>,
}

/// The sources of a tree that is there.
#[derive(Debug)]
pub(super) struct Sources {
    view: View,
    watcher: Option<DirectoryWatcher>,
    places: HashMap<i32, Place>,
    /// Leases whose queue or grants are not followed.
    unfollowed: BTreeSet<LeaseKey>,
    is_moved: bool,
}

impl Sources {
    pub(super) fn new(mut view: View) -> Sources {
        let watcher = if view.follow() { DirectoryWatcher::new() } else { None };
        let (places, unfollowed) = Default::default();
        Sources { view, watcher, places, unfollowed, is_moved: false }
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
        let mut take = |change: Change<'_>| match change {
            Change::Record(node, file, _) => {
                news.records.insert((node.clone(), file.to_owned()));
            }
            Change::Other(node, name, is_there) => {
                news.others.push((node.clone(), name.to_owned(), is_there));
            }
            Change::NodeAdded(_) | Change::NodeRemoved(_) => {}
        };
        self.view.refresh(&mut take)?;
        if std::mem::take(&mut self.is_moved) {
            // Where there are no events, it checks that the tree is still there.
            self.view.refresh(&mut take)?;
        }
        self.drain(&mut news);
        for key in &self.unfollowed {
            news.lines.insert(key.clone());
            news.listings.insert(key.clone());
        }
        for (node, name, is_there) in &news.others {
            if *is_there && name == layout::GUARDS {
                self.follow_guards(node);
            }
        }
        Ok(news)
    }

    fn drain(&mut self, news: &mut News) {
        let Some(watcher) = &self.watcher else { return };
        let places = &self.places;
        let mut lost = false;
        let mut again = Vec::new();
        watcher.drain(|event| match event {
            Event::Lost => lost = true,
            Event::In(number, name) => {
                let Some(place) = places.get(&number) else { return };
                let Ok(name) = std::str::from_utf8(name) else { return };
                match place {
                    Place::Guards(node) => {
                        let lease = layout::into_lease(name.to_owned());
                        news.lines.extend(lease.map(|lease| (node.clone(), lease)).ok());
                    }
                    Place::Line(key) => _ = news.lines.insert(key.clone()),
                    Place::Grants((node, lease)) if layout::is_grant_file(name) => {
                        news.grants.insert((node.clone(), lease.clone(), name.to_owned()));
                    }
                    Place::Grants(_) => {}
                }
            }
            Event::Itself(number) => again.extend(places.get(&number).cloned()),
        });
        if lost {
            again = places.values().cloned().collect();
        }
        for place in again {
            match place {
                Place::Guards(node) => self.follow_guards(&node),
                Place::Line(key) => _ = news.lines.insert(key),
                Place::Grants(key) => _ = news.listings.insert(key),
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
            self.watcher.as_ref()?.follow_arrivals(guards.as_fd())
        };
        if let Some(number) = follow() {
            self.places.insert(number, Place::Guards(node.clone()));
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

    /// Stops following the grants of a lease that is no joint one any more.
    pub(super) fn leave(&mut self, number: Option<i32>, key: &LeaseKey) {
        self.unfollowed.remove(key);
        self.leave_number(number);
    }

    /// Stops following a directory.
    pub(super) fn leave_number(&mut self, number: Option<i32>) {
        if let Some(number) = number
            && self.places.remove(&number).is_some()
            && let Some(watcher) = &self.watcher
        {
            watcher.leave(number);
        }
    }
}
