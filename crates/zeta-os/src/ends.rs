//! The ends of many processes as one descriptor: it is readable once one of them has ended.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zeta_core::evidence::{Process, ProcessState};

use crate::process::look_at;

/// Most processes whose ends are taken from the kernel at once; the rest comes with the next call.
const AT_ONCE: usize = 64;

/// What names a process: its id, its inode number in pidfs, and its start.
type Key = (u32, Option<u64>, Option<u64>);

/// Processes that are watched.
#[derive(Debug)]
pub struct Ends {
    epoll: Option<OwnedFd>,
    watched: BTreeMap<Key, OwnedFd>,
}

/// What came of [`Ends::watch_only`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Processes that have ended already.
    pub ended: Vec<u32>,
    /// Some could not be watched: the descriptors of this process are used up.
    pub is_partial: bool,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends::new()
    }
}

impl Ends {
    /// One that watches no process.
    pub fn new() -> Ends {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok();
        Ends { epoll, watched: BTreeMap::new() }
    }

    /// Watches these processes and no others. Of a process that may be another one by now nothing
    /// is noticed.
    pub fn watch_only<'p>(&mut self, wanted: impl IntoIterator<Item = &'p Process>) -> Watched {
        let mut before = std::mem::take(&mut self.watched);
        let mut watched = Watched::default();
        for process in wanted {
            let key = (process.pid, process.pidfs_ino, process.start_ticks);
            if self.watched.contains_key(&key) {
                continue;
            }
            if let Some(fd) = before.remove(&key) {
                self.watched.insert(key, fd);
                continue;
            }
            match self.add(process) {
                Ok(Some(fd)) => _ = self.watched.insert(key, fd),
                Ok(None) => {}
                Err(Errno::SRCH) => watched.ended.push(process.pid),
                Err(_) => watched.is_partial = true,
            }
        }
        // Closing a descriptor takes it out of the set.
        watched
    }

    fn add(&self, process: &Process) -> Result<Option<OwnedFd>, Errno> {
        let (state, fd) = match look_at(process) {
            Err(Errno::MFILE) if raise_limit() => look_at(process)?,
            looked => looked?,
        };
        match (state, fd, &self.epoll) {
            (ProcessState::Dead, ..) => Err(Errno::SRCH),
            (ProcessState::Alive, Some(fd), Some(epoll)) => {
                let data = epoll::EventData::new_u64(process.pid.into());
                epoll::add(epoll, &fd, data, epoll::EventFlags::IN)?;
                Ok(Some(fd))
            }
            (ProcessState::Alive, _, None) => Err(Errno::MFILE),
            _ => Ok(None),
        }
    }

    /// Returns the watched processes that have ended since the last call.
    pub fn take(&mut self) -> Vec<u32> {
        let Some(epoll) = &self.epoll else { return Vec::new() };
        let mut events = Vec::with_capacity(AT_ONCE);
        let buffer = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(epoll, buffer, Some(&Timespec::default())).is_err() {
            return Vec::new();
        }
        let pids = events.iter().filter_map(|event| u32::try_from(event.data.u64()).ok());
        let ended: Vec<u32> = pids.collect();
        // One that has ended stays readable.
        self.watched.retain(|(pid, ..), _| !ended.contains(pid));
        ended
    }

    /// Its descriptor, if the kernel gave one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.epoll.as_ref().map(AsFd::as_fd)
    }
}

/// Lets this process open as many files as it may; false if it may not open more.
fn raise_limit() -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inotify::poll_readable;
    use crate::process::identify;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[test]
    fn the_end_of_a_watched_process_is_seen_and_only_once() {
        let mut children: Vec<_> = (0..3)
            .map(|_| Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn())
            .map(Result::unwrap)
            .collect();
        let all: Vec<Process> = children.iter().map(|child| identify(child.id())).collect();
        let mut ends = Ends::new();
        assert_eq!(ends.watch_only(&all), Watched::default());
        assert_eq!(ends.watch_only(&all[..2]), Watched::default());
        assert!(ends.take().is_empty());
        children[1].kill().unwrap();
        let readable = poll_readable(&[ends.fd().unwrap()], Duration::from_secs(30));
        assert_eq!((readable, ends.take()), (vec![true], vec![all[1].pid]));
        assert!(ends.take().is_empty());
        children[2].kill().unwrap();
        children.iter_mut().skip(1).for_each(|child| _ = child.wait().unwrap());
        let watched = ends.watch_only(&all);
        assert_eq!(watched, Watched { ended: vec![all[1].pid, all[2].pid], is_partial: false });
        children[0].kill().unwrap();
        children[0].wait().unwrap();
    }
}
