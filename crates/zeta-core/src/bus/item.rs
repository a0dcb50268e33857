//! Items are any text; these are the names that stand for one on disk.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::name::RecordName;
use crate::pattern::Pattern;

/// Longest item, in bytes of its percent-encoded form: the name of its lock must fit into 255.
pub const ITEM_MAX: usize = 242;

/// How the name of a claim's lease begins.
pub const CLAIM_PREFIX: &str = "claim.";
/// Bytes of a digest.
const DIGEST_LEN: usize = 12;

/// An item that cannot be claimed, with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "item {0:?} is not valid: write 1 to {ITEM_MAX} bytes (percent-encoded) of text, as in B-0856"
)]
pub struct BadItem(String);

/// What an item is called on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    text: String,
    digest: String,
}

impl Item {
    /// Checks an item's text.
    pub fn new(text: &str) -> Result<Item, BadItem> {
        match (1..=ITEM_MAX).contains(&encode_uri_component(text).len()) {
            true => Ok(Item { text: text.to_owned(), digest: digest(&[text]) }),
            false => Err(BadItem(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A file name that no other item has: 24 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The file by which the original keeps two acquires of an item apart.
    pub fn original_lock(&self) -> String {
        format!("acquire-{}.lock", encode_uri_component(&self.text))
    }

    /// The lease that a claim of this item on the bus at `bus` is, readable as far as it can be;
    /// `sharer` for a claim that stands beside others.
    pub fn lease(&self, bus: &str, sharer: Option<&str>) -> RecordName {
        let readable = plain(&self.text);
        let mut parts = vec![self.text.as_str(), bus];
        parts.extend(sharer);
        let name = format!("{CLAIM_PREFIX}{readable}.{}", digest(&parts));
        // Both parts are of the grammar's letters, and together shorter than it allows.
        RecordName::new("lease", &name).unwrap_or_else(|_| unreachable!("{name}"))
    }
}

/// How the name of the joint lease of the claims on paths begins.
pub const PATHS_PREFIX: &str = "paths.";

/// The joint lease of the claims on paths of one space; `readable` is for people.
pub fn paths_lease(readable: &str, space: &str) -> RecordName {
    let name = format!("{PATHS_PREFIX}{}.{}", plain(readable), digest(&[space]));
    // As for an item.
    RecordName::new("lease", &name).unwrap_or_else(|_| unreachable!("{name}"))
}

/// Returns the name of the space that the joint lease of its claims has, for people; `None` if the
/// lease is another one.
pub fn space_of(lease: &str) -> Option<&str> {
    let (readable, digest) = lease.strip_prefix(PATHS_PREFIX)?.rsplit_once('.')?;
    let is_digest = digest.len() == 2 * DIGEST_LEN && digest.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest.then_some(readable)
}

/// How the items begin by which claims on paths are announced.
pub const PATH_ITEM: &str = "path:";

/// The item by which a pattern of a space is announced on the bus: `path:<space>:<pattern>`. One
/// that is too long for an item is cut, and ends in `~` and a digest.
pub fn path_item(lease: &RecordName, pattern: &Pattern) -> Item {
    let space = space_of(lease.as_str()).unwrap_or(lease.as_str());
    let text = format!("{PATH_ITEM}{space}:{pattern}");
    let end = format!("~{}", digest(&[&text]));
    let fits = |at: &usize| encode_uri_component(&text[..*at]).len() + end.len() <= ITEM_MAX;
    let cut = || text.char_indices().map(|(at, _)| at).take_while(fits).last().unwrap_or(0);
    let item = Item::new(&text).or_else(|_| Item::new(&format!("{}{end}", &text[..cut()])));
    item.unwrap_or_else(|_| unreachable!("{text}"))
}

/// The letters of a text that a name may have, up to 40.
fn plain(text: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    };
    text.chars().map(plain).take(40).collect()
}

/// Returns whether a lease has the name of a claim: `claim.<readable>.<24 hex digits>`.
pub fn is_claim_lease(name: &str) -> bool {
    let digest = name.strip_prefix(CLAIM_PREFIX).and_then(|rest| rest.rsplit_once('.'));
    digest.is_some_and(|(_, digest)| {
        digest.len() == 2 * DIGEST_LEN && digest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut hex = String::with_capacity(2 * DIGEST_LEN);
    for byte in hash.finalize().iter().take(DIGEST_LEN) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// As ECMAScript's function of that name: the original names its locks with it.
fn encode_uri_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(byte.into()),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
