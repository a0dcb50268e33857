//! The history of a node on disk: the verbs add an entry to `history.log` for each change of the
//! holder of a lease, [`reader`] reads them, and [`log`] is what `zeta log` shows.
//!
//! The record decides, and was changed already when its entry is written. So no fault in here fails
//! a verb or is reported by one: `zeta doctor` looks at the files.

pub mod entry;
pub mod log;
pub mod reader;
pub mod report;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, OFlags, Stat, fstat, renameat, statat};
use rustix::io::Errno;
use zeta_core::history::{Entry, LOG_MAX, render};
use zeta_core::layout;

use crate::directory::guard;
use crate::directory::guard::Section;
use crate::directory::tree::check_file;
use zeta_os::open_beneath::open_below;

/// How often a writer looks for the log, which another process may begin anew at that moment.
const LOOKS: usize = 3;

/// Flags of the log for a writer: each write goes to the end, whatever others write.
const APPEND: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Adds an entry to the history of a node, inside the guard of the record that changed: so the
/// entries of a lease are in the order of its changes. One that cannot be written is left out.
pub fn append(section: &Section<'_>, entry: &Entry) {
    let line = render(entry);
    for _ in 0..LOOKS {
        match open(section) {
            Ok(Some((log, stat))) => {
                if stat.st_size < LOG_MAX as i64 || !begin_anew(section, &stat) {
                    // In one call, so that no two entries are mixed.
                    let _ = rustix::io::write(&log, line.as_bytes());
                    return;
                }
            }
            Ok(None) => {
                let begun = section.put(section.node().as_fd(), layout::HISTORY, &line, false);
                // Another process may have begun it at this moment.
                if begun != Err(Errno::EXIST) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Opens the log; `None` if there is none. One that is not a file of this tree (R8) is not written.
fn open(section: &Section<'_>) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let log = match open_below(section.node().as_fd(), layout::HISTORY, APPEND) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let stat = fstat(&log)?;
    check_file(&stat, section.base()).map_err(|_| Errno::PERM)?;
    Ok(Some((log, stat)))
}

/// Puts a log that is full in the place of the one before it. Two processes never do it twice: the
/// guard of the log stands around the look and the rename. Returns false if the log stays.
fn begin_anew(section: &Section<'_>, full: &Stat) -> bool {
    let node = section.node();
    let Ok(_entered) = guard::enter(section.base(), node, layout::HISTORY, Duration::ZERO) else {
        return false;
    };
    match statat(node, layout::HISTORY, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (full.st_dev, full.st_ino) => {
            renameat(node, layout::HISTORY, node, layout::HISTORY_FULL).is_ok()
        }
        // Another process has begun a new one.
        _ => true,
    }
}
