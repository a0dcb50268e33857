//! A trusted directory, such as the state directory: opened only if no other user could have
//! prepared it.
//!
//! The rules are R1 to R4 of `docs/STANDARD.md`, §3. A directory that breaks one is refused with
//! its owner and mode; it is never repaired, because an ACL of its first owner survives both chmod
//! and chown.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Stat, StatxFlags, flistxattr, fstat, fstatfs, openat, statat, statx,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::trust::{
    Ancestor, Base, OVERFLOW_UID, Owner, judge_ancestor, judge_base, judge_owner,
};

use super::purpose::{Purpose, STATE};
use super::refusal;
use zeta_os::error::{Error, Result};
use zeta_os::open_beneath::{DIRECTORY, open_below};
use zeta_os::user_namespace::root_is_unmapped;
use zeta_os::users::user;

/// The tmpfiles.d drop-in of a group's tree. If it exists, only root creates the tree.
pub const TMPFILES_CONF: &str = "/etc/tmpfiles.d/zeta.conf";
/// The file in which an installer may have written the name of this machine's node.
pub const NODE_ID_FILE: &str = "/etc/zeta/cluster-node-id";
/// The operator's page of every tree.
pub const README_TEXT: &str = include_str!("tree-readme.md");

/// Who may use the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One user: 0700.
    Private,
    /// Every member of the group of the base directory: 2750, created by root.
    Group {
        /// Its group id.
        gid: u32,
    },
}

impl Sharing {
    /// Returns the mode of the node and guard directories.
    pub fn dir_mode(self) -> Mode {
        match self {
            Sharing::Private => Mode::from_raw_mode(0o700),
            Sharing::Group { .. } => Mode::from_raw_mode(0o770),
        }
    }

    /// Returns the mode of records.
    pub fn file_mode(self) -> Mode {
        match self {
            Sharing::Private => Mode::from_raw_mode(0o600),
            Sharing::Group { .. } => Mode::from_raw_mode(0o660),
        }
    }
}

/// An opened and checked state directory.
#[derive(Debug)]
pub struct TrustedDir {
    fd: OwnedFd,
    /// Path of the directory.
    pub path: PathBuf,
    /// Who may use it.
    pub sharing: Sharing,
    /// Effective user id of this process.
    euid: u32,
    /// Root has no number in this process's user namespace: the owner is root if its anchor names
    /// this very directory ([`super::open`]), and other members have no number either.
    pub unproven: bool,
    /// Device and inode number, by which two views of it can be compared; on an overlay the time of
    /// its birth in place of the inode number, which can change there.
    pub identity: (u64, u64),
    /// Records are replaced by an exchange: on this file system a rename over an existing name
    /// would force the data to disk.
    pub exchange: bool,
}

impl TrustedDir {
    /// Returns whether a user may own a file inside the tree (R2).
    pub fn trusts(&self, uid: u32) -> bool {
        match self.sharing {
            Sharing::Private => uid == self.euid || uid == 0,
            Sharing::Group { .. } => uid != OVERFLOW_UID || self.unproven,
        }
    }
}

impl AsFd for TrustedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a directory under rules R1 to R4; `None` if it does not exist. [`super::open`] also checks
/// that root made this very directory.
pub fn open(path: &Path, purpose: &Purpose) -> Result<Option<TrustedDir>> {
    let euid = geteuid().as_raw();
    let (parent, name) = open_parent(path, euid, purpose)?;
    let fd = match openat(&parent, name.as_str(), DIRECTORY, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(refusal::at(&parent, &name, path, path, errno, purpose)),
    };
    let stat = fstat(&fd).map_err(|errno| Error::io("cannot look at", path, errno))?;
    let kind = check_base(path, &stat, euid, purpose)?;
    let sharing = match kind {
        Base::Private => Sharing::Private,
        _ => Sharing::Group { gid: stat.st_gid },
    };
    refuse_acl(&fd, &|| path.to_owned())?;
    let magic = magic(fd.as_fd()).map_err(|errno| Error::io("cannot look at", path, errno))?;
    let exchange = check_file_system(magic, path, purpose)?;
    let identity = identity(fd.as_fd(), &stat, magic);
    let unproven = kind == Base::GroupIfAnchored;
    Ok(Some(TrustedDir { fd, path: path.to_owned(), sharing, euid, unproven, identity, exchange }))
}

/// Opens a directory that [`open`] refuses, only to read it; `None` if this process may not even
/// list it.
pub fn open_unchecked(path: &Path) -> Option<TrustedDir> {
    let euid = geteuid().as_raw();
    let (parent, name) = open_parent(path, euid, &STATE).ok()?;
    let fd = openat(&parent, name.as_str(), DIRECTORY, Mode::empty()).ok()?;
    let stat = fstat(&fd).ok()?;
    let sharing = match stat.st_mode & 0o2000 {
        0 => Sharing::Private,
        _ => Sharing::Group { gid: stat.st_gid },
    };
    let identity = (stat.st_dev, stat.st_ino);
    let (unproven, exchange) = (false, false);
    Some(TrustedDir { fd, path: path.to_owned(), sharing, euid, unproven, identity, exchange })
}

