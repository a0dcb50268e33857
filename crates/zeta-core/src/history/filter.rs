//! Which part of a history is asked for.

use super::{Entry, Span};

/// What entries and spans must have; nothing that is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// They are of this time or later, in µs of the wall clock. A span that lasts is.
    pub since_us: Option<i64>,
    /// They are about this lease; of a claim, its item or paths will do.
    pub lease: Option<String>,
    /// This agent was the holder, or ended the grant.
    pub agent: Option<String>,
}

impl Filter {
    /// Returns whether an entry is asked for.
    pub fn takes(&self, entry: &Entry) -> bool {
        let agents = [&entry.agent, &entry.from_agent, &entry.by];
        self.since_us.is_none_or(|since_us| entry.at_us >= since_us)
            && self.is_about(entry)
            && self.names(&agents)
    }

    /// Returns whether a span is asked for.
    pub fn takes_span(&self, span: &Span) -> bool {
        let lasts = span.ended.is_none();
        let end_us = span.until_us.or(span.from_us);
        let is_late = |since_us| lasts || end_us.is_some_and(|end_us| end_us >= since_us);
        self.since_us.is_none_or(is_late)
            && self.is_about(&span.grant)
            && self.names(&[&span.grant.agent, &span.ended_by])
    }

    fn is_about(&self, entry: &Entry) -> bool {
        self.lease.as_ref().is_none_or(|lease| *lease == entry.lease || *lease == entry.subject)
    }

    fn names(&self, agents: &[&Option<String>]) -> bool {
        self.agent.is_none() || agents.contains(&&self.agent)
    }
}
