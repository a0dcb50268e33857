//! A walk from one open directory to the next, never through a link, and only through directories
//! that no other user could have exchanged.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, mkdirat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Finding;
use zeta_os::error::Error;
use zeta_os::open_beneath::DIRECTORY;
use zeta_os::users::user;

/// The owner that a user namespace shows for every user that it does not know.
const OVERFLOW_UID: u32 = 65_534;

/// More links of one path are not followed.
const LINKS_MAX: usize = 8;

/// The reason why a walk does not come to its end.
#[derive(Debug)]
pub enum WalkError {
    /// Something on the way is not as it must be: this file is refused, others may go on.
    Finding(Finding),
    /// A missing directory, in a walk that makes none.
    Missing,
    /// The system failed: all of it ends.
    Fault(Error),
}

/// The owners and modes that a directory may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A directory of root or of this process; others may not write there, or it is sticky.
    Above,
    /// A directory of this process alone: a home and what is below it.
    Own,
}

/// A directory that a walk reached.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub fd: OwnedFd,
    /// Its path, for people.
    pub path: String,
}

/// A directory that a walk made: its parent, and its name there.
pub type Made = (OwnedFd, String);

/// Opens `/`.
pub fn top() -> Result<Place, WalkError> {
    let fd = openat(rustix::fs::CWD, "/", DIRECTORY, Mode::empty())
        .map_err(|errno| fault("cannot open", "/", errno))?;
    let place = Place { fd, path: String::new() };
    check(&place, Trust::Above)?;
    Ok(place)
}

impl Place {
    /// Goes to a directory in this one. `made` lets it make what is missing.
    pub fn step(
        &self,
        name: &str,
        trust: Trust,
        made: Option<&mut Vec<Made>>,
    ) -> Result<Place, WalkError> {
        let path = format!("{}/{name}", self.path);
        let open = || openat(&self.fd, name, DIRECTORY, Mode::empty());
        let fd = match (open(), made) {
            (Err(Errno::NOENT), Some(made)) => {
                let cannot = |errno| self.stop("cannot create", name, errno);
                // Services must reach what is the system's; a home is its owner's alone.
                let mode = if trust == Trust::Above { 0o755 } else { 0o700 };
                match mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
                    Ok(()) => {
                        let here = self.fd.try_clone().map_err(|_| cannot(Errno::MFILE))?;
                        made.push((here, name.to_owned()));
                    }
                    // Another process was quicker; its directory is checked as any other.
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(cannot(errno)),
                }
                open()
            }
            (Err(Errno::NOENT), None) => return Err(WalkError::Missing),
            (opened, _) => opened,
        };
        let fd = fd.map_err(|errno| self.stop("cannot open", name, errno))?;
        let place = Place { fd, path };
        check(&place, trust)?;
        Ok(place)
    }

    /// The finding about a directory above those that zeta makes, if it is not there.
    fn missing(&self, name: &str, stop: WalkError) -> WalkError {
        match stop {
            WalkError::Missing => finding(
                format!("{}/{name}: there is no such directory", self.path),
                "is that file system mounted, and does the home exist? zeta makes neither",
            ),
            stop => stop,
        }
    }

    /// The error for a name in this directory that a call failed on.
    pub fn stop(&self, doing: &str, name: &str, errno: Errno) -> WalkError {
        let path = format!("{}/{name}", self.path);
        if let Some(thing) = odd_thing(self.fd.as_fd(), name, errno) {
            return finding(
                format!("{path}: {thing}"),
                "zeta follows no link but root's on the way to a home, and replaces none: look why \
                 it is there, or put the file in place by yourself",
            );
        }
        match errno {
            Errno::ACCESS | Errno::PERM => finding(
                format!("{doing} {path}: {}", user(geteuid().as_raw()) + " may not"),
                "give the directory to its user, or let root look who owns it",
            ),
            // A unit with ProtectSystem=strict sees everything so but what it asked for.
            Errno::ROFS => finding(
                format!("{doing} {path}: it cannot be written to (read-only)"),
                "in a systemd unit: ReadWritePaths= needs the directory, which has to exist",
            ),
            Errno::NAMETOOLONG => finding(format!("{path}: the name is too long"), ""),
            errno => fault(doing, &path, errno),
        }
    }
}

