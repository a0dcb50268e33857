//! An image that is to be written: its length, its digest, and where its EFI partition is.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeta_core::fat::esp::{self, Esp};
use zeta_core::fat::{FatError, SECTOR};
use zeta_core::flash::order::HEAD;
use zeta_core::stick::sums;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;

use crate::fingerprint::Fingerprint;
use crate::provenance::{self, Answer, Asked, Hashing, judge};
use crate::target::Row;

/// How much is read at once, in bytes.
pub const PART: usize = 4 << 20;
/// The longest EFI partition that can be changed, in bytes.
pub const ESP_MAX: u64 = 32 << 20;
/// The longest file of digests, in bytes.
const SUMS_MAX: u64 = 1 << 20;

/// What a person says about the digest of an image.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// Nothing.
    Nothing,
    /// The digest itself.
    Digest(&'a str),
    /// A file of digests, as `sha256sum` writes it.
    Sums(&'a Path),
}

/// An image. It stays open: its name may be another file later.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
    /// Its length, in bytes.
    pub len: u64,
    /// Its digest, in small hex digits.
    pub sha256: String,
    /// The digest is the one that its publisher says.
    pub is_as_published: bool,
    /// Whose it is. It was not refused.
    pub provenance: Answer,
    /// Its EFI partition, or why there is none.
    pub esp: std::result::Result<Esp, FatError>,
    /// What of the partition was read for the digest; a second read could see other bytes.
    partition: Vec<u8>,
    /// The parts that were read for the digest.
    fingerprint: Fingerprint,
}

impl Image {
    /// Refuses a disk that is a loop device over this very file: each byte that is written would
    /// change what is read.
    ///
    /// # Errors
    /// It is one.
    pub fn is_apart(&self, disk: &Row) -> Result<()> {
        let file = disk.identity.as_ref().and_then(|known| known.serial.strip_prefix("loop:"));
        let number = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let shown = file.and_then(|file| std::fs::metadata(file).ok()).map(number);
        match shown.is_some() && shown == self.file.metadata().ok().map(number) {
            true => {
                let text =
                    format!("{} is the file that {} shows", self.path.display(), disk.shown());
                Err(Error::new(Kind::Refused, text).hint("give a copy of the image"))
            }
            false => Ok(()),
        }
    }

    /// Opens an image and reads all of it. `tell` is given how many bytes were read, and how many
    /// there are.
    ///
    /// # Errors
    /// It is no file, is empty, cannot be read, is not the one that was published, or is not by the
    /// one who was asked for.
    pub fn open(
        path: &Path,
        expected: Expected<'_>,
        signer: &Asked,
        tell: &mut dyn FnMut(u64, u64),
    ) -> Result<Image> {
        let cannot = |error: std::io::Error| unread(path, &error);
        let mut options = File::options();
        // Opening a pipe does not wait for its other end.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = options.read(true).custom_flags(flags).open(path).map_err(cannot)?;
        let found = file.metadata().map_err(cannot)?;
        if !found.is_file() || found.len() == 0 {
            let text = format!("{}: it is no file with an image", path.display());
            return Err(Error::usage(text));
        }
        let len = found.len();
        let (mut hash, mut part) = (Hashing::default(), vec![0; PART]);
        let (mut done, mut esp, mut partition) = (0, Err(FatError::Short), Vec::new());
        let mut fingerprint = Fingerprint::default();
        while done < len {
            // In the parts in which it is written.
            let most = if done == 0 { HEAD } else { PART as u64 };
            let room = part.get_mut(..most.min(len - done) as usize).unwrap_or_default();
            exact(&file, path, room, done)?;
            if done == 0 {
                esp = locate(room, len);
            }
            hash.add(room);
            fingerprint.add(room);
            keep(&esp, room, done, &mut partition);
            done += room.len() as u64;
            tell(done, len);
        }
        let digest = hash.end();
        let sha256 = digest.hex();
        let is_as_published = check(path, &sha256, expected)?;
        let provenance = judge(&digest, signer);
        if let Answer::Refused { why } = &provenance {
            return Err(provenance::report::error(&path.display().to_string(), why));
        }
        let path = path.to_owned();
        Ok(Image {
            file,
            path,
            len,
            sha256,
            is_as_published,
            provenance,
            esp,
            partition,
            fingerprint,
        })
    }

    /// Returns whether a whole part has the bytes that were read for the digest: the first [`HEAD`]
    /// bytes, or [`PART`] bytes behind them, or what is there of these.
    pub fn is_same(&self, bytes: &[u8], offset: u64) -> bool {
        let at = offset.checked_sub(HEAD).map_or(0, |behind| 1 + behind / PART as u64);
        self.fingerprint.is_same(bytes, at as usize)
    }

    /// Reads a whole part, as of [`Self::is_same`], at its place.
    ///
    /// # Errors
    /// As [`Self::read_at`], or it is not what was read for the digest.
    pub fn read_same(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.read_at(bytes, offset)?;
        match self.is_same(bytes, offset) {
            true => Ok(()),
            false => {
                let text = format!("{} changed while it was written", self.path.display());
                Err(Error::new(Kind::Fault, text))
            }
        }
    }

    /// Reads at a place; all bytes are in the image.
    ///
    /// # Errors
    /// The image was cut meanwhile, or cannot be read.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        exact(&self.file, &self.path, bytes, offset)
    }

    /// Takes what was read of its EFI partition; nothing of one that is too long.
    pub fn take_partition(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partition)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The EFI partition of an image of this length, by its first bytes.
fn locate(head: &[u8], len: u64) -> std::result::Result<Esp, FatError> {
    esp::locate(head.get(..SECTOR).unwrap_or(head)).and_then(|esp| {
        match esp.offset() + esp.len() > len {
            true => Err(FatError::EspBeyondEnd),
            false => Ok(esp),
        }
    })
}

/// Adds those bytes of a part of the image that are in the partition.
fn keep(esp: &std::result::Result<Esp, FatError>, part: &[u8], at: u64, partition: &mut Vec<u8>) {
    let Some(esp) = esp.as_ref().ok().filter(|esp| esp.len() <= ESP_MAX) else { return };
    let end = at + part.len() as u64;
    let from = esp.offset().clamp(at, end) - at;
    let to = (esp.offset() + esp.len()).clamp(at, end) - at;
    partition.extend_from_slice(part.get(from as usize..to as usize).unwrap_or_default());
}

fn exact(file: &File, path: &Path, bytes: &mut [u8], offset: u64) -> Result<()> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            let text = format!("{}: it became shorter while it was read", path.display());
            Error::new(Kind::Fault, text)
        }
        _ => unread(path, &error),
    })
}

fn unread(path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Kind::Usage,
        _ => Kind::Fault,
    };
    Error::new(kind, format!("cannot read {}: {error}", path.display()))
}

/// Compares a digest with the one that was published; returns whether there was one.
fn check(path: &Path, sha256: &str, expected: Expected<'_>) -> Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = match expected {
        Expected::Nothing => return Ok(false),
        Expected::Digest(digest) => format!("{}  {name}\n", digest.trim()),
        Expected::Sums(sums) => {
            let bytes = read_plain(sums, SUMS_MAX).map_err(|error| unread(sums, &error))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    let kind = |error: &sums::SumError| match error {
        sums::SumError::Differs { .. } => Kind::Refused,
        _ => Kind::Usage,
    };
    let checked = sums::check(&text, &name, sha256);
    checked.map(|_| true).map_err(|error| Error::new(kind(&error), error.to_string()))
}
