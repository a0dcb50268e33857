//! `node.yaml` as text: written so that every YAML reader sees the same strings, read with limits.
//!
//! A file from a repository may come from any account: its size, depth and number of values are
//! bounded, and it may have neither anchors nor merge keys, which no fact sheet needs.

use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{budget, options, ser_options};
use zeta_core::registration::node::ClusterNode;

use zeta_os::error::{Error, Kind, Result};

/// Most bytes of a file that is read.
pub const MOST_BYTES: usize = 64 << 10;
const MOST_DEPTH: usize = 16;
const MOST_VALUES: usize = 4096;

/// The text of a `node.yaml`.
///
/// # Errors
/// The writer refuses a value.
pub fn write(node: &ClusterNode) -> Result<String> {
    // A string stays on its line: a block would hide from `grep` what stands in it.
    let options = ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(node, options)
        .map_err(|error| Error::new(Kind::Fault, format!("cannot write node.yaml: {error}")))
}

/// Reads a `node.yaml`; keys that are not known are passed over.
///
/// # Errors
/// The text is no `ClusterNode`, or holds more than one has.
pub fn read(text: &[u8]) -> Result<ClusterNode> {
    let unsound = |why: String| Error::new(Kind::Unsafe, format!("cannot read node.yaml: {why}"));
    if text.len() > MOST_BYTES {
        return Err(unsound(format!("{} bytes; {MOST_BYTES} are the most", text.len())));
    }
    let options = options! {
        budget: budget! {
            max_depth: MOST_DEPTH,
            flow_nesting_limit: MOST_DEPTH,
            max_nodes: MOST_VALUES,
            max_events: 4 * MOST_VALUES,
            max_documents: 1,
            max_anchors: 0,
            max_aliases: 0,
        },
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| {
        // One line: the text ends up inside other sentences, and may quote control characters.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        unsound(error.to_string().chars().map(plain).take(300).collect())
    })
}

#[cfg(test)]
mod tests;
