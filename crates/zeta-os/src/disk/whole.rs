//! A whole disk that is open: alone, and past the cache in both directions.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    FileType, Mode, OFlags, SeekFrom, fdatasync, fstat, ftruncate, ioctl_blksszget, open, seek,
};
use rustix::io::{Errno, pread, pwrite};

use super::block::{self, Block};
use super::identity::Identity;
use super::sequence;
use crate::error::{Error, Kind, Result};

/// The beginning of a buffer and of each part of a disk is a multiple of this, in bytes. No logical
/// block is longer.
pub const ALIGNMENT: usize = 4096;

/// No other program has the device, and nothing is waited for.
const ALONE: OFlags =
    OFlags::EXCL.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// Bytes that the kernel can give to a disk without copying them.
#[derive(Debug)]
pub struct Aligned {
    room: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Aligned {
    /// So many zeros; their number is rounded up to a whole part of a disk.
    pub fn zeroed(len: usize) -> Aligned {
        let len = len.next_multiple_of(ALIGNMENT);
        let room = vec![0_u8; len + ALIGNMENT];
        let begin = room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Aligned { room, begin, len }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.room.get(self.begin..self.begin + self.len).unwrap_or_default()
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(self.begin..self.begin + self.len).unwrap_or_default()
    }
}

/// A disk. While it is open, no other program can mount it or open it alone.
#[derive(Debug)]
pub struct Disk {
    fd: OwnedFd,
    path: PathBuf,
}

impl Disk {
    /// Opens a disk alone, for reading and writing past the cache. Nothing is written.
    ///
    /// # Errors
    /// It is in use, also by a mount that this process cannot see, or is no block device.
    pub fn open(path: &Path) -> Result<Disk> {
        Disk::open_as(path, OFlags::RDWR | OFlags::DIRECT)
    }

    /// The identity of a disk, or of the disk that a partition is of. It is opened alone, and only
    /// to be read: udev looks again at each disk that was open for writing.
    ///
    /// # Errors
    /// It is in use, or is no block device.
    pub fn identity_at(path: &Path) -> Result<Identity> {
        let disk = Disk::open_as(path, OFlags::RDONLY)?;
        let found = fstat(&disk.fd).map_err(|errno| disk.failed("cannot look at", errno))?;
        let device = block::of_number(block::number(found.st_rdev));
        match device.and_then(|device| device.parent()) {
            Some(whole) => Identity::of(&whole).ok_or_else(|| gone(path)),
            None => disk.identity(),
        }
    }

    fn open_as(path: &Path, flags: OFlags) -> Result<Disk> {
        let fd = open(path, flags | ALONE, Mode::empty()).map_err(|errno| match errno {
            Errno::BUSY => {
                let text = format!("{} is in use, maybe by a mount elsewhere", path.display());
                Error::new(Kind::Refused, text).hint("end what uses it; nothing was written")
            }
            Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::NOMEDIUM => gone(path),
            Errno::ROFS => Error::new(Kind::Refused, format!("{} is read-only", path.display()))
                .hint("a stick may have a switch for that; nothing was written"),
            Errno::ACCESS | Errno::PERM => {
                let error = Error::fault("cannot open", path, errno);
                Error { kind: Kind::Unsafe, ..error }.hint("only root may write to a disk")
            }
            errno => Error::fault("cannot open", path, errno),
        })?;
        let disk = Disk { fd, path: path.to_owned() };
        let found = fstat(&disk.fd).map_err(|errno| disk.failed("cannot look at", errno))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
            let text = format!("{} is no block device", path.display());
            return Err(Error::new(Kind::Refused, text));
        }
        Ok(disk)
    }

