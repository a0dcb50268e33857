//! Places that must be looked up again: a directory there appears, or is moved or removed with one
//! of those above it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use zeta_os::inotify::{DirectoryWatcher, Event};

/// Most directories of a path that can appear while it is looked at.
const PATH_MAX: usize = 64;

/// A directory that may not be there.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// The state directory, or that of the bus.
    pub base: &'p Path,
    /// The directory, below it.
    pub below: &'p str,
    /// Files of the base that matter, too.
    pub files: &'p [&'p str],
}

/// Watches the directories on the way to some places.
#[derive(Debug)]
pub struct PlaceWatcher {
    watcher: Option<DirectoryWatcher>,
    /// Names that would be news, by the number of their directory.
    awaited: HashMap<i32, Vec<String>>,
    /// A directory in which a name would be news is not watched: the user's watches are used up.
    is_blind: bool,
}

impl Default for PlaceWatcher {
    fn default() -> PlaceWatcher {
        let (awaited, is_blind) = Default::default();
        PlaceWatcher { watcher: DirectoryWatcher::new(), awaited, is_blind }
    }
}

impl PlaceWatcher {
    /// Watches the way to each of these places, as far as there is one.
    pub fn follow(&mut self, places: &[Place<'_>]) {
        let Some(watcher) = &self.watcher else { return };
        // One that appeared right before it was watched for causes no event.
        for _ in 0..PATH_MAX {
            let dirs = on_the_way(places);
            self.awaited.clear();
            self.is_blind = false;
            for (dir, names) in &dirs {
                let number = match names.is_empty() {
                    true => watcher.follow_itself(dir),
                    false => watcher.follow_names(dir),
                };
                match number {
                    Some(number) => _ = self.awaited.insert(number, names.clone()),
                    None => self.is_blind |= !names.is_empty(),
                }
            }
            if on_the_way(places) == dirs {
                break;
            }
        }
    }

    /// Returns whether the paths must be looked up again. Then they are to be followed anew, too.
    pub fn take(&mut self) -> bool {
        let Some(watcher) = &self.watcher else { return true };
        let mut is_news = self.is_blind;
        watcher.drain(|event| {
            is_news |= match event {
                Event::Lost => true,
                Event::Itself(number) => self.awaited.contains_key(&number),
                Event::In(number, name) => self
                    .awaited
                    .get(&number)
                    .is_some_and(|names| names.iter().any(|awaited| awaited.as_bytes() == name)),
            };
        });
        is_news
    }

    /// Returns whether changes come without an event: then [`PlaceWatcher::take`] is always true.
    pub fn must_poll(&self) -> bool {
        self.watcher.is_none() || self.is_blind
    }

    /// Its descriptor, if the kernel gave one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(AsFd::as_fd)
    }
}

/// The directories on the way to some places, each with the names that matter in it. Each has one
/// watch: a second one with other flags would replace the first.
fn on_the_way(places: &[Place<'_>]) -> BTreeMap<PathBuf, Vec<String>> {
    let mut dirs: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for Place { base, below, files } in places {
        let path = base.join(below);
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        for (at, dir) in way.iter().enumerate() {
            let awaited = dirs.entry(named(dir)).or_default();
            let Some(next) = way.get(at + 1) else { break };
            let is_there = next.is_dir();
            // A directory above the base, such as /tmp, has many names that do not matter. Below
            // it, the removal of one that is open shows only in the directory around it.
            if !is_there || dir.starts_with(base) {
                let name = next.file_name().unwrap_or_default();
                awaited.push(name.to_string_lossy().into_owned());
            }
            if dir == base {
                awaited.extend(files.iter().map(|file| (*file).to_owned()));
            }
            if !is_there {
                // This one may be removed while another process has it open.
                let around = at.checked_sub(1).and_then(|at| way.get(at));
                if let (Some(around), Some(name)) = (around, dir.file_name()) {
                    let awaited = dirs.entry(named(around)).or_default();
                    awaited.push(name.to_string_lossy().into_owned());
                }
                break;
            }
        }
    }
    dirs
}

/// The last directory above a relative path is nameless.
fn named(dir: &Path) -> PathBuf {
    let is_nameless = dir.as_os_str().is_empty();
    if is_nameless { PathBuf::from(".") } else { dir.to_path_buf() }
}
