//! Messages between nodes: which ones travel, which have been sent, and what an arriving one
//! becomes.
//!
//! A node sends each message once, in a chain: each write expects the one before it. So a writer
//! that does not know what became of its last write reads the end of the chain, and goes on from
//! there. A node that receives remembers how far it has read and which messages it has taken in.

use super::Id;
use crate::bus::{CHANNEL_SIGN, EVERYBODY, SKEW_US, When, topic};
use crate::name::Label;

/// The header with the life that a message has left when it is sent, in ms.
pub const LEFT: &str = "Zeta-Left-Ms";
/// For how long a store keeps a message, and an hour, in µs: as long a node knows what it took in.
const STORE_KEEPS_US: i64 = 26 * 3_600_000_000;

/// Where an agent is, as one node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Here,
    /// On another node, and not on this one.
    Elsewhere,
    /// No node is known to have it.
    Unknown,
}

/// Knows where recipients are.
pub trait Places {
    /// Finds an agent by its address.
    fn agent(&self, address: &str) -> Place;
    /// Reports whether an agent of this node is in a channel.
    fn has_member(&self, channel: &str) -> bool;
}

/// Judges whether a message of this node goes to other nodes.
pub fn judge_outgoing(node: &Label, to: &str, places: &impl Places) -> bool {
    match node_of(to) {
        Some(named) => named != node.as_str(),
        None if is_for_nodes(to) => true,
        None => places.agent(to) != Place::Here,
    }
}

/// A message of the store that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arriving<'a> {
    /// The node that sent it.
    pub sender: &'a Label,
    /// Its recipient.
    pub to: &'a str,
    /// The life that it had left when it was sent, in ms.
    pub left_ms: u64,
    /// This node has taken it in before, or has a message of its name.
    pub is_known: bool,
}

/// What an arriving message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// A file of the bus.
    Stored,
    /// Nothing: this node sent it.
    Own,
    /// Nothing: it was taken in before.
    Known,
    /// Nothing: its life was over when it was sent.
    Expired,
    /// Nothing: its recipient is on another node.
    Elsewhere,
}

/// Judges an arriving message.
pub fn judge_incoming(node: &Label, message: &Arriving<'_>, places: &impl Places) -> Incoming {
    let to = message.to;
    let concerns = || match node_of(to) {
        Some(named) => named == node.as_str(),
        None if to == EVERYBODY => true,
        None if to.starts_with(CHANNEL_SIGN) => places.has_member(to),
        // An agent that no node has may begin on this one.
        None => places.agent(to) != Place::Elsewhere,
    };
    match message {
        Arriving { sender, .. } if *sender == node => Incoming::Own,
        Arriving { is_known: true, .. } => Incoming::Known,
        Arriving { left_ms: 0, .. } => Incoming::Expired,
        _ if concerns() => Incoming::Stored,
        _ => Incoming::Elsewhere,
    }
}

/// The node in an address of the form `persona/surface@node`.
fn node_of(to: &str) -> Option<&str> {
    to.split_once('@').map(|(_, node)| node)
}

fn is_for_nodes(to: &str) -> bool {
    to == EVERYBODY || to.starts_with(CHANNEL_SIGN)
}

/// A message that this node has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its sequence in the store.
    pub sequence: u64,
    /// Its id.
    pub id: String,
}

/// How a sender goes on that has read the end of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// The first `keep` of the noted messages stand in the store, and no later one was sent. The
    /// next write expects this sequence.
    Send {
        /// How many.
        keep: usize,
        /// The sequence.
        expected: u64,
    },
    /// Later ones were sent that are not noted: read them, from behind this sequence on, and note
    /// them behind the first `keep`.
    Read {
        /// How many.
        keep: usize,
        /// The sequence.
        after: u64,
    },
}

/// Decides how a sender goes on. `sent` is what it has noted, in the order of the chain; `last` is
/// the end of the chain in the store. Noted messages that come after that end were lost with the
/// store, and are sent again.
pub fn decide_resume(sent: &[Sent], last: Option<&Sent>) -> Resume {
    let Some(last) = last else { return Resume::Send { keep: 0, expected: 0 } };
    match sent.iter().rposition(|one| one == last) {
        Some(at) => Resume::Send { keep: at + 1, expected: last.sequence },
        None => match sent.last().filter(|noted| noted.sequence < last.sequence) {
            Some(noted) => Resume::Read { keep: sent.len(), after: noted.sequence },
            None => Resume::Read { keep: 0, after: 0 },
        },
    }
}

/// How far a node has read the messages of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The cluster.
    pub cluster: Id,
    /// Its epoch.
    pub epoch: u64,
    /// The sequence of the last message that was read.
    pub sequence: u64,
    /// The sum of its bytes.
    pub sum: u64,
}

/// What a store shows of its messages before a node reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSeen<'a> {
    /// The cluster.
    pub cluster: &'a Id,
    /// Its epoch.
    pub epoch: u64,
    /// The last sequence.
    pub last: u64,
    /// The first message that is there from the cursor on: its sequence, and the sum of its bytes.
    pub at_cursor: Option<(u64, u64)>,
}

/// Decides after which sequence a node reads on: behind its cursor, if that stands in the same
/// messages as before, and else from the start. What it has taken in, it knows.
pub fn decide_read(cursor: Option<&Cursor>, seen: &StoreSeen<'_>) -> u64 {
    let Some(cursor) = cursor else { return 0 };
    let same_store = cursor.cluster == *seen.cluster && cursor.epoch == seen.epoch;
    let same_message = match seen.at_cursor {
        Some((sequence, sum)) if sequence == cursor.sequence => sum == cursor.sum,
        // It is older than the store keeps any.
        _ => true,
    };
    match same_store && seen.last >= cursor.sequence && same_message {
        true => cursor.sequence,
        false => 0,
    }
}

/// When a message arrived, and when it says that it was sent and ends.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Now, by this node's wall clock, in µs.
    pub now_us: i64,
    /// The life that it had left when it was sent, in ms.
    pub left_ms: u64,
    /// What stands in it.
    pub when: When<'a>,
}

impl Arrival<'_> {
    /// The modification time of its file, in µs: with it the rest of its life begins now. `before`
    /// is the time of the file before it, if that has the same sender and timestamp: two of one
    /// timestamp keep their order by it.
    pub fn mtime_us(&self, before: Option<i64>) -> i64 {
        let left_us = us_of(self.left_ms);
        let whole_us = self.when.life_us().unwrap_or(left_us);
        let waited_us = whole_us.saturating_sub(left_us);
        // The order of messages that did not wait is that of their arrival.
        let waited_us = if waited_us < SKEW_US { 0 } else { waited_us };
        let own_us = self.now_us.saturating_sub(waited_us);
        before.map_or(own_us, |before_us| own_us.max(before_us.saturating_add(1)))
    }

    /// Until when this node knows that it took the message in, in µs: the store may show it again
    /// while it keeps it, and its sender may send it again while it lives.
    pub fn known_until_us(&self) -> i64 {
        self.now_us.saturating_add(us_of(self.left_ms).max(STORE_KEEPS_US))
    }
}

fn us_of(ms: u64) -> i64 {
    i64::try_from(ms.min(topic::LIFE_MAX_MS)).unwrap_or(i64::MAX).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
