//! The bus: messages that agents leave for each other, one JSON file each, in a directory that the
//! original tool reads and writes, too.
//!
//! Here is what an envelope may say ([`Envelope`]), what a topic asks of it ([`topic`]), which
//! names senders and recipients may have ([`Address`]), when it ends ([`Fate`]), what the claim
//! messages of an item mean together ([`claim`]), who holds a claim ([`grant`]) and what that one
//! leaves for the next holder ([`note`]). The format is in `docs/bus.md`.

mod address;
pub mod broken;
pub mod claim;
mod envelope;
pub mod grant;
pub mod item;
pub mod note;
pub mod original_lock;
pub mod topic;

pub use address::{Address, EVERYBODY};
pub use envelope::{
    BadEnvelope, DEPTH_MAX, ENVELOPE_MAX, Envelope, Fate, FileSeen, Header, SKEW_US, When, is_for,
    is_id, text_of,
};

#[cfg(test)]
mod tests;
