//! Waits for mail, so that the end of the waiting process wakes an agent whose tool looks at its
//! background commands.
//!
//! One process waits for an agent at a time. It holds the flock of a file below `.zeta/armed`,
//! which the kernel lets go when the process ends in any way. During a turn of the agent its hooks
//! give it its mail, so the waiting process ends only when they do not.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, ftruncate, openat};
use rustix::io::Errno;
use zeta_core::bus::{Address, Means, Waits, decide_wait};
use zeta_core::hook::turn;

use super::inbox::{Selection, unread_of, woken};
use super::{Listing, check_surface};
use crate::directory::delivery_log::{name_of, surface_of};
use crate::directory::{ARMED, Bus, INNER, NAMES_MAX, open_file};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::list;
use zeta_os::flock::lock_within;
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::{host, process};
use zeta_state::context::{Context, NodeHandle};
use zeta_state::presence::tool_session::{self, AgentRecord};

/// Longest sleep where changes cannot be noticed.
const BLIND_SLEEP: Duration = Duration::from_secs(2);
/// Longest sleep while no process of the agent is known.
const AGENT_SLEEP: Duration = Duration::from_secs(5);
/// How long a call that only looks may hold the lock of another.
const LOOK_LIMIT: Duration = Duration::from_millis(100);
/// Longest sleep: a call without a limit sleeps again.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// There are messages. They are still unread.
    Mail(Listing),
    /// The time is over.
    TimeOut,
    /// The agent's process has ended.
    AgentEnded,
}

/// Waits until an agent has unread messages of this selection; those that are there count.
///
/// # Errors
/// [`Kind::Refused`] if another process waits for this agent. [`Kind::Unsafe`] if the bus was moved
/// away or removed.
pub fn wait(
    ctx: &Context,
    dir: &Path,
    agent: &str,
    selection: &Selection,
    limit: Option<Duration>,
) -> Result<Waited> {
    check_surface(agent)?;
    let started = Instant::now();
    let bus = Bus::open_or_create(dir)?;
    let _armed = arm(&bus, agent)?.map_err(|pid| armed_already(agent, pid))?;
    let label = Address::new(agent).map(|address| address.as_label()).unwrap_or_default();
    let notify = Watch::new();
    notify.changes_in(bus.as_fd());
    let mut handle = ctx.find()?;
    let began_ns = host::reading().boot_ns;
    let record = |handle: &Option<NodeHandle<'_>>| tool_session::find(handle.as_ref()?, &label);
    let mut agent_ends = record(&handle).as_ref().and_then(process_of);
    let selection = &Selection { now: true, ..selection.clone() };
    let mut turn = Turn { began_ns, pending: None };
    let (mut first, mut follows_node) = (true, false);
    loop {
        bus.check_place()?;
        let unread = unread_of(dir, agent, selection)?;
        let mut left = limit.map_or(SLEEP_MAX, |limit| limit.saturating_sub(started.elapsed()));
        if unread.messages.is_empty() {
            turn.pending = None;
        } else if let Some(time) = turn.left(record(&handle).as_ref()) {
            left = left.min(time);
            if let (Some(handle), false) = (&handle, follows_node) {
                follows_node = notify.changes_in(handle.node.as_fd());
            }
        } else {
            match may_wake(dir, agent, &unread) {
                Ok(true) => return Ok(Waited::Mail(unread)),
                // What is there when the call begins counts, whatever it woke before.
                Ok(false) if first && !unread_of(dir, agent, selection)?.messages.is_empty() => {
                    return Ok(Waited::Mail(unread));
                }
                Ok(false) => {}
                Err(busy) if busy.kind == Kind::Busy => left = left.min(BLIND_SLEEP),
                // A full disk is no reason to leave the agent asleep.
                Err(_) => return Ok(Waited::Mail(unread)),
            }
        }
        first = false;
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Ok(Waited::TimeOut);
        }
        // The session of the agent may begin after the wait.
        let limit = if agent_ends.is_some() { left } else { left.min(AGENT_SLEEP) };
        let ended = sleep(&notify, agent_ends.as_ref(), limit);
        if ended || agent_ends.is_none() {
            (handle, follows_node) = (ctx.find().ok().flatten().or(handle), false);
            let found = record(&handle);
            agent_ends = found.as_ref().and_then(process_of);
            // In another process the session may have been resumed meanwhile.
            if agent_ends.is_none() && (ended || found.is_some_and(|one| is_over(&one, began_ns))) {
                return Ok(Waited::AgentEnded);
            }
        }
    }
}

/// Records the wake; true if one of the messages has woken the agent by no means before.
fn may_wake(dir: &Path, agent: &str, unread: &Listing) -> Result<bool> {
    let ids: Vec<&str> = unread.messages.iter().map(|one| one.envelope.id.as_str()).collect();
    Ok(!woken(dir, agent, &ids, Means::Wait)?.is_empty())
}

