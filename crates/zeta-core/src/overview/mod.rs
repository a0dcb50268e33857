//! What is known of a state directory at one moment, as people look at it: who works, who waits for
//! a person, who holds what, and what is about to collide. `zeta watch` and `zeta web` draw it, and
//! decide nothing.
//!
//! Every time is a moment of the wall clock in µs since 1970 (UTC), and no age: a front end counts
//! ages by itself, so an overview changes only when something happened.

pub mod changes;
pub mod cluster;
pub mod finding;
pub mod json;
pub mod order;
#[cfg(test)]
mod tests;

pub use self::cluster::{Cluster, Lag, Peer, Quorum};
use crate::presence::Liveness;

/// Most messages of an overview: the newest.
pub const MESSAGES_MAX: usize = 200;
/// Most characters of the text of a message.
pub const TEXT_MAX: usize = 200;

/// What is known of a state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// When it was read.
    pub at_us: i64,
    /// The path of the state directory.
    pub state_dir: String,
    /// This machine's own node, if it has a name yet.
    pub node: Option<String>,
    /// The cluster, if this node is in one and its bridge has run.
    pub cluster: Option<Cluster>,
    /// The agents of all nodes, those first that need a person.
    pub agents: Vec<Agent>,
    /// The leases and claims of all nodes, those first that are stuck.
    pub leases: Vec<Lease>,
    /// The last messages of the bus, the newest last.
    pub messages: Vec<Message>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its node.
    pub node: String,
    /// Its name; with the node, it names the agent.
    pub name: String,
    /// How alive it is.
    pub liveness: Liveness,
    /// By what evidence.
    pub evidence: String,
    /// When it beat last.
    pub beat_at_us: Option<i64>,
    /// When its session began.
    pub started_at_us: Option<i64>,
    /// What it waits for a person to answer, and since when.
    pub waits: Option<Waits>,
    /// The `status` of its record: what it says it does.
    pub status: Option<String>,
    /// The `task` of its record.
    pub task: Option<String>,
    /// The `branch` of its record.
    pub branch: Option<String>,
    /// The `worktree` of its record.
    pub worktree: Option<String>,
    /// The tool that it is (`claude`, `codex`, ...), if hooks or a server keep its session.
    pub tool: Option<String>,
    /// Its processes: its own, and its command.
    pub pids: Vec<u64>,
    /// Whether a process of it is stopped (SIGSTOP, Ctrl-Z).
    pub is_stopped: bool,
    /// The number of messages that it has not read.
    pub unread: usize,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// What the person is to answer.
    pub question: String,
    /// Since when it waits.
    pub since_us: Option<i64>,
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// A lease of its own name.
    Lease,
    /// A claim of an item.
    Claim,
    /// A claim of paths.
    Paths,
    /// One of several slots.
    Slot,
}

/// A lease, or one grant of a lease with several holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its node.
    pub node: String,
    /// Its name; with the node and the token, it names the grant.
    pub name: String,
    /// The fencing token of the grant.
    pub token: u64,
    /// What it is for.
    pub kind: LeaseKind,
    /// What people call it: the name, the item, or the paths (`src/** docs/a.md`).
    pub subject: String,
    /// The holder; empty if it is not known.
    pub agent: String,
    /// How it stands: the word of `zeta lease show --json` (`standing`).
    pub standing: String,
    /// Evidence about the holder: `process runs`, `processes have ended`, ...
    pub evidence: String,
    /// Whether its holder is proven to be gone, or its time is over: the next caller gets it.
    pub is_free: bool,
    /// When it was granted.
    pub acquired_at_us: Option<i64>,
    /// When its time is over; later if it is renewed.
    pub expires_at_us: Option<i64>,
    /// When the grace of a living holder is over, too.
    pub grace_until_us: Option<i64>,
    /// Its life without renewal, in ms.
    pub ttl_ms: u64,
    /// The purpose in the words of the holder.
    pub purpose: Option<String>,
    /// The branch of a claim.
    pub branch: Option<String>,
    /// The worktree of a claim.
    pub worktree: Option<String>,
    /// Those who wait for it, in their order.
    pub waiters: Vec<Waiter>,
}

/// A process in the line for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// The agent that the process belongs to, if that is known.
    pub agent: Option<String>,
    /// The process.
    pub pid: u64,
    /// Since when it waits.
    pub since_us: Option<i64>,
}

/// A message of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// When it was sent.
    pub at_us: i64,
    /// Its topic.
    pub topic: String,
    /// The sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The text; a claim in words; of other topics the payload on one line. Cut to 200 characters.
    pub text: String,
}

/// What a person should know: how grave, about what, and the next steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word: `waits_for_person`, `hung_agent`, `dead_holder`, `same_file`, ...
    pub word: String,
    /// The node of what it is about, if that is of one node.
    pub node: Option<String>,
    /// The agent, lease, file or directory that it is about.
    pub about: String,
    /// One sentence, lower case, no full stop.
    pub text: String,
    /// The next steps.
    pub hints: Vec<String>,
    /// How urgent it is.
    pub urgency: Urgency,
}

impl Finding {
    /// Returns whether it is about something of a node that has this name there.
    pub fn is_about(&self, node: &str, name: &str) -> bool {
        self.about == name && self.node.as_deref().is_none_or(|own| own == node)
    }
}

/// How urgent a finding is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// An agent waits for a person.
    Person,
    /// Work is stuck: an agent hangs or was stopped, or waiters stand behind a holder that is gone.
    Stuck,
    /// Work is about to collide: two agents edit one file, or claims overlap.
    Collision,
    /// All else.
    Notice,
}
