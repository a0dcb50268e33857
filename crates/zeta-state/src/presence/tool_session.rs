//! The session of an agent tool that was not started by `zeta run`: its hooks write its record. The
//! process of the tool is the evidence, so its death frees what the session holds.

use std::path::Path;
use std::time::Duration;

use rustix::process::getuid;
use zeta_core::evidence::{Boot, Process, ProcessState, Processes, judge_boot};
use zeta_core::hook::session::{
    BY_SERVER, Seat, TOOL_KEYS, judge_seat, judge_seat_of_server, set_tool, tool_of,
};
use zeta_core::hook::waiting::{self, WAITS_FOR, WAITS_FOR_CALL, WAITS_SINCE};
use zeta_core::hook::{self, edits, turn};
use zeta_core::layout::{self, Kind as FileKind};
use zeta_core::lease::Record;
use zeta_core::name::Label;
use zeta_core::presence::{
    Beat, Liveness, SPOKEN_MS, forget_session, judge, set_beat, set_processes,
};
use zeta_core::record::{Fields, Text, parse};
use zeta_core::time::{NS_PER_MS, format_utc};

use super::session_leases;
use crate::context::NodeHandle;
use crate::directory::guard::RENEWER_LIMIT;
use crate::lease::space::Space;
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
/// The key of the space of the repository around that directory, as the agent itself found it.
const CWD_SPACE: &str = "cwd_space";
/// The key of a digest of what was said to the agent about its neighbours.
pub const TOLD: &str = "told";

/// The key of the id that the tool itself gives its session, by which it can go on with it.
pub const TOOL_SESSION: &str = "tool_session";

/// The key of when a hook was called last, in ns of the boot clock.
pub const HOOKED_NS: &str = "hooked_boot_ns";

/// How long a hook waits for another process, in the guard of its record or in the index of the
/// bus: the tool waits for the hook, for two seconds at most.
pub const HOOK_LIMIT: Duration = Duration::from_millis(500);

