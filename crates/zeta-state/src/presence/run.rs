//! `zeta run`: presence for the life of a command. It registers the session, beats, renews the
//! leases of the session, passes signals on, and releases everything at the end.

mod comeback;
mod holdings;
mod terminal;
mod wake;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, getuid};
use zeta_core::evidence::{FileTimes, ProcessState, Processes};
use zeta_core::lease::FencingToken;
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{Beat, Liveness, judge, set_beat, set_processes};
use zeta_core::record::Fields;
use zeta_core::time::format_utc;

use self::holdings::Holding;
use self::wake::Wake;
use crate::context::{Context, NodeHandle};
use crate::directory::guard::ENTER_LIMIT;
use crate::directory::sight;
use crate::lease::LostTo;
use crate::lease::exec::{OnLost, SHORT};
use crate::presence::heartbeat::touch_last_seen;
use crate::presence::records::{RecordKey, publish, read_or_new};
use crate::presence::tool_session::{OF_A_SESSION, WAKE, WAKE_BY_PTY};
use zeta_os::console::Console;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::Watch;
use zeta_os::relay::Relay;
use zeta_os::signal::Signals;
use zeta_os::spawn::{Child, ExitOutcome, Gated, Group, Setup, fork_gated};
use zeta_os::terminal::with_lines;
use zeta_os::{host, process};

/// How often the supervisor polls for new leases if no inotify instance is left.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The command to run, and options.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Command and arguments.
    pub argv: Vec<OsString>,
    /// The agent's persona, if that is not its own name.
    pub persona: Option<Label>,
    /// Time between beats.
    pub every_ms: u64,
    /// Leases older than this are not renewed any more.
    pub max_hold_ms: u64,
    /// What to do with the command when a lease of its session is lost.
    pub on_lost: OnLost,
    /// A shell command to run when a lease of its session is lost.
    pub on_lost_exec: Option<String>,
    /// Whether the command gets a terminal of its own.
    pub pty: bool,
}

pub use self::wake::{Letter, Mail};

