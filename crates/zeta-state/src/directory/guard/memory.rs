//! What a guard remembers of its record: the highest fencing token, and the note of the last break.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, OFlags, fchmod, fstat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use zeta_core::layout;

use super::{Section, guard_path};
use crate::directory::tree::{Bytes, check_file, not_a_record, read};
use zeta_os::error::{Error, Result};
use zeta_os::files::write_temp;
use zeta_os::open_beneath::open_below;

impl Section<'_> {
    /// Reads the highest fencing token ever granted here; 0 if none is known.
    pub fn highest_token(&self) -> Result<u64> {
        let path = || guard_path(self.node, self.file()).join(layout::TOKEN_FILE);
        let cannot = |errno| Error::io("cannot read", &path(), errno);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let kept = self.guard.token_file.take();
        let named = || statat(&self.guard.fd, layout::TOKEN_FILE, AtFlags::SYMLINK_NOFOLLOW);
        let same = |fd: OwnedFd| {
            let (opened, named) = (fstat(&fd).ok()?, named().ok()?);
            ((opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)).then_some((fd, opened))
        };
        let (fd, stat) = match kept.and_then(same) {
            Some(kept) => kept,
            // A descriptor whose file was removed or replaced meanwhile is of no use.
            None => {
                let fd = match open_below(self.guard.fd.as_fd(), layout::TOKEN_FILE, flags) {
                    Err(Errno::NOENT) => return Ok(0),
                    opened => opened.map_err(|errno| Error::open("cannot read", &path(), errno))?,
                };
                let stat = fstat(&fd).map_err(cannot)?;
                (fd, stat)
            }
        };
        check_file(&stat, self.base).map_err(|reason| not_a_record(&path(), &reason))?;
        let mut line = [0u8; layout::LINE_MAX];
        let len = rustix::io::pread(&fd, &mut line, 0).map_err(cannot)?;
        let text = std::str::from_utf8(line.get(..len).unwrap_or_default()).unwrap_or_default();
        self.guard.token_file.replace(Some(fd));
        // An unreadable number counts as none: the record and the clock still bound the next one.
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// Writes a token down before it is granted: a crash in between skips a number.
    pub fn remember(&self, token: u64) -> Result<()> {
        let path = || guard_path(self.node, self.file()).join(layout::TOKEN_FILE);
        let cannot = |errno| Error::io("cannot write", &path(), errno);
        let line = format!("{token:020}\n");
        let written = match &*self.guard.token_file.borrow() {
            Some(fd) => rustix::io::pwrite(fd, line.as_bytes(), 0),
            None => {
                let mode = self.base.sharing.file_mode();
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(&self.guard.fd, layout::TOKEN_FILE, flags | OFlags::WRONLY, mode);
                if fd.as_ref().err() == Some(&Errno::NOENT) {
                    // Nothing can be made in a directory that was removed.
                    self.check_identity(false)?;
                }
                let fd = fd.map_err(cannot)?;
                if mode.as_raw_mode() & 0o077 != 0 {
                    fchmod(&fd, mode).map_err(cannot)?;
                }
                rustix::io::pwrite(&fd, line.as_bytes(), 0)
            }
        };
        match written {
            Ok(len) if len == line.len() => Ok(()),
            Ok(_) => Err(cannot(Errno::NOSPC)),
            Err(errno) => Err(cannot(errno)),
        }
    }

    /// Writes a note about a break by force; the next break replaces it.
    pub fn note_break(&self, text: &str) -> Result<()> {
        let cannot = |errno| {
            Error::io(
                "cannot write",
                &guard_path(self.node, self.file()).join(layout::BROKEN),
                errno,
            )
        };
        let temp = self.guard.temp_name();
        let mode = self.base.sharing.file_mode();
        write_temp(self.guard.fd.as_fd(), &temp, text.as_bytes(), mode)
            .and_then(|()| renameat(&self.guard.fd, temp.as_str(), &self.guard.fd, layout::BROKEN))
            .map_err(|errno| {
                let _ = unlinkat(&self.guard.fd, temp.as_str(), AtFlags::empty());
                cannot(errno)
            })
    }

    /// Reads the note about the last break by force.
    pub fn read_break_note(&self) -> Result<Option<Bytes>> {
        let path = || guard_path(self.node, self.file()).join(layout::BROKEN);
        read(self.guard.fd.as_fd(), layout::BROKEN, layout::RECORD_MAX, self.base, path)
    }
}
