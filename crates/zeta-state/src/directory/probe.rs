//! Probes of what this kernel and file system can really do.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, ResolveFlags, flock, inotify, mkdirat, openat, openat2, unlinkat,
};
use rustix::io::Errno;
use zeta_core::layout;

use zeta_os::error::{Error, Result};
use zeta_os::open_beneath::DIRECTORY;

/// Checks that flock excludes: of two descriptors of a new directory only one may get the lock.
///
/// # Errors
/// It does not exclude, or could not be tried.
pub fn flock_excludes(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let name = format!("{}{}", layout::NEW_PREFIX, zeta_os::host::random_hex()?);
    let cannot = |errno| Error::io("cannot try flock in", path, errno);
    mkdirat(dir, name.as_str(), Mode::from_raw_mode(0o700)).map_err(cannot)?;
    let tried = try_flock(dir, &name);
    let _ = unlinkat(dir, name.as_str(), AtFlags::REMOVEDIR);
    if tried.map_err(cannot)? {
        Ok(())
    } else {
        Err(Error::not_safe(path, "flock does not work here: two holders got one exclusive lock")
            .hint("use a directory on a local disk or in memory: --state-dir DIR"))
    }
}

fn try_flock(dir: BorrowedFd<'_>, name: &str) -> std::result::Result<bool, Errno> {
    let first = openat(dir, name, DIRECTORY, Mode::empty())?;
    let second = openat(dir, name, DIRECTORY, Mode::empty())?;
    flock(&first, FlockOperation::NonBlockingLockExclusive)?;
    match flock(&second, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {}
        Ok(()) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    flock(&first, FlockOperation::Unlock)?;
    flock(&second, FlockOperation::NonBlockingLockExclusive).map(|()| true)
}

/// Returns whether openat2 works. In a hardened systemd unit it fails with ENOSYS.
pub fn has_openat2(dir: impl AsFd) -> bool {
    openat2(dir, ".", DIRECTORY, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}

/// Returns whether this user can still get an inotify instance.
pub fn has_inotify() -> bool {
    inotify::init(inotify::CreateFlags::CLOEXEC).is_ok()
}
