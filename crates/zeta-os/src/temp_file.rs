//! New files under random names: whole and on the disk before a rename gives them their own name,
//! and found again by the next run if this one is killed in between.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, fsync, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::open_beneath::{DIRECTORY, RECORD};
use crate::{files, host};

/// Hex digits of a random name.
const RANDOM_LEN: usize = 32;
/// Most names of a directory among which files of killed processes are looked for.
const ENTRIES_MAX: usize = 4096;

/// A file without its final name. A caller that does not publish it removes it.
#[derive(Debug)]
pub struct TempFile {
    /// Its name, in the directory it was made in.
    pub name: String,
    /// The file, open for reading, and for its maker also for writing. The lock on it means that
    /// its maker lives.
    pub fd: OwnedFd,
}

/// Makes a file `PREFIX<random>` in `dir` with these bytes and this mode, and flushes it. What goes
/// wrong on the way leaves no file.
pub fn make(dir: impl AsFd, prefix: &str, bytes: &[u8], mode: Mode) -> Result<TempFile, Errno> {
    let dir = dir.as_fd();
    let name = format!("{prefix}{}", host::try_random_hex()?);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
    let filled = flock(&fd, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| write_all(&fd, bytes))
        // The umask does not count. FAT has no modes and may refuse one that it cannot show.
        .and_then(|()| match fchmod(&fd, mode) {
            Err(Errno::PERM) if is_fat(&fd) => Ok(()),
            done => done,
        })
        .and_then(|()| fsync(&fd));
    match filled {
        Ok(()) => Ok(TempFile { name, fd }),
        Err(errno) => {
            let _ = unlinkat(dir, name.as_str(), AtFlags::empty());
            Err(errno)
        }
    }
}

/// Makes the directory of a file, for its owner alone, if it is not there.
pub fn private_dir(path: &Path) -> std::io::Result<()> {
    let dir = dir_of(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The directory of a file; a bare name is one of the current directory.
fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        dir => dir.unwrap_or(Path::new("/")),
    }
}

/// Keeps a small file of its owner alone: on the disk, under its name, when this returns. Whatever
/// had that name is replaced, a link too, and no link there is followed.
pub fn keep(path: &Path, prefix: &str, bytes: &[u8]) -> std::io::Result<()> {
    keep_with_mode(path, prefix, bytes, Mode::from_raw_mode(0o600))
}

/// As [`keep`], with this mode: the group of its directory may have rights, too.
pub fn keep_with_mode(path: &Path, prefix: &str, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    private_dir(path)?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let dir = openat(CWD, dir_of(path), DIRECTORY, Mode::empty())?;
    sweep(dir.as_fd(), prefix, path);
    let temp = make(&dir, prefix, bytes, mode)?;
    if let Err(errno) = renameat(&dir, temp.name.as_str(), &dir, name) {
        let _ = unlinkat(&dir, temp.name.as_str(), AtFlags::empty());
        return Err(errno.into());
    }
    fsync(&dir).map_err(Into::into)
}

/// Removes files `PREFIX<random>` whose makers were killed; returns how many. A file is known by
/// its whole name, its type, its owner, and a lock that no process holds.
pub fn sweep(dir: BorrowedFd<'_>, prefix: &str, path: &Path) -> usize {
    let removed = |temp: &TempFile| unlinkat(dir, temp.name.as_str(), AtFlags::empty()).is_ok();
    abandoned(dir, prefix, path).filter(removed).count()
}

/// Finds the files `PREFIX<random>` whose makers were killed, and locks each as its maker did.
pub fn abandoned<'d>(
    dir: BorrowedFd<'d>,
    prefix: &'d str,
    path: &Path,
) -> impl Iterator<Item = TempFile> + 'd {
    ours(dir, prefix, path).filter_map(move |name| lock(dir, name).ok())
}

/// Returns whether a maker that was killed left a file `PREFIX<random>` beside a file.
pub fn is_left_beside(path: &Path, prefix: &str) -> bool {
    let dir = openat(CWD, dir_of(path), DIRECTORY, Mode::empty());
    dir.is_ok_and(|dir| abandoned(dir.as_fd(), prefix, path).next().is_some())
}

/// Returns whether there is a file `PREFIX<random>` whose maker lives.
pub fn is_in_use(dir: BorrowedFd<'_>, prefix: &str, path: &Path) -> bool {
    ours(dir, prefix, path).any(|name| matches!(lock(dir, name), Err(Errno::AGAIN)))
}

fn ours<'p>(
    dir: BorrowedFd<'_>,
    prefix: &'p str,
    path: &Path,
) -> impl Iterator<Item = String> + 'p {
    let names = files::list(dir, ENTRIES_MAX, path).map_or(Vec::new(), |listing| listing.names);
    names.into_iter().filter(move |name| is_ours(name, prefix))
}

/// Locks a file of a process that was killed; `AGAIN` if that process lives.
fn lock(dir: BorrowedFd<'_>, name: String) -> Result<TempFile, Errno> {
    let fd = openat(dir, name.as_str(), RECORD, Mode::empty())?;
    let stat = fstat(&fd)?;
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !plain || stat.st_uid != geteuid().as_raw() && !is_fat(&fd) {
        return Err(Errno::PERM);
    }
    flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(TempFile { name, fd })
}

fn is_ours(name: &str, prefix: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let random = name.strip_prefix(prefix);
    random.is_some_and(|random| random.len() == RANDOM_LEN && random.bytes().all(hex))
}

/// Returns true for a file on FAT, where owners and modes are those of the mount.
pub fn is_fat(fd: impl AsFd) -> bool {
    const MSDOS: u64 = 0x4d44;
    rustix::fs::fstatfs(fd).is_ok_and(|seen| seen.f_type as u64 == MSDOS)
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads a file to its end, but not more than `max` bytes and one.
pub fn read_up_to(fd: impl AsFd, max: usize, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    let mut part = zeroize::Zeroizing::new([0u8; 8192]);
    while bytes.len() <= max {
        let room = part.len().min(max + 1 - bytes.len());
        let Some(space) = part.get_mut(..room) else { return Ok(()) };
        match rustix::io::read(&fd, space) {
            Ok(0) => return Ok(()),
            Ok(len) => bytes.extend_from_slice(part.get(..len).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_of_the_pattern_are_ours() {
        let random = "0123456789abcdef0123456789abcdef";
        assert!(is_ours(&format!(".p-{random}"), ".p-"));
        for other in [".p-", ".p-0123", ".q-0123456789abcdef0123456789abcdef", "notes"] {
            assert!(!is_ours(other, ".p-"), "{other}");
        }
        assert!(!is_ours(&format!(".p-{random}.bak"), ".p-"));
        assert!(!is_ours(&format!(".p-{}", random.to_uppercase()), ".p-"));
    }
}
