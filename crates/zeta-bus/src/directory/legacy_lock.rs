//! The file by which the original keeps two acquires of one item apart, respected and taken too.
//!
//! It holds a bare pid, so it is judged as the original judges it: stale only if it is older than
//! five seconds *and* its process is gone.

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

/// The age below which a lock is believed without a look at its process, in µs.
const FRESH_US: i64 = 5_000_000;

/// The lock of an item; dropping it gives it back.
#[derive(Debug)]
pub struct LegacyLock<'a> {
    bus: &'a Bus,
    file: String,
    identity: (u64, u64),
}

/// Who is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// Where the lock is.
    pub file: String,
    /// What it says: a pid, most often.
    pub pid: String,
}

impl<'a> LegacyLock<'a> {
    /// Takes the lock of an item, once.
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
                    let gate = LegacyLock { bus, file, identity: (stat.st_dev, stat.st_ino) };
                    let pid = std::process::id().to_string();
                    // Without a pid in it, it would still be a lock: it goes when we do.
                    rustix::io::write(&fd, pid.as_bytes())
                        .map_err(|errno| Error::io("cannot write", &path, errno))?;
                    return Ok(Ok(gate));
                }
                Err(Errno::EXIST) => {
                    if let Some(occupied) = occupied(bus, &file)? {
                        return Ok(Err(occupied));
                    }
                }
                Err(errno) => return Err(Error::below("cannot create", &path, errno)),
            }
        }
        Ok(Err(Occupied { file, pid: "somebody new".to_owned() }))
    }
}

impl Drop for LegacyLock<'_> {
    fn drop(&mut self) {
        // Somebody who took it for stale may have put its own there.
        let named = statat(&self.bus.base, self.file.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity) {
            let _ = unlinkat(&self.bus.base, self.file.as_str(), AtFlags::empty());
        }
    }
}

/// Who holds the lock; `None` if it was stale and is gone now.
fn occupied(bus: &Bus, file: &str) -> Result<Option<Occupied>> {
    let before = statat(&bus.base, file, AtFlags::SYMLINK_NOFOLLOW);
    let Ok(before) = before else { return Ok(None) };
    let content = read(bus.base.as_fd(), file, 64, &bus.base, || bus.path(file))?;
    let Some(content) = content else { return Ok(None) };
    let pid = String::from_utf8_lossy(&content.bytes).trim().to_owned();
    let (now_us, times) = (host::wall_us(), times(&before));
    // A time in the future says nothing; the one that nobody can set does.
    let us = if times.mtime_us > now_us + FRESH_US { times.ctime_us } else { times.mtime_us };
    let age_us = now_us.saturating_sub(us);
    if age_us < FRESH_US || lives(&pid) {
        return Ok(Some(Occupied { file: file.to_owned(), pid }));
    }
    // Only the one that was judged: a new one has another inode.
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
