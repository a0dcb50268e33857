//! The differences between two overviews: what a front end that shows the one needs for the other.

use std::collections::{HashMap, HashSet};

use super::order::sort;
use super::{Agent, Cluster, Finding, Lease, Message, Overview};

/// What names a grant: node, name and fencing token.
pub type GrantKey = (String, String, u64);

/// What names a row among those of its kind.
type Key<'a> = (&'a str, &'a str, u64);

/// What changed from one overview to a later one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// When the later one was read.
    pub now_us: i64,
    /// This machine's own node, if that changed.
    pub node: Option<Option<String>>,
    /// The cluster, if it changed.
    pub cluster: Option<Option<Cluster>>,
    /// Agents that are new or changed.
    pub agents: Vec<Agent>,
    /// The node and name of agents that are gone.
    pub agents_gone: Vec<(String, String)>,
    /// Grants that are new or changed.
    pub leases: Vec<Lease>,
    /// Grants that are gone.
    pub leases_gone: Vec<GrantKey>,
    /// Messages that are new.
    pub messages: Vec<Message>,
    /// The ids of messages that are gone, or are not among the newest any more.
    pub messages_gone: Vec<String>,
    /// All findings, if they changed.
    pub findings: Option<Vec<Finding>>,
}

impl Changes {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes { now_us: self.now_us, ..Changes::default() }
    }
}

trait Row: Clone + PartialEq {
    fn key(&self) -> Key<'_>;
}

impl Row for Agent {
    fn key(&self) -> Key<'_> {
        (&self.node, &self.name, 0)
    }
}

impl Row for Lease {
    fn key(&self) -> Key<'_> {
        (&self.node, &self.name, self.token)
    }
}

impl Row for Message {
    fn key(&self) -> Key<'_> {
        (&self.id, "", 0)
    }
}

/// Finds what changed between two overviews of one state directory.
pub fn changes(old: &Overview, new: &Overview) -> Changes {
    let (agents, agents_gone) = differences(&old.agents, &new.agents);
    let (leases, leases_gone) = differences(&old.leases, &new.leases);
    let (messages, messages_gone) = differences(&old.messages, &new.messages);
    let agent = |(node, name, _): Key<'_>| (node.to_owned(), name.to_owned());
    let grant = |(node, name, token): Key<'_>| (node.to_owned(), name.to_owned(), token);
    Changes {
        now_us: new.at_us,
        node: (old.node != new.node).then(|| new.node.clone()),
        cluster: (old.cluster != new.cluster).then(|| new.cluster.clone()),
        agents,
        agents_gone: agents_gone.into_iter().map(agent).collect(),
        leases,
        leases_gone: leases_gone.into_iter().map(grant).collect(),
        messages,
        messages_gone: messages_gone.into_iter().map(|(id, ..)| id.to_owned()).collect(),
        findings: (old.findings != new.findings).then(|| new.findings.clone()),
    }
}

/// Returns the rows that are new or changed, and the keys of those that are gone.
fn differences<'a, T: Row>(old: &'a [T], new: &'a [T]) -> (Vec<T>, Vec<Key<'a>>) {
    // Most rows are the same in the same place, and need no map.
    let moved = |(old, new): &(&T, &T)| old != new;
    if old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.key() == new.key()) {
        let changed = old.iter().zip(new).filter(moved).map(|(_, new)| new.clone());
        return (changed.collect(), Vec::new());
    }
    let known: HashMap<Key<'_>, &T> = old.iter().map(|row| (row.key(), row)).collect();
    let is_new = |row: &&T| known.get(&row.key()).is_none_or(|known| known != row);
    let changed = new.iter().filter(is_new).cloned().collect();
    let there: HashSet<Key<'_>> = new.iter().map(Row::key).collect();
    let gone = old.iter().map(Row::key).filter(|key| !there.contains(key)).collect();
    (changed, gone)
}

/// Makes an overview into the later one that the changes lead to.
pub fn apply(overview: &mut Overview, changes: &Changes) {
    overview.at_us = changes.now_us;
    if let Some(node) = &changes.node {
        overview.node.clone_from(node);
    }
    if let Some(cluster) = &changes.cluster {
        overview.cluster.clone_from(cluster);
    }
    let gone = changes.agents_gone.iter().map(|(node, name)| (node.as_str(), name.as_str(), 0));
    replace(&mut overview.agents, &changes.agents, gone);
    let gone = changes.leases_gone.iter();
    let gone = gone.map(|(node, name, token)| (node.as_str(), name.as_str(), *token));
    replace(&mut overview.leases, &changes.leases, gone);
    let gone = changes.messages_gone.iter().map(|id| (id.as_str(), "", 0));
    replace(&mut overview.messages, &changes.messages, gone);
    if let Some(findings) = &changes.findings {
        overview.findings.clone_from(findings);
    }
    sort(overview);
}

fn replace<'c, T: Row>(rows: &mut Vec<T>, new: &'c [T], gone: impl Iterator<Item = Key<'c>>) {
    let old: HashSet<Key<'_>> = gone.chain(new.iter().map(Row::key)).collect();
    if !old.is_empty() {
        rows.retain(|row| !old.contains(&row.key()));
        rows.extend_from_slice(new);
    }
}