/// Sleeps until something changed; true if the agent's process has ended.
fn sleep(notify: &Watch, agent_ends: Option<&OwnedFd>, limit: Duration) -> bool {
    let limit = if notify.sees() { limit } else { limit.min(BLIND_SLEEP) };
    let fds: Vec<BorrowedFd<'_>> =
        agent_ends.iter().map(|fd| fd.as_fd()).chain(notify.fd()).collect();
    let readable = poll_readable(&fds, limit);
    notify.each(|_, _| ());
    agent_ends.is_some() && readable.first() == Some(&true)
}

/// The running turn of an agent, whose hooks come first.
struct Turn {
    /// When the wait began, by the boot clock.
    began_ns: u64,
    /// Since when a message waits for the hooks.
    pending: Option<Instant>,
}

impl Turn {
    /// Returns how long to leave a message to the hooks of the agent; `None` is no longer.
    fn left(&mut self, record: Option<&AgentRecord>) -> Option<Duration> {
        let record = record.filter(|record| record.lives)?;
        let seen = Waits {
            turn: turn::of(&record.fields),
            hooked_ns: record.fields.number(tool_session::HOOKED_NS),
            began_ns: self.began_ns,
            pending_ms: 0,
        };
        decide_wait(&seen)?;
        let pending = self.pending.get_or_insert_with(Instant::now).elapsed();
        let pending_ms = u64::try_from(pending.as_millis()).unwrap_or(u64::MAX);
        decide_wait(&Waits { pending_ms, ..seen }).map(Duration::from_millis)
    }
}

/// Returns whether a session that was there after the wait began has ended. An earlier one says
/// nothing: the agent may be about to begin its next.
fn is_over(record: &AgentRecord, began_ns: u64) -> bool {
    record.gone && record.fields.number("beat_boot_ns").is_some_and(|beat_ns| beat_ns > began_ns)
}

/// A descriptor that becomes readable when the process of an agent ends.
fn process_of(record: &AgentRecord) -> Option<OwnedFd> {
    record.lives.then_some(())?;
    process::watch(&record.own?)
}

/// What arms an agent: while it is there, no other process wakes the agent.
#[derive(Debug)]
pub struct Armed {
    _file: OwnedFd,
}

/// Arms an agent: the caller wakes it at its next message. The inner error is that another process
/// does, with its number if that is known.
pub fn arm(bus: &Bus, agent: &str) -> Result<std::result::Result<Armed, Option<u32>>> {
    let dir = bus.inner(ARMED)?;
    let name = name_of(agent);
    let path = bus.path(INNER).join(ARMED).join(&name);
    let flags = OFlags::RDWR | OFlags::CREATE;
    let file = open_file(dir.as_fd(), &name, flags, bus.base.sharing)
        .map_err(|errno| Error::io("cannot open", &path, errno))?;
    match lock_within(&file, LOOK_LIMIT) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Err(read_pid(&file))),
        Err(errno) => return Err(Error::io("cannot lock", &path, errno)),
    }
    let mut written = std::fs::File::from(file);
    // The lock counts. The number is for people, so a full disk is no reason not to wait.
    let _ = ftruncate(&written, 0).is_ok() && writeln!(written, "{}", std::process::id()).is_ok();
    Ok(Ok(Armed { _file: written.into() }))
}

/// Makes the refusal of a call whose agent another process wakes.
fn armed_already(agent: &str, pid: Option<u32>) -> Error {
    let who = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
    Error::new(Kind::Refused, format!("{who} already waits for the mail of {agent}"))
        .hint("it ends at the next message; one process at a time waits for an agent")
}

fn read_pid(file: &OwnedFd) -> Option<u32> {
    let mut text = String::new();
    std::fs::File::from(file.try_clone().ok()?).take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Returns the agents that a process waits for.
pub fn all_armed(bus: &Bus) -> Result<Vec<String>> {
    let Some(dir) = bus.inner_if_there(ARMED)? else { return Ok(Vec::new()) };
    let names = list(dir.as_fd(), NAMES_MAX, &bus.path(INNER).join(ARMED))?.names;
    let agents = names.iter().filter_map(|name| surface_of(name));
    Ok(agents.filter(|agent| armed(bus, agent).is_some()).collect())
}

/// Returns the number of the process that waits for an agent, 0 if it is not known; `None` if none
/// waits.
pub fn armed(bus: &Bus, agent: &str) -> Option<u32> {
    let dir = bus.inner_if_there(ARMED).ok()??;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&dir, name_of(agent).as_str(), flags, Mode::empty()).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(read_pid(&file).unwrap_or(0)),
        _ => None,
    }
}
