//! Sleeping until something happens: a file goes away, a process ends, a time comes.
//!
//! inotify is a hint that makes waking fast. Where its instances run out, the caller's own timer
//! still wakes, so nothing depends on it.
//!
//! Closing an instance waits until the kernel has taken its watches apart: 5 ms most often, 25 at
//! times. So a process keeps the one that it made, and hands it from one wait to the next.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// The instance that is not in use.
static SPARE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Watches for changes by name. Its instance outlives it.
#[derive(Debug)]
pub struct Watch {
    fd: Option<OwnedFd>,
    added: RefCell<Vec<i32>>,
}

/// The events of a watch, summed up.
#[derive(Debug, Default, Clone, Copy)]
pub struct Drained {
    /// Something happened to what was asked about.
    pub about: bool,
    /// The watched file was moved away.
    pub moved: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
        let Some(fd) = self.fd.take() else { return };
        if let Ok(mut spare) = SPARE.lock() {
            spare.get_or_insert(fd);
        }
    }
}

impl Watch {
    /// A watch, or a blind one where the user's inotify instances are used up.
    pub fn new() -> Watch {
        let spare = SPARE.lock().ok().and_then(|mut spare| spare.take());
        // Events of the wait before are dropped.
        if let Some(fd) = &spare {
            empty(fd, true, |_, _| {});
        }
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        Watch { fd: spare.or_else(|| inotify::init(flags).ok()), added: RefCell::default() }
    }

    /// Takes all watches away.
    pub fn stop(&self) {
        let Some(fd) = &self.fd else { return };
        for watch in self.added.borrow_mut().drain(..) {
            // One whose file is gone is gone already.
            let _ = inotify::remove_watch(fd, watch);
        }
    }

    /// Returns false for a blind watch.
    pub fn sees(&self) -> bool {
        self.fd.is_some()
    }

    /// Wakes when the file at `path` is removed. Returns false if it is gone already.
    pub fn removal_of(&self, path: &str) -> bool {
        self.add(path, WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB)
    }

    /// Wakes when a name leaves the directory `dir`.
    pub fn removals_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        self.add(&path, WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF)
    }

    /// Wakes when a file is put into the directory `dir` by a rename, or is deleted there.
    pub fn arrivals_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        self.add(&path, WatchFlags::MOVED_TO | WatchFlags::DELETE)
    }

    /// Wakes when a file appears in, changes in or leaves the directory `dir`, and when the
    /// directory is moved or removed itself.
    pub fn changes_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        self.add(&path, names | WatchFlags::MODIFY | WatchFlags::MOVE_SELF)
    }

    fn add(&self, path: &str, flags: WatchFlags) -> bool {
        let Some(fd) = &self.fd else { return true };
        let added = inotify::add_watch(fd, path, flags);
        self.added.borrow_mut().extend(added);
        added.is_ok()
    }

    /// Empties the queue of events. `about` if one has a name that `is_meant`, is about the watched
    /// file itself, or if events were lost.
    pub fn drain(&self, is_meant: impl Fn(&str) -> bool) -> Drained {
        let mut drained = Drained::default();
        let whole = self.fd.as_ref().is_some_and(|fd| {
            empty(fd, false, |name, flags| {
                drained.about |=
                    name.is_none_or(|name| std::str::from_utf8(name).is_ok_and(&is_meant));
                drained.moved |= flags.contains(ReadFlags::MOVE_SELF);
            })
        });
        drained.about |= !whole;
        drained
    }

    /// Empties the queue of events, handing on each one's name and whether that was deleted; false
    /// if events were lost.
    pub fn each(&self, mut take: impl FnMut(Option<&[u8]>, bool)) -> bool {
        let mut hand_on =
            |name: Option<&[u8]>, flags: ReadFlags| take(name, flags.contains(ReadFlags::DELETE));
        self.fd.as_ref().is_some_and(|fd| empty(fd, false, &mut hand_on))
    }

    /// Its descriptor, where it has one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

/// An instance of its own for a caller that follows many directories for long.
#[derive(Debug)]
pub struct DirectoryWatcher(OwnedFd);

/// One thing that a feed says.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something happened to a name in the directory with this number.
    In(i32, &'a [u8]),
    /// Something happened to the directory with this number itself, or it is followed no more.
    Itself(i32),
    /// Events were lost: anything may have happened.
    Lost,
}

