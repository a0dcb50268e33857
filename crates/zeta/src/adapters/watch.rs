//! Sleeping until something happens: a file goes away, a process ends, a time comes.
//!
//! inotify is a hint that makes waking fast. Where its instances run out, the caller's own timer
//! still wakes, so nothing depends on it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Watches for changes by name. Made once per waiting process.
#[derive(Debug)]
pub struct Watch {
    fd: Option<OwnedFd>,
}

impl Watch {
    /// A watch, or a blind one where the user's inotify instances are used up.
    pub fn new() -> Watch {
        Watch { fd: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok() }
    }

    /// Can it see anything?
    pub fn sees(&self) -> bool {
        self.fd.is_some()
    }

    /// Wakes when the file at `path` is removed. Returns false if it is gone already.
    pub fn removal_of(&self, path: &str) -> bool {
        let flags = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
        self.add(path, flags | WatchFlags::ONESHOT)
    }

    /// Wakes when a name leaves the directory `dir`.
    pub fn removals_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        self.add(&path, WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF)
    }

    /// Wakes when a file is put into the directory `dir` by a rename.
    pub fn arrivals_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        self.add(&path, WatchFlags::MOVED_TO)
    }

    /// Wakes when a file appears in, changes in or leaves the directory `dir`.
    pub fn changes_in(&self, dir: BorrowedFd<'_>) -> bool {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        self.add(&path, names | WatchFlags::MODIFY)
    }

    fn add(&self, path: &str, flags: WatchFlags) -> bool {
        match &self.fd {
            Some(fd) => inotify::add_watch(fd, path, flags).is_ok(),
            None => true,
        }
    }

    /// Empties the queue of events; true if one is about `file`, about the watched file itself, or
    /// if events were lost.
    pub fn drain(&self, file: &str) -> bool {
        let mut about = false;
        let whole = self.each(|name| about |= name.is_none_or(|name| name == file.as_bytes()));
        about || !whole
    }

    /// Empties the queue of events, handing on each one's name; false if events were lost.
    pub fn each(&self, mut take: impl FnMut(Option<&[u8]>)) -> bool {
        let Some(fd) = &self.fd else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        let mut whole = true;
        while let Ok(event) = reader.next() {
            if event.events() == ReadFlags::IGNORED {
                continue;
            }
            whole &= !event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            take(event.file_name().map(|name| name.to_bytes()));
        }
        whole
    }

    /// Its descriptor, where it has one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::new()
    }
}

/// Sleeps until one of `fds` is readable or `limit` is over; says which are readable.
pub fn sleep_on(fds: &[BorrowedFd<'_>], limit: Duration) -> Vec<bool> {
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
