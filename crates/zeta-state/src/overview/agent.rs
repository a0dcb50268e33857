//! An agent of an overview, from its record and what the kernel shows of its processes.

use zeta_core::evidence::{Process, ProcessState};
use zeta_core::hook::edits::{self, Edit};
use zeta_core::hook::session::{BY_SERVER, tool_of};
use zeta_core::hook::waiting::WAITS_SINCE;
use zeta_core::lease::FOREIGN_TTL_MS;
use zeta_core::name::Label;
use zeta_core::overview::finding;
use zeta_core::overview::{Agent, Finding, Waits};
use zeta_core::presence::{Liveness, steady_ms};
use zeta_core::record::Fields;
use zeta_core::time::{NS_PER_MS, Now, parse_duration, parse_utc};

use super::to_finding;
use crate::directory::tree::Bytes;
use crate::presence::status::findings::{self, Ages};
use crate::presence::status::gather::{self, Evidence};
use crate::presence::status::{self, Persona};
use crate::presence::tool_session::HOOKED_BY;
use zeta_os::process;

/// An agent, and what is needed to know when it must be judged again.
#[derive(Debug)]
pub(super) struct AgentRow {
    pub(super) row: Agent,
    pub(super) findings: Vec<Finding>,
    /// Its session, if that has not ended.
    pub(super) session: Option<String>,
    /// Its processes that belong to this pid namespace.
    pub(super) processes: Vec<Process>,
    pub(super) edits: Vec<Edit>,
    /// When its judgement can change by time alone, by the boot clock.
    pub(super) until_ns: Option<u64>,
}

impl AgentRow {
    /// Returns whether both lead to the same findings.
    pub(super) fn has_findings_of(&self, other: &AgentRow) -> bool {
        (&self.findings, &self.session, &self.edits, self.row.liveness)
            == (&other.findings, &other.session, &other.edits, other.row.liveness)
    }
}

/// Reads and judges the record of an agent.
pub(super) fn read(
    node: &Label,
    name: &str,
    bytes: &Bytes,
    now: &Now,
    evidence: &mut Evidence,
) -> AgentRow {
    let agent = gather::agent(name, &bytes.bytes, bytes.times, now, evidence);
    let mut read = AgentRow {
        row: row(node, &agent, bytes),
        findings: Vec::new(),
        session: None,
        processes: Vec::new(),
        edits: Vec::new(),
        until_ns: steady(&agent, bytes, now).map(|ms| until_ns(now, ms)),
    };
    if let Persona::Own(fields, beat) = &agent.persona {
        if !beat.ended {
            read.session.clone_from(&beat.session);
            read.edits = fields.text(edits::KEY).map_or_else(Vec::new, |text| edits::parse(&text));
        }
        if agent.life == ProcessState::Alive {
            let tool = tool_of(fields).filter(|(_, tool)| tool.pid_ns == now.host.pid_ns);
            let processes = [beat.processes.own, beat.processes.child];
            let tool = tool.and_then(|(_, tool)| tool.own);
            read.processes = processes.into_iter().chain([tool]).flatten().collect();
        }
    }
    read.findings.extend(findings_of(&agent, &read.row));
    read
}

/// The moment that is so many ms from now.
pub(super) fn until_ns(now: &Now, ms: u64) -> u64 {
    now.reading.boot_ns.saturating_add(ms.saturating_mul(NS_PER_MS))
}

/// An agent that waits for a person, or was stopped, does not beat for this reason alone.
fn findings_of(agent: &status::Agent<'_>, row: &Agent) -> Vec<Finding> {
    let own = finding::of_agent(row);
    let explains = own.is_some() && agent.survivor.is_none();
    let judged = findings::of_agent(agent, Ages::LeftOut).filter(|_| !explains);
    judged.map(|found| to_finding(Some(&row.node), found, 0)).into_iter().chain(own).collect()
}

fn row(node: &Label, agent: &status::Agent<'_>, bytes: &Bytes) -> Agent {
    let (fields, beat) = match &agent.persona {
        Persona::Own(fields, beat) => (Some(fields), Some(beat)),
        Persona::NoBeat(fields) | Persona::Foreign(fields) => (Some(fields), None),
        Persona::Damaged(_) => (None, None),
    };
    let text = |key| Some(fields?.text(key)?.into_owned()).filter(|text| !text.is_empty());
    let time = |key| parse_utc(&fields?.text(key)?).ok();
    let foreign_at_us =
        matches!(agent.persona, Persona::Foreign(_)).then_some(bytes.times.mtime_us);
    let pids: Vec<u64> = match beat {
        Some(beat) => [beat.processes.own, beat.processes.child]
            .iter()
            .flatten()
            .map(|process| process.pid.into())
            .collect(),
        None => fields.and_then(|fields| fields.number("pid")).into_iter().collect(),
    };
    Agent {
        node: node.to_string(),
        name: agent.name.to_owned(),
        liveness: agent.judgement.liveness,
        evidence: agent.judgement.evidence.to_owned(),
        beat_at_us: beat.and_then(|beat| beat.stamp.wall_us).or(foreign_at_us),
        started_at_us: time("started_at").or_else(|| time("timestamp")),
        waits: agent.waiting.as_ref().map(|waiting| Waits {
            question: waiting.question.clone(),
            since_us: time(WAITS_SINCE),
        }),
        status: text("status"),
        task: text("task"),
        branch: text("branch"),
        worktree: text("worktree"),
        tool: fields.and_then(tool_name),
        is_stopped: is_stopped(agent, &pids),
        pids,
        unread: 0,
    }
}

fn is_stopped(agent: &status::Agent<'_>, pids: &[u64]) -> bool {
    // Without this proof the ids may be of other processes.
    if agent.life != ProcessState::Alive {
        return false;
    }
    let command = agent.survivor.map(|survivor| survivor.command);
    let ids = pids.iter().filter_map(|pid| u32::try_from(*pid).ok());
    ids.filter(|pid| command.is_none_or(|command| command == *pid)).any(process::is_stopped)
}

fn tool_name(fields: &Fields<'_>) -> Option<String> {
    let hooked = fields.text(HOOKED_BY).map(|tool| tool.into_owned());
    let served = || tool_of(fields).map(|(name, _)| name);
    hooked.or_else(served).filter(|name| name != BY_SERVER)
}

/// For how many ms the judgement stays the same if the record does.
fn steady(agent: &status::Agent<'_>, bytes: &Bytes, now: &Now) -> Option<u64> {
    match &agent.persona {
        Persona::Own(_, beat) => steady_ms(beat, bytes.times, agent.life, now),
        Persona::Foreign(fields) if agent.judgement.liveness == Liveness::Live => {
            let ttl_ms = fields.text("ttl").and_then(|text| parse_duration("ttl", &text).ok());
            let rest_ms = ttl_ms.unwrap_or(FOREIGN_TTL_MS);
            Some(rest_ms.saturating_sub(agent.judgement.beat_age_ms?) + 1)
        }
        _ => None,
    }
}
