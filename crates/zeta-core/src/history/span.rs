//! The spans of a history: each grant from when to when, how it began and how it ended.

use std::collections::BTreeMap;

use super::{Entry, Event};
use crate::overview::LeaseKind;

/// How a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its holder gave it back.
    Released,
    /// Its holder passed it on.
    HandedOver,
    /// Its holder had lost its right to it, and another one was granted it.
    TakenOver,
    /// It was ended by force.
    Broken,
    /// It counted no more, and was cleaned away.
    Removed,
    /// It ended, and no entry says how: the process was killed in between, or another program than
    /// zeta ended it.
    Unrecorded,
}

impl Ended {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Released => "released",
            Ended::HandedOver => "handed_over",
            Ended::TakenOver => "taken_over",
            Ended::Broken => "broken",
            Ended::Removed => "removed",
            Ended::Unrecorded => "unrecorded",
        }
    }
}

/// A grant of a lease, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The entry that it began with; if the log begins later, what the entry of its end says.
    pub grant: Entry,
    /// When it began; none if that was before the log begins.
    pub from_us: Option<i64>,
    /// When it ended; none if it lasts, or if no entry says when. Of an end that no entry says, it
    /// is the latest moment that is possible.
    pub until_us: Option<i64>,
    /// How it ended; none if it lasts.
    pub ended: Option<Ended>,
    /// The holder after it, at a takeover or a handover.
    pub to_agent: Option<String>,
    /// The agent that ended it, if that was not its holder.
    pub ended_by: Option<String>,
    /// Why it counted no more: `holder_dead`, `expired`, ...
    pub ended_cause: Option<String>,
    /// Why it was ended by force, in the words of the agent that did it.
    pub ended_reason: Option<String>,
}

impl Span {
    fn new(grant: Entry, from_us: Option<i64>) -> Span {
        let (until_us, ended, to_agent, ended_by, ended_cause, ended_reason) = Default::default();
        Span { grant, from_us, until_us, ended, to_agent, ended_by, ended_cause, ended_reason }
    }

    fn end(&mut self, ended: Ended, entry: &Entry) {
        (self.until_us, self.ended) = (Some(entry.at_us), Some(ended));
        self.ended_cause = entry.cause.clone();
        self.ended_reason = entry.reason.clone();
        self.ended_by = entry.by.clone();
        self.to_agent = entry.agent.clone().filter(|_| entry.event.begins());
    }

    fn end_unrecorded(&mut self, at_us: i64) {
        (self.until_us, self.ended) = (Some(at_us), Some(Ended::Unrecorded));
    }
}

/// Returns the spans of entries that are in the order of their log, in the order in which they
/// begin. A grant that the log does not end, and whose lease was granted to another one since, has
/// ended unrecorded.
pub fn spans(entries: &[Entry]) -> Vec<Span> {
    let mut found = Found::default();
    entries.iter().for_each(|entry| found.add(entry));
    found.spans
}

/// Ends the spans that seem to last and whose grant does not stand.
pub fn end_gone(spans: &mut [Span], stands: impl Fn(&Span) -> bool) {
    for span in spans.iter_mut().filter(|span| span.ended.is_none()) {
        if !stands(span) {
            span.ended = Some(Ended::Unrecorded);
        }
    }
}

#[derive(Default)]
struct Found<'e> {
    spans: Vec<Span>,
    /// The spans that last, by node and lease.
    open: BTreeMap<(&'e str, &'e str), Vec<usize>>,
}

impl<'e> Found<'e> {
    fn add(&mut self, entry: &'e Entry) {
        let ended = match entry.event {
            Event::Acquired => return self.begin(entry),
            Event::TakenOver => {
                self.end_before(entry, Ended::TakenOver);
                return self.begin(entry);
            }
            Event::HandedOver => {
                self.end_before(entry, Ended::HandedOver);
                return self.begin(entry);
            }
            Event::Released => Ended::Released,
            Event::Broken => Ended::Broken,
            Event::Removed => Ended::Removed,
        };
        self.end(entry, entry.fencing_token, entry.agent.clone(), ended);
    }

    fn begin(&mut self, entry: &'e Entry) {
        let next = self.spans.len();
        self.end_others(entry).push(next);
        self.spans.push(Span::new(entry.clone(), Some(entry.at_us)));
    }

    /// Ends what cannot have stood beside the grant of an entry: grants of a joint lease stand side
    /// by side, and no other grant stands beside one.
    fn end_others(&mut self, entry: &'e Entry) -> &mut Vec<usize> {
        let open = self.open.entry((&entry.node, &entry.lease)).or_default();
        open.retain(|at| {
            let Some(span) = self.spans.get_mut(*at) else { return false };
            let stays = is_joint(&span.grant) && is_joint(entry);
            if !stays {
                span.end_unrecorded(entry.at_us);
            }
            stays
        });
        open
    }

    /// Ends the grant that a takeover or a handover names.
    fn end_before(&mut self, entry: &'e Entry, ended: Ended) {
        if let Some(token) = entry.from_fencing_token {
            self.end(entry, Some(token), entry.from_agent.clone(), ended);
        }
    }

    /// Ends a grant; one that the log does not begin is new.
    fn end(&mut self, entry: &'e Entry, token: Option<u64>, agent: Option<String>, ended: Ended) {
        let open = self.open.entry((&entry.node, &entry.lease)).or_default();
        // A record that could not be read has no token: it was that of the only holder.
        let is_meant = |span: &Span| match token {
            Some(_) => span.grant.fencing_token == token,
            None => !is_joint(&span.grant),
        };
        let meant = open.iter().position(|at| self.spans.get(*at).is_some_and(is_meant));
        let at = match meant {
            Some(meant) => open.swap_remove(meant),
            None => {
                self.end_others(entry);
                let grant = Entry { fencing_token: token, agent, ..entry.clone() };
                self.spans.push(Span::new(grant, None));
                self.spans.len() - 1
            }
        };
        if let Some(span) = self.spans.get_mut(at) {
            span.end(ended, entry);
        }
    }
}

fn is_joint(entry: &Entry) -> bool {
    matches!(entry.kind, LeaseKind::Paths | LeaseKind::Slot)
}
