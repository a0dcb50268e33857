//! A private directory for the work of one call, below the directory for temporary files. It goes
//! with the call; if the call was killed, a later one finds it by its lock and removes it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat, stat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::host;

/// What the name of such a directory begins with.
const PREFIX: &str = "zeta-repo-";
/// Most names among which the directories of killed calls are looked for.
const ENTRIES_MAX: usize = 16_384;
/// How often a new directory is made because another call took it for an abandoned one.
const TRIES: usize = 16;

/// The directory; removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    _lock: OwnedFd,
}

impl TempDir {
    /// Makes one. Programs that this process starts inherit its lock, so a killed call's directory
    /// stays as long as one of them works in it.
    ///
    /// # Errors
    /// What the kernel reports, with the path.
    pub fn new() -> Result<TempDir, (PathBuf, Errno)> {
        TempDir::below(&std::env::temp_dir())
    }

    fn below(dir: &Path) -> Result<TempDir, (PathBuf, Errno)> {
        for _ in 0..TRIES {
            let random = host::try_random_hex().map_err(|errno| (dir.to_owned(), errno))?;
            let path = dir.join(format!("{PREFIX}{random}"));
            let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|error| (path.clone(), errno(error)))?;
            match lock(&path, OFlags::empty()) {
                Ok(lock) => return Ok(TempDir { path, _lock: lock }),
                Err(Errno::WOULDBLOCK | Errno::NOENT) => {}
                Err(errno) => {
                    // No later call could take its lock either.
                    let _ = std::fs::remove_dir(&path);
                    return Err((path, errno));
                }
            }
        }
        Err((dir.to_owned(), Errno::WOULDBLOCK))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A directory of this user that no process works in any more.
#[derive(Debug)]
pub struct Abandoned {
    /// Its path.
    pub path: PathBuf,
    _lock: OwnedFd,
}

impl Abandoned {
    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn remove(&self) -> std::io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

/// Finds the directories that killed calls of this user left.
pub fn abandoned() -> Vec<Abandoned> {
    abandoned_below(&std::env::temp_dir())
}

fn abandoned_below(dir: &Path) -> Vec<Abandoned> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let named = entries.take(ENTRIES_MAX).flatten().map(|entry| entry.path());
    let named = named.filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX))
    });
    let found = named.filter_map(|path| {
        let lock = lock(&path, OFlags::CLOEXEC).ok()?;
        (fstat(&lock).ok()?.st_uid == geteuid().as_raw()).then_some(Abandoned { path, _lock: lock })
    });
    found.collect()
}

/// Takes the lock of a directory.
///
/// # Errors
/// [`Errno::WOULDBLOCK`] if another process has it; [`Errno::NOENT`] if the name leads elsewhere
/// now.
fn lock(path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | more;
    let fd = openat(CWD, path, flags, Mode::empty())?;
    flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    let (held, named) = (fstat(&fd)?, stat(path)?);
    let same = (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino);
    if same { Ok(fd) } else { Err(Errno::NOENT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_abandoned_once_no_process_works_in_it() {
        let top = std::env::temp_dir().join(format!("zeta-top-{}", host::random_hex().unwrap()));
        std::fs::create_dir(&top).unwrap();
        let found = || -> Vec<PathBuf> {
            abandoned_below(&top).into_iter().map(|found| found.path).collect()
        };
        let held = TempDir::below(&top).unwrap();
        std::fs::create_dir_all(held.path().join("in/it")).unwrap();
        std::os::unix::fs::symlink(held.path(), top.join("zeta-repo-link")).unwrap();
        std::fs::create_dir(top.join("other")).unwrap();
        assert_eq!(found(), Vec::<PathBuf>::new());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // As after a kill: the lock is closed, and what is there stays.
        let left = top.join("zeta-repo-left");
        std::fs::rename(held.path(), &left).unwrap();
        drop(held);
        assert_eq!(found(), Vec::<PathBuf>::new(), "a program that it started works on");
        child.kill().unwrap();
        child.wait().unwrap();
        let first = abandoned_below(&top);
        assert_eq!((first.len(), found().len()), (1, 0), "another process removes it already");
        first.iter().for_each(|left| left.remove().unwrap());
        assert!(!left.exists() && top.join("other").exists());
        std::fs::remove_dir_all(top).unwrap();
    }
}
