//! Did a name of anybody else come into this directory meanwhile, or go? The kernel counts for us.
//!
//! A directory's modification time tells that it changed, and not how often: what we change
//! ourselves would hide what somebody else changed in the same moment. dnotify queues one signal
//! for each name that comes or goes, at no cost worth counting (an inotify instance takes
//! milliseconds to close).
//! The signals are blocked and taken out of the queue here, so nobody's handler ever runs.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// `fcntl` command and events of dnotify that libc does not name everywhere.
const F_NOTIFY: libc::c_int = 1026;
const DN_CREATE: libc::c_int = 0x04;
const DN_DELETE: libc::c_int = 0x08;
const DN_RENAME: libc::c_int = 0x10;
const DN_MULTISHOT: libc::c_int = i32::MIN;
const EVENTS: libc::c_int = DN_CREATE | DN_DELETE | DN_RENAME | DN_MULTISHOT;
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;

#[repr(C)]
struct Owner {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// Counts the names that come into a directory and go, while it lives.
#[derive(Debug)]
pub struct Quiet<'a> {
    dir: BorrowedFd<'a>,
    old_mask: libc::sigset_t,
    works: bool,
}

fn signals() -> (libc::c_int, libc::sigset_t) {
    let number = libc::SIGRTMAX() - 3;
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set before it is used.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), number);
        // Comes where the queue of the other one is full.
        libc::sigaddset(set.as_mut_ptr(), libc::SIGIO);
        set.assume_init()
    };
    (number, set)
}

impl<'a> Quiet<'a> {
    /// Begins to count.
    pub fn begin(dir: BorrowedFd<'a>) -> Quiet<'a> {
        let (number, set) = signals();
        let fd: RawFd = dir.as_raw_fd();
        let mut old_mask = MaybeUninit::uninit();
        // Not libc's: the standard library's weak name of it is null in a static binary.
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        // SAFETY: plain system calls on a descriptor that is open for as long as `dir` lives; the
        // signals go to this thread alone and are blocked before the first one can come.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, old_mask.as_mut_ptr());
            let owner = Owner { kind: F_OWNER_TID, pid: me };
            let works = libc::fcntl(fd, F_SETSIG, number) == 0
                && libc::fcntl(fd, F_SETOWN_EX, &raw const owner) == 0
                && libc::fcntl(fd, F_NOTIFY, EVENTS) == 0;
            Quiet { dir, old_mask: old_mask.assume_init(), works }
        }
    }

    /// How many names came or went since the beginning or the last count; `None` if that is not
    /// known.
    pub fn count(&self) -> Option<usize> {
        let mut count = self.works.then_some(0);
        let (number, set) = signals();
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            // SAFETY: both places are ours; the call waits for nothing.
            let got = unsafe {
                libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const at_once)
            };
            match got {
                got if got == number => count = count.map(|count| count + 1),
                libc::SIGIO => count = None,
                _ => return count,
            }
        }
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `begin`; the mask goes back after the last signal was taken out.
        unsafe {
            libc::fcntl(self.dir.as_raw_fd(), F_NOTIFY, 0);
            self.count();
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.old_mask,
                std::ptr::null_mut(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn names_of_this_and_of_another_process_are_counted() {
        let path = std::env::temp_dir().join(format!("zeta-quiet-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        let quiet = Quiet::begin(dir.as_fd());
        assert_eq!(quiet.count(), Some(0));
        std::fs::write(path.join("a"), "1").unwrap();
        std::fs::rename(path.join("a"), path.join("b")).unwrap();
        // A rename inside is told more than once.
        assert!(quiet.count() >= Some(2));
        let touched = std::process::Command::new("touch").arg(path.join("c")).status().unwrap();
        assert!(touched.success());
        assert_eq!(quiet.count(), Some(1));
        std::fs::remove_file(path.join("c")).unwrap();
        assert_eq!(quiet.count(), Some(1), "a name that goes counts, too");
        drop(quiet);
        std::fs::write(path.join("d"), "1").unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }
}
