//! Opening names below a directory that is already open, without ever following a link.
//!
//! `openat2` does it in one call. Inside a hardened systemd unit it answers ENOSYS, so the same
//! walk is also done one component at a time; `ZETA_NO_OPENAT2=1` forces that for tests. Both
//! refuse the same: links by `O_NOFOLLOW`, and what is mounted inside, a directory of the same file
//! system too, by the mount's number.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, statx};
use rustix::io::Errno;

/// Flags of every directory that is opened to be used.
pub const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Flags of every record that is read: never blocks on a FIFO or a file lease.
pub const RECORD: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

const UNDECIDED: u8 = 0;
const OPENAT2: u8 = 1;
const COMPONENTS: u8 = 2;
static WAY: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Opens `path`, a relative path without `..`, below `dir`. Every link on the way is refused.
pub fn open_below(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    if way() == COMPONENTS {
        return open_by_components(dir, path, flags);
    }
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let mut tries = 0;
    loop {
        match openat2(dir, path, flags, Mode::empty(), resolve) {
            // A rename elsewhere on the system can race the walk; the kernel asks for a repeat.
            Err(Errno::AGAIN) if tries < 3 => tries += 1,
            Err(Errno::NOSYS | Errno::PERM) => {
                WAY.store(COMPONENTS, Ordering::Relaxed);
                return open_by_components(dir, path, flags);
            }
            done => return done,
        }
    }
}

fn way() -> u8 {
    match WAY.load(Ordering::Relaxed) {
        UNDECIDED => {
            let way = match std::env::var_os("ZETA_NO_OPENAT2") {
                Some(value) if value == "1" => COMPONENTS,
                _ => OPENAT2,
            };
            WAY.store(way, Ordering::Relaxed);
            way
        }
        way => way,
    }
}

fn open_by_components(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mount = mount_of(dir)?;
    let mut at: Option<OwnedFd> = None;
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        let here = at.as_ref().map_or(dir, |fd| fd.as_fd());
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = Some(openat(here, part, through, Mode::empty())?);
    }
    let here = at.as_ref().map_or(dir, |fd| fd.as_fd());
    let opened = openat(here, last, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // A walk that entered a mount does not leave it, so one look at the end is enough.
    if mount_of(opened.as_fd())? == mount { Ok(opened) } else { Err(Errno::XDEV) }
}

/// What says on which mount a descriptor lies: the kernel's number of the mount; where neither
/// statx (5.8 and later, and not forbidden) nor `/proc` gives it, the number of the device.
#[derive(Debug, PartialEq, Eq)]
enum MountOf {
    Mount(u64),
    Device(u64),
}

fn mount_of(fd: BorrowedFd<'_>) -> rustix::io::Result<MountOf> {
    if let Ok(seen) = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        && seen.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Ok(MountOf::Mount(seen.stx_mnt_id));
    }
    match mount_by_proc(fd) {
        Some(id) => Ok(MountOf::Mount(id)),
        None => fstat(fd).map(|stat| MountOf::Device(stat.st_dev)),
    }
}

/// The number of the mount as `/proc/self/fdinfo` shows it.
fn mount_by_proc(fd: BorrowedFd<'_>) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}
