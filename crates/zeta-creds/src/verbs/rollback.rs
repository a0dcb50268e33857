//! The save of each stick that was seen last on this machine, so that an older one is noticed.
//!
//! The numbers lie in a file of this machine: one that was installed a moment ago has seen nothing.
//! A lock beside the file keeps two calls from losing each other's line, and from giving one number
//! to two blobs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::blob;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::{host, temp_file};

/// Sticks that are remembered; the oldest is forgotten first.
const STICKS: usize = 64;
/// The file is not longer, in bytes.
const FILE_MAX: usize = 64 << 10;

/// What this machine has seen. No other call changes it while this lives.
#[derive(Debug)]
pub struct Seen {
    path: Option<PathBuf>,
    _lock: Option<OwnedFd>,
}

/// The path of the file: in `$STATE_DIRECTORY` for a service, in `/var/lib/zeta-creds` for root,
/// else below the home.
fn place() -> Option<PathBuf> {
    let dir = match host::state_directory() {
        Some(dir) => dir,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/zeta-creds"),
        None => host::home()?.join(".local/state/zeta"),
    };
    Some(dir.join("creds-seen"))
}

/// Locks what was seen, to read it and to remember more.
///
/// # Errors
/// 6: another call holds it for `patience`. Where no lock can be made, nothing can be remembered
/// either, and the attempt to do so says why.
pub fn open(patience: Duration) -> Result<Seen> {
    let Some(path) = place() else { return Ok(Seen { path: None, _lock: None }) };
    // A file of its own, and not the directory: on NFS a lock needs a file that is open to write.
    let beside = path.with_extension("lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = temp_file::private_dir(&path).ok();
    let lock = made.and_then(|()| openat(CWD, &beside, flags, Mode::from_raw_mode(0o600)).ok());
    match lock.as_ref().map(|lock| lock_within(lock, patience)) {
        Some(Err(Errno::AGAIN)) => {
            let seconds = patience.as_secs();
            let text = format!("{}: another call holds it since {seconds} s", beside.display());
            Err(Error::new(Kind::Busy, text).hint("see who: lslocks"))
        }
        _ => Ok(Seen { path: Some(path), _lock: lock }),
    }
}

/// The last generation that was seen of a stick.
///
/// # Errors
/// The file is there and cannot be read.
pub fn last(stick: &str) -> Result<Option<u64>> {
    Seen { path: place(), _lock: None }.last(stick)
}

impl Seen {
    /// The lines of the file, `<generation> <stick>`, where a stick is the hash of what it is bound
    /// to: that may be a key. What is no such line is passed over.
    fn lines(&self) -> Result<Vec<(u64, String)>> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let bytes = blob::get(path, FILE_MAX).map_err(|error| {
            error.hint(
                "it says which save of a stick was seen last; without it, an older one counts",
            )
        })?;
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
        let line = |line: &str| {
            let (generation, stick) = line.split_once(' ')?;
            Some((generation.parse().ok()?, stick.to_owned()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// As [`last`].
    pub fn last(&self, stick: &str) -> Result<Option<u64>> {
        Ok(self.lines()?.into_iter().filter(|(_, known)| known == stick).map(|(g, _)| g).max())
    }

    /// Remembers a generation; a lower one than before only if it was accepted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(&self, stick: &str, generation: u64, accepted: bool) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut known = self.lines()?;
        let before = known.iter().find(|(_, known)| known == stick).map_or(0, |(last, _)| *last);
        if before == generation || before > generation && !accepted {
            return Ok(());
        }
        known.retain(|(_, other)| other != stick);
        known.push((generation, stick.to_owned()));
        let known = known.get(known.len().saturating_sub(STICKS)..).unwrap_or_default();
        let text: String = known.iter().map(|(g, stick)| format!("{g} {stick}\n")).collect();
        temp_file::private_dir(path).map_err(|error| {
            let dir = path.parent().unwrap_or(path).display();
            Error::new(Kind::Fault, format!("cannot create {dir}: {error}"))
        })?;
        blob::put(path, text.as_bytes())
    }
}
