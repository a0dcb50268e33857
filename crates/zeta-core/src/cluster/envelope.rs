//! The envelope of a value in the store: its headers, what is signed, and what is refused.
//!
//! All headers that begin with `Zeta-` are signed, but the signature itself, so that a later minor
//! version can add one and an older program still checks it. The store adds headers of its own,
//! which say nothing here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Id;
use super::subject::{Item, Subject};
use crate::bus::ENVELOPE_MAX;
use crate::layout::{PERSONA_MAX, RECORD_MAX};
use crate::name::Label;

/// The minor version that this code writes. Readers take each one.
pub const MINOR: u64 = 0;
/// How a header begins that is signed.
pub const PREFIX: &str = "Zeta-";
/// The minor version of the writer.
pub const VERSION: &str = "Zeta-V";
/// The epoch of the cluster in which it was written.
pub const EPOCH: &str = "Zeta-Epoch";
/// The counter of the node, which grows with each value that it writes.
pub const COUNTER: &str = "Zeta-N";
/// The node that wrote it, where the subject does not say so.
pub const NODE: &str = "Zeta-Node";
/// The record does not exist any more, and why.
pub const GONE: &str = "Zeta-Gone";
/// The signature, in base64.
pub const SIGNATURE: &str = "Zeta-Sig";
/// Length of a signature (Ed25519), in bytes.
pub const SIGNATURE_LEN: usize = 64;
/// Most headers that begin with `Zeta-`.
pub const HEADERS_MAX: usize = 32;
/// Longest value of such a header, in bytes.
pub const HEADER_MAX: usize = 256;

/// Why a record does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its holder gave it back.
    Released,
    /// It was removed.
    Removed,
}

impl Gone {
    /// The word in the header.
    pub fn word(self) -> &'static str {
        match self {
            Gone::Released => "released",
            Gone::Removed => "removed",
        }
    }
}

/// What stands around the bytes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The writer.
    pub node: Label,
    /// The epoch in which it was written.
    pub epoch: u64,
    /// The writer's counter.
    pub counter: u64,
    /// The record is gone.
    pub gone: Option<Gone>,
    /// Signed headers that this program does not know, and the minor version, as they were sent.
    pub extra: BTreeMap<String, String>,
}

impl Envelope {
    /// The envelope of a value that is written now.
    pub fn new(node: Label, epoch: u64, counter: u64, gone: Option<Gone>) -> Envelope {
        let extra = BTreeMap::from([(VERSION.to_owned(), MINOR.to_string())]);
        Envelope { node, epoch, counter, gone, extra }
    }

    /// The headers that are signed, in their order.
    pub fn headers(&self, subject: &Subject) -> BTreeMap<String, String> {
        let mut headers = self.extra.clone();
        headers.insert(EPOCH.to_owned(), self.epoch.to_string());
        headers.insert(COUNTER.to_owned(), self.counter.to_string());
        if subject.node().is_none() {
            headers.insert(NODE.to_owned(), self.node.to_string());
        }
        if let Some(gone) = self.gone {
            headers.insert(GONE.to_owned(), gone.word().to_owned());
        }
        headers
    }

    /// The bytes that are signed. No two values have the same: no header has a line feed, an empty
    /// line ends them, and the body is all that follows.
    pub fn signed_bytes(&self, cluster: &Id, subject: &Subject, body: &[u8]) -> Vec<u8> {
        let mut text = format!("zeta value 1\ncluster: {cluster}\nsubject: {subject}\n");
        for (name, value) in self.headers(subject) {
            text.extend([name.as_str(), ": ", &value, "\n"]);
        }
        text.push('\n');
        [text.as_bytes(), body].concat()
    }
}

/// Returns the text of the header [`SIGNATURE`].
pub fn signature_text(signature: &[u8; SIGNATURE_LEN]) -> String {
    BASE64.encode(signature)
}

/// Most bytes of a body under this subject.
pub fn body_max(subject: &Subject) -> usize {
    match subject {
        Subject::State { item: Item::Persona(_), .. } => PERSONA_MAX,
        Subject::Bus(_) => ENVELOPE_MAX,
        Subject::State { .. } | Subject::Lease { .. } | Subject::Meta => RECORD_MAX,
    }
}