impl DirectoryWatcher {
    /// One that follows nothing yet; `None` where the user's instances are used up.
    pub fn new() -> Option<DirectoryWatcher> {
        inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok().map(DirectoryWatcher)
    }

    /// Follows all that happens to the directory `dir` and to its files; the number that events
    /// will name, or `None` where the user's watches are used up.
    pub fn follow(&self, dir: BorrowedFd<'_>) -> Option<i32> {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let content = WatchFlags::MODIFY | WatchFlags::ATTRIB;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.0, path, names | content | itself).ok()
    }

    /// As [`DirectoryWatcher::follow`], of names that a rename puts into the directory or that
    /// leave it, and of the directory itself.
    pub fn follow_published(&self, dir: BorrowedFd<'_>) -> Option<i32> {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        self.follow_path(Path::new(&path), WatchFlags::MOVED_TO | WatchFlags::DELETE)
    }

    /// As [`DirectoryWatcher::follow`], of the names that come and go in the directory at this
    /// path, and of the directory itself. The removal of a directory that is open shows only as
    /// that of its name.
    pub fn follow_names(&self, path: &Path) -> Option<i32> {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        self.follow_path(path, names | WatchFlags::ATTRIB)
    }

    /// As [`DirectoryWatcher::follow`], of the directory at this path itself alone.
    pub fn follow_itself(&self, path: &Path) -> Option<i32> {
        self.follow_path(path, WatchFlags::ATTRIB)
    }

    fn follow_path(&self, path: &Path, flags: WatchFlags) -> Option<i32> {
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.0, path, flags | itself).ok()
    }

    /// Follows a directory no more.
    pub fn leave(&self, number: i32) {
        // One whose directory is gone is gone already.
        let _ = inotify::remove_watch(&self.0, number);
    }

    /// Hands on all that lies in the queue at the start; false if that was nothing.
    pub fn drain(&self, mut take: impl FnMut(Event<'_>)) -> bool {
        // An event has 16 bytes or more, so that this many are all of them.
        let events = rustix::io::ioctl_fionread(&self.0).unwrap_or(u64::MAX) / 16;
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut taken = 0;
        // What was read into the buffer has left the queue, also if it came after the start.
        while taken < events || !reader.is_buffer_empty() {
            let Ok(event) = reader.next() else { break };
            taken += 1;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                take(Event::Lost);
            } else if let Some(name) = event.file_name() {
                take(Event::In(event.wd(), name.to_bytes()));
            } else {
                take(Event::Itself(event.wd()));
            }
        }
        taken > 0
    }
}

impl AsFd for DirectoryWatcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads what lies in the queue: a buffer full, which is enough to wake up for, or `all` of it.
fn empty(fd: &OwnedFd, all: bool, mut take: impl FnMut(Option<&[u8]>, ReadFlags)) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut whole = true;
    while let Ok(event) = reader.next() {
        if event.events() != ReadFlags::IGNORED {
            whole &= !event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            take(event.file_name().map(|name| name.to_bytes()), event.events());
        }
        if reader.is_buffer_empty() && !all {
            break;
        }
    }
    whole
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::new()
    }
}

/// Sleeps until one of `fds` is readable or `limit` is over; says which are readable.
pub fn poll_readable(fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(Errno::INTR) => vec![false; fds.len()],
        Err(_) => {
            // Out of memory for a poll: do not spin.
            std::thread::sleep(limit.min(Duration::from_millis(50)));
            vec![false; fds.len()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::File;

    #[test]
    fn no_event_is_dropped_that_comes_while_the_queue_is_emptied() {
        let dir = crate::temp_dir::TempDir::new().unwrap();
        let watcher = DirectoryWatcher::new().unwrap();
        watcher.follow(File::open(dir.path()).unwrap().as_fd()).unwrap();
        let mut made = 0;
        let mut make = |count: usize| {
            for _ in 0..count.min(3_000 - made) {
                File::create(dir.path().join(made.to_string())).unwrap();
                made += 1;
            }
        };
        // More than fit into one buffer, so that it is filled again while others come.
        make(600);
        let mut seen = BTreeSet::new();
        while watcher.drain(|event| {
            let Event::In(_, name) = event else { panic!("{event:?}") };
            seen.insert(name.to_vec());
            make(3);
        }) {}
        assert_eq!(seen.len(), 3_000);
    }
}
