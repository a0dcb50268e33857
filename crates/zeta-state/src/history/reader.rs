//! Reads the history of a node, and later what was added since.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Stat, fstat, statat};
use rustix::io::{Errno, pread};
use zeta_core::history::{Entry, LOG_MAX, read_lines};
use zeta_core::layout;

use crate::directory::tree::{Node, check_file, not_a_record};
use crate::directory::trusted_dir::TrustedDir;
use zeta_os::error::{Error, Result};
use zeta_os::open_beneath::{RECORD, open_below};

/// A log that no process could begin anew has grown beyond its bound; so much is read of its end.
const READ_MAX: u64 = 4 * LOG_MAX as u64;

/// How often a reader opens the logs, which a writer may begin anew at that moment.
const LOOKS: usize = 4;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// The entries, in the order of the log.
    pub entries: Vec<Entry>,
    /// How many lines could not be read, and were passed over.
    pub unread: usize,
}

/// What was read of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    identity: (u64, u64),
    /// How many of its bytes.
    len: u64,
}

/// Reads the history of one node, each entry once.
#[derive(Debug, Default)]
pub struct Reader {
    log: Option<Seen>,
    full: Option<Seen>,
}

/// A log that is open.
struct Log {
    fd: OwnedFd,
    stat: Stat,
    file: &'static str,
}

impl Log {
    fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

impl Reader {
    /// Reads all entries at the first call, and at each later one those that were added since.
    ///
    /// # Errors
    /// A log is not a file of this tree (R8), or cannot be read.
    pub fn read(&mut self, base: &TrustedDir, node: &Node) -> Result<Entries> {
        let (log, full) = open_both(base, node)?;
        let mut entries = Entries::default();
        let is = |log: &Log, seen: &Seen| log.identity() == seen.identity;
        // What was the log at the last call may be the full one now.
        let full_before = full.as_ref().and_then(|full| {
            [self.log, self.full].into_iter().flatten().find(|seen| is(full, seen))
        });
        self.full = read_more(full, full_before, node, &mut entries)?;
        let log_before = self.log.filter(|seen| log.as_ref().is_some_and(|log| is(log, seen)));
        self.log = read_more(log, log_before, node, &mut entries)?;
        Ok(entries)
    }
}

/// Opens the log and the full one before it, as they stood at one moment.
fn open_both(base: &TrustedDir, node: &Node) -> Result<(Option<Log>, Option<Log>)> {
    let mut looks = 0;
    loop {
        looks += 1;
        let log = open(base, node, layout::HISTORY)?;
        let full = open(base, node, layout::HISTORY_FULL)?;
        let named = statat(node, layout::HISTORY, AtFlags::SYMLINK_NOFOLLOW).ok();
        let named = named.map(|stat| (stat.st_dev, stat.st_ino));
        if named == log.as_ref().map(Log::identity) || looks == LOOKS {
            return Ok((log, full));
        }
    }
}

fn open(base: &TrustedDir, node: &Node, file: &'static str) -> Result<Option<Log>> {
    let path = node.path.join(file);
    let fd = match open_below(node.as_fd(), file, RECORD) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(|errno| Error::open("cannot read", &path, errno))?,
    };
    let stat = fstat(&fd).map_err(|errno| Error::io("cannot read", &path, errno))?;
    check_file(&stat, base).map_err(|reason| not_a_record(&path, &reason))?;
    Ok(Some(Log { fd, stat, file }))
}

/// Reads the entries of a log behind those that were seen.
fn read_more(
    log: Option<Log>,
    before: Option<Seen>,
    node: &Node,
    entries: &mut Entries,
) -> Result<Option<Seen>> {
    let Some(log) = log else { return Ok(None) };
    let size = u64::try_from(log.stat.st_size).unwrap_or(0);
    let seen = before.map_or(0, |seen| seen.len);
    // One that was cut is another one.
    let seen = if seen <= size { seen } else { 0 };
    let start = seen.max(size.saturating_sub(READ_MAX));
    let mut bytes = Vec::with_capacity(usize::try_from(size - start).unwrap_or(0));
    let cannot = |errno| Error::io("cannot read", &node.path.join(log.file), errno);
    let mut chunk = [0u8; 64 * 1024];
    while (bytes.len() as u64) < READ_MAX {
        match pread(&log.fd, &mut chunk, start + bytes.len() as u64) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(cannot(errno)),
        }
    }
    let lines = read_lines(&bytes, node.name.as_str());
    entries.unread += lines.unread;
    entries.entries.extend(lines.entries);
    Ok(Some(Seen { identity: (log.stat.st_dev, log.stat.st_ino), len: start + lines.len as u64 }))
}
