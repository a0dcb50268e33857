//! Orphans: directories and temps with random names that a killed process never published.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use zeta_core::evidence::FileTimes;
use zeta_core::layout;

use crate::directory::purpose::STATE;
use crate::directory::trusted_dir::{TrustedDir, open_parent};
use zeta_os::files::{list, times};

/// Hex digits of a random name.
const RANDOM_LEN: usize = 32;

/// A directory or file that was never published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its name.
    pub name: String,
    /// It is a directory.
    pub is_dir: bool,
    /// Its times.
    pub times: FileTimes,
}

/// Returns the orphans among `names`: the whole name, the type and the owner must fit.
pub fn find(dir: BorrowedFd<'_>, base: &TrustedDir, names: &[String]) -> Vec<Orphan> {
    names.iter().filter_map(|name| examine(dir, base, name)).collect()
}

/// Returns the names of directories beside a state directory that were meant to become it, and
/// belong to this user.
pub fn beside(base: &Path) -> Vec<String> {
    let euid = rustix::process::geteuid().as_raw();
    let Ok((parent, name)) = open_parent(base, euid, &STATE) else { return Vec::new() };
    let Ok(listing) = list(parent.as_fd(), layout::NODES_MAX, base) else { return Vec::new() };
    let prefix = format!(".{name}{}", layout::NEW_PREFIX);
    let is_orphan = |name: &String| {
        let stat = statat(&parent, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        name.strip_prefix(&prefix).is_some_and(is_random)
            && stat.is_ok_and(|stat| {
                stat.st_uid == euid && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            })
    };
    listing.names.into_iter().filter(is_orphan).collect()
}

fn is_random(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == RANDOM_LEN && text.bytes().all(hex)
}

fn examine(dir: BorrowedFd<'_>, base: &TrustedDir, name: &str) -> Option<Orphan> {
    let (is_dir, random) = match name.strip_prefix(layout::NEW_PREFIX) {
        Some(random) => (true, random),
        None => (false, name.strip_prefix(layout::TEMP_PREFIX)?),
    };
    if !is_random(random) {
        return None;
    }
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let wanted = if is_dir { FileType::Directory } else { FileType::RegularFile };
    // What is mounted there cannot be removed by its name, so the mount needs no look.
    let is_orphan = FileType::from_raw_mode(stat.st_mode) == wanted && base.trusts(stat.st_uid);
    is_orphan.then(|| Orphan { name: name.to_owned(), is_dir, times: times(&stat) })
}

/// Removes an orphan; a directory only if it is empty, which an unpublished one is.
pub fn remove(dir: impl AsFd, orphan: &Orphan) -> rustix::io::Result<()> {
    let flags = if orphan.is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    unlinkat(dir, orphan.name.as_str(), flags)
}
