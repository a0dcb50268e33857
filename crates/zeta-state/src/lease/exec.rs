//! Holds a lease while a command runs, as `flock(1)` does, or runs a command inside the guard.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use zeta_core::cluster::lease::{News, Told, decide_news};
use zeta_core::layout;
use zeta_core::lease::{AcquireRequest, Checked, FencingToken, Record};
use zeta_core::name::RecordName;
use zeta_core::time::NS_PER_MS;

use super::joint::Found;
use super::{HolderResult, LostTo, lost_to, refuse_if_fenced};
use crate::context::{Context, NodeHandle};
use crate::directory::guard;
use crate::directory::guard::{ENTER_LIMIT, RENEWER_LIMIT};
use crate::directory::sight;
use crate::lease::acquire::{LeaseHandle, Outcome, Refusal, WaitOptions};
use crate::lease::cluster::{check, deadline_of, of_cluster};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::poll_readable;
use zeta_os::relay::Relay;
use zeta_os::signal::{CHILD_ENDED, Signals};
use zeta_os::spawn::{Child, ExitOutcome, Gated, Group, Setup, fork_gated, take_terminal_back};
use zeta_os::{host, process};

/// What to do with the command when its lease is lost while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLost {
    /// Warn and let it run; the resource refuses its token.
    #[default]
    Warn,
    /// Send it SIGTERM.
    Term,
    /// Send it SIGKILL.
    Kill,
}

/// A command that ends within this time is short: it gets nothing that only a long one needs.
pub const SHORT: Duration = Duration::from_millis(15);

/// How long after a renewal that the cluster did not answer the next one comes.
const RETRY: Duration = Duration::from_secs(1);

/// What there is to say of the lease while the command runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is lost.
    Lost(&'a LostTo),
    /// It is one of the cluster, and has not been renewed for half of its TTL, or for three
    /// quarters.
    Unrenewed(&'a Error),
    /// It is renewed again.
    Renewed,
}

/// Called for each of them.
pub type OnEvent<'a> = dyn FnMut(Event<'_>) + 'a;

/// How the call ended.
#[derive(Debug)]
pub enum ExecOutcome {
    /// The command ran.
    Ran {
        /// How it ended.
        ended: ExitOutcome,
        /// The lease was lost while it ran.
        lost: Option<LostTo>,
        /// The lease could not be released afterwards.
        trouble: Option<Error>,
    },
    /// The command could not be started: the status that a shell gives, and why.
    NotStarted(u8, Error),
    /// The lease was granted, and the caller did not want the command any more.
    NotWanted,
    /// The lease was refused.
    Refused(Refusal),
    /// The lease is not the caller's any more: the command was not run.
    Lost(LostTo),
}

/// What a caller does under the lease, before and after its command.
pub struct Around<'a> {
    /// Called when the lease is granted, while the command waits at its gate. With false, or an
    /// error, the command never runs.
    pub wanted: &'a mut dyn FnMut() -> Result<bool>,
    /// Called when the command has ended, before the release; with the loss of the lease, if it was
    /// noticed.
    pub ended: &'a mut dyn FnMut(ExitOutcome, Option<&LostTo>),
    /// With it, no signal that asks for an end reaches the command, which runs in a session of its
    /// own and comes to its own end. Called for the first such signal.
    pub asked_to_end: Option<&'a mut dyn FnMut()>,
}

/// Acquires a lease, runs a command under it, renews it meanwhile, and releases it.
pub fn hold(
    ctx: &Context,
    request: AcquireRequest,
    argv: &[OsString],
    wait: &mut WaitOptions<'_>,
    on_lost: OnLost,
    on_event: &mut OnEvent<'_>,
) -> Result<ExecOutcome> {
    let around = Around { wanted: &mut || Ok(true), ended: &mut |_, _| {}, asked_to_end: None };
    hold_around(ctx, request, argv, wait, (on_lost, on_event), around)
}

