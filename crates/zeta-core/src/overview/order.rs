//! The order of an overview: what needs a person comes first, then what is stuck. Rows whose facts
//! only became newer keep their places.

use std::cmp::{Ordering, Reverse};

use super::{Agent, Finding, Lease, Message, Overview};
use crate::presence::Liveness;

/// The place of an agent among others, the least first.
pub type AgentPlace<'a> = (u8, i64, &'a str, &'a str);

/// The place of a lease among others, the least first.
pub type LeasePlace<'a> = (u8, Reverse<usize>, &'a str, &'a str, &'a str, u64);

/// Returns the place of an agent: those that wait for a person come first, the one that has waited
/// longest before all; then those that hang or were stopped, and those that ended come last.
pub fn agent_place(agent: &Agent) -> AgentPlace<'_> {
    let (class, since_us) = match (&agent.waits, agent.liveness) {
        (Some(waits), _) => (0, waits.since_us.unwrap_or(i64::MAX)),
        (None, Liveness::Hung) => (1, 0),
        (None, Liveness::Gone) => (6, 0),
        (None, _) if agent.is_stopped => (2, 0),
        (None, Liveness::Silent) => (3, 0),
        (None, Liveness::Late) => (4, 0),
        (None, Liveness::Live) => (5, 0),
    };
    (class, since_us, &agent.node, &agent.name)
}

/// Returns the place of a lease: those that others wait for come first, and of these the ones whose
/// holder is gone or does not renew; then what is odd, and what is held in time comes last.
pub fn lease_place(lease: &Lease) -> LeasePlace<'_> {
    let waiting = lease.waiters.len();
    let class = match (waiting > 0, is_in_time(lease)) {
        (true, false) => 0,
        (true, true) => 1,
        (false, false) if !lease.is_free => 2,
        (false, false) => 3,
        (false, true) => 4,
    };
    (class, Reverse(waiting), &lease.node, &lease.subject, &lease.name, lease.token)
}

/// Returns whether a lease is held, and its holder renews it in time.
pub fn is_in_time(lease: &Lease) -> bool {
    lease.standing == "held"
}

/// The place of a message: the newest last.
pub fn message_place(message: &Message) -> (i64, &str) {
    (message.at_us, &message.id)
}

/// Puts everything into its order. Findings of one urgency keep theirs.
pub fn sort(overview: &mut Overview) {
    overview.agents.sort_by(|a, b| agent_place(a).cmp(&agent_place(b)));
    overview.leases.sort_by(|a, b| lease_place(a).cmp(&lease_place(b)));
    overview.messages.sort_by(|a, b| message_place(a).cmp(&message_place(b)));
    sort_findings(&mut overview.findings);
}

/// Puts findings into their order, the most urgent first.
pub fn sort_findings(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| finding.urgency);
}

/// Puts an agent into a sorted list, in place of what it was before.
pub fn put_agent(agents: &mut Vec<Agent>, old: Option<&Agent>, new: Option<Agent>) {
    put(agents, old, new, |a, b| agent_place(a).cmp(&agent_place(b)));
}

/// Puts a lease into a sorted list, in place of what it was before.
pub fn put_lease(leases: &mut Vec<Lease>, old: Option<&Lease>, new: Option<Lease>) {
    put(leases, old, new, |a, b| lease_place(a).cmp(&lease_place(b)));
}

fn put<T: Clone>(
    rows: &mut Vec<T>,
    old: Option<&T>,
    new: Option<T>,
    order: fn(&T, &T) -> Ordering,
) {
    let at = old.and_then(|old| rows.binary_search_by(|row| order(row, old)).ok());
    if let (Some(row), Some(new)) = (at.and_then(|at| rows.get_mut(at)), &new)
        && order(row, new) == Ordering::Equal
    {
        row.clone_from(new);
        return;
    }
    at.map(|at| rows.remove(at));
    if let Some(new) = new {
        let at = rows.binary_search_by(|row| order(row, &new)).unwrap_or_else(|at| at);
        rows.insert(at, new);
    }
}