/// Why a received value is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than a value of its subject may have.
    #[error("the value is longer than {0} bytes")]
    TooLong(usize),
    /// More signed headers than any value may have.
    #[error("the value has more than {HEADERS_MAX} headers of zeta")]
    TooManyHeaders,
    /// A header is not plain text, is too long, or stands twice.
    #[error("a header of the value is not plain text, is too long, or stands twice")]
    BadHeader,
    /// A header that must be there is missing, or has not the form of its kind.
    #[error("the header {0} is missing or has a wrong value")]
    BadValue(&'static str),
    /// A record that is gone has a body, or one that is there has none.
    #[error("the value has a body that does not fit its headers")]
    BadBody,
}

/// What the check of a signature found. The caller has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The key of the node made it over these bytes.
    Good,
    /// It did not.
    Wrong,
    /// No key of the node is known.
    NoKey,
}

/// How far a value is to be believed. Only a verified one counts in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The key of the node signed it.
    Verified,
    /// It has no signature.
    Unsigned,
    /// No key of the node is known.
    UnknownKey,
    /// The signature is not one of the node's key over this value.
    Forged,
}

impl Trust {
    /// Does it count in a decision?
    pub fn is_verified(self) -> bool {
        self == Trust::Verified
    }

    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Trust::Verified => "verified",
            Trust::Unsigned => "unsigned",
            Trust::UnknownKey => "unknown_key",
            Trust::Forged => "forged",
        }
    }
}

/// Judges a received value: its envelope and how far it is to be believed, or why it is dropped.
/// `check` gets the node, the signed bytes and the signature.
pub fn judge_received<'h>(
    cluster: &Id,
    subject: &Subject,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
    check: impl FnOnce(&Label, &[u8], &[u8; SIGNATURE_LEN]) -> Checked,
) -> Result<(Envelope, Trust), Refusal> {
    let max = body_max(subject);
    if body.len() > max {
        return Err(Refusal::TooLong(max));
    }
    let mut extra = read_headers(headers)?;
    let signature = extra.remove(SIGNATURE);
    let number = |text: Option<String>, name| {
        // One text for each number, so that what was signed is written again byte by byte.
        let number = text.as_deref().and_then(|text| text.parse::<u64>().ok());
        number.filter(|n| text == Some(n.to_string())).ok_or(Refusal::BadValue(name))
    };
    number(extra.get(VERSION).cloned(), VERSION)?;
    let epoch = number(extra.remove(EPOCH), EPOCH)?;
    let counter = number(extra.remove(COUNTER), COUNTER)?;
    let gone = match extra.remove(GONE).as_deref() {
        None => None,
        Some("released") => Some(Gone::Released),
        Some("removed") => Some(Gone::Removed),
        Some(_) => return Err(Refusal::BadValue(GONE)),
    };
    let node = match (subject.node(), extra.remove(NODE)) {
        (Some(node), None) => node.clone(),
        (None, Some(node)) => node.parse().map_err(|_| Refusal::BadValue(NODE))?,
        (Some(_), Some(_)) | (None, None) => return Err(Refusal::BadValue(NODE)),
    };
    if gone.is_some() != body.is_empty() {
        return Err(Refusal::BadBody);
    }
    let envelope = Envelope { node, epoch, counter, gone, extra };
    let Some(signature) = signature else { return Ok((envelope, Trust::Unsigned)) };
    let signature = BASE64.decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
    let signature: [u8; SIGNATURE_LEN] = signature.ok_or(Refusal::BadValue(SIGNATURE))?;
    let signed = envelope.signed_bytes(cluster, subject, body);
    let trust = match check(&envelope.node, &signed, &signature) {
        Checked::Good => Trust::Verified,
        Checked::Wrong => Trust::Forged,
        Checked::NoKey => Trust::UnknownKey,
    };
    Ok((envelope, trust))
}

fn read_headers<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut known = BTreeMap::new();
    for (name, value) in headers {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && (1..=64).contains(&rest.len())
            && value.len() <= HEADER_MAX
            && value.bytes().all(|b| matches!(b, 0x21..=0x7e));
        if !plain || known.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Refusal::BadHeader);
        }
        if known.len() > HEADERS_MAX {
            return Err(Refusal::TooManyHeaders);
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