/// As [`hold`], with what the caller does before and after the command.
pub fn hold_around(
    ctx: &Context,
    mut request: AcquireRequest,
    argv: &[OsString],
    wait: &mut WaitOptions<'_>,
    (on_lost, on_event): (OnLost, &mut OnEvent<'_>),
    around: Around<'_>,
) -> Result<ExecOutcome> {
    refuse_if_fenced(ctx, &request.lease)?;
    request.processes.own = Some(process::identify_self());
    let at = ctx.open()?;
    let group = around.asked_to_end.as_ref().map_or(Group::Same, |_| Group::OwnSession);
    let mut gated: Option<(Gated, Signals)> = None;
    let mut fork = |record: &mut Record| {
        // Not before: a signal must end a wrapper that still waits.
        let signals = Signals::take_over_with_children()?;
        let env = environment(&at, record.fencing_token, &record.lease);
        let child = fork_gated(&Setup { argv, env, group, terminal: None }, &signals)?;
        record.processes.child = Some(process::identify(child.pid()));
        gated = Some((child, signals));
        Ok(())
    };
    let mut handle = LeaseHandle::new(&at, &request.lease);
    let outcome = handle.acquire(&request, wait, &mut fork);
    let (record, child, signals) = match (outcome, gated) {
        (Ok(Outcome::Granted { record, .. }), Some((child, signals))) => (record, child, signals),
        (outcome, gated) => {
            if let Some((child, _)) = gated {
                child.dismiss();
            }
            return match outcome? {
                Outcome::Refused(refusal) => Ok(ExecOutcome::Refused(refusal)),
                Outcome::Granted { .. } => Err(Error::usage(
                    "this lease id holds the lease already: 'lease exec' needs its own",
                )),
            };
        }
    };
    let wanted = (around.wanted)();
    if !matches!(wanted, Ok(true)) {
        child.dismiss();
        let released = handle.release(record.fencing_token);
        return wanted.and(released.map(|_| ExecOutcome::NotWanted));
    }
    if let Some(error) = ended_already(&record) {
        child.dismiss();
        let _ = handle.release(record.fencing_token);
        return Err(error);
    }
    let held = match child.open()? {
        Ok(child) => {
            let mut renewer = Renewer {
                handle: &mut handle,
                record: &record,
                is_in_cluster: deadline_of(&record).is_some(),
                on_lost,
                renewed_ns: record.renewed.boot_ns,
                told: Told::default(),
            };
            let (relay, asked) = (Relay::new(&child, &signals), around.asked_to_end);
            let relay = if asked.is_some() { relay.keep_end() } else { relay };
            let (ended, lost) = renewer.run(&child, relay, on_event, asked)?;
            (around.ended)(ended, lost.as_ref());
            ExecOutcome::Ran { ended, lost, trouble: None }
        }
        Err((status, error)) => ExecOutcome::NotStarted(status, error),
    };
    let released = handle.release(record.fencing_token);
    Ok(after_release(held, released, on_event))
}

/// Adds the result of the release: the lease was lost unnoticed, or could not be released.
fn after_release(
    held: ExecOutcome,
    released: HolderResult<bool>,
    on_event: &mut OnEvent<'_>,
) -> ExecOutcome {
    match (held, released) {
        (ExecOutcome::Ran { ended, lost: None, .. }, Ok(Err(lost))) => {
            on_event(Event::Lost(&lost));
            ExecOutcome::Ran { ended, lost: Some(lost), trouble: None }
        }
        (ExecOutcome::Ran { ended, lost, .. }, Err(error)) => {
            ExecOutcome::Ran { ended, lost, trouble: Some(error) }
        }
        (held, _) => held,
    }
}

/// Acquires a lease for one command that runs inside its guard, and releases it.
pub fn hold_fenced(
    ctx: &Context,
    mut request: AcquireRequest,
    argv: &[OsString],
    wait: &mut WaitOptions<'_>,
    limit: Duration,
    on_event: &mut OnEvent<'_>,
) -> Result<ExecOutcome> {
    refuse_if_fenced(ctx, &request.lease)?;
    request.processes.own = Some(process::identify_self());
    let at = ctx.open()?;
    let mut handle = LeaseHandle::new(&at, &request.lease);
    let record = match handle.acquire(&request, wait, &mut |_| Ok(()))? {
        Outcome::Granted { record, .. } => record,
        Outcome::Refused(refusal) => return Ok(ExecOutcome::Refused(refusal)),
    };
    let held = run_fenced(ctx, &request.lease, record.fencing_token, argv, limit);
    let released = handle.release(record.fencing_token);
    Ok(after_release(held?, released, on_event))
}

fn environment(
    at: &NodeHandle<'_>,
    token: FencingToken,
    lease: &RecordName,
) -> Vec<(&'static str, String)> {
    let NodeHandle { ctx, node, tree } = at;
    let mut env = vec![
        ("ZETA_FENCING_TOKEN", token.to_string()),
        ("ZETA_LEASE", lease.to_string()),
        ("ZETA_NODE", node.name.to_string()),
        ("ZETA_STATE_DIR", ctx.state_dir.display().to_string()),
        (sight::VARIABLE, sight::of(&tree.base)),
    ];
    // A name that was derived from the user's must not pass for one that was given.
    if ctx.agent_named {
        env.push(("ZETA_AGENT", ctx.agent.to_string()));
    }
    env
}

/// Renews one lease while a child works under it.
struct Renewer<'s, 'a> {
    handle: &'s mut LeaseHandle<'a>,
    record: &'s Record,
    is_in_cluster: bool,
    on_lost: OnLost,
    /// When it was renewed last, by the boot clock.
    renewed_ns: u64,
    /// What was said of the cluster, which did not answer.
    told: Told,
}

impl Renewer<'_, '_> {
    fn run(
        &mut self,
        child: &Child,
        mut relay: Relay<'_>,
        on_event: &mut OnEvent<'_>,
        mut asked_to_end: Option<&mut dyn FnMut()>,
    ) -> Result<(ExitOutcome, Option<LostTo>)> {
        let every = Duration::from_millis(self.record.ttl_ms / 4);
        let mut next_ns = from_now_ns(every);
        let mut lost = None;
        if poll_readable(&relay.fds(), SHORT).first() == Some(&false) {
            relay.watch_group();
        }
        loop {
            let limit = match lost {
                // The sleep does not count the time of a suspended machine, and other nodes do.
                None if self.is_in_cluster => until(next_ns).min(RETRY),
                None => until(next_ns),
                Some(_) => Duration::from_secs(3600),
            };
            let ready = poll_readable(&relay.fds(), limit);
            relay.pass_on();
            if asked_to_end.is_some() && relay.asked_to_end().is_some() {
                asked_to_end.take().into_iter().for_each(|asked| asked());
            }
            if ready.first() == Some(&true) {
                return Ok((relay.wait()?, lost));
            }
            if lost.is_none() && until(next_ns).is_zero() {
                relay.watch_group();
                let renewed = self.renew(child);
                // A store that is not reached is asked again until the deadline.
                let pause = if renewed.is_err() && self.is_in_cluster { RETRY } else { every };
                next_ns = from_now_ns(pause.min(every));
                self.say(&renewed, on_event);
                lost = renewed.unwrap_or_default();
            }
        }
    }

    /// Says what an attempt to renew the lease came to, where that is to be said.
    fn say(&mut self, renewed: &Result<Option<LostTo>>, on_event: &mut OnEvent<'_>) {
        if let Ok(Some(lost)) = renewed {
            return on_event(Event::Lost(lost));
        }
        let now_ns = host::reading().boot_ns;
        if renewed.is_ok() {
            self.renewed_ns = now_ns;
        }
        if !self.is_in_cluster {
            return;
        }
        let age_ms = now_ns.saturating_sub(self.renewed_ns) / NS_PER_MS;
        let news = decide_news(&mut self.told, renewed.is_ok(), age_ms, self.record.ttl_ms);
        match (news, renewed) {
            (Some(News::Unrenewed), Err(error)) => on_event(Event::Unrenewed(error)),
            (Some(News::Renewed), _) => on_event(Event::Renewed),
            _ => {}
        }
    }

    /// Renews the lease; returns its loss. A fault of the disk is no loss: the next round tries
    /// again, and the TTL is four rounds long.
    fn renew(&mut self, child: &Child) -> Result<Option<LostTo>> {
        let renewed = self.handle.renew(self.record.fencing_token, RENEWER_LIMIT)?;
        let Err(lost) = renewed else { return Ok(None) };
        match self.on_lost {
            OnLost::Warn => {}
            OnLost::Term => child.signal(Signal::TERM.as_raw()),
            OnLost::Kill => child.signal(Signal::KILL.as_raw()),
        }
        Ok(Some(lost))
    }
}

/// Runs a command inside the guard of a lease, after checking that `token` still holds it.
///
/// While it runs, no process can be granted the lease. After `limit` the command's process group is
/// killed. When the command itself ends, the guard is left, even if processes that it started live.
pub fn run_fenced(
    ctx: &Context,
    lease: &RecordName,
    token: FencingToken,
    argv: &[OsString],
    limit: Duration,
) -> Result<ExecOutcome> {
    refuse_if_fenced(ctx, lease)?;
    let lost = || Ok(ExecOutcome::Lost(LostTo::no_tree(lease)));
    let Some(at) = ctx.find()? else { return lost() };
    let signals = Signals::take_over_with_children()?;
    let file = layout::lease_file(lease);
    let Some(section) = guard::try_enter(&at.tree.base, &at.node, &file, ENTER_LIMIT)? else {
        return lost();
    };
    let seen = Found::find(&section, lease, token, &ctx.host)?.observed;
    match check(&seen, token, &ctx.at(host::reading())) {
        Checked::Good { .. } => {}
        Checked::Lost(lost) => {
            return Ok(ExecOutcome::Lost(lost_to(&at.tree.base, &at.node, lease, token, lost)));
        }
        Checked::TooLate => return Err(too_late(lease, token)),
    }
    section.keep_over_exec()?;
    let mut env = environment(&at, token, lease);
    let outer = ctx.fenced.as_ref().map_or(String::new(), |names| format!("{names},"));
    env.push(("ZETA_FENCED", format!("{outer}{lease}")));
    let child = fork_gated(&Setup { argv, env, group: Group::Own, terminal: None }, &signals)?;
    // This process may have been stopped since it looked.
    let record = of_cluster(&seen);
    if let Some(error) = record.and_then(ended_already) {
        child.dismiss();
        return Err(error);
    }
    // Beyond its deadline, another node may be granted it.
    let of_grant = record.and_then(deadline_of);
    let limit = of_grant.map_or(limit, |deadline_ns| until(deadline_ns).min(limit));
    let child = match child.open()? {
        Ok(child) => child,
        Err((status, error)) => return Ok(ExecOutcome::NotStarted(status, error)),
    };
    let ended = wait_fenced(&child, &signals, limit, of_grant);
    take_terminal_back();
    let ended = ended?;
    drop(section);
    match ended {
        Some(ended) => Ok(ExecOutcome::Ran { ended, lost: None, trouble: None }),
        None => Err(Error::new(
            Kind::Fault,
            format!(
                "lease {lease}: the fenced command ran longer than {:.0} s and was killed",
                limit.as_secs_f64()
            ),
        )
        .hint("give it more time with --fence-timeout, or do less inside the guard")),
    }
}

/// The moment after this time, by the boot clock, which counts the time of a suspended machine.
fn from_now_ns(limit: Duration) -> u64 {
    let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    host::reading().boot_ns.saturating_add(limit_ns)
}

/// The time until a moment of the boot clock.
fn until(moment_ns: u64) -> Duration {
    Duration::from_nanos(moment_ns.saturating_sub(host::reading().boot_ns))
}

/// The error of a grant of the cluster whose deadline has passed before its command was started.
fn ended_already(record: &Record) -> Option<Error> {
    deadline_of(record)
        .filter(|deadline_ns| until(*deadline_ns).is_zero())
        .map(|_| too_late(&record.lease, record.fencing_token))
}

/// Waits for the end of a fenced command, until its time is over or its grant has ended.
fn wait_fenced(
    child: &Child,
    signals: &Signals,
    limit: Duration,
    of_grant: Option<u64>,
) -> Result<Option<ExitOutcome>> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = of_grant.map_or(left, |end_ns| left.min(until(end_ns)).min(RETRY));
        let ready = poll_readable(&[child.fd().as_fd(), signals.fd()], left);
        // The child has its own process group, so the terminal sent it none of them.
        while let Some(signal) = signals.next() {
            match signal.number {
                CHILD_ENDED => child.reap_others(),
                number => child.signal_group(number),
            }
        }
        if ready.first() == Some(&true) {
            return child.wait().map(Some);
        }
        if Instant::now() >= deadline || of_grant.is_some_and(|end_ns| until(end_ns).is_zero()) {
            child.kill_group(Signal::TERM);
            poll_readable(&[child.fd()], Duration::from_secs(2));
            child.kill_group(Signal::KILL);
            child.wait()?;
            return Ok(None);
        }
    }
}

fn too_late(lease: &RecordName, token: FencingToken) -> Error {
    Error::new(
        Kind::Lost,
        format!("lease {lease}: its TTL has run out or is about to, so the command was not run"),
    )
    .hint(format!("if it is still yours: zeta lease renew {lease} --token {token}"))
}
