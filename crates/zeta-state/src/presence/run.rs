//! `zeta run`: presence for the life of a command. It registers the session, beats, renews the
//! leases of the session, passes signals on, and releases everything at the end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, getuid};
use zeta_core::evidence::{FileTimes, ProcessState, Processes};
use zeta_core::layout::{self, Kind as FileKind};
use zeta_core::lease::{FencingToken, Observed, Record, is_kept_by};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{Beat, Liveness, judge, set_beat, set_processes};
use zeta_core::record::Fields;
use zeta_core::time::{NS_PER_MS, format_utc};

use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, RENEWER_LIMIT};
use crate::directory::sight;
use crate::lease::exec::{OnLost, SHORT};
use crate::lease::{LostTo, read_only};
use crate::presence::heartbeat::{beat_with, touch_last_seen};
use crate::presence::records::{RecordKey, publish, read_or_new};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::relay::Relay;
use zeta_os::signal::Signals;
use zeta_os::spawn::{Child, ExitOutcome, Gated, Setup, fork_gated};
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
}

/// An event that the supervisor reports while the command runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A lease of the session was lost.
    Lost(&'a LostTo),
    /// A lease is older than `--max-hold` and is left to expire.
    HeldTooLong(&'a RecordName),
    /// A beat or a renewal could not be written.
    Trouble(&'a Error),
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

/// A lease of the session, as it was last seen.
#[derive(Debug)]
struct Holding {
    token: FencingToken,
    every: Duration,
    next: Instant,
    until_ns: u64,
    too_long: bool,
}

/// A session whose command runs.
struct Supervisor<'a> {
    handle: &'a NodeHandle<'a>,
    plan: &'a Plan,
    session: String,
    processes: Processes,
    holdings: BTreeMap<RecordName, Holding>,
    last_error: Option<Error>,
    lost: bool,
}

/// Runs a command as an agent's session.
pub fn run(ctx: &Context, plan: &Plan, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Finished> {
    let handle = ctx.open()?;
    let base = &handle.tree.base;
    // A session is long and depends on these; short verbs leave them out to be fast.
    crate::upkeep::init::checks(base, &handle.node)?;
    // The cleaner of /tmp spares a directory with a flock on it; the kernel frees the flock when
    // this process ends.
    let _ = flock(base, FlockOperation::NonBlockingLockShared);
    let signals = Signals::take_over_with_children()?;
    let session = host::random_hex()?;
    let mut supervisor = Supervisor {
        handle: &handle,
        plan,
        session,
        processes: Processes::default(),
        holdings: BTreeMap::new(),
        last_error: None,
        lost: false,
    };
    let child = match supervisor.register(&signals)?.open()? {
        Ok(child) => child,
        Err((status, error)) => {
            supervisor.record_end(status);
            return Ok(Finished::NotStarted(status, error));
        }
    };
    let ended = supervisor.work(&child, Relay::new(&child, &signals), on_event)?;
    // In this order: a lease that is acquired from here on is not bound to the session any more.
    supervisor.record_end(ended.status());
    supervisor.release_all(on_event);
    let ended_for_loss = supervisor.lost && plan.on_lost != OnLost::Warn;
    Ok(Finished::Ran { ended, lost: ended_for_loss })
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
        let child = fork_gated(&Setup { argv: &self.plan.argv, env, own_group: false }, signals)?;
        let reading = host::reading();
        let persona = self.plan.persona.as_ref().unwrap_or(&self.handle.ctx.agent);
        fields.set_text("persona", persona.as_str());
        fields.set_text("agent", self.handle.ctx.agent.as_str());
        fields.set_text("session", &self.session);
        if fields.raw("status").is_none() || fields.raw("ended_at").is_some() {
            fields.set_text("status", "working");
        }
        fields.remove("ended_at");
        fields.remove("exit_status");
        fields.set_text("timestamp", &format_utc(reading.wall_us));
        fields.set_number("uid", getuid().as_raw().into());
        self.processes = Processes {
            own: Some(process::identify_self()),
            child: Some(process::identify(child.pid())),
            pid_ns: self.handle.ctx.host.pid_ns,
        };
        set_processes(&mut fields, &self.processes);
        fields.set_text("started_at", &format_utc(reading.wall_us));
        fields.remove("beat_seq");
        set_beat(&mut fields, reading, &self.handle.ctx.host, self.plan.every_ms);
        match publish(&section, &self.handle.node, &name, &fields, exists) {
            Ok(()) => Ok(child),
            Err(error) => {
                child.dismiss();
                Err(error)
            }
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
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<ExitOutcome> {
        let every = Duration::from_millis(self.plan.every_ms);
        let mut next_beat = Instant::now() + every;
        let first = touch_last_seen(self.handle);
        self.report_error(first.map(|_| ()), on_event);
        let ready = poll_readable(&relay.fds(), SHORT);
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
        loop {
            let renewals = self.holdings.values().filter(|h| !h.too_long).map(|h| h.next);
            let next = renewals.min().map_or(next_beat, |renewal| renewal.min(next_beat));
            let mut limit = next.saturating_duration_since(Instant::now());
            if !watch.sees() {
                limit = limit.min(POLL_INTERVAL);
            }
            let mut fds = relay.fds().to_vec();
            fds.extend(watch.fd());
            let ready = poll_readable(&fds, limit);
            relay.pass_on();
            if ready.first() == Some(&true) {
                return child.wait();
            }
            if ready.get(2) == Some(&true) {
                self.check_arrived_leases(&watch, on_event, child);
            } else if !watch.sees() {
                self.check_all_leases(on_event, child);
            }
            self.renew_due(on_event, child);
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + every;
                let beat = self.beat();
                self.report_error(beat, on_event);
                self.check_all_leases(on_event, child);
                relay.watch_group();
            }
        }
    }

    fn beat(&self) -> Result<()> {
        let own = || {
            self.change_own_record(|fields| {
                set_beat(fields, host::reading(), &self.handle.ctx.host, self.plan.every_ms);
            })
        };
        beat_with(self.handle, own).map(|_| ())
    }

    /// Changes the session's record, if it is still this session's.
    fn change_own_record(&self, change: impl FnOnce(&mut Fields<'static>)) -> Result<()> {
        let name = self.persona();
        let section = self.handle.enter(name.file(), RENEWER_LIMIT)?;
        let (exists, mut fields) = read_or_new(&section, &self.handle.node, &name)?;
        if exists && fields.text("session").as_deref() != Some(&self.session) {
            return Err(Error::new(
                Kind::Lost,
                format!("{}: another session writes under this name now", self.handle.ctx.agent),
            ));
        }
        if !exists {
            fields.set_text("agent", self.handle.ctx.agent.as_str());
            fields.set_text("session", &self.session);
            set_processes(&mut fields, &self.processes);
        }
        change(&mut fields);
        publish(&section, &self.handle.node, &name, &fields, exists)
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

    fn check_all_leases(&mut self, on_event: &mut dyn FnMut(Event<'_>), child: &Child) {
        let Ok(listing) = self.handle.node.list() else { return };
        let mut names: Vec<RecordName> = self.holdings.keys().cloned().collect();
        for file in &listing.names {
            if let FileKind::Lease(name) = layout::kind_of(file)
                && let Ok(name) = RecordName::new("lease", name)
                && !self.holdings.contains_key(&name)
            {
                names.push(name);
            }
        }
        for name in names {
            self.check_lease(&name, on_event, child);
        }
    }

    fn check_arrived_leases(
        &mut self,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let mut names: Vec<RecordName> = Vec::new();
        let whole = watch.each(|name| {
            let text = name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
            if let FileKind::Lease(name) = layout::kind_of(text)
                && let Ok(name) = RecordName::new("lease", name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        });
        if !whole {
            return self.check_all_leases(on_event, child);
        }
        for name in names {
            self.check_lease(&name, on_event, child);
        }
    }

    /// Checks whether a lease is the session's, still or again.
    fn check_lease(
        &mut self,
        name: &RecordName,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let file = layout::lease_file(name);
        let Ok(bytes) = self.handle.read(&file, layout::RECORD_MAX) else { return };
        let own = match read_only(bytes, name) {
            Observed::Ours(record, ..) if self.owns(&record) => Some(record),
            _ => None,
        };
        // Another grant of the same session ended the one before, too.
        let known = self.holdings.get(name).map(|held| (held.token, held.until_ns));
        let ended =
            known.filter(|(token, _)| Some(*token) != own.as_ref().map(|r| r.fencing_token));
        if let Some((token, until_ns)) = ended {
            self.holdings.remove(name);
            match self.handle.find_loss(name, token, until_ns) {
                Ok(Err(lost)) => self.report_loss(&lost, on_event, child),
                Ok(Ok(_)) => {}
                Err(error) => self.report_error(Err(error), on_event),
            }
        }
        own.iter().for_each(|record| self.track(record));
    }

    /// Returns whether this supervisor renews and releases a grant.
    fn owns(&self, record: &Record) -> bool {
        self.processes.own.is_some_and(|own| is_kept_by(record, &self.session, &own))
    }

    fn track(&mut self, record: &Record) {
        let until_ns = record.expires_boot_ns();
        let every = Duration::from_millis((record.ttl_ms / 4).max(1));
        let now_ns = host::reading().boot_ns;
        let age = Duration::from_nanos(now_ns.saturating_sub(record.renewed.boot_ns));
        let next = Instant::now() + every.saturating_sub(age);
        let known = self.holdings.get(&record.lease);
        let too_long = known.is_some_and(|h| h.token == record.fencing_token && h.too_long);
        let token = record.fencing_token;
        let holding = Holding { token, every, next, until_ns, too_long };
        self.holdings.insert(record.lease.clone(), holding);
    }

    fn renew_due(&mut self, on_event: &mut dyn FnMut(Event<'_>), child: &Child) {
        let now = Instant::now();
        let due: Vec<(RecordName, FencingToken)> = self
            .holdings
            .iter()
            .filter(|(_, held)| !held.too_long && held.next <= now)
            .map(|(name, held)| (name.clone(), held.token))
            .collect();
        for (name, token) in due {
            self.renew(&name, token, on_event, child);
        }
    }

    fn renew(
        &mut self,
        name: &RecordName,
        token: FencingToken,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        if let Some(held) = self.holdings.get_mut(name) {
            held.next = Instant::now() + held.every;
        }
        match self.handle.renew(name, token, None, RENEWER_LIMIT) {
            Ok(Ok((record, _))) => {
                let held_ns = record.renewed.boot_ns.saturating_sub(record.acquired_boot_ns);
                self.track(&record);
                if held_ns / NS_PER_MS > self.plan.max_hold_ms
                    && let Some(held) = self.holdings.get_mut(name)
                {
                    held.too_long = true;
                    on_event(Event::HeldTooLong(name));
                }
            }
            // Released or lost: the check finds out which.
            Ok(Err(_)) => self.check_lease(name, on_event, child),
            // No other process can be granted it meanwhile: most likely a fenced command runs.
            Err(error) if error.kind == Kind::Busy => {}
            Err(error) => self.report_error(Err(error), on_event),
        }
    }

    fn report_loss(&mut self, lost: &LostTo, on_event: &mut dyn FnMut(Event<'_>), child: &Child) {
        self.lost = true;
        on_event(Event::Lost(lost));
        match self.plan.on_lost {
            OnLost::Warn => {}
            OnLost::Term => child.signal(Signal::TERM.as_raw()),
            OnLost::Kill => child.signal(Signal::KILL.as_raw()),
        }
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

    /// Releases the leases that the session still holds.
    fn release_all(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let Ok(listing) = self.handle.node.list() else { return };
        for file in &listing.names {
            let FileKind::Lease(name) = layout::kind_of(file) else { continue };
            let Ok(name) = RecordName::new("lease", name) else { continue };
            let Ok(bytes) = self.handle.read(file, layout::RECORD_MAX) else {
                continue;
            };
            if let Observed::Ours(record, ..) = read_only(bytes, &name)
                && self.owns(&record)
            {
                match self.handle.release(&name, record.fencing_token) {
                    Ok(_) => (self.handle.ctx.lease_ended)(self.handle.ctx, &record),
                    Err(error) => on_event(Event::Trouble(&error)),
                }
            }
        }
    }

    /// Writes the end into the session's record. If that fails, the end of its processes still
    /// shows it.
    fn record_end(&self, status: u8) {
        let _ = self.change_own_record(|fields| {
            fields.set_text("ended_at", &format_utc(host::reading().wall_us));
            fields.set_number("exit_status", status.into());
        });
    }
}
