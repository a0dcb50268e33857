//! The file that stands at a target already, and whether it may be replaced.

use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::file_writer::FILE_MAX;
use crate::file_writer::path::{Place, WalkError, fault, finding, word};
use zeta_os::open_beneath::RECORD;
use zeta_os::temp_file::read_up_to;
use zeta_os::users::user;

/// The file that stands at a target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A file of this owner with the bytes and the mode that are wanted.
    Same,
    /// A file of this owner with another content or mode.
    Different,
}

/// Looks at `name`, and refuses what is not a plain file of this process's own.
pub fn look(place: &Place, name: &str, bytes: &[u8], mode: u32) -> Result<Existing, WalkError> {
    let path = format!("{}/{name}", place.path);
    let fd = match openat(&place.fd, name, RECORD, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(Existing::Nothing),
        // Another process holds a file lease, so that this one has to wait.
        Err(Errno::AGAIN) => {
            let hint = "a process holds a file lease on it: busy, broken or hostile";
            return Err(finding(format!("{path}: it cannot be opened now"), hint));
        }
        Err(errno) => return unopened(place, name, errno),
    };
    let stat = fstat(&fd).map_err(|errno| fault("cannot look at", &path, errno))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let me = geteuid().as_raw();
    let wrong = match kind {
        FileType::RegularFile if stat.st_uid != me => {
            format!("it belongs to {}", user(stat.st_uid))
        }
        FileType::RegularFile if stat.st_nlink != 1 => {
            format!("it has {} names (hard links)", stat.st_nlink)
        }
        FileType::RegularFile => String::new(),
        kind => format!("it is {}, of {}", word(kind), user(stat.st_uid)),
    };
    if !wrong.is_empty() {
        return Err(finding(
            format!("{path}: {wrong}"),
            "zeta replaces only plain files of their user: look why it is there",
        ));
    }
    if stat.st_mode & 0o7777 != mode || stat.st_size != bytes.len() as i64 {
        return Ok(Existing::Different);
    }
    let mut there = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    read_up_to(&fd, bytes.len(), &mut there).map_err(|errno| fault("cannot read", &path, errno))?;
    Ok(if there.as_slice() == bytes { Existing::Same } else { Existing::Different })
}

/// The content of a file that differs.
pub struct Content {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The file that they were read from.
    pub stamp: Replaced,
}

/// A file that is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Whatever is there.
    Any,
    /// This file with this content: its inode, its size, and when it was changed.
    Exactly(u64, i64, i64, u64),
}

impl Replaced {
    fn of(stat: &Stat) -> Replaced {
        Replaced::Exactly(stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec)
    }

    /// Returns whether the name still has what is to be replaced.
    pub fn is_still(&self, place: &Place, name: &str) -> bool {
        let now = || statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        *self == Replaced::Any || now().is_ok_and(|stat| Replaced::of(&stat) == *self)
    }
}

/// Reads the content of a file that [`look`] allowed to be replaced; `None` if that fails.
pub fn content(place: &Place, name: &str) -> Option<Content> {
    let fd = openat(&place.fd, name, RECORD, Mode::empty()).ok()?;
    let stat = fstat(&fd).ok()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX.min(stat.st_size as usize) + 1));
    read_up_to(&fd, FILE_MAX, &mut bytes).ok()?;
    (bytes.len() <= FILE_MAX).then_some(Content { bytes, stamp: Replaced::of(&stat) })
}

/// A file of this process's own that it may not read (mode 0000, say) differs; all else is an
/// error.
fn unopened(place: &Place, name: &str, errno: Errno) -> Result<Existing, WalkError> {
    let stat = statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW);
    let ours = stat.is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == geteuid().as_raw()
            && stat.st_nlink == 1
    });
    if errno == Errno::ACCESS && ours {
        Ok(Existing::Different)
    } else {
        Err(place.stop("cannot open", name, errno))
    }
}