/// The target of a link that only root can have put there: it belongs to root, as the directory
/// does, and no other user may write to that. Systems that keep homes elsewhere have one: `/home`
/// is a link to `/var/home`.
fn link_of_root(place: &Place, name: &str) -> Option<String> {
    let link = statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let dir = fstat(&place.fd).ok()?;
    let of_root = |stat: &Stat| stat.st_uid == 0;
    let is_link = FileType::from_raw_mode(link.st_mode) == FileType::Symlink;
    if !is_link || !of_root(&link) || !of_root(&dir) || dir.st_mode & 0o022 != 0 {
        return None;
    }
    let target = readlinkat(&place.fd, name, Vec::new()).ok()?.into_string().ok()?;
    // The directory that a walk ends in is checked when it is entered, and not on the way back.
    (!target.trim_end_matches('/').ends_with("..")).then_some(target)
}

/// Walks along `parts` below `root`, through directories that are trusted as those above a home.
/// `last` is how the last one is trusted. A link of root's is followed, as if `root` were `/`.
pub fn walk(root: &[String], parts: &[String], last: Trust) -> Result<Place, WalkError> {
    let mut places = vec![top()?];
    let mut ahead: Vec<String> = root.iter().chain(parts).rev().cloned().collect();
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let Some(at) = places.last() else { break };
        if part == ".." {
            // What was walked has no links in it, so the parent is the one before.
            places.truncate((places.len() - 1).max(root.len() + 1));
            continue;
        }
        match link_of_root(at, &part) {
            Some(target) if links < LINKS_MAX && places.len() > root.len() => {
                links += 1;
                if target.starts_with('/') {
                    places.truncate(root.len() + 1);
                }
                let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
                ahead.extend(parts.rev().map(str::to_owned));
            }
            _ => {
                let trust = if ahead.is_empty() { last } else { Trust::Above };
                let next = at.step(&part, trust, None).map_err(|stop| at.missing(&part, stop))?;
                places.push(next);
            }
        }
    }
    places.pop().ok_or(WalkError::Missing)
}

/// The kind of thing that stands there instead of what was wanted, if that is why a call failed.
fn odd_thing(dir: BorrowedFd<'_>, name: &str, errno: Errno) -> Option<String> {
    if !matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR) {
        return None;
    }
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let to = readlinkat(dir, name, Vec::new()).unwrap_or_default();
            let to = to.to_string_lossy().escape_debug().to_string();
            format!("it is a symbolic link to {to}, of {}", user(stat.st_uid))
        }
        kind => format!("it is {}, of {}", word(kind), user(stat.st_uid)),
    })
}

/// A kind of file, in words.
pub fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

/// A finding that ends a walk.
pub fn finding(text: String, hint: &str) -> WalkError {
    WalkError::Finding(Finding { text, hint: hint.to_owned() })
}

/// A fault that ends everything.
pub fn fault(doing: &str, path: &str, errno: Errno) -> WalkError {
    let path = if path.is_empty() { "/" } else { path };
    WalkError::Fault(Error::io(doing, std::path::Path::new(path), errno))
}

fn check(place: &Place, trust: Trust) -> Result<(), WalkError> {
    let path = if place.path.is_empty() { "/" } else { &place.path };
    let stat = fstat(&place.fd).map_err(|errno| fault("cannot look at", path, errno))?;
    match judge(&stat, trust, geteuid().as_raw()) {
        None => Ok(()),
        Some(reason) => {
            Err(finding(format!("{path}: {reason}"), "zeta changes no owner and no mode: look why"))
        }
    }
}

fn judge(stat: &Stat, trust: Trust, me: u32) -> Option<String> {
    let mode = stat.st_mode & 0o7777;
    let mine = stat.st_uid == me;
    let owned = match trust {
        Trust::Above => mine || stat.st_uid == 0,
        Trust::Own => mine,
    };
    if !owned || stat.st_uid == OVERFLOW_UID {
        return Some(format!("it belongs to {} (mode {mode:04o})", user(stat.st_uid)));
    }
    let (writable, sticky) = match trust {
        Trust::Above => (mode & 0o022 != 0, mode & 0o1000 != 0),
        // Some systems give each user a group of its own, which may write.
        Trust::Own => (mode & 0o002 != 0, false),
    };
    (writable && !sticky).then(|| format!("others may write to it (mode {mode:04o})"))
}
