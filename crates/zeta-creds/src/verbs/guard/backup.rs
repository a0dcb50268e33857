//! The copy of a login that lies beside it while a command may write to the login.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, Mode, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, fsync,
    futimens, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use zeroize::Zeroizing;

use super::{Content, LOGIN_MAX};
use zeta_os::error::{Error, Result};
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_os::temp_file::{self, TempFile, abandoned, read_up_to};

/// The end of the name that a broken file is kept under.
const BROKEN: &str = ".zeta-broken";
/// The room that must be there before a command may write a login, in bytes.
const ROOM: usize = 64 << 10;

/// How often a guard that lives says so by the time of its copy.
const BEAT: Duration = Duration::from_millis(200);

/// The beginning of the name of a copy of this login.
pub(crate) fn prefix(id: &str) -> String {
    format!(".zeta-guard-{id}-")
}

/// A copy of a login beside it. It is removed in the end; if this process is killed, by the next
/// one.
pub(super) struct Backup {
    dir: OwnedFd,
    name: OsString,
    temp: TempFile,
    /// It is not removed: it has what is not kept elsewhere.
    pub(super) stays: bool,
    /// While this is there, the time of the copy is renewed: its guard lives, and its command has
    /// not been judged.
    pub(super) beat: Option<Sender<()>>,
}

/// What came of a file that is not whole.
pub(super) enum PutBack {
    /// It has the content of the copy; and where what stood there is kept.
    Done(Option<PathBuf>),
    /// Another process has completed it meanwhile: it stays.
    Completed,
}

impl Backup {
    /// Makes a copy beside a file, and sees that there is room for what a tool writes.
    pub(super) fn make(path: &Path, id: &str, bytes: &[u8]) -> Result<Backup> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_owned();
        let cannot = |errno| {
            Error::fault("no copy of the login can be kept in", dir, errno)
                .hint("so the login was not refreshed: its old token would be spent for nothing")
        };
        let at = openat(CWD, dir, DIRECTORY, Mode::empty()).map_err(cannot)?;
        let (prefix, mode) = (prefix(id), Mode::from_raw_mode(0o600));
        let room = temp_file::make(&at, &prefix, &[0; ROOM], mode).map_err(cannot)?;
        unlinkat(&at, room.name.as_str(), AtFlags::empty()).map_err(cannot)?;
        let temp = temp_file::make(&at, &prefix, bytes, mode).map_err(cannot)?;
        let beat = Some(beat(fcntl_dupfd_cloexec(&temp.fd, 0).map_err(cannot)?));
        Ok(Backup { dir: at, name, temp, stays: false, beat })
    }

    /// Finds the copies of guards that were killed. Each is removed when it is dropped, unless it
    /// `stays`.
    pub(super) fn abandoned(path: &Path, id: &str, stays: bool) -> Vec<Backup> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_owned();
        let open = || openat(CWD, dir, DIRECTORY, Mode::empty());
        let Ok(at) = open() else { return Vec::new() };
        let of = |temp| {
            let (dir, name, beat) = (open().ok()?, name.clone(), None);
            Some(Backup { dir, name, temp, stays, beat })
        };
        abandoned(at.as_fd(), &prefix(id), dir).filter_map(of).collect()
    }

    /// Returns whether the login was changed last while the guard of this copy lived, and had not
    /// judged it: only then its command is shown to have come to no end. A command that outlives
    /// its guard may have written a whole login, and another program have cut that off.
    pub(super) fn is_of_what_is_there(&self) -> bool {
        let login = statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let (Ok(login), Ok(copy)) = (login, fstat(&self.temp.fd)) else { return false };
        (login.st_ctime, login.st_ctime_nsec) < (copy.st_mtime, copy.st_mtime_nsec)
    }

    /// The path of the copy; the file lies at `path`.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        path.with_file_name(&self.temp.name)
    }

    /// The content of what has the name of the copy.
    pub(super) fn read(&self) -> std::result::Result<Content, Errno> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LOGIN_MAX + 1));
        let file = openat(&self.dir, self.temp.name.as_str(), RECORD, Mode::empty())?;
        read_up_to(&file, LOGIN_MAX, &mut bytes)?;
        Ok(bytes)
    }

    /// Gives the login at `path` its content of before, which needs no room. What stood there is
    /// kept under a name of its own: a part of a new token may be in it, and a process that has it
    /// open may still write to it. If it is whole now, it goes back to its place.
    pub(super) fn put_back(
        &mut self,
        path: &Path,
        is_whole: &dyn Fn(&[u8]) -> bool,
    ) -> std::result::Result<PutBack, Errno> {
        self.stays = true;
        let (dir, name, temp) = (&self.dir, &self.name, self.temp.name.as_str());
        let kept = match renameat_with(dir, temp, dir, name, RenameFlags::EXCHANGE) {
            Ok(()) if self.read().is_ok_and(|left| is_whole(&left)) => {
                renameat_with(dir, temp, dir, name, RenameFlags::EXCHANGE)?;
                self.stays = false;
                return Ok(PutBack::Completed);
            }
            Ok(()) => self.keep(OsStr::new(temp)).or_else(|| Some(temp.into())),
            // The file is gone.
            Err(Errno::NOENT) => {
                match renameat_with(dir, temp, dir, name, RenameFlags::NOREPLACE) {
                    Err(Errno::INVAL) => renameat(dir, temp, dir, name)?,
                    done => done?,
                }
                None
            }
            // A file system that cannot exchange two names.
            Err(Errno::INVAL) => {
                let kept = self.keep(name).ok_or(Errno::INVAL)?;
                renameat(dir, temp, dir, name)?;
                Some(kept)
            }
            Err(errno) => return Err(errno),
        };
        fsync(&self.dir)?;
        Ok(PutBack::Done(kept.map(|kept| path.with_file_name(kept))))
    }

    /// Renames what is not whole to the name that it is kept under, or, if a directory has that
    /// name, to one that is free.
    fn keep(&self, from: &OsStr) -> Option<OsString> {
        let mut kept = self.name.clone();
        kept.push(BROKEN);
        let mut free = kept.clone();
        free.push(&self.temp.name);
        [kept, free].into_iter().find(|to| renameat(&self.dir, from, &self.dir, to).is_ok())
    }
}

/// Renews the time of a copy until the sender is dropped.
fn beat(copy: OwnedFd) -> Sender<()> {
    let (sender, end) = channel();
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let now = Timestamps { last_access: omitted, last_modification };
    let beat = move || {
        while end.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let _ = futimens(&copy, &now);
        }
    };
    // Without the thread, the copy shows nothing, and is named at most.
    let _ = std::thread::Builder::new().spawn(beat);
    sender
}

impl Drop for Backup {
    fn drop(&mut self) {
        if !self.stays {
            // After a swap there is nothing of that name.
            let _ = unlinkat(&self.dir, self.temp.name.as_str(), AtFlags::empty());
        }
    }
}
