//! What a killed process never published: directories and temps under their random names.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use zeta_core::evidence::FileTimes;
use zeta_core::layout;

use super::base::Base;
use super::node::times;

/// Hex digits of a random name.
const RANDOM_LEN: usize = 32;

/// Something unpublished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// It is a directory.
    pub is_dir: bool,
    /// Its times.
    pub times: FileTimes,
}

/// Those among `names` that are ours by their whole name, their type and their owner.
pub fn find(dir: BorrowedFd<'_>, base: &Base, names: &[String]) -> Vec<Leftover> {
    names.iter().filter_map(|name| examine(dir, base, name)).collect()
}

fn examine(dir: BorrowedFd<'_>, base: &Base, name: &str) -> Option<Leftover> {
    let (is_dir, random) = match name.strip_prefix(layout::NEW_PREFIX) {
        Some(random) => (true, random),
        None => (false, name.strip_prefix(layout::TEMP_PREFIX)?),
    };
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if random.len() != RANDOM_LEN || !random.bytes().all(hex) {
        return None;
    }
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let wanted = if is_dir { FileType::Directory } else { FileType::RegularFile };
    let ours = FileType::from_raw_mode(stat.st_mode) == wanted
        && base.trusts(stat.st_uid)
        && stat.st_dev == base.identity.0;
    ours.then(|| Leftover { name: name.to_owned(), is_dir, times: times(&stat) })
}

/// Removes it: a directory only if it is empty, which an unpublished one is.
pub fn remove(dir: impl AsFd, leftover: &Leftover) -> rustix::io::Result<()> {
    let flags = if leftover.is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    unlinkat(dir, leftover.name.as_str(), flags)
}
