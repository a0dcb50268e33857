//! The lock file of the original for one item: `zeta` respects it and creates it too.
//!
//! The file contains only a pid, so it is judged as the original judges it: stale only if it is
//! older than five seconds *and* its process has ended.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use zeta_core::bus::item::Item;

use super::Bus;
use zeta_os::error::{Error, Result};
use zeta_os::files::times;
use zeta_os::host;
use zeta_state::directory::tree::read;

/// The age below which a lock counts without a check of its process, in µs.
const FRESH_US: i64 = 5_000_000;

/// The lock of an item; dropping it removes the file.
#[derive(Debug)]
pub struct LegacyLock<'a> {
    bus: &'a Bus,
    file: String,
    identity: (u64, u64),
}

/// The holder of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// The file of the lock.
    pub file: String,
    /// The content of the file: usually a pid.
    pub pid: String,
}

impl<'a> LegacyLock<'a> {
    /// Tries once to take the lock of an item.
    pub fn try_enter(
        bus: &'a Bus,
        item: &Item,
    ) -> Result<std::result::Result<LegacyLock<'a>, Occupied>> {
        let file = item.original_lock();
        let path = bus.path(&file);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = bus.base.sharing.file_mode();
        for _ in 0..2 {
            match openat(&bus.base, file.as_str(), flags | OFlags::CLOEXEC, mode) {
                Ok(fd) => {
                    let stat =
                        fstat(&fd).map_err(|errno| Error::io("cannot look at", &path, errno))?;
                    let lock = LegacyLock { bus, file, identity: (stat.st_dev, stat.st_ino) };
                    let pid = std::process::id().to_string();
                    // Even without a pid the file is a lock; it is removed when this call ends.
                    rustix::io::write(&fd, pid.as_bytes())
                        .map_err(|errno| Error::io("cannot write", &path, errno))?;
                    return Ok(Ok(lock));
                }
                Err(Errno::EXIST) => {
                    if let Some(occupied) = occupied(bus, &file)? {
                        return Ok(Err(occupied));
                    }
                }
                Err(errno) => return Err(Error::below("cannot create", &path, errno)),
            }
        }
        Ok(Err(Occupied { file, pid: "unknown".to_owned() }))
    }
}

impl Drop for LegacyLock<'_> {
    fn drop(&mut self) {
        // Another process may have judged the lock stale and created its own.
        let named = statat(&self.bus.base, self.file.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity) {
            let _ = unlinkat(&self.bus.base, self.file.as_str(), AtFlags::empty());
        }
    }
}

/// Returns the holder of the lock; `None` if it was stale and was removed.
fn occupied(bus: &Bus, file: &str) -> Result<Option<Occupied>> {
    let before = statat(&bus.base, file, AtFlags::SYMLINK_NOFOLLOW);
    let Ok(before) = before else { return Ok(None) };
    let content = read(bus.base.as_fd(), file, 64, &bus.base, || bus.path(file))?;
    let Some(content) = content else { return Ok(None) };
    let pid = String::from_utf8_lossy(&content.bytes).trim().to_owned();
    let (now_us, times) = (host::wall_us(), times(&before));
    // A modification time in the future is wrong; no program can set the change time.
    let us = if times.mtime_us > now_us + FRESH_US { times.ctime_us } else { times.mtime_us };
    let age_us = now_us.saturating_sub(us);
    if age_us < FRESH_US || lives(&pid) {
        return Ok(Some(Occupied { file: file.to_owned(), pid }));
    }
    // Only the file that was judged: a new one has another inode.
    let named = statat(&bus.base, file, AtFlags::SYMLINK_NOFOLLOW);
    if named.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (before.st_dev, before.st_ino)) {
        let _ = unlinkat(&bus.base, file, AtFlags::empty());
    }
    Ok(None)
}

fn lives(pid: &str) -> bool {
    let pid = pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let Some(pid) = pid else { return false };
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}
