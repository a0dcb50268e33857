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
const READ_MAX: usize = 4 * LOG_MAX;

/// So many bytes at the start of a log, with the time of its first entry, tell it from others.
const START_LEN: usize = 64;

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
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    identity: (u64, u64),
    /// How many of its bytes.
    len: u64,
    /// How the log begins. The number of a file that was removed is given to the next one.
    start: Vec<u8>,
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
        // What was the log at the last call may be the full one now.
        let seen: Vec<&Seen> = [&self.log, &self.full].into_iter().flatten().collect();
        let full = read_more(full, &seen, node, &mut entries)?;
        let log = read_more(log, &seen, node, &mut entries)?;
        *self = Reader { log, full };
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
    seen: &[&Seen],
    node: &Node,
    entries: &mut Entries,
) -> Result<Option<Seen>> {
    let Some(log) = log else { return Ok(None) };
    let size = u64::try_from(log.stat.st_size).unwrap_or(0);
    let read = |from: u64, max: usize| {
        let len = usize::try_from(size - from).map_or(max, |len| len.min(max));
        let bytes = read_at(&log.fd, from, len);
        bytes.map_err(|errno| Error::io("cannot read", &node.path.join(log.file), errno))
    };
    let identity = log.identity();
    let start = read(0, START_LEN)?;
    // One that was cut, or begins in another way, is another one.
    let is_same = |seen: &&&Seen| {
        seen.identity == identity && seen.len <= size && start.starts_with(&seen.start)
    };
    let known = seen.iter().find(is_same).map_or(0, |seen| seen.len);
    let from = known.max(size.saturating_sub(READ_MAX as u64));
    let bytes = read(from, READ_MAX)?;
    // It may begin in the middle of a line.
    let skipped = match from > known {
        true => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1),
        false => 0,
    };
    let lines = read_lines(bytes.get(skipped..).unwrap_or_default(), node.name.as_str());
    entries.unread += lines.unread;
    entries.entries.extend(lines.entries);
    Ok(Some(Seen { identity, len: from + (skipped + lines.len) as u64, start }))
}

/// Reads so many bytes from there on, or fewer where the file has become shorter.
fn read_at(fd: &OwnedFd, from: u64, len: usize) -> std::result::Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match pread(fd, rest, from + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
