//! Small files and listings: written whole before they get their name, listed within a limit.

use std::io::{ErrorKind, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, RenameFlags, Stat, fchmod, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::evidence::FileTimes;
use zeta_core::layout;
use zeta_core::record::{is_plain, is_unprintable};

use crate::error::{Error, Result};
use crate::open_beneath::{DIRECTORY, open_below};

/// A name in a directory, with how many were left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Names in UTF-8, sorted.
    pub names: Vec<String>,
    /// Names that no record can have, escaped.
    pub odd: Vec<String>,
    /// There are more than were read.
    pub cut: bool,
}

/// Creates a small file whole: a temp beside it, then a rename that replaces nothing.
pub fn put_file(
    dir: BorrowedFd<'_>,
    name: &str,
    content: &[u8],
    mode: Mode,
) -> rustix::io::Result<()> {
    let random = crate::host::try_random_hex()?;
    let temp = format!("{}{random}", layout::TEMP_PREFIX);
    let put = write_temp(dir, &temp, content, mode)
        .and_then(|()| renameat_with(dir, temp.as_str(), dir, name, RenameFlags::NOREPLACE));
    if put.is_err() {
        let _ = unlinkat(dir, temp.as_str(), AtFlags::empty());
    }
    put
}

/// Writes a temp file with its final mode, every errno checked.
pub fn write_temp(
    dir: BorrowedFd<'_>,
    temp: &str,
    content: &[u8],
    mode: Mode,
) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, temp, flags, mode)?;
    let mut rest = content;
    while !rest.is_empty() {
        match rustix::io::write(&fd, rest) {
            Ok(0) => return Err(Errno::IO),
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The umask may have taken the group's bits.
    if mode.as_raw_mode() & 0o077 != 0 { fchmod(&fd, mode) } else { Ok(()) }
}

/// Lists a directory, at most `max` entries of it.
pub fn list(dir: BorrowedFd<'_>, max: usize, path: &Path) -> Result<Listing> {
    // A descriptor of its own, so that the position of the caller's is not moved.
    let fd = open_below(dir, ".", DIRECTORY)
        .map_err(|errno| Error::below("cannot list", path, errno))?;
    list_from_here(fd.as_fd(), max, path)
}

/// As [`list`], by the descriptor itself, from where its position is.
pub fn list_from_here(dir: BorrowedFd<'_>, max: usize, path: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| Error::below("cannot list", path, errno))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if listing.names.len() + listing.odd.len() >= max {
            listing.cut = true;
            break;
        }
        match name.to_str() {
            Ok(text) if is_plain(text) || !text.chars().any(is_unprintable) => {
                listing.names.push(text.to_owned());
            }
            _ => listing.odd.push(name.to_string_lossy().escape_default().to_string()),
        }
    }
    listing.names.sort_unstable();
    Ok(listing)
}

/// Reads a regular file of at most `max` bytes: a pipe may never answer, and a device has no end.
///
/// # Errors
/// What the kernel reports; or it is not a regular file, or longer.
pub fn read_plain(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let mut options = std::fs::File::options();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => {
            let text = format!("it has more than {max} bytes");
            Err(std::io::Error::new(ErrorKind::FileTooLarge, text))
        }
        false => Ok(bytes),
    }
}

/// Returns whether a directory belongs to this user, or would if it were made. With `sudo -E` the
/// home is that of another user.
pub fn is_own_dir(dir: &Path) -> bool {
    let nearest = dir.ancestors().find_map(|dir| std::fs::metadata(dir).ok());
    nearest.is_some_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

/// The times of a file as the core wants them.
pub fn times(stat: &Stat) -> FileTimes {
    let us = |seconds: i64, ns: u64| {
        seconds.saturating_mul(1_000_000).saturating_add((ns / 1000) as i64)
    };
    FileTimes {
        mtime_us: us(stat.st_mtime, stat.st_mtime_nsec),
        ctime_us: us(stat.st_ctime, stat.st_ctime_nsec),
    }
}