/// An event that the supervisor reports while the command runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A lease of the session was lost.
    Lost(&'a LostTo),
    /// A lease is older than `--max-hold` and is left to expire.
    HeldTooLong(&'a RecordName),
    /// A lease of the cluster has not been renewed for half of its TTL, or for three quarters.
    Unrenewed(&'a Error),
    /// It is renewed again.
    Renewed(&'a RecordName),
    /// A beat or a renewal could not be written.
    Trouble(&'a Error),
    /// The tree was removed or replaced, and the session has a record in the new one.
    CameBack(&'a Path),
}

/// How the call ended.
#[derive(Debug)]
pub enum Finished {
    /// The command ended.
    Ran {
        /// How it ended.
        ended: ExitOutcome,
        /// The command was killed because a lease was lost.
        lost: bool,
    },
    /// The command could not be started: the status that a shell gives, and why.
    NotStarted(u8, Error),
}

/// A session whose command runs.
struct Supervisor<'a> {
    handle: NodeHandle<'a>,
    plan: &'a Plan,
    session: String,
    processes: Processes,
    started_us: i64,
    holdings: BTreeMap<(RecordName, FencingToken), Holding>,
    /// The last file of the grants of each joint lease that was read.
    scanned: BTreeMap<RecordName, String>,
    /// The highest token of the session that was seen, for each lease.
    seen: BTreeMap<RecordName, u64>,
    last_error: Option<Error>,
    lost: bool,
    console: Option<Console>,
    wake: Option<Wake>,
}

/// Runs a command as an agent's session. With `mail` and a terminal of its own, the agent is woken
/// for its mail.
pub fn run(
    ctx: &Context,
    plan: &Plan,
    mail: Option<Box<dyn Mail>>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Finished> {
    let handle = ctx.open()?;
    settle(&handle)?;
    let signals = match plan.pty {
        true => Signals::take_over_with_terminal()?,
        false => Signals::take_over_with_children()?,
    };
    let session = host::random_hex()?;
    let mut supervisor = Supervisor {
        handle,
        plan,
        session,
        processes: Processes::default(),
        started_us: host::wall_us(),
        holdings: BTreeMap::new(),
        scanned: BTreeMap::new(),
        seen: BTreeMap::new(),
        last_error: None,
        lost: false,
        console: plan.pty.then(Console::open).transpose()?,
        wake: mail.filter(|_| plan.pty).map(Wake::new),
    };
    let on_event = &mut |event: Event<'_>| with_lines(|| on_event(event));
    let child = match supervisor.register(&signals)?.open()? {
        Ok(child) => child,
        Err((status, error)) => {
            supervisor.record_end(status);
            return Ok(Finished::NotStarted(status, error));
        }
    };
    let ended = supervisor.work(&child, Relay::new(&child, &signals), &signals, on_event)?;
    supervisor.finish_terminal(ended);
    // In this order: a lease that is acquired from here on is not bound to the session any more.
    supervisor.record_end(ended.status());
    supervisor.release_all(on_event);
    let ended_for_loss = supervisor.lost && plan.on_lost != OnLost::Warn;
    Ok(Finished::Ran { ended, lost: ended_for_loss })
}

/// Checks what a session depends on; short verbs leave it out to be fast.
fn settle(handle: &NodeHandle<'_>) -> Result<()> {
    let base = &handle.tree.base;
    crate::upkeep::init::checks(base, &handle.node)?;
    // The cleaner of /tmp spares a directory with a flock on it; the kernel frees the flock when
    // this process ends.
    let _ = flock(base, FlockOperation::NonBlockingLockShared);
    Ok(())
}

impl Supervisor<'_> {
    fn persona(&self) -> RecordKey {
        RecordKey::Persona(self.handle.ctx.agent.clone())
    }

    /// Writes the session's record and forks the command, which waits to be started.
    fn register(&mut self, signals: &Signals) -> Result<Gated> {
        let name = self.persona();
        let section = self.handle.enter(name.file(), ENTER_LIMIT)?;
        let (exists, mut fields) = read_or_new(&section, &self.handle.node, &name)?;
        self.refuse_second_session(&fields)?;
        let env = vec![
            ("ZETA_AGENT", self.handle.ctx.agent.to_string()),
            ("ZETA_SESSION", self.session.clone()),
            ("ZETA_NODE", self.handle.node.name.to_string()),
            ("ZETA_STATE_DIR", self.handle.ctx.state_dir.display().to_string()),
            (sight::VARIABLE, sight::of(&self.handle.tree.base)),
        ];
        let terminal = self.console.as_ref().and_then(Console::device);
        let setup = Setup { argv: &self.plan.argv, env, group: Group::Same, terminal };
        let child = fork_gated(&setup, signals)?;
        self.processes = Processes {
            own: Some(process::identify_self()),
            child: Some(process::identify(child.pid())),
            pid_ns: self.handle.ctx.host.pid_ns,
        };
        self.describe(&mut fields);
        set_beat(&mut fields, host::reading(), &self.handle.ctx.host, self.plan.every_ms);
        match publish(&section, &self.handle.node, &name, &fields, exists) {
            Ok(()) => Ok(child),
            Err(error) => {
                child.dismiss();
                Err(error)
            }
        }
    }

    /// Writes into a record whose session this is, and that it begins.
    fn describe(&self, fields: &mut Fields<'_>) {
        let ctx = self.handle.ctx;
        let started_at = format_utc(self.started_us);
        fields.set_text("persona", self.plan.persona.as_ref().unwrap_or(&ctx.agent).as_str());
        fields.set_text("agent", ctx.agent.as_str());
        fields.set_text("session", &self.session);
        if fields.raw("status").is_none() || fields.raw("ended_at").is_some() {
            fields.set_text("status", "working");
        }
        fields.remove("ended_at");
        fields.remove("exit_status");
        fields.set_text("timestamp", &started_at);
        fields.set_number("uid", getuid().as_raw().into());
        set_processes(fields, &self.processes);
        fields.set_text("started_at", &started_at);
        OF_A_SESSION.iter().for_each(|key| fields.remove(key));
        if self.wake.is_some() {
            fields.set_text(WAKE, WAKE_BY_PTY);
        }
    }

    /// Refuses a second session under one name: the two would renew and release each other's
    /// leases.
    fn refuse_second_session(&self, fields: &Fields<'_>) -> Result<()> {
        let Ok(beat) = Beat::from_fields(fields) else { return Ok(()) };
        let Some(session) = &beat.session else { return Ok(()) };
        let ctx = self.handle.ctx;
        let (life, survivor) = if beat.stamp.boot_id == ctx.host.boot_id {
            process::session(&beat.processes, &ctx.host)
        } else {
            (ProcessState::Unknown, None)
        };
        let judged = judge(&beat, FileTimes::default(), life, &ctx.now());
        if matches!(judged.liveness, Liveness::Gone | Liveness::Silent) {
            return Ok(());
        }
        let agent = &self.handle.ctx.agent;
        if let Some(survivor) = survivor {
            let text = format!(
                "{agent}: its zeta run (pid {}) is gone, and its command (pid {}) runs without it",
                survivor.wrapper, survivor.command
            );
            return Err(Error::new(Kind::Refused, text)
                .hint(format!("end the command, then repeat: kill {}", survivor.command)));
        }
        let pid = beat.processes.own.map_or(String::new(), |p| format!(", pid {}", p.pid));
        let since = fields.text("started_at").map_or(String::new(), |t| format!(" since {t}"));
        Err(Error::new(
            Kind::Refused,
            format!(
                "{agent} is already running{since} (session {}{pid}, {})",
                session.get(..8).unwrap_or(session),
                judged.liveness.word()
            ),
        )
        .hint(format!("give this session another name: zeta run --as {agent}-2 -- ...")))
    }

    fn work(
        &mut self,
        child: &Child,
        mut relay: Relay<'_>,
        signals: &Signals,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<ExitOutcome> {
        let every = Duration::from_millis(self.plan.every_ms);
        let mut next_beat = Instant::now() + every;
        let first = touch_last_seen(&self.handle);
        self.report_error(first.map(|_| ()), on_event);
        let ready = self.sleep(&relay.fds(), SHORT);
        if ready.first() == Some(&true) {
            relay.pass_on();
            return child.wait();
        }
        relay.watch_group();
        // Not before: closing it takes 5 ms. The shortest TTL is long enough for the first renewal
        // to come later.
        let watch = Watch::new();
        watch.arrivals_in(self.handle.node.as_fd());
        self.check_all_leases(on_event, child);
        self.check_unseen_breaks(on_event, child);
        loop {
            let renewals = self.holdings.values().filter(|h| !h.too_long).map(|h| h.next);
            let next = renewals.min().map_or(next_beat, |renewal| renewal.min(next_beat));
            let mut limit = next.saturating_duration_since(Instant::now());
            if !watch.sees() {
                limit = limit.min(POLL_INTERVAL);
            }
            limit = self.until_wake(limit);
            let ready = self.sleep_until(&relay, &watch, limit);
            relay.pass_on();
            self.attend_terminal(&mut relay, child, signals);
            if ready.child {
                return child.wait();
            }
            if ready.watch {
                self.check_changed_leases(&watch, on_event, child);
            } else if !watch.sees() {
                self.record_changed();
                self.check_all_leases(on_event, child);
            }
            self.attend_wake(on_event);
            self.renew_due(&watch, on_event, child);
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + every;
                self.at_beat(&watch, on_event, child);
                relay.watch_group();
            }
        }
    }

    /// Reports an error once, not with every beat.
    fn report_error(&mut self, result: Result<()>, on_event: &mut dyn FnMut(Event<'_>)) {
        match result {
            Ok(()) => self.last_error = None,
            Err(error) if self.last_error.as_ref() == Some(&error) => {}
            Err(error) => {
                on_event(Event::Trouble(&error));
                self.last_error = Some(error);
            }
        }
    }

    /// Does what `--on-lost` says with the command.
    fn end_by_plan(&mut self, child: &Child) {
        self.lost = true;
        match self.plan.on_lost {
            OnLost::Warn => {}
            OnLost::Term => child.signal(Signal::TERM.as_raw()),
            OnLost::Kill => child.signal(Signal::KILL.as_raw()),
        }
    }

    fn report_loss(&mut self, lost: &LostTo, on_event: &mut dyn FnMut(Event<'_>), child: &Child) {
        on_event(Event::Lost(lost));
        self.end_by_plan(child);
        if let Some(command) = &self.plan.on_lost_exec {
            // Like every child that has ended, it is collected by the relay.
            let started = std::process::Command::new("sh")
                .args(["-c", command])
                .env("ZETA_LEASE", lost.lease.as_str())
                .env("ZETA_AGENT", self.handle.ctx.agent.as_str())
                .env("ZETA_STATE_DIR", &self.handle.ctx.state_dir)
                .stdin(std::process::Stdio::null())
                .spawn();
            if let Err(error) = started {
                let text = format!("cannot run the command of --on-lost-exec: {error}");
                on_event(Event::Trouble(&Error::new(Kind::Fault, text)));
            }
        }
    }

    /// Writes the end into the session's record. If that fails, the end of its processes still
    /// shows it.
    fn record_end(&self, status: u8) {
        let _ = self.change_own_record(|fields| {
            fields.set_text("ended_at", &format_utc(host::reading().wall_us));
            fields.set_number("exit_status", status.into());
            fields.remove(WAKE);
        });
    }
}
