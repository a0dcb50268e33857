//! What `wipefs --no-act --json` lists: all signatures on some devices.

use serde::Deserialize;

#[derive(Deserialize)]
struct Found {
    signatures: Vec<Signature>,
}

/// A mark by which a file system, a table of partitions or a member of something is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Signature {
    /// The device that has it: the last part of its path.
    device: String,
    /// What it is a mark of.
    #[serde(rename = "type")]
    kind: String,
}

/// Reads all signatures, also those that lie behind another one.
///
/// # Errors
/// It is no such list.
pub fn parse(text: &[u8]) -> Result<Vec<Signature>, serde_json::Error> {
    Ok(serde_json::from_slice::<Found>(text)?.signatures)
}

/// Returns the kinds of what is on each device, in the order of their paths; `None` if a signature
/// is on no device that was asked for.
pub fn kinds(signatures: &[Signature], paths: &[String]) -> Option<Vec<Vec<String>>> {
    let is_of =
        |signature: &Signature, path: &str| path.rsplit('/').next() == Some(&signature.device);
    let is_known = |one: &Signature| paths.iter().any(|path| is_of(one, path));
    let of = |path: &String| {
        let all = signatures.iter().filter(|signature| is_of(signature, path));
        all.map(|signature| signature.kind.clone()).collect()
    };
    signatures.iter().all(is_known).then(|| paths.iter().map(of).collect())
}
