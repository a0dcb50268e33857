//! Says whose an image is: verified, refused, or not checked. These are three answers, and the
//! third one is never taken for the first.

mod bundle;
mod cryptography;
mod digest;
mod input;
mod key;
mod leaf;
pub mod report;
mod strict_json;
#[cfg(test)]
mod tests;

use zeta_core::record::is_unprintable;

pub use self::digest::{Digest, Hashing, of};
pub use self::input::Arguments;

/// How the owner of an image is to be proven: what was named, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing was named.
    Nothing,
    /// A signature by a key of one's own.
    Key {
        /// The public key, as PEM.
        key: Vec<u8>,
        /// The file of the signature.
        signature: Vec<u8>,
    },
    /// A bundle of sigstore.
    Bundle(Box<Bundle>),
}

/// A bundle of sigstore, with what it must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The bundle, as JSON.
    pub bundle: Vec<u8>,
    /// The identity that the certificate must have, letter for letter.
    pub identity: String,
    /// The issuer of that identity, letter for letter.
    pub issuer: String,
    /// The roots that are trusted, as JSON.
    pub roots: Vec<u8>,
}

/// Whether the owner of an image is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The image was signed by the one that was named.
    Verified {
        /// Who signed.
        by: Signer,
    },
    /// It is not proven, though it was asked for.
    Refused {
        /// The first reason.
        why: Refusal,
    },
    /// It was not checked.
    NotChecked {
        /// The reason.
        why: NotChecked,
    },
}

/// Who signed an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// The key that was named.
    Key {
        /// The SHA-256 of the key (its SubjectPublicKeyInfo in DER), in hex digits.
        sha256: String,
    },
    /// An identity that an issuer vouched for.
    Identity {
        /// The identity.
        identity: String,
        /// The issuer.
        issuer: String,
        /// The earliest proven time of the signature, in seconds since 1970.
        signed_s: i64,
    },
}

/// Why it was not checked whose an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChecked {
    /// Neither a key nor a bundle was named.
    NothingNamed,
}

/// Why the owner of an image is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The check that failed.
    pub check: Check,
    /// The thing and the reason: one sentence in lower case without a full stop.
    pub text: String,
}

impl Refusal {
    fn new(check: Check, text: impl Into<String>) -> Refusal {
        let text: String = text.into();
        let escaped = |letter: char| match is_unprintable(letter) {
            true => letter.escape_default().to_string(),
            false => letter.to_string(),
        };
        Refusal { check, text: text.chars().map(escaped).collect() }
    }
}

/// A check that an image must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The public key is one.
    Key,
    /// The roots are some.
    Roots,
    /// The file of the signature, or the bundle, is one.
    Format,
    /// The bundle is about this image.
    Digest,
    /// The signature is that of the key.
    Signature,
    /// The certificate has the identity that was named.
    Identity,
    /// The certificate has the issuer that was named.
    Issuer,
    /// The certificate is one for signing code.
    Purpose,
    /// The certificate comes from a root that is trusted.
    Chain,
    /// The certificate was valid when the signature was made.
    Time,
    /// The signature is in a log that is trusted.
    Log,
    /// The log's entry is about this signature, certificate and image.
    Entry,
}

impl Check {
    /// The word for it in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Check::Key => "key",
            Check::Roots => "roots",
            Check::Format => "format",
            Check::Digest => "digest",
            Check::Signature => "signature",
            Check::Identity => "identity",
            Check::Issuer => "issuer",
            Check::Purpose => "purpose",
            Check::Chain => "chain",
            Check::Time => "time",
            Check::Log => "log",
            Check::Entry => "entry",
        }
    }

    /// The next step.
    pub fn hint(self) -> &'static str {
        match self {
            Check::Key => {
                "name a public key as PEM with the curve P-256, as 'cosign generate-key-pair' \
                 writes it to cosign.pub"
            }
            Check::Roots => "name the file trusted_root.json of the sigstore instance that signed",
            Check::Format => {
                "get the signature again from where the image is published: base64 of 'cosign \
                 sign-blob --key', or a bundle of version 0.3"
            }
            Check::Digest | Check::Signature | Check::Entry => {
                "do not use this image: get image and signature again from where they are \
                 published, and ask their publisher if they still do not belong together"
            }
            Check::Identity | Check::Issuer | Check::Purpose => {
                "do not use this image before its publisher has said who signs; identity and \
                 issuer are compared letter for letter"
            }
            Check::Chain | Check::Log => {
                "do not use this image, unless its publisher signs by another sigstore instance, \
                 or with keys newer than the trusted roots: then name newer ones"
            }
            Check::Time => {
                "do not use this image before its publisher has signed it again; if this machine's \
                 clock is behind, set it first"
            }
        }
    }
}

/// Says whose an image is, by its digest and what was named.
pub fn judge(image: &Digest, asked: &Asked) -> Answer {
    let judged = match asked {
        Asked::Nothing => return Answer::NotChecked { why: NotChecked::NothingNamed },
        Asked::Key { key, signature } => key::check(image, key, signature),
        Asked::Bundle(asked) => bundle::check(image, asked),
    };
    match judged {
        Ok(by) => Answer::Verified { by },
        Err(why) => Answer::Refused { why },
    }
}
