//! `ZCV1`, the original's frame, byte for byte: what it accepts is accepted here.
//!
//! Salt, nonce and tag carry their lengths, and the frame does not check them: the code that opens
//! the blob refuses wrong ones. The four reserved bytes are neither checked nor authenticated.

use super::{BadFrame, NONCE_LEN, PAYLOAD_MAX, Rest, SALT_LEN, TAG_LEN};

/// How it begins.
pub const MAGIC: &[u8; 4] = b"ZCV1";

/// Bytes around an empty payload; no blob is shorter.
pub const FIXED_LEN: usize = 4 + 4 + 2 + SALT_LEN + 2 + NONCE_LEN + 2 + TAG_LEN + 4;

/// The parts of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Zero when it was made; any bytes when it is read.
    pub reserved: [u8; 4],
    /// 32 bytes, or it cannot be opened.
    pub salt: &'a [u8],
    /// 12 bytes, or it cannot be opened.
    pub nonce: &'a [u8],
    /// 16 bytes, or it cannot be opened.
    pub tag: &'a [u8],
    /// As long as the plaintext.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a blob apart.
    pub fn parse(blob: &'a [u8]) -> Result<Frame<'a>, BadFrame> {
        if blob.len() < FIXED_LEN {
            return Err(BadFrame::TooShort { len: blob.len(), least: FIXED_LEN });
        }
        let mut rest = Rest(blob);
        if rest.array("magic")? != MAGIC {
            return Err(BadFrame::Magic);
        }
        let reserved = *rest.array("reserved bytes")?;
        let (part, len) = ("salt", rest.u16("salt length")?);
        let salt = rest.take(len.into(), part)?;
        let (part, len) = ("nonce", rest.u16("nonce length")?);
        let nonce = rest.take(len.into(), part)?;
        let (part, len) = ("tag", rest.u16("tag length")?);
        let tag = rest.take(len.into(), part)?;
        let (part, len) = ("payload", rest.u32("payload length")?);
        let len = usize::try_from(len).map_err(|_| BadFrame::Length { part })?;
        let payload = rest.take(len, part)?;
        rest.end(part)?;
        if len > PAYLOAD_MAX {
            return Err(BadFrame::Bounds { what: "payload length", found: len as u64 });
        }
        Ok(Frame { reserved, salt, nonce, tag, payload })
    }

    /// The blob. The lengths of its parts are those of a parsed one, or of one that was just
    /// sealed, so each fits into its field.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.payload.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.reserved);
        for part in [self.salt, self.nonce, self.tag] {
            out.extend_from_slice(&(part.len() as u16).to_le_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(self.payload);
        out
    }
}
