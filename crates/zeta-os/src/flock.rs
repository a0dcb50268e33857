//! An exclusive flock with a time limit, taken by short sleeps between attempts.
//!
//! The kernel has no flock with a time limit, and a signal that ends a blocking one would be seen
//! by every thread. So the lock is tried again and again without blocking.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

/// Locks a file, which is made if there is none; `None` if another process has it locked.
///
/// # Errors
/// As the kernel says.
pub fn try_lock_file(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::from_raw_mode(0o600))?;
    match lock_within(&fd, Duration::ZERO) {
        Ok(()) => Ok(Some(fd)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Takes the exclusive flock of an open file, and waits for its holder for at most `limit`. A free
/// lock costs one system call, and so does any lock with a limit of zero.
///
/// # Errors
/// [`Errno::WOULDBLOCK`] if another process held it all the time; else what the kernel reports.
pub fn lock_within(fd: impl AsFd, limit: Duration) -> Result<(), Errno> {
    let fd = fd.as_fd();
    let mut started = None;
    let mut sleeps = 0u32;
    loop {
        match flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => {}
            done => return done,
        }
        let waited = started.get_or_insert_with(Instant::now).elapsed();
        let left = limit.saturating_sub(waited);
        if left.is_zero() {
            return Err(Errno::WOULDBLOCK);
        }
        sleeps += 1;
        std::thread::sleep(pause(sleeps).min(left));
    }
}

/// The sleep before the next attempt: longer each time, up to 2 ms. It differs by process, so that
/// waiting processes do not all wake at the same moment.
fn pause(sleeps: u32) -> Duration {
    let spread = u64::from(std::process::id() % 40);
    Duration::from_micros(20 * u64::from(sleeps.min(100)) + spread)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;

    use super::*;

    /// A new file, opened twice: two owners of locks, as in two processes.
    fn two() -> (PathBuf, File, File) {
        let name = format!("zeta-flock-{}", crate::host::random_hex().unwrap());
        let path = std::env::temp_dir().join(name);
        let first = File::create_new(&path).unwrap();
        let second = File::open(&path).unwrap();
        (path, first, second)
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_until_the_limit() {
        let (path, first, second) = two();
        lock_within(&first, Duration::ZERO).unwrap();
        assert_eq!(lock_within(&second, Duration::ZERO), Err(Errno::WOULDBLOCK));
        let started = Instant::now();
        let limit = Duration::from_millis(30);
        assert_eq!(lock_within(&second, limit), Err(Errno::WOULDBLOCK));
        assert!(started.elapsed() >= limit, "{:?}", started.elapsed());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_lock_that_is_let_go_is_taken_before_the_limit() {
        let (path, first, second) = two();
        lock_within(&first, Duration::ZERO).unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(first);
        });
        let started = Instant::now();
        lock_within(&second, Duration::from_secs(60)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        holder.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_sleeps_grow_and_are_bounded() {
        assert!(pause(1) < pause(2));
        assert_eq!(pause(100), pause(1_000_000));
        assert!(pause(u32::MAX) < Duration::from_micros(2050));
    }

    #[test]
    fn a_file_without_locks_is_an_error_of_its_own() {
        let path_only = rustix::fs::openat(
            rustix::fs::CWD,
            "/",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        assert_eq!(lock_within(path_only.unwrap(), Duration::from_secs(60)), Err(Errno::BADF));
    }
}
