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
mod recipient;
pub mod topic;
mod wake;

pub use address::{Address, EVERYBODY};
pub use envelope::{
    BadEnvelope, DEPTH_MAX, ENVELOPE_MAX, Envelope, Fate, FileSeen, Header, IN_REPLY_TO, SKEW_US,
    THREAD, When, is_id, text_of,
};
pub use recipient::{CHANNEL_SIGN, Channel, Mail, Reader, Recipient, is_for_many, judge_mail};
pub use wake::{Means, Waits, Woken, decide_wait, judge_means};

#[cfg(test)]
mod tests;
