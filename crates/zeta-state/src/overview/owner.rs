//! The agent that a waiting process belongs to.

use std::collections::HashMap;
use std::iter::successors;

use zeta_core::name::Label;
use zeta_core::time::Host;

use crate::lease::queue::Ticket;
use zeta_os::process;

/// How many processes above the waiting one are looked at.
const ANCESTORS_MAX: usize = 16;
/// The variable that names an agent to the commands that it starts.
const AGENT: &str = "ZETA_AS";

/// Returns the agent of the process that drew a ticket: the one whose process is nearest above it,
/// or else the one that its environment names.
pub(super) fn agent_of(
    ticket: &Ticket,
    by_pid: &HashMap<u32, String>,
    host: &Host,
) -> Option<String> {
    if host.pid_ns.is_none() || ticket.pid_ns() != host.pid_ns || !process::proc_is_own() {
        return None;
    }
    let pid = ticket.process().pid;
    let mut above = successors(Some(pid), |pid| process::parent(*pid).filter(|pid| *pid > 1));
    let found = above.by_ref().take(ANCESTORS_MAX).find_map(|pid| by_pid.get(&pid));
    match found {
        Some(agent) => Some(agent.clone()),
        None => process::variable(pid, AGENT).filter(|name| Label::new("agent", name).is_ok()),
    }
}