    /// Returns whether a disk could be opened alone at this moment, also to be read. It is not kept
    /// open.
    ///
    /// # Errors
    /// It cannot be opened at all; [`Kind::Unsafe`] if only another user can.
    pub fn is_free(path: &Path) -> Result<bool> {
        match open(path, OFlags::RDONLY | ALONE, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                let error = Error::fault("cannot open", path, errno);
                Err(Error { kind: Kind::Unsafe, ..error })
            }
            Err(errno) => Err(Error::fault("cannot open", path, errno)),
        }
    }

    /// Makes a new file of this length, which stands for a disk.
    ///
    /// # Errors
    /// There is something already, or it cannot be made.
    pub fn create(path: &Path, size: u64) -> Result<Disk> {
        let failed = |doing, errno| match errno {
            Errno::EXIST => {
                Error::new(Kind::Refused, format!("{} is there already", path.display()))
                    .hint("a file is never replaced: give another name")
            }
            errno => Error::io(doing, path, errno),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = open(path, flags, mode).map_err(|errno| failed("cannot make", errno))?;
        ftruncate(&fd, size).map_err(|errno| failed("cannot lengthen", errno))?;
        Ok(Disk { fd, path: path.to_owned() })
    }

    /// Its identity, by the descriptor and not by the name.
    ///
    /// # Errors
    /// It is gone, or cannot say.
    pub fn identity(&self) -> Result<Identity> {
        let failed = |errno| self.failed("cannot look at", errno);
        let found = fstat(&self.fd).map_err(failed)?;
        let size = seek(&self.fd, SeekFrom::End(0)).map_err(failed)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
            return Ok(Identity { size, ..Identity::default() });
        }
        let number = block::number(found.st_rdev);
        let device: Option<Block> = block::of_number(number);
        let known = device.as_ref().and_then(Identity::of).ok_or_else(|| gone(&self.path))?;
        let diskseq = sequence::of(self.fd.as_fd()).map_err(failed)?;
        Ok(Identity { number, diskseq, size, ..known })
    }

    /// The length of its logical blocks, in bytes.
    ///
    /// # Errors
    /// It cannot say, or they are longer than [`ALIGNMENT`].
    pub fn block_len(&self) -> Result<usize> {
        let len = match ioctl_blksszget(&self.fd) {
            // A file has no blocks of its own.
            Err(Errno::NOTTY) => 512,
            len => len.map_err(|errno| self.failed("cannot ask", errno))? as usize,
        };
        match len {
            len if len > 0 && ALIGNMENT.is_multiple_of(len) => Ok(len),
            len => {
                let text = format!("{} has blocks of {len} bytes", self.path.display());
                Err(Error::new(Kind::Refused, text))
            }
        }
    }

    /// Writes at a place. Both, and the length, are multiples of its blocks.
    ///
    /// # Errors
    /// The disk does not take them: it is gone, full, or broken.
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, offset) {
                Ok(0) => return Err(self.failed("cannot write", Errno::NOSPC)),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("cannot write", errno)),
            }
        }
        Ok(())
    }

    /// Reads what the disk itself has at a place, and no cache.
    ///
    /// # Errors
    /// It does not give them.
    pub fn read_at(&self, mut bytes: &mut [u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match pread(&self.fd, &mut *bytes, offset) {
                Ok(0) => return Err(self.failed("cannot read back", Errno::IO)),
                Ok(read) => {
                    bytes = bytes.get_mut(read..).unwrap_or_default();
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("cannot read back", errno)),
            }
        }
        Ok(())
    }

    /// Returns when all that was written is on the medium.
    ///
    /// # Errors
    /// The disk could not keep it.
    pub fn flush(&self) -> Result<()> {
        fdatasync(&self.fd).map_err(|errno| self.failed("cannot flush", errno))
    }

    fn failed(&self, doing: &str, errno: Errno) -> Error {
        let reason = std::io::Error::from_raw_os_error(errno.raw_os_error());
        Error::new(Kind::Fault, format!("{doing} {}: {reason}", self.path.display()))
            .hint("the disk was pulled, or is broken: see 'dmesg'")
    }
}

fn gone(path: &Path) -> Error {
    Error::new(Kind::Refused, format!("{} is gone", path.display()))
        .hint("plug it in, and make a new plan")
}
