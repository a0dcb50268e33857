//! What `wipefs --no-act --json` lists: all signatures on a device.

use serde::Deserialize;

#[derive(Deserialize)]
struct Found {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads the kinds of all signatures, also of those that lie behind another one.
///
/// # Errors
/// It is no such list.
pub fn parse(text: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let found: Found = serde_json::from_slice(text)?;
    Ok(found.signatures.into_iter().map(|signature| signature.kind).collect())
}
