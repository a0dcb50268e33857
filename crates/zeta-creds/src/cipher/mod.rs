//! The cipher round a bundle of credentials: sealed to a passphrase and to the stick it lies on.
//!
//! There are two formats: the original's, which both programs can read, and zeta's own. What may be
//! opened is decided by `zeta_core::creds::frame` before any work is done; the passphrase is then
//! stretched exactly once, and nothing of the content is seen before it was authenticated. The
//! formats are drawn in `docs/credential-format.md`.

pub mod kdf;

mod v1;
mod v2;

use std::fmt;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use zeta_core::creds::frame::v2::LOG2_N;
use zeta_core::creds::frame::{BadFrame, Format, Frame, NONCE_LEN, PAYLOAD_MAX, SALT_LEN};

use kdf::{Key, NoMemory, Work};

/// The key derivation: [`kdf::stretch`], or in a test a function that counts.
pub type Stretch<'a> = dyn FnMut(&Work) -> Result<Key, NoMemory> + 'a;

/// The passphrase and the stick that a blob is sealed to. Both are taken as they are: case and
/// blanks matter.
#[derive(Clone, Copy)]
pub struct KeyMaterial<'a> {
    /// The UUID of the stick's file system, or what stands for it.
    pub binding: &'a str,
    /// The passphrase; not empty.
    pub passphrase: &'a str,
}

impl fmt::Debug for KeyMaterial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial")
    }
}

/// Random bytes of one blob. Never used for a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonces {
    /// Makes the keys of this blob its own.
    pub salt: [u8; SALT_LEN],
    /// The nonce of the cipher.
    pub nonce: [u8; NONCE_LEN],
}

impl Nonces {
    /// Draws them from the kernel, which may fail only where there is no random source.
    pub fn draw() -> Result<Nonces, Errno> {
        let mut bytes = [0; SALT_LEN + NONCE_LEN];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            done += match getrandom(rest, GetRandomFlags::empty()) {
                Err(Errno::INTR) => 0,
                other => other?,
            };
        }
        let mut fresh = Nonces { salt: [0; SALT_LEN], nonce: [0; NONCE_LEN] };
        let places = fresh.salt.iter_mut().chain(&mut fresh.nonce);
        places.zip(bytes).for_each(|(place, byte)| *place = byte);
        Ok(fresh)
    }
}

/// The content of a blob that was opened. Cleared when dropped.
#[derive(PartialEq, Eq)]
pub struct Opened {
    /// The bundle, still as text.
    pub content: Zeroizing<Vec<u8>>,
    /// The format of the blob.
    pub format: Format,
    /// The number of the save on its stick; the original does not count them.
    pub generation: Option<u64>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, generation {:?})", self.format.word(), self.generation)
    }
}

/// The reason why a blob was not opened. None of these reveals anything of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// No blob, or one that was cut; seen without the passphrase.
    Frame(BadFrame),
    /// A blob that asks for work or memory that is never given; seen without the passphrase.
    TooCostly(BadFrame),
    /// A wrong passphrase, or another stick. In the original's format damage looks the same; in
    /// zeta's own the header may also have been changed.
    NoMatch(Format),
    /// The passphrase and the stick are right, and the payload is not what was sealed. Of the
    /// original's format: parts of a wrong length.
    Damaged,
    /// The machine has not the memory that the passphrase costs.
    NoMemory(NoMemory),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Frame(why) => write!(f, "this is no blob of credentials: {why}"),
            OpenError::TooCostly(why) => write!(f, "this blob is not opened: {why}"),
            OpenError::NoMatch(Format::Zcv1) => {
                f.write_str("wrong passphrase or stick, or a damaged blob")
            }
            OpenError::NoMatch(Format::Zcv2) => f.write_str("wrong passphrase or stick"),
            OpenError::Damaged => f.write_str("the blob is damaged"),
            OpenError::NoMemory(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<BadFrame> for OpenError {
    fn from(why: BadFrame) -> OpenError {
        match why {
            BadFrame::Bounds { .. } => OpenError::TooCostly(why),
            _ => OpenError::Frame(why),
        }
    }
}

impl From<NoMemory> for OpenError {
    fn from(why: NoMemory) -> OpenError {
        OpenError::NoMemory(why)
    }
}

/// The reason why a bundle was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The bundle is longer than any that would be opened.
    TooLong,
    /// The machine has not the memory that the passphrase costs.
    NoMemory(NoMemory),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::TooLong => {
                write!(f, "the credentials are longer than a blob can be, {PAYLOAD_MAX} bytes")
            }
            SealError::NoMemory(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SealError {}

impl From<NoMemory> for SealError {
    fn from(why: NoMemory) -> SealError {
        SealError::NoMemory(why)
    }
}

/// A name for what a blob is bound to, which does not reveal it: a blob may be bound to the content
/// of a key file.
pub fn name_of(binding: &str) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(b"zeta-creds-seen-v1\0");
    hash.update(binding.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seals a bundle at the usual cost. The original's format has no place for the generation.
pub fn seal(
    format: Format,
    content: &[u8],
    lock: &KeyMaterial,
    generation: u64,
    fresh: &Nonces,
) -> Result<Vec<u8>, SealError> {
    seal_with(&mut kdf::stretch, (format, LOG2_N), content, lock, generation, fresh)
}

/// Seals as [`seal`] does, with another stretching, and in zeta's format at another cost (log2 of
/// N).
pub fn seal_with(
    stretch: &mut Stretch,
    (format, log2_n): (Format, u8),
    content: &[u8],
    lock: &KeyMaterial,
    generation: u64,
    fresh: &Nonces,
) -> Result<Vec<u8>, SealError> {
    match format {
        Format::Zcv1 => v1::seal(stretch, content, lock, fresh),
        Format::Zcv2 => v2::seal(stretch, content, lock, log2_n, generation, fresh),
    }
}

/// Opens a blob that is sealed to one of several bindings, and tells which one it was. The
/// passphrase is stretched once for all of them; the MAC decides.
pub fn open_any(
    blob: &[u8],
    bindings: &[&str],
    passphrase: &str,
) -> Result<(Opened, usize), OpenError> {
    let mut known: Option<Key> = None;
    let mut stretch = |work: &Work| match &known {
        Some(key) => Ok(key.clone()),
        None => kdf::stretch(work).inspect(|key| known = Some(key.clone())),
    };
    let mut failed = OpenError::Damaged;
    for (at, binding) in bindings.iter().enumerate() {
        match open_with(&mut stretch, blob, &KeyMaterial { binding, passphrase }) {
            Err(why @ OpenError::NoMatch(_)) => failed = why,
            opened => return opened.map(|opened| (opened, at)),
        }
    }
    Err(failed)
}

/// Opens a blob of either format.
pub fn open(blob: &[u8], lock: &KeyMaterial) -> Result<Opened, OpenError> {
    open_with(&mut kdf::stretch, blob, lock)
}

/// Opens as [`open`] does, with another stretching: it is called once, and not at all for a blob
/// that is refused by its frame.
pub fn open_with(
    stretch: &mut Stretch,
    blob: &[u8],
    lock: &KeyMaterial,
) -> Result<Opened, OpenError> {
    match Frame::parse(blob)? {
        Frame::V1(frame) => v1::open(stretch, &frame, lock),
        Frame::V2(frame) => v2::open(stretch, &frame, lock),
    }
}
