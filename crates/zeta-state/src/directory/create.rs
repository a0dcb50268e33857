//! Creates private trees, and directories in any tree: complete or not at all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, fchmod, mkdirat, openat, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_os::error::{Cause, Error, Kind, Result};
use zeta_os::host;
use zeta_os::mount;
use zeta_os::open_beneath::DIRECTORY;
use zeta_os::user_namespace::root_is_unmapped;
use zeta_os::users::user;

use super::anchor;
use super::purpose::Purpose;
use super::trusted_dir::{self, Sharing, TrustedDir, check_file_system, magic, open_parent};
use zeta_core::trust::OVERFLOW_UID;

/// Refuses to create a directory in a private `/tmp`, or where root makes it for a group.
pub fn refuse_creation(path: &Path, purpose: &Purpose) -> Result<()> {
    if let Some(root) = private_tmp(path)? {
        return Err(private_tmp_error(path, &root));
    }
    if !is_for_a_group(path, purpose)? {
        return Ok(());
    }
    Err(Error::not_safe(path, "it is missing, and on this machine root makes it for a group")
        .hint("as root: 'systemd-tmpfiles --create zeta.conf' or 'zeta init --group zeta'")
        .hint("if this is a service: it may see another /tmp (PrivateTmp=, DynamicUser=)")
        .hint("if no group needs it any more: as root, remove its anchor below /run/zeta")
        .with_cause(Cause::OtherView))
}

/// Returns whether root makes this directory for a group: it has an anchor, which outlives a
/// cleaner during this boot, or it is the default one of a machine whose tree is a group's.
pub fn is_for_a_group(path: &Path, purpose: &Purpose) -> Result<bool> {
    let is_default = path == Path::new(purpose.default);
    if anchor::exists(path)? || (is_default && is_announced()?) {
        return Ok(true);
    }
    let tree = Path::new(layout::DEFAULT_STATE_DIR);
    Ok(is_default && path != tree && anchor::exists(tree)?)
}

/// Returns whether root has announced a group's tree. An error here means that no other tree may be
/// created in its place.
fn is_announced() -> Result<bool> {
    let conf = Path::new(trusted_dir::TMPFILES_CONF);
    conf.try_exists().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::io("cannot look for", conf, errno)
    })
}

/// Creates a private directory, complete or not at all, and opens it. It contains the directory
/// `inner` and what `fill` writes before the new directory gets its name.
pub fn create_private(
    path: &Path,
    inner: &str,
    purpose: &Purpose,
    fill: impl FnOnce(BorrowedFd<'_>, Mode) -> Result<()>,
) -> Result<TrustedDir> {
    let euid = geteuid().as_raw();
    let (parent, name) = open_parent(path, euid, purpose)?;
    if euid == OVERFLOW_UID {
        return Err(Error::not_safe(
            path,
            format!("it is missing, and zeta runs as {}, which can stand for any user", user(euid)),
        )
        .hint("run zeta as a user that has the same user id inside and outside of the sandbox"));
    }
    let cannot = |errno| Error::io("cannot create", path, errno);
    // What is refused afterwards must not be made first.
    check_file_system(magic(parent.as_fd()).map_err(cannot)?, path, purpose)?;
    let temp = format!(".{name}{}{}", layout::NEW_PREFIX, host::random_hex()?);
    make_dir(parent.as_fd(), &temp, Sharing::Private).map_err(cannot)?;
    let made = openat(&parent, temp.as_str(), DIRECTORY, Mode::empty());
    // A new directory inherits the set-group-id bit; a private tree must not have it.
    let plain = |made| fchmod(&made, Sharing::Private.dir_mode()).map(|()| made);
    let made = made.and_then(plain).map_err(|errno| {
        let _ = rustix::fs::unlinkat(&parent, temp.as_str(), AtFlags::REMOVEDIR);
        cannot(errno)
    })?;
    let published = make_dir(made.as_fd(), inner, Sharing::Private)
        .map_err(cannot)
        .and_then(|()| fill(made.as_fd(), Sharing::Private.file_mode()))
        .and_then(|()| {
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match renameat_with(&parent, temp.as_str(), &parent, name.as_str(), flags) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(errno) => Err(cannot(errno)),
            }
        });
    if published != Ok(true) {
        remove_unpublished(&parent, &made, &temp, inner);
    }
    published?;
    trusted_dir::open(path, purpose)?
        .ok_or_else(|| Error::not_safe(path, "it vanished as soon as it was created"))
}

