//! The lock file of the original for one item: `zeta` respects it and creates it too.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use zeta_core::bus::item::Item;
use zeta_core::bus::original_lock::{Standing, Writer, judge_lock};
use zeta_core::shell::quote_word;
use zeta_core::time::format_duration;

use super::Bus;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::times;
use zeta_os::{host, process};
use zeta_state::directory::tree::read;

/// The lock of an item; dropping it removes the file.
#[derive(Debug)]
pub struct LegacyLock<'a> {
    bus: &'a Bus,
    file: String,
    identity: (u64, u64),
}

/// A lock that another process has, or has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// The file of the lock.
    path: PathBuf,
    /// The content of the file: usually a pid.
    pid: String,
    standing: Standing,
}

impl Occupied {
    /// Makes the error of a caller that waited for the lock as long as it could.
    pub fn error(&self, item: &Item) -> Error {
        let Occupied { path, pid, standing } = self;
        let (item, path) = (item.as_str(), path.display());
        let program = pid.parse().ok().and_then(process::describe);
        let (name, state) = program.unwrap_or_else(|| ("?".to_owned(), '?'));
        let busy = |text| Error::new(Kind::Busy, format!("item {item:?}: {text}"));
        let age = |ms: &u64| format_duration(*ms);
        match standing {
            Standing::Fresh(_) | Standing::Stale => {
                busy(format!("process {pid} ended while it claimed it, and left its lock {path}"))
                    .hint("try again; the lock of an ended process counts for 5 s")
            }
            Standing::Held(ms) => {
                let error = busy(format!(
                    "process {pid} ({name}, state {state}) is claiming it, for {} now ({path})",
                    age(ms)
                ));
                match state {
                    'T' | 't' => error.hint(format!("it is stopped: kill -CONT {pid}, or end it")),
                    _ => error.hint("try again; the lock counts until that process ends"),
                }
            }
            Standing::Outlived(ms) => busy(format!(
                "its lock {path} names process {pid}, but the process {pid} of now ({name}) began \
                 {} after the lock was made",
                age(ms)
            ))
            .hint(format!("the lock counts until process {pid} ends, because a clock can be wrong"))
            .hint(format!(
                "if no call is claiming this item: rm {}",
                quote_word(&path.to_string())
            )),
        }
    }
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
        // It was taken by others, each time for a moment.
        Ok(Err(Occupied { path, pid: "unknown".to_owned(), standing: Standing::Held(0) }))
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
    let number = pid.parse().ok().filter(|number| *number > 0);
    let writer = match number.filter(|number| lives(*number)) {
        Some(number) => Writer::Alive(u32::try_from(number).ok().and_then(process::age_us)),
        None => Writer::Ended,
    };
    let standing = judge_lock(times(&before), host::wall_us(), writer);
    if standing != Standing::Stale {
        return Ok(Some(Occupied { path: bus.path(file), pid, standing }));
    }
    // Only the file that was judged: a new one has another inode.
    let named = statat(&bus.base, file, AtFlags::SYMLINK_NOFOLLOW);
    if named.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (before.st_dev, before.st_ino)) {
        let _ = unlinkat(&bus.base, file, AtFlags::empty());
    }
    Ok(None)
}

fn lives(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return false };
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}
