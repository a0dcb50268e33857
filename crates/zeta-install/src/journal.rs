//! The file with the lines of an installation. Each is on the disk before its writer goes on.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use zeta_core::install::journal::{LEN_MAX, whole_len};
use zeta_core::install::{Event, Journal};
use zeta_core::time::format_utc;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::flock::lock_within;
use zeta_os::{host, temp_file, trusted_file};

/// The name of the file.
pub const FILE: &str = "journal";
/// How long a call waits for another one that is at its end, or for a tool that one left.
const WAIT: Duration = Duration::from_secs(5);

fn unread(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unsafe, format!("cannot use {}: {error}", path.display()))
}

/// Reads the journal of a directory; an empty one if there is none. It has consents, so no other
/// user may have written it.
///
/// # Errors
/// It cannot be read, is too long, or another user could have written it.
pub fn read(state: &Path) -> Result<Journal> {
    let bytes = trusted_file::read(&state.join(FILE), LEN_MAX as u64)?;
    Ok(bytes.map(|bytes| Journal::read(&bytes)).unwrap_or_default())
}

/// A journal that only this process writes.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    /// What its lines say.
    pub journal: Journal,
}

impl Writer {
    /// Opens the journal of a directory, which is made.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read.
    pub fn open(state: &Path) -> Result<Writer> {
        let path = state.join(FILE);
        let wrong = |error: std::io::Error| unread(&path, &error);
        trusted_file::read(&path, LEN_MAX as u64)?;
        temp_file::private_dir(&path).map_err(wrong)?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o600).custom_flags(flags).open(&path).map_err(wrong)?;
        trusted_file::check(&path, &file.metadata().map_err(wrong)?)?;
        lock_within(&file, WAIT).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                let text = format!("another call, or a tool of one, holds {}", path.display());
                Error::new(Kind::Refused, text).hint("see how far it is: zeta install status")
            }
            errno => wrong(errno.into()),
        })?;
        // Another call may have put it aside, or made it anew, before this one had the lock.
        let is_here = |meta: Metadata| (meta.dev(), meta.ino());
        let here = std::fs::metadata(&path).map(is_here).ok();
        if here != Some(is_here(file.metadata().map_err(wrong)?)) {
            let text = format!("another call put {} aside just now", path.display());
            return Err(Error::new(Kind::Refused, text).hint("look at it: zeta install status"));
        }
        // A tool that goes on although its caller was killed keeps the lock, so that no other call
        // works beside it.
        fcntl_setfd(&file, FdFlags::empty()).map_err(|errno| wrong(errno.into()))?;
        let mut bytes = Vec::new();
        (&file).take(LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
        if bytes.len() > LEN_MAX {
            return Err(unread(&path, &ErrorKind::FileTooLarge.into()));
        }
        let journal = Journal::read(&bytes);
        // What a call that was cut off left of a line is none. Damage stays as it is.
        if journal.damaged.is_none() {
            let whole = whole_len(&bytes) as u64;
            file.set_len(whole).map_err(wrong)?;
            file.seek(SeekFrom::Start(whole)).map_err(wrong)?;
        }
        Ok(Writer { path, file, journal })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// It is not on the disk, so what it announces must not be done.
    pub fn append(&mut self, event: Event) -> Result<()> {
        let event = event.shortened();
        let line = self.journal.render(&format_utc(host::wall_us()), &event);
        let len = self.file.metadata().map_or(0, |meta| meta.len() as usize);
        let written = match len + line.len() > LEN_MAX {
            true => Err(ErrorKind::FileTooLarge.into()),
            false => self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()),
        };
        written.map_err(|error| {
            let text =
                format!("cannot write {}, so nothing more is done: {error}", self.path.display());
            Error::new(Kind::Unsafe, text)
        })?;
        self.journal.add(event);
        Ok(())
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        read_plain(&self.path, LEN_MAX as u64).map_err(|error| unread(&self.path, &error))
    }
}

/// Puts a journal aside, so that a run begins anew; returns its new name.
///
/// # Errors
/// There is none, another process has it, or it cannot be renamed.
pub fn put_aside(state: &Path) -> Result<PathBuf> {
    let path = state.join(FILE);
    if !path.exists() {
        let text = format!("{} is not there, so there is nothing to put aside", path.display());
        return Err(Error::new(Kind::NotFound, text));
    }
    let writer = Writer::open(state)?;
    let name = format!("{FILE}.{}", format_utc(host::wall_us()).replace(':', ""));
    let aside = state.join(name);
    std::fs::rename(&path, &aside).map_err(|error| unread(&path, &error))?;
    drop(writer);
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waited_for_a_journal_that_was_put_aside_does_not_write_it() {
        let name = format!("zeta-install-aside-{}", host::random_hex().unwrap());
        let state = std::fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        let begun = |n: u8| Event::Begun { run: format!("{n:032x}"), manifest: String::new() };
        let mut first = Writer::open(&state).unwrap();
        first.append(begun(1)).unwrap();
        let waiting = {
            let state = state.clone();
            std::thread::spawn(move || Writer::open(&state))
        };
        // Long enough to wait for the lock; a call that comes later is a good one, too.
        std::thread::sleep(Duration::from_millis(300));
        std::fs::rename(state.join(FILE), state.join("aside")).unwrap();
        drop(first);
        match waiting.join().unwrap() {
            Err(error) => assert_eq!(error.kind, Kind::Refused, "{error}"),
            Ok(mut second) => {
                assert!(second.journal.run.is_empty());
                second.append(begun(2)).unwrap();
                assert!(!read(&state).unwrap().run.is_empty());
            }
        }
        let aside = std::fs::read(state.join("aside")).unwrap();
        assert_eq!(Journal::read(&aside).lines, 1);
        std::fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn what_a_program_said_has_an_end_in_a_line() {
        let name = format!("zeta-install-long-{}", host::random_hex().unwrap());
        let state = std::fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        let mut writer = Writer::open(&state).unwrap();
        writer.append(Event::Begun { run: "0a".repeat(16), manifest: String::new() }).unwrap();
        for _ in 0..3 {
            let found = "\u{fffd}".repeat(LEN_MAX / 3);
            let check = "cache".to_owned();
            writer.append(Event::Checked { check, found, overridden: None }).unwrap();
        }
        assert_eq!((read(&state).unwrap().lines, read(&state).unwrap().damaged), (4, None));
        let disks = vec![zeta_core::install::journal::Chosen {
            is_boot: true,
            path: "x".repeat(LEN_MAX),
            id: zeta_core::install::DiskId::default(),
            signatures: Vec::new(),
            prior: None,
        }];
        // What would make it too long to be read is not written.
        assert!(writer.append(Event::Chosen { disks }).is_err());
        assert_eq!(read(&state).unwrap().lines, 4);
        std::fs::remove_dir_all(state).unwrap();
    }
}