/// Keys of a session before this one.
pub(super) const OF_A_SESSION: [&str; 20] = [
    TOOL_KEYS[0],
    TOOL_KEYS[1],
    TOOL_KEYS[2],
    TOOL_KEYS[3],
    TOOL_KEYS[4],
    TOOL_SESSION,
    edits::KEY,
    WAITS_FOR,
    WAITS_SINCE,
    WAITS_FOR_CALL,
    WAKE,
    CWD,
    CWD_SPACE,
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
/// record is of another one. Returns when the last beat and the last hook before this one were, in
/// ns of the boot clock.
///
/// # Errors
/// A refusal if another session of this name lives, or another process works for this one.
pub fn attend(
    handle: &NodeHandle<'_>,
    session: &ToolSession<'_>,
    change: impl FnOnce(&mut Fields<'static>),
) -> Result<(u64, u64)> {
    let NodeHandle { ctx, node, .. } = handle;
    let name = RecordKey::Persona(ctx.agent.clone());
    let section = handle.enter(name.file(), HOOK_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, node, &name)?;
    let reading = host::reading();
    let known = fields.text("session").is_some_and(|known| known == session.number);
    let call = Processes { own: session.process, child: None, pid_ns: ctx.host.pid_ns };
    if known && seat_in(handle, &fields, session.number, &call) == Seat::Taken {
        let text = format!("{}: this session runs in another process", ctx.agent);
        return Err(Error::new(Kind::Refused, text));
    }
    if !known || fields.raw("ended_at").is_some() {
        if !known && fields.raw("session").is_some() && !session_over(ctx, &fields) {
            let text = format!("{}: another session of this name lives", ctx.agent);
            return Err(Error::new(Kind::Refused, text));
        }
        begin(&mut fields, &ctx.agent, session.number, reading.wall_us);
    }
    fields.set_text(HOOKED_BY, session.kept_by);
    if let Some(cwd) = session.cwd {
        set_cwd(&mut fields, cwd);
    }
    let mut every_ms = SPOKEN_MS;
    if session.process.is_some() {
        set_processes(&mut fields, &call);
        every_ms = hook::BEAT_MS;
    }
    let before = ["beat_boot_ns", HOOKED_NS].map(|key| fields.number(key).unwrap_or(0));
    set_beat(&mut fields, reading, &ctx.host, every_ms);
    change(&mut fields);
    publish(&section, node, &name, &fields, exists)?;
    drop(section);
    touch_last_seen(handle)?;
    Ok(before.into())
}

/// Writes the directory of an agent into its record, and which repository that is in: other agents
/// compare it, and open no path that stands there.
pub fn set_cwd(fields: &mut Fields<'_>, cwd: &str) {
    if fields.text(CWD).is_some_and(|known| known == cwd) {
        return;
    }
    fields.set_text(CWD, cwd);
    match Space::find(Path::new(cwd)) {
        Ok(space) => fields.set_text(CWD_SPACE, space.lease.as_str()),
        Err(_) => fields.remove(CWD_SPACE),
    }
}

/// Returns whether an agent works in this space, as its record says.
pub fn is_in(fields: &Fields<'_>, space: &Space) -> bool {
    fields.text(CWD_SPACE).is_some_and(|known| known == space.lease.as_str())
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
    let recorded = match handle.read(&name.file(), name.max()) {
        Ok(Some(_)) => change(handle, number, |fields| {
            fields.remove(edits::KEY);
            waiting::clear(fields);
            fields.set_text("ended_at", &format_utc(host::wall_us()));
        }),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    // A record that is busy holds no lease back.
    release_all(handle, |record| record.session.as_deref() == Some(number)).and(recorded)
}

/// Releases what sessions hold that have ended, and that this process worked for: a lease that was
/// busy when its session ended would last as long as the process.
pub fn release_left(handle: &NodeHandle<'_>, process: &Process) -> Result<()> {
    let has_ended = |record: &Record| {
        let fields = fields_of(handle, &record.agent);
        fields.is_some_and(|fields| {
            fields.raw("ended_at").is_some()
                && fields.text("session").as_deref() == record.session.as_deref()
        })
    };
    release_all(handle, |record| {
        record.session.is_some() && record.processes.own == Some(*process) && has_ended(record)
    })
}

fn release_all(handle: &NodeHandle<'_>, owns: impl Fn(&Record) -> bool) -> Result<()> {
    let mut first = Ok(());
    for record in session_leases::of(handle, owns) {
        match handle.release_within(&record.lease, record.fencing_token, RENEWER_LIMIT) {
            Ok(Ok(_)) => (handle.ctx.lease_ended)(handle.ctx, &record),
            Ok(Err(_)) => {}
            // One lease that is busy holds no other one back.
            Err(error) => first = first.and(Err(error)),
        }
    }
    first
}

/// Judges whether the process of a call works for a session of an agent.
pub fn seat(handle: &NodeHandle<'_>, agent: &Label, number: &str, call: &Processes) -> Seat {
    fields_of(handle, agent).map_or(Seat::Free, |fields| seat_in(handle, &fields, number, call))
}

fn seat_in(handle: &NodeHandle<'_>, fields: &Fields<'_>, number: &str, call: &Processes) -> Seat {
    let is_over = fields.raw("ended_at").is_some();
    if is_over || fields.text("session").is_none_or(|known| known != number) {
        return Seat::Free;
    }
    let Ok(beat) = Beat::from_fields(fields) else { return Seat::Free };
    match judge_boot(&beat.stamp, &handle.ctx.now()) {
        Boot::Same => judge_recorded(handle, &beat.processes, call),
        Boot::Other => Seat::Free,
        Boot::Unclear | Boot::Elsewhere => Seat::Taken,
    }
}

fn judge_recorded(handle: &NodeHandle<'_>, recorded: &Processes, call: &Processes) -> Seat {
    let alone = Processes { child: None, ..*recorded };
    judge_seat(&alone, call, || process::life(&alone, &handle.ctx.host))
}

/// Judges whether the process of a call is that of the tool which the caller's `zeta run` serves;
/// `None` if the session is not that of one which lives. `by` is the word of a tool or of a server:
/// a server that named the tool before its hooks did knows less than they do.
pub fn run_seat(handle: &NodeHandle<'_>, number: &str, call: &Processes, by: &str) -> Option<Seat> {
    let fields = living_session(handle, &handle.ctx.agent, number)?;
    fields.raw(HOOKED_BY).is_none().then(|| tool_seat(handle, &fields, call, by))
}

fn tool_seat(handle: &NodeHandle<'_>, fields: &Fields<'_>, call: &Processes, by: &str) -> Seat {
    match tool_of(fields) {
        Some((name, recorded)) => {
            let seat = judge_recorded(handle, &recorded, call);
            match name == BY_SERVER && by != BY_SERVER {
                true => judge_seat_of_server(seat, || is_above(&recorded, call)),
                false => seat,
            }
        }
        None => Seat::Free,
    }
}

/// Returns whether the recorded process is one of those above the process of a call.
fn is_above(recorded: &Processes, call: &Processes) -> bool {
    let above = |pid: &u32| process::parent(*pid).filter(|parent| *parent > 1);
    let line = std::iter::successors(call.own.map(|process| process.pid), above);
    let own = recorded.own.map(|process| process.pid);
    recorded.pid_ns == call.pid_ns && line.skip(1).any(|pid| Some(pid) == own)
}

/// Writes the process of a call into the record of the caller's `zeta run`, as that of the tool
/// that it serves. False if another one came first.
pub fn take_tool(
    handle: &NodeHandle<'_>,
    number: &str,
    by: &str,
    call: &Processes,
) -> Result<bool> {
    let mut seat = Seat::Taken;
    change(handle, number, |fields| {
        seat = tool_seat(handle, fields, call, by);
        if seat == Seat::Free {
            set_tool(fields, by, call);
        }
    })?;
    Ok(seat != Seat::Taken)
}

/// Returns whether a record is that of a server's own session, and the process of a call started
/// the server.
pub fn is_server_of(fields: &Fields<'_>, call: &Processes) -> bool {
    fields.text(HOOKED_BY).is_some_and(|by| by == BY_SERVER)
        && tool_of(fields).is_some_and(|(_, tool)| tool.own.is_some() && tool == *call)
}

/// The record of an agent, and whether it lives.
#[derive(Debug)]
pub struct AgentRecord {
    /// What the record says.
    pub fields: Fields<'static>,
    /// Whether it lives.
    pub lives: bool,
    /// Whether it has ended, by its record or with its process.
    pub gone: bool,
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
    let gone = judged.liveness == Liveness::Gone;
    let own = beat.processes.own.filter(|_| !beat.ended);
    Some(AgentRecord { fields: fields.into_owned(), lives, gone, own })
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

/// Returns whether the record of an agent names a session, also one that has ended.
pub fn names_session(handle: &NodeHandle<'_>, agent: &Label, number: &str) -> bool {
    let fields = fields_of(handle, agent);
    fields.is_some_and(|fields| fields.text("session").is_some_and(|known| known == number))
}

/// Returns the tool that a session's record names, if the session lives: `Some(None)` is a session
/// of `zeta run`.
pub fn session_of(handle: &NodeHandle<'_>, agent: &Label, number: &str) -> Option<Option<String>> {
    let fields = living_session(handle, agent, number)?;
    Some(fields.text(HOOKED_BY).map(|tool| tool.into_owned()))
}

fn living_session(handle: &NodeHandle<'_>, agent: &Label, number: &str) -> Option<Fields<'static>> {
    let fields = fields_of(handle, agent)?;
    if fields.raw("ended_at").is_some() || fields.text("session")? != number {
        return None;
    }
    let beat = Beat::from_fields(&fields).ok()?;
    (life_of(&beat, &handle.ctx.now()) != ProcessState::Dead).then_some(fields)
}

/// Reads the persona record in a file, if it is one of the standard.
pub(super) fn record<'f>(
    handle: &NodeHandle<'_>,
    file: &'f str,
) -> Option<(&'f str, Fields<'static>)> {
    let FileKind::Persona(name) = layout::kind_of(file) else { return None };
    let bytes = handle.read(file, layout::PERSONA_MAX).ok()??;
    match parse(&bytes.bytes, layout::PERSONA_MAX) {
        Ok(Text::Own(fields)) => Some((name, fields.into_owned())),
        _ => None,
    }
}
