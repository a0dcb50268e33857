//! The agents that wait for a person, of all nodes that are looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use zeta_core::hook::waiting::{Waiting, rank};

use super::{Finding, Keep, NodeStatus, StatusView};
use crate::context::Context;
use zeta_os::error::{Error, Kind, Result};

/// An agent that waits for a person.
#[derive(Debug)]
pub struct WaitingAgent {
    /// Its node.
    pub node: String,
    /// Its name.
    pub agent: String,
    /// What it waits for, and how long it has.
    pub waiting: Waiting,
}

/// Finds the agents that wait for a person; the one that has waited longest comes first.
///
/// # Errors
/// None was found, and not everything could be read.
pub fn find(view: &StatusView, ctx: &Context) -> Result<Vec<WaitingAgent>> {
    let found = Mutex::new(Vec::new());
    let unread = AtomicBool::new(view.findings.iter().any(is_unread));
    let add = |_: usize, status: &NodeStatus<'_>, _: &mut String| {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        unread.fetch_or(status.findings.iter().any(is_unread), Ordering::Relaxed);
        found.extend(status.agents.iter().filter_map(|agent| {
            let (node, name) = (status.name.to_string(), agent.name.to_owned());
            Some(WaitingAgent { node, agent: name, waiting: agent.waiting.clone()? })
        }));
    };
    view.each(ctx, Keep::Judgements, add, |_| {});
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if found.is_empty() && unread.into_inner() {
        let text = "not every record can be read: whether an agent waits for a person is unknown";
        return Err(Error::new(Kind::Unsafe, text).hint("see what is wrong: zeta status"));
    }
    found.sort_by(|a, b| {
        let key = |one: &WaitingAgent| (rank(&one.waiting), one.node.clone(), one.agent.clone());
        key(a).cmp(&key(b))
    });
    Ok(found)
}

fn is_unread(finding: &Finding) -> bool {
    matches!(finding.word, "unsafe_file" | "too_many_entries" | "missing_directory")
}
