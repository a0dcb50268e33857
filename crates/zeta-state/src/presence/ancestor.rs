//! The session of the nearest process above the caller: agent tools start the commands and the
//! servers of an agent, and most pass no name on.

use std::iter::successors;

use rustix::process::getuid;
use zeta_core::evidence::{Process, ProcessState, Processes, is_same_boot};
use zeta_core::hook::session::{BY_SERVER, Keeper, Way, is_launcher, tool_of};
use zeta_core::name::Label;
use zeta_core::presence::Beat;

use super::tool_session::{HOOKED_BY, record};
use crate::context::NodeHandle;
use zeta_os::process;

/// How many processes above the caller are looked at.
const ANCESTORS_MAX: usize = 8;

/// The session of an agent that a process above the caller works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AncestorSession {
    /// The agent.
    pub agent: Label,
    /// The number of the session.
    pub number: String,
    /// The tool whose hooks keep the record; `None` if a `zeta run` keeps it.
    pub tool: Option<String>,
    /// The processes between the caller and the one that was found, the nearest first.
    between: Vec<u32>,
    /// The process that was found.
    found: u32,
    /// See [`Candidate::served`].
    served: Option<(String, Processes)>,
}

impl AncestorSession {
    /// Returns what keeps the session.
    pub fn keeper(&self) -> Keeper {
        if self.tool.is_some() { Keeper::Hooks } else { Keeper::Run }
    }

    /// Returns how the caller and the tool of the session are related; `None` if no record names
    /// a tool that lives.
    pub fn way(&self) -> Option<Way> {
        let (tool, is_below) = match (&self.tool, &self.served) {
            (Some(tool), _) => (tool, true),
            (None, Some((name, tool))) => {
                (name, tool.own.is_some_and(|process| process.pid == self.found))
            }
            (None, None) => return None,
        };
        Some(Way {
            tool: tool.clone(),
            is_below,
            between: self.between.iter().map(|pid| name_of(*pid)).collect(),
        })
    }

    /// Returns the process of the client of a server that is the caller, as far as it is not the
    /// `zeta run` itself.
    pub fn client(&self) -> Option<Process> {
        let found = (self.tool.is_some() || self.between.is_empty()).then_some(self.found);
        client_in(self.between.iter().copied().chain(found))
    }
}

/// Returns the process of the client of a server that is the caller: the nearest one above it that
/// does more than to start another one.
pub fn client() -> Option<Process> {
    client_in(above().take(ANCESTORS_MAX))
}

fn client_in(mut above: impl Iterator<Item = u32>) -> Option<Process> {
    above.find(|pid| !is_launcher(&name_of(*pid))).map(process::identify)
}

/// The processes above the caller, the nearest first.
fn above() -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| process::parent(*pid).filter(|pid| *pid > 1);
    successors(Some(std::os::unix::process::parent_id()).filter(|pid| *pid > 1), parent)
}

fn name_of(pid: u32) -> String {
    process::describe(pid).map(|(name, _)| name).unwrap_or_default()
}

/// A session that an ancestor of the caller may be the process of.
struct Candidate {
    agent: Label,
    number: String,
    tool: Option<String>,
    processes: Processes,
    /// The tool that a session of a `zeta run` serves, as its hooks named it.
    served: Option<(String, Processes)>,
    beat_boot_ns: u64,
}

/// Returns the session whose process is the nearest one above the caller. A record counts if it is
/// of the caller's user and pid namespace, and its process is proven to be the recorded one. Of
/// several sessions of one process it is the `preferred` one, or else the one that beat last.
pub fn nearest(
    handle: &NodeHandle<'_>,
    preferred: Option<(&Label, &str)>,
) -> Option<AncestorSession> {
    if handle.ctx.host.pid_ns.is_none() || !process::proc_is_own() {
        return None;
    }
    let names = handle.node.list().map(|listing| listing.names).unwrap_or_default();
    let candidates: Vec<_> = names.iter().filter_map(|file| candidate(handle, file)).collect();
    if candidates.is_empty() {
        return None;
    }
    let is_preferred = |known: &Candidate| preferred == Some((&known.agent, &*known.number));
    let mut between = Vec::new();
    for pid in above().take(ANCESTORS_MAX) {
        let of_pid = candidates.iter().filter(|known| is_process_of(handle, known, pid));
        let Some(known) = of_pid.max_by_key(|known| (is_preferred(known), known.beat_boot_ns))
        else {
            between.push(pid);
            continue;
        };
        return Some(AncestorSession {
            agent: known.agent.clone(),
            number: known.number.clone(),
            tool: known.tool.clone(),
            served: known.served.clone(),
            between,
            found: pid,
        });
    }
    None
}

fn is_process_of(handle: &NodeHandle<'_>, known: &Candidate, pid: u32) -> bool {
    let Processes { own, child, pid_ns } = known.processes;
    let served = known.served.as_ref().and_then(|(_, tool)| tool.own);
    let one = own.into_iter().chain(child).chain(served).find(|process| process.pid == pid);
    one.is_some_and(|process| lives(handle, process, pid_ns))
}

fn lives(handle: &NodeHandle<'_>, process: Process, pid_ns: Option<u64>) -> bool {
    let alone = Processes { own: Some(process), child: None, pid_ns };
    process::life(&alone, &handle.ctx.host) == ProcessState::Alive
}

fn candidate(handle: &NodeHandle<'_>, file: &str) -> Option<Candidate> {
    let (agent, fields) = record(handle, file)?;
    let beat = Beat::from_fields(&fields).ok()?;
    let own_uid = fields.number("uid") == Some(getuid().as_raw().into());
    let is_here = beat.processes.pid_ns == handle.ctx.host.pid_ns;
    if beat.ended || !own_uid || !is_here || !is_same_boot(&beat.stamp.boot_id, &handle.ctx.host) {
        return None;
    }
    let tool = fields.text(HOOKED_BY).map(|tool| tool.into_owned());
    let served = tool_of(&fields).filter(|(name, served)| {
        let is_here = served.pid_ns == handle.ctx.host.pid_ns;
        let lives = |process| lives(handle, process, served.pid_ns);
        tool.is_none() && name != BY_SERVER && is_here && served.own.is_some_and(lives)
    });
    Some(Candidate {
        agent: Label::new("agent", agent).ok()?,
        number: beat.session?,
        tool,
        processes: beat.processes,
        served,
        beat_boot_ns: beat.stamp.boot_ns,
    })
}
