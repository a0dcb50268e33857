//! The history of a node: one entry for each change of the holder of a lease, and what the entries
//! say together: who held which lease from when to when, and how that ended.
//!
//! The history decides nothing. The record of a lease says who holds it; a process that was killed
//! right after it changed a record leaves no entry.

mod filter;
pub mod json;
mod line;
mod span;

pub use filter::Filter;
pub use line::{LINE_MAX, Lines, read_lines, render};
pub use span::{Ended, Span, end_gone, spans};

use std::borrow::Cow;

use crate::bus::grant::key;
use crate::hook::cut;
use crate::lease::Record;
use crate::lease::joint::{Joint, slots_of};
use crate::overview::LeaseKind;
use crate::record::unquote;

/// When the log of a node has so many bytes, the next entry begins a new one.
pub const LOG_MAX: usize = 1024 * 1024;

/// Most characters of a text that an entry repeats from a record.
const TEXT_MAX: usize = 400;

/// What happened to a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was granted, and no record had to go for it.
    Acquired,
    /// It was granted in place of another one, whose holder had lost its right to it.
    TakenOver,
    /// It was granted in place of another one, by the holder of that.
    HandedOver,
    /// It was given back.
    Released,
    /// It was ended by force.
    Broken,
    /// It counted no more, and was cleaned away.
    Removed,
}

impl Event {
    const ALL: [Event; 6] = [
        Event::Acquired,
        Event::TakenOver,
        Event::HandedOver,
        Event::Released,
        Event::Broken,
        Event::Removed,
    ];

    /// The word on disk and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Event::Acquired => "acquired",
            Event::TakenOver => "taken_over",
            Event::HandedOver => "handed_over",
            Event::Released => "released",
            Event::Broken => "broken",
            Event::Removed => "removed",
        }
    }

    /// Returns whether a grant begins with it.
    pub fn begins(self) -> bool {
        matches!(self, Event::Acquired | Event::TakenOver | Event::HandedOver)
    }

    fn of_word(word: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.word() == word)
    }
}

/// A change of the holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node of the lease.
    pub node: String,
    /// When it happened, in µs of the wall clock.
    pub at_us: i64,
    /// What happened.
    pub event: Event,
    /// The name of the lease.
    pub lease: String,
    /// What it is for.
    pub kind: LeaseKind,
    /// What people call it: the name, the item, or the paths.
    pub subject: String,
    /// The fencing token of the grant that began or ended; none if its record could not be read.
    pub fencing_token: Option<u64>,
    /// The holder of that grant.
    pub agent: Option<String>,
    /// The session of the holder.
    pub session: Option<String>,
    /// The holder before it, at a takeover or a handover.
    pub from_agent: Option<String>,
    /// The fencing token of the holder before it.
    pub from_fencing_token: Option<u64>,
    /// Why the grant before it counted no more, or why this one was removed: `holder_dead`,
    /// `expired`, ...
    pub cause: Option<String>,
    /// The agent that ended a grant that was not its own.
    pub by: Option<String>,
    /// Why it was ended by force, in the words of that agent.
    pub reason: Option<String>,
    /// Its life without renewal, in ms.
    pub ttl_ms: Option<u64>,
    /// The branch of a claim.
    pub branch: Option<String>,
    /// The worktree of a claim.
    pub worktree: Option<String>,
    /// What it is for, in the words of the holder.
    pub purpose: Option<String>,
}

impl Entry {
    /// Makes an entry about a lease of which nothing else is known.
    pub fn new(node: &str, event: Event, lease: &str, at_us: i64) -> Entry {
        Entry {
            node: node.to_owned(),
            at_us,
            event,
            lease: lease.to_owned(),
            kind: LeaseKind::Lease,
            subject: lease.to_owned(),
            fencing_token: None,
            agent: None,
            session: None,
            from_agent: None,
            from_fencing_token: None,
            cause: None,
            by: None,
            reason: None,
            ttl_ms: None,
            branch: None,
            worktree: None,
            purpose: None,
        }
    }

    /// Makes an entry about the grant with this record. What does not change while it is held is in
    /// the entry of its beginning alone.
    pub fn of(node: &str, event: Event, record: &Record, at_us: i64) -> Entry {
        let text = |wanted: &str| {
            let (_, value) = record.extra.iter().find(|(key, _)| key == wanted)?;
            unquote(value).map(|text| short(&text).into_owned())
        };
        let (kind, subject) = match (text(key::ITEM), Joint::of(record)) {
            (Some(item), _) => (LeaseKind::Claim, item),
            (None, Some(Joint::Paths(claim))) => {
                let patterns: Vec<String> =
                    claim.patterns.iter().map(ToString::to_string).collect();
                (LeaseKind::Paths, short(&patterns.join(" ")).into_owned())
            }
            _ if slots_of(record).is_some() => (LeaseKind::Slot, record.lease.to_string()),
            _ => (LeaseKind::Lease, record.lease.to_string()),
        };
        let mut entry = Entry {
            kind,
            subject,
            fencing_token: Some(record.fencing_token.get()),
            agent: Some(record.agent.to_string()),
            ..Entry::new(node, event, record.lease.as_str(), at_us)
        };
        if event.begins() {
            entry.session = record.session.as_deref().map(|text| short(text).into_owned());
            entry.ttl_ms = Some(record.ttl_ms);
            entry.branch = text(key::BRANCH);
            entry.worktree = text(key::WORKTREE);
            // That of a claim says its subject once more.
            let is_claim = matches!(kind, LeaseKind::Claim | LeaseKind::Paths);
            let purpose = record.purpose.as_deref().filter(|_| !is_claim);
            entry.purpose = purpose.map(|text| short(text).into_owned());
        }
        entry
    }

    /// As it was, of a grant in place of the one with the record `from`.
    pub fn from(mut self, from: &Record) -> Entry {
        self.from_agent = Some(from.agent.to_string());
        self.from_fencing_token = Some(from.fencing_token.get());
        self
    }

    /// As it was, with the cause.
    pub fn because(mut self, cause: &str) -> Entry {
        self.cause = Some(cause.to_owned());
        self
    }

    /// As it was, with the agent that ended a grant that was not its own.
    pub fn by(mut self, agent: &str) -> Entry {
        self.by = Some(agent.to_owned());
        self
    }

    /// As it was, with the reason in the words of that agent.
    pub fn with_reason(mut self, reason: &str) -> Entry {
        self.reason = Some(short(reason).into_owned());
        self
    }
}

/// A text that is not too long for an entry.
fn short(text: &str) -> Cow<'_, str> {
    match text.len() <= TEXT_MAX {
        true => Cow::Borrowed(text),
        false => Cow::Owned(cut(text, TEXT_MAX)),
    }
}

#[cfg(test)]
mod tests;