/// Returns owner, group, mode and inode of what is at `path`, without opening it; `None` if nothing
/// is there.
pub fn stat(path: &Path) -> Result<Option<Stat>> {
    let (parent, name) = open_parent(path, geteuid().as_raw(), &STATE)?;
    match statat(&parent, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::io("cannot look at", path, errno)),
    }
}

/// Opens the directory that holds the trusted directory (R1) and returns it with the last name.
pub fn open_parent(path: &Path, euid: u32, purpose: &Purpose) -> Result<(OwnedFd, String)> {
    let not_plain = || refusal::not_plain(path, purpose);
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or_else(not_plain)?);
            }
            _ => return Err(not_plain()),
        }
    }
    let last = names.pop().ok_or_else(not_plain)?.to_owned();
    if !path.is_absolute() {
        return Err(not_plain());
    }
    if euid == OVERFLOW_UID && root_is_unmapped() {
        return Err(refusal::no_number(path, euid));
    }
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, "/", through, Mode::empty())
        .map_err(|errno| Error::io("cannot open", Path::new("/"), errno))?;
    let mut walked = PathBuf::from("/");
    check_ancestor(&at, &walked, path, euid, purpose)?;
    for name in names {
        walked.push(name);
        at = openat(&at, name, through, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Error::not_safe(&walked, "no such directory")
                .hint(format!("zeta creates the {}, not the directories above it", purpose.noun)),
            errno => refusal::at(&at, name, &walked, path, errno, purpose),
        })?;
        check_ancestor(&at, &walked, path, euid, purpose)?;
    }
    Ok((at, last))
}

fn check_ancestor(
    fd: &OwnedFd,
    path: &Path,
    whole: &Path,
    euid: u32,
    purpose: &Purpose,
) -> Result<()> {
    let stat = fstat(fd).map_err(|errno| Error::io("cannot look at", path, errno))?;
    match judge_ancestor(path, owner_of(stat.st_uid, euid), stat.st_mode) {
        Ancestor::Trusted => Ok(()),
        verdict => Err(refusal::ancestor(path, &stat, verdict, whole, purpose)),
    }
}

/// Returns who a user id is to the caller, in its user namespace.
pub fn owner_of(uid: u32, caller: u32) -> Owner {
    judge_owner(uid, caller, uid == OVERFLOW_UID && root_is_unmapped())
}

/// Checks the base directory itself by R2 and R3.
fn check_base(path: &Path, stat: &Stat, me: u32, purpose: &Purpose) -> Result<Base> {
    let (uid, bits) = (stat.st_uid, stat.st_mode & 0o7777);
    match judge_base(owner_of(uid, me), uid == me, bits, purpose.group_mode) {
        Base::ForeignOwner => Err(refusal::foreign_owner(path, uid, bits, purpose)),
        Base::WrongMode => Err(refusal::wrong_mode(path, bits, purpose)),
        kind => Ok(kind),
    }
}

/// Refuses a directory with an ACL (R3): it can allow more than its mode shows.
pub fn refuse_acl(fd: &OwnedFd, path: &impl Fn() -> PathBuf) -> Result<()> {
    let mut names = [0u8; 512];
    let mut many = Vec::new();
    let listed = match flistxattr(fd, &mut names[..]) {
        Ok(len) => names.get(..len),
        Err(Errno::NOTSUP) => return Ok(()),
        Err(Errno::RANGE) => {
            // The kernel gives no list that is longer than this.
            many.resize(64 * 1024, 0u8);
            let len = flistxattr(fd, &mut many[..]).map_err(|_| {
                let many = "it has more extended attributes than can be listed";
                let shown = path().display().to_string();
                Error::not_safe(&path(), many).hint(format!("list them: getfattr {shown}"))
            })?;
            many.get(..len)
        }
        Err(errno) => return Err(Error::io("cannot list the attributes of", &path(), errno)),
    };
    let listed = listed.unwrap_or_default();
    let has_acl = listed.split(|b| *b == 0).any(|name| name.starts_with(b"system.posix_acl_"));
    if has_acl {
        Err(Error::not_safe(&path(), "it has a POSIX ACL, which may let other users in")
            .hint(format!("show it: getfacl {}", path().display()))
            .hint("use a directory without one; a default ACL of the parent gives it one"))
    } else {
        Ok(())
    }
}

/// `f_type` of an overlay. Its files and directories can have several device numbers, and the
/// kernel gives its directories other inode numbers when it has forgotten them.
const OVERLAY: u64 = 0x794c_7630;

