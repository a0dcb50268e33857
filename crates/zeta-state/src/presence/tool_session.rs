//! The session of an agent tool that was not started by `zeta run`: its hooks write its record. The
//! process of the tool is the evidence, so its death frees what the session holds.

use std::time::Duration;

use rustix::process::getuid;
use zeta_core::evidence::{Process, ProcessState, Processes, is_same_boot};
use zeta_core::hook::waiting::{self, WAITS_FOR, WAITS_FOR_CALL, WAITS_SINCE};
use zeta_core::hook::{self, edits, turn};
use zeta_core::layout::{self, Kind as FileKind};
use zeta_core::name::Label;
use zeta_core::presence::{
    Beat, Liveness, SPOKEN_MS, forget_session, judge, set_beat, set_processes,
};
use zeta_core::record::{Fields, Text, parse};
use zeta_core::time::{NS_PER_MS, format_utc};

use super::session_leases;
use crate::context::NodeHandle;
use crate::directory::guard::RENEWER_LIMIT;
use crate::presence::heartbeat::touch_last_seen;
use crate::presence::records::{RecordKey, publish, read_or_new, session_over};
use crate::upkeep::clean::life_of;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, process};

/// The key that says which tool's hooks wrote a record.
pub const HOOKED_BY: &str = "hooked_by";
/// The key of what wakes the agent of a session for its mail while it waits for a prompt.
pub const WAKE: &str = "wake";
/// The word for a terminal that `zeta run` has.
pub const WAKE_BY_PTY: &str = "pty";
/// The key of the directory in which the agent works.
pub const CWD: &str = "cwd";
/// The key of a digest of what was said to the agent about its neighbours.
pub const TOLD: &str = "told";

/// The key of when a hook was called last, in ns of the boot clock.
pub const HOOKED_NS: &str = "hooked_boot_ns";

/// How long a hook waits for another process, in the guard of its record or in the index of the
/// bus: the tool waits for the hook, for two seconds at most.
pub const HOOK_LIMIT: Duration = Duration::from_millis(500);

/// How many processes above the caller are looked at.
const ANCESTORS_MAX: usize = 8;

/// Keys of a session before this one.
pub(super) const OF_A_SESSION: [&str; 13] = [
    edits::KEY,
    WAITS_FOR,
    WAITS_SINCE,
    WAITS_FOR_CALL,
    WAKE,
    CWD,
    TOLD,
    turn::TURN,
    turn::TURNS,
    HOOKED_NS,
    turn::STOPS,
    turn::PUT_OFF_NS,
    "beat_seq",
];

/// A session, as one call of a hook knows it.
#[derive(Debug, Clone)]
pub struct ToolSession<'a> {
    /// The word of what keeps the record: a tool with hooks, or a server.
    pub kept_by: &'a str,
    /// The number of the session.
    pub number: &'a str,
    /// The process of the tool.
    pub process: Option<Process>,
    /// The directory of the agent.
    pub cwd: Option<&'a str>,
}

