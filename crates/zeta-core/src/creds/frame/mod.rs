//! The blob on the stick, seen from outside: which format, which parts, and what is refused before
//! any work is done for it. Nothing here allocates, and nothing here is secret.
//!
//! All numbers are little endian. The pictures are in `docs/credential-format.md`.

pub mod v1;
pub mod v2;

/// No payload is longer, in bytes: credentials are a few kilobytes.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// No blob is longer, in bytes, so no reader needs more of a file than this.
pub const BLOB_MAX: usize = v2::FIXED_LEN + PAYLOAD_MAX;

/// Bytes of a nonce of AES-GCM.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag of AES-GCM.
pub const TAG_LEN: usize = 16;
/// Bytes of a salt.
pub const SALT_LEN: usize = 32;

/// Which of the two formats a blob has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The original's, which the original can open.
    Zcv1,
    /// Ours: all of its header is authenticated, and the length tells little.
    Zcv2,
}

impl Format {
    /// The word for people and flags.
    pub fn word(self) -> &'static str {
        match self {
            Format::Zcv1 => "zcv1",
            Format::Zcv2 => "zcv2",
        }
    }
}

/// Why some bytes are not a blob. Everything in here was readable without a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It does not begin as a blob of either format does.
    #[error("it begins with neither ZCV1 nor ZCV2")]
    Magic,
    /// It ends too soon.
    #[error("it has {len} bytes, and the shortest has {least}")]
    TooShort {
        /// Bytes that there are.
        len: usize,
        /// Bytes of the shortest blob of this format.
        least: usize,
    },
    /// What it says about its length is not so: it was cut, or something was put behind it.
    #[error("its {part} does not fit: it was cut off, or something stands behind it")]
    Length {
        /// Which part.
        part: &'static str,
    },
    /// A later version, or a method that is not known here.
    #[error("its {what} is {found}, which is not known here")]
    Unknown {
        /// Which byte.
        what: &'static str,
        /// What it says.
        found: u8,
    },
    /// It asks for more (or less) work or memory than is ever done for a blob.
    #[error("its {what} is {found}, which is out of bounds")]
    Bounds {
        /// Which number.
        what: &'static str,
        /// What it says.
        found: u64,
    },
}

/// A blob of either format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The original's.
    V1(v1::Frame<'a>),
    /// Ours.
    V2(v2::Frame<'a>),
}

impl<'a> Frame<'a> {
    /// Takes a blob apart. Whatever is accepted is written the same by [`Frame::render`], byte for
    /// byte.
    pub fn parse(blob: &'a [u8]) -> Result<Frame<'a>, BadFrame> {
        match blob.get(..4) {
            Some(magic) if magic == v1::MAGIC => v1::Frame::parse(blob).map(Frame::V1),
            Some(magic) if magic == v2::MAGIC => v2::Frame::parse(blob).map(Frame::V2),
            Some(_) => Err(BadFrame::Magic),
            None => Err(BadFrame::TooShort { len: blob.len(), least: v1::FIXED_LEN }),
        }
    }

    /// The blob again.
    pub fn render(&self) -> Vec<u8> {
        match self {
            Frame::V1(frame) => frame.render(),
            Frame::V2(frame) => frame.render(),
        }
    }

    /// Which format it has.
    pub fn format(&self) -> Format {
        match self {
            Frame::V1(_) => Format::Zcv1,
            Frame::V2(_) => Format::Zcv2,
        }
    }
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// The next `len` bytes, which are called `part`.
    fn take(&mut self, len: usize, part: &'static str) -> Result<&'a [u8], BadFrame> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(BadFrame::Length { part })?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self, part: &'static str) -> Result<&'a [u8; N], BadFrame> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadFrame::Length { part })?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, BadFrame> {
        self.array(part).map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, BadFrame> {
        self.array(part).map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, BadFrame> {
        self.array(part).map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn byte(&mut self, part: &'static str) -> Result<u8, BadFrame> {
        self.array(part).map(|[byte]| *byte)
    }

    /// Nothing may be left.
    fn end(self, part: &'static str) -> Result<(), BadFrame> {
        if self.0.is_empty() { Ok(()) } else { Err(BadFrame::Length { part }) }
    }
}

#[cfg(test)]
mod tests;