/// Checks the file system, and returns whether `RENAME_EXCHANGE` is the faster way to replace a
/// record on it.
pub fn check_file_system(magic: u64, path: &Path, purpose: &Purpose) -> Result<bool> {
    let remote = |name| {
        Err(Error::not_safe(path, format!("it lies on {name}, where file locks cannot be trusted"))
            .hint(format!("use a directory on a local disk or in memory: {} DIR", purpose.flag)))
    };
    match magic {
        0x0102_1994 | 0x8584_58f6 => Ok(false),
        // ext2/3/4, xfs, btrfs, f2fs, bcachefs, zfs
        0xef53 | 0x5846_5342 | 0x9123_683e | 0xf2f5_2010 | 0xca45_1a4e | 0x2fc1_2fc1 | OVERLAY => {
            Ok(true)
        }
        0x6969 => remote("NFS"),
        0x6573_5546 => remote("FUSE (or virtiofs)"),
        0x0102_1997 => remote("9p"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => remote("an SMB share"),
        other => remote(&format!("a file system that zeta does not know ({other:#x})")),
    }
}

/// Returns the number that the kernel gives to the type of a file system.
pub fn magic(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    fstatfs(fd).map(|found| found.f_type as u64 & 0xffff_ffff)
}

/// Returns the numbers by which two views of a directory are compared, see
/// [`TrustedDir::identity`].
pub fn identity(fd: BorrowedFd<'_>, stat: &Stat, magic: u64) -> (u64, u64) {
    let born_ns = if magic == OVERLAY { born_ns(fd) } else { None };
    (stat.st_dev, born_ns.unwrap_or(stat.st_ino))
}

/// Returns when a file was made, in nanoseconds since the Unix epoch; `None` where the file system
/// does not keep it. The kernel sets it, and no user can.
pub fn born_ns(fd: BorrowedFd<'_>) -> Option<u64> {
    let seen = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let known = seen.stx_mask & StatxFlags::BTIME.bits() != 0;
    let seconds = u64::try_from(seen.stx_btime.tv_sec).ok().filter(|_| known)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(seen.stx_btime.tv_nsec.into())
}

/// Returns a word that no other directory of this boot has.
pub fn mark(fd: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let (device, number) = identity(fd, &fstat(fd)?, magic(fd)?);
    Ok(format!("{device:x}-{number:x}-{:x}", born_ns(fd).unwrap_or(0)))
}

/// Checks a directory inside the tree on its open descriptor (R3).
fn check_inner(fd: &OwnedFd, base: &TrustedDir, path: &impl Fn() -> PathBuf) -> Result<Stat> {
    let stat = fstat(fd).map_err(|errno| Error::io("cannot look at", &path(), errno))?;
    let wrong = |reason: String| {
        Err(Error::not_safe(&path(), reason)
            .doctor_hint("see 'zeta doctor' for what would be right"))
    };
    if !base.trusts(stat.st_uid) {
        return wrong(format!("it belongs to {}", user(stat.st_uid)));
    }
    let allowed = match base.sharing {
        Sharing::Private => 0o700,
        Sharing::Group { .. } => 0o3770,
    };
    if stat.st_mode & 0o7777 & !allowed != 0 || stat.st_mode & 0o700 != 0o700 {
        return wrong(format!("its mode is {}", mode(&stat)));
    }
    refuse_acl(fd, path)?;
    Ok(stat)
}

/// Opens a directory of the tree below `dir`, all checks done; `None` if it does not exist.
pub fn open_inner(
    dir: BorrowedFd<'_>,
    relative: &str,
    base: &TrustedDir,
    path: impl Fn() -> PathBuf,
) -> Result<Option<(OwnedFd, Stat)>> {
    match open_below(dir, relative, DIRECTORY) {
        Ok(fd) => {
            let stat = check_inner(&fd, base, &path)?;
            Ok(Some((fd, stat)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::io("cannot open", &path(), errno)),
    }
}

fn mode(stat: &Stat) -> String {
    format!("{:04o}", stat.st_mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_whose_locks_cannot_be_trusted_are_refused_by_name() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0x6573_5546, "FUSE"),
            (0x0102_1997, "9p"),
            (0xff53_4d42, "an SMB share"),
            (0xfe53_4d42, "an SMB share"),
            (0x517b, "an SMB share"),
            (0x1234_5678, "0x12345678"),
        ] {
            let error = check_file_system(magic, Path::new("/srv/state"), &STATE).unwrap_err();
            assert!(error.to_string().contains(name), "{magic:#x}: {error}");
        }
        for (magic, exchanges) in [(0x0102_1994, false), (0xef53, true), (OVERLAY, true)] {
            let judged = check_file_system(magic, Path::new("/srv/state"), &STATE);
            assert_eq!(judged.unwrap(), exchanges, "{magic:#x}");
        }
    }
}