/// Writes the record of a session with a beat and what `change` adds, and begins the session if the
/// record is of another one. Returns when the beat before this one was, in ns of the boot clock.
///
/// # Errors
/// A refusal if another session of this name lives.
pub fn attend(
    handle: &NodeHandle<'_>,
    session: &ToolSession<'_>,
    change: impl FnOnce(&mut Fields<'static>),
) -> Result<u64> {
    let NodeHandle { ctx, node, .. } = handle;
    let name = RecordKey::Persona(ctx.agent.clone());
    let section = handle.enter(name.file(), HOOK_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, node, &name)?;
    let reading = host::reading();
    let known = fields.text("session").is_some_and(|known| known == session.number);
    if !known || fields.raw("ended_at").is_some() {
        if !known && fields.raw("session").is_some() && !session_over(ctx, &fields) {
            let text = format!("{}: another session of this name lives", ctx.agent);
            return Err(Error::new(Kind::Refused, text));
        }
        begin(&mut fields, &ctx.agent, session.number, reading.wall_us);
    }
    fields.set_text(HOOKED_BY, session.kept_by);
    if let Some(cwd) = session.cwd {
        fields.set_text(CWD, cwd);
    }
    let mut every_ms = SPOKEN_MS;
    if let Some(process) = session.process {
        let pid_ns = ctx.host.pid_ns;
        set_processes(&mut fields, &Processes { own: Some(process), child: None, pid_ns });
        every_ms = hook::BEAT_MS;
    }
    let before_ns = fields.number("beat_boot_ns").unwrap_or(0);
    set_beat(&mut fields, reading, &ctx.host, every_ms);
    change(&mut fields);
    publish(&section, node, &name, &fields, exists)?;
    drop(section);
    touch_last_seen(handle)?;
    Ok(before_ns)
}

/// Changes the record of a session without a beat, as that of a `zeta run` around the tool. A
/// record of another session stays as it is.
pub fn change(
    handle: &NodeHandle<'_>,
    number: &str,
    change: impl FnOnce(&mut Fields<'static>),
) -> Result<()> {
    let name = RecordKey::Persona(handle.ctx.agent.clone());
    let section = handle.enter(name.file(), HOOK_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, &handle.node, &name)?;
    if exists && fields.text("session").is_some_and(|known| known == number) {
        change(&mut fields);
        publish(&section, &handle.node, &name, &fields, exists)?;
    }
    Ok(())
}

/// Writes into a record that a session begins.
fn begin(fields: &mut Fields<'static>, agent: &Label, number: &str, wall_us: i64) {
    forget_session(fields);
    OF_A_SESSION.iter().for_each(|key| fields.remove(key));
    let started_at = format_utc(wall_us);
    fields.set_text("persona", agent.as_str());
    fields.set_text("agent", agent.as_str());
    fields.set_text("session", number);
    fields.set_text("status", "working");
    fields.set_text("timestamp", &started_at);
    fields.set_number("uid", getuid().as_raw().into());
    fields.set_text("started_at", &started_at);
}

/// Returns whether the record of the caller says that it waits, for a person or for a prompt.
pub fn waits(handle: &NodeHandle<'_>) -> bool {
    let file = layout::persona_file(handle.ctx.agent.as_str());
    record(handle, &file).is_some_and(|(_, fields)| {
        fields.raw(WAITS_FOR).is_some() || turn::of(&fields) == Some(turn::Turn::Over)
    })
}

/// Renews the leases of the session that are older than a quarter of their TTL.
pub fn renew(handle: &NodeHandle<'_>, number: &str) {
    let now_ns = host::reading().boot_ns;
    for record in session_leases::of(handle, |record| record.session.as_deref() == Some(number)) {
        let age_ms = now_ns.saturating_sub(record.renewed.boot_ns) / NS_PER_MS;
        if age_ms > record.ttl_ms / 4 {
            // The next call of a hook tries again.
            let _ = handle.renew(&record.lease, record.fencing_token, None, RENEWER_LIMIT);
        }
    }
}

/// Ends a session: its record says so, and what it holds is released. A record of another session,
/// as after a restart under the same name, stays as it is.
pub fn end(handle: &NodeHandle<'_>, number: &str) -> Result<()> {
    let name = RecordKey::Persona(handle.ctx.agent.clone());
    if handle.read(&name.file(), name.max())?.is_some() {
        change(handle, number, |fields| {
            fields.remove(edits::KEY);
            waiting::clear(fields);
            fields.set_text("ended_at", &format_utc(host::wall_us()));
        })?;
    }
    for record in session_leases::of(handle, |record| record.session.as_deref() == Some(number)) {
        if handle.release(&record.lease, record.fencing_token)?.is_ok() {
            (handle.ctx.lease_ended)(handle.ctx, &record);
        }
    }
    Ok(())
}

/// The record of an agent, and whether it lives.
#[derive(Debug)]
pub struct AgentRecord {
    /// What the record says.
    pub fields: Fields<'static>,
    /// Whether it lives.
    pub lives: bool,
    /// The process that keeps the record.
    pub own: Option<Process>,
}

/// Finds the record of an agent; `None` also if it cannot be read.
pub fn find(handle: &NodeHandle<'_>, agent: &str) -> Option<AgentRecord> {
    let bytes = handle.read(&layout::persona_file(agent), layout::PERSONA_MAX).ok()??;
    let Ok(Text::Own(fields)) = parse(&bytes.bytes, layout::PERSONA_MAX) else { return None };
    let beat = Beat::from_fields(&fields).ok()?;
    let now = handle.ctx.now();
    let judged = judge(&beat, bytes.times, life_of(&beat, &now), &now);
    let lives = matches!(judged.liveness, Liveness::Live | Liveness::Late);
    let own = beat.processes.own.filter(|_| !beat.ended);
    Some(AgentRecord { fields: fields.into_owned(), lives, own })
}

/// Returns the agents of the node that live, by name, each with its record. What cannot be read
/// says nothing.
pub fn living(handle: &NodeHandle<'_>) -> Vec<(String, Fields<'static>)> {
    let names = handle.node.list().map(|listing| listing.names).unwrap_or_default();
    names.iter().filter_map(|file| living_one(handle, file)).collect()
}

fn living_one(handle: &NodeHandle<'_>, file: &str) -> Option<(String, Fields<'static>)> {
    let FileKind::Persona(name) = layout::kind_of(file) else { return None };
    let record = find(handle, name)?;
    record.lives.then(|| (name.to_owned(), record.fields))
}

/// Reads the record of an agent; `None` if there is none that can be read.
pub(super) fn fields_of(handle: &NodeHandle<'_>, agent: &Label) -> Option<Fields<'static>> {
    record(handle, &layout::persona_file(agent.as_str())).map(|(_, fields)| fields)
}

/// Returns the tool that a session's record names, if the session lives: `Some(None)` is a session
/// of `zeta run`.
pub fn session_of(handle: &NodeHandle<'_>, agent: &Label, number: &str) -> Option<Option<String>> {
    let fields = fields_of(handle, agent)?;
    if fields.raw("ended_at").is_some() || fields.text("session")? != number {
        return None;
    }
    let beat = Beat::from_fields(&fields).ok()?;
    let dead = life_of(&beat, &handle.ctx.now()) == ProcessState::Dead;
    (!dead).then(|| fields.text(HOOKED_BY).map(|tool| tool.into_owned()))
}

/// The session of an agent that a process works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AncestorSession {
    /// The agent.
    pub agent: Label,
    /// The number of the session.
    pub number: String,
    /// The tool whose hooks keep the record; `None` if a `zeta run` keeps it.
    pub tool: Option<String>,
}

/// A session that an ancestor of the caller may be the process of.
struct Candidate {
    session: AncestorSession,
    processes: Processes,
    beat_boot_ns: u64,
}

/// Returns the session whose process is the nearest one above the caller: agent tools start the
/// commands and the servers of an agent, and most pass no name on. A record counts if it is of the
/// caller's user and pid namespace, and its process is proven to be the recorded one. Of several
/// sessions of one process it is the one that beat last.
pub fn of_ancestor(handle: &NodeHandle<'_>) -> Option<AncestorSession> {
    if handle.ctx.host.pid_ns.is_none() || !process::proc_is_own() {
        return None;
    }
    let names = handle.node.list().map(|listing| listing.names).unwrap_or_default();
    let candidates: Vec<_> = names.iter().filter_map(|file| candidate(handle, file)).collect();
    if candidates.is_empty() {
        return None;
    }
    let above = |pid: &u32| process::parent(*pid).filter(|pid| *pid > 1);
    let above = std::iter::successors(Some(std::os::unix::process::parent_id()), above);
    let found = above.take(ANCESTORS_MAX).find_map(|pid| {
        let of_pid = candidates.iter().filter(|known| is_process_of(handle, known, pid));
        of_pid.max_by_key(|known| known.beat_boot_ns)
    })?;
    Some(found.session.clone())
}

fn is_process_of(handle: &NodeHandle<'_>, known: &Candidate, pid: u32) -> bool {
    let Processes { own, child, pid_ns } = known.processes;
    let one = own.into_iter().chain(child).find(|process| process.pid == pid);
    one.is_some_and(|process| {
        let alone = Processes { own: Some(process), child: None, pid_ns };
        process::life(&alone, &handle.ctx.host) == ProcessState::Alive
    })
}

fn candidate(handle: &NodeHandle<'_>, file: &str) -> Option<Candidate> {
    let (agent, fields) = record(handle, file)?;
    let beat = Beat::from_fields(&fields).ok()?;
    let own_uid = fields.number("uid") == Some(getuid().as_raw().into());
    let is_here = beat.processes.pid_ns == handle.ctx.host.pid_ns;
    if beat.ended || !own_uid || !is_here || !is_same_boot(&beat.stamp.boot_id, &handle.ctx.host) {
        return None;
    }
    let session = AncestorSession {
        agent: Label::new("agent", agent).ok()?,
        number: beat.session?,
        tool: fields.text(HOOKED_BY).map(|tool| tool.into_owned()),
    };
    Some(Candidate { session, processes: beat.processes, beat_boot_ns: beat.stamp.boot_ns })
}

/// Reads the persona record in a file, if it is one of the standard.
fn record<'f>(handle: &NodeHandle<'_>, file: &'f str) -> Option<(&'f str, Fields<'static>)> {
    let FileKind::Persona(name) = layout::kind_of(file) else { return None };
    let bytes = handle.read(file, layout::PERSONA_MAX).ok()??;
    match parse(&bytes.bytes, layout::PERSONA_MAX) {
        Ok(Text::Own(fields)) => Some((name, fields.into_owned())),
        _ => None,
    }
}