fn remove_unpublished(parent: &OwnedFd, made: &OwnedFd, temp: &str, inner: &str) {
    let _ = rustix::fs::unlinkat(made, inner, AtFlags::REMOVEDIR);
    for file in [layout::README, layout::LOCAL_NODE] {
        let _ = rustix::fs::unlinkat(made, file, AtFlags::empty());
    }
    let _ = rustix::fs::unlinkat(parent, temp, AtFlags::REMOVEDIR);
}

/// Creates a directory of the tree: it has its final mode before its name appears.
pub fn publish_dir(dir: BorrowedFd<'_>, name: &str, base: &TrustedDir, path: &Path) -> Result<()> {
    publish(dir, name, base, path, |_| Ok(()))
}

/// As [`publish_dir`]; `fill` writes the file `inner` into it before its name appears.
pub fn publish_dir_with(
    dir: BorrowedFd<'_>,
    name: &str,
    base: &TrustedDir,
    path: &Path,
    inner: &str,
    fill: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> Result<()> {
    publish(dir, name, base, path, |temp| {
        let made = openat(dir, temp, DIRECTORY, Mode::empty())?;
        let filled = fill(made.as_fd());
        if filled.is_err() {
            let _ = rustix::fs::unlinkat(&made, inner, AtFlags::empty());
        }
        filled
    })
}

fn publish(
    dir: BorrowedFd<'_>,
    name: &str,
    base: &TrustedDir,
    path: &Path,
    fill: impl FnOnce(&str) -> rustix::io::Result<()>,
) -> Result<()> {
    let cannot = |errno| Error::below("cannot create", path, errno);
    let temp = format!("{}{}", layout::NEW_PREFIX, host::random_hex()?);
    make_dir(dir, &temp, base.sharing).map_err(cannot)?;
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    let published = fill(&temp).and_then(|()| renameat_with(dir, temp.as_str(), dir, name, flags));
    match published {
        Ok(()) => Ok(()),
        Err(errno) => {
            let _ = rustix::fs::unlinkat(dir, temp.as_str(), AtFlags::REMOVEDIR);
            if errno == Errno::EXIST { Ok(()) } else { Err(cannot(errno)) }
        }
    }
}

/// Creates a directory whose mode comes from the umask. In a group's tree the set-group-id bit is
/// inherited, and a chmod would drop it or be forbidden.
fn make_dir(dir: BorrowedFd<'_>, name: &str, sharing: Sharing) -> std::result::Result<(), Errno> {
    let old = match sharing {
        Sharing::Private => Mode::from_raw_mode(0o077),
        Sharing::Group { .. } => Mode::from_raw_mode(0o007),
    };
    let old = rustix::process::umask(old);
    let made = mkdirat(dir, name, sharing.dir_mode());
    rustix::process::umask(old);
    made
}

/// Returns the root of the mount of `/tmp`, if other processes do not see this mount.
pub fn private_tmp(path: &Path) -> Result<Option<String>> {
    let mount = mount::of(path)?;
    Ok(mount.filter(mount::Mount::is_private_tmp).map(|mount| mount.root))
}

/// Returns the mount of a sandbox's own `/tmp`: a file system in memory that belongs to the caller,
/// in a user namespace in which root has no number. No process outside sees what is made there.
pub fn sandbox_tmp(path: &Path) -> Result<Option<PathBuf>> {
    if !root_is_unmapped() {
        return Ok(None);
    }
    let mount = mount::of(path)?.filter(mount::Mount::is_whole_tmpfs);
    let me = geteuid().as_raw();
    let is_mine = |point: &PathBuf| point.symlink_metadata().is_ok_and(|meta| meta.uid() == me);
    Ok(mount.map(|mount| mount.point).filter(is_mine))
}

/// Makes the error for a process whose `/tmp` is private to it.
pub fn private_tmp_error(path: &Path, root: &str) -> Error {
    Error::new(
        Kind::Unsafe,
        format!("{}: /tmp is private to this service (mounted from {root})", path.display()),
    )
    .hint(format!("in the unit: PrivateTmp=no, or BindPaths={}", path.display()))
    .with_cause(Cause::OtherView)
}
