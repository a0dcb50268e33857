//! `ZCV2`, our own frame: every byte of it is either authenticated or refused when it is another.
//!
//! The header has a fixed length, every method in it is named by one byte, and there is one way to
//! write each blob. The cost of the passphrase is bounded here, before it is paid.

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::{BadFrame, NONCE_LEN, PAYLOAD_MAX, Rest, SALT_LEN, TAG_LEN};

/// How it begins.
pub const MAGIC: &[u8; 4] = b"ZCV2";
/// The version of this layout.
pub const VERSION: u8 = 1;
/// HKDF-SHA256 to two keys, HMAC-SHA256 over the header, AES-256-GCM over the payload.
pub const SUITE: u8 = 1;
/// scrypt.
pub const KDF: u8 = 1;

/// What a blob of this format costs, as log2 of scrypt's N: 128 MiB and a quarter of a second.
///
/// The same as the original's, so that a node which could open the original's blob can open this
/// one, and so that a boot takes no more time than before. A generated passphrase needs no more; a
/// chosen one gains a single bit from twice the work.
pub const LOG2_N: u8 = 17;
/// The cheapest that is opened: a blob cannot ask for a passphrase to be tried for nothing.
pub const LOG2_N_MIN: u8 = 15;
/// The dearest that is opened: 1 GiB.
pub const LOG2_N_MAX: u8 = 20;
/// scrypt's block size; no other is opened.
pub const R: u8 = 8;
/// scrypt's lanes; no other is opened.
pub const P: u8 = 1;

/// Bytes of the header, without its MAC.
pub const HEADER_LEN: usize = 4 + 4 + 2 + SALT_LEN + 8 + NONCE_LEN + 4;
/// Bytes of the MAC over the header.
pub const MAC_LEN: usize = 32;
/// Bytes around the payload.
pub const FIXED_LEN: usize = HEADER_LEN + MAC_LEN + TAG_LEN;
/// A payload is a multiple of this, in bytes, so that its length tells little.
pub const BLOCK: usize = 1024;
/// No content is longer, in bytes.
pub const CONTENT_MAX: usize = PAYLOAD_MAX - LENGTH_LEN;

/// The length of the content stands before it.
const LENGTH_LEN: usize = 4;

/// What stands before the payload. Only what can differ between two blobs is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// log2 of scrypt's N.
    pub log2_n: u8,
    /// New for each blob.
    pub salt: [u8; SALT_LEN],
    /// Counts the saves of one stick, so that an older blob can be told from a newer one.
    pub generation: u64,
    /// New for each blob.
    pub nonce: [u8; NONCE_LEN],
    /// Bytes of the payload: padded, without the tag.
    pub payload_len: u32,
}

impl Header {
    /// The bytes that the MAC and the cipher authenticate.
    pub fn render(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let methods = [VERSION, SUITE, KDF, self.log2_n, R, P];
        let generation = self.generation.to_le_bytes();
        let payload_len = self.payload_len.to_le_bytes();
        let parts: [&[u8]; 6] =
            [MAGIC, &methods, &self.salt, &generation, &self.nonce, &payload_len];
        out.iter_mut().zip(parts.into_iter().flatten()).for_each(|(place, byte)| *place = *byte);
        out
    }
}

/// The parts of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// HMAC over the header.
    pub mac: &'a [u8; MAC_LEN],
    /// A multiple of [`BLOCK`].
    pub payload: &'a [u8],
    /// Of the payload.
    pub tag: &'a [u8; TAG_LEN],
}

impl<'a> Frame<'a> {
    /// Takes a blob apart and refuses what is not of this version or out of bounds.
    pub fn parse(blob: &'a [u8]) -> Result<Frame<'a>, BadFrame> {
        let least = FIXED_LEN + BLOCK;
        let mut rest = Rest(blob);
        if blob.len() < least {
            return Err(BadFrame::TooShort { len: blob.len(), least });
        }
        if rest.array("magic")? != MAGIC {
            return Err(BadFrame::Magic);
        }
        for (what, known) in [("version", VERSION), ("suite", SUITE), ("kdf", KDF)] {
            let found = rest.byte(what)?;
            if found != known {
                return Err(BadFrame::Unknown { what, found });
            }
        }
        let mut within = |what, bounds: RangeInclusive<u8>| {
            let found = rest.byte(what)?;
            let outside = BadFrame::Bounds { what, found: found.into() };
            bounds.contains(&found).then_some(found).ok_or(outside)
        };
        let log2_n = within("log2 of N", LOG2_N_MIN..=LOG2_N_MAX)?;
        within("r", R..=R)?;
        within("p", P..=P)?;
        let salt = *rest.array("salt")?;
        let generation = rest.u64("generation")?;
        let nonce = *rest.array("nonce")?;
        let (what, payload_len) = ("payload length", rest.u32("payload length")?);
        let len = payload_len as usize;
        if len == 0 || len > PAYLOAD_MAX || !len.is_multiple_of(BLOCK) {
            return Err(BadFrame::Bounds { what, found: payload_len.into() });
        }
        let mac = rest.array("header MAC")?;
        let payload = rest.take(len, "payload")?;
        let tag = rest.array("tag")?;
        rest.end("payload")?;
        let header = Header { log2_n, salt, generation, nonce, payload_len };
        Ok(Frame { header, mac, payload, tag })
    }

    /// The blob.
    pub fn render(&self) -> Vec<u8> {
        [&self.header.render()[..], self.mac, self.payload, self.tag].concat()
    }
}

/// The content as it is sealed: its length, itself, zeros to the next multiple of [`BLOCK`]. `None`
/// if it is longer than [`CONTENT_MAX`].
pub fn pad(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if content.len() > CONTENT_MAX {
        return None;
    }
    let padded = padded_len(content.len());
    let mut out = Zeroizing::new(Vec::with_capacity(padded));
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(content);
    out.resize(padded, 0);
    Some(out)
}

/// The content of what was sealed; `None` if it is not padded as [`pad`] does.
pub fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (len, rest) = padded.split_first_chunk::<LENGTH_LEN>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (content, zeros) = rest.split_at_checked(len)?;
    let exact = padded.len() == padded_len(len) && zeros.iter().all(|byte| *byte == 0);
    exact.then_some(content)
}

fn padded_len(content_len: usize) -> usize {
    (LENGTH_LEN + content_len).next_multiple_of(BLOCK)
}
