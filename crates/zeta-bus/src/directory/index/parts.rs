//! The files of the index: read as they are, written in place.

use std::cell::OnceCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::directory::{Bus, open_file};
use zeta_state::directory::trusted_dir::Sharing;

pub(super) const NAMES: &str = "names";
pub(super) const PACK: &str = "pack";
const INDEX: &str = "index";
const STATE: &str = "state";

/// Most bytes of a file of the index that are read.
const OWN_MAX: u64 = 1 << 30;
/// More bytes than the line of `state` has.
const STATE_MAX: u64 = 1 << 10;

/// The directory of the index, opened.
#[derive(Debug)]
pub(super) struct Parts {
    dir: OwnedFd,
    sharing: Sharing,
    /// The pack, once it was read.
    pack: OnceCell<Option<OwnedFd>>,
}

impl Parts {
    /// Opens the directory of the index; `None` where it cannot be had, as on a full disk.
    pub(super) fn open(bus: &Bus) -> Option<Parts> {
        let dir = bus.inner(INDEX).ok()?;
        Some(Parts { dir, sharing: bus.base.sharing, pack: OnceCell::new() })
    }

    /// Reads a part of a file, all of it; `None` if it is not there.
    pub(super) fn read(&self, name: &str, from: u64, len: u64) -> Option<Vec<u8>> {
        let own;
        let fd = match name {
            PACK => self.pack.get_or_init(|| self.open_to_read(name)).as_ref()?,
            _ => {
                own = self.open_to_read(name)?;
                &own
            }
        };
        let bytes = read_at(fd, from, len)?;
        (bytes.len() as u64 == len).then_some(bytes)
    }

    pub(super) fn read_state(&self) -> String {
        let bytes = self.open_to_read(STATE).and_then(|fd| read_at(&fd, 0, STATE_MAX));
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    }

    pub(super) fn write_state(&self, line: &str) -> rustix::io::Result<()> {
        self.write(STATE, 0, line.as_bytes())
    }

    pub(super) fn write(&self, name: &str, at: u64, bytes: &[u8]) -> rustix::io::Result<()> {
        // A FIFO without a reader is an error and no wait inside the index.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let fd = open_file(self.dir.as_fd(), name, flags, self.sharing)?;
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            match rustix::io::pwrite(&fd, rest, at) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(len) => {
                    at += len as u64;
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn open_to_read(&self, name: &str) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat(&self.dir, name, flags, Mode::empty()).ok()
    }
}

/// Reads at most `len` bytes from a place on.
fn read_at(fd: &OwnedFd, from: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len.min(OWN_MAX)).ok()?];
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(fd, rest, from + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(got);
    Some(bytes)
}
