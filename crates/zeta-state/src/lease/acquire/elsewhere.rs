//! A grant of the cluster: the store is asked inside the guard, when the lease is free here.
//!
//! A caller that waits stays at the head of the queue while another node holds the lease, and
//! leaves the guard. Those behind it wait for it, and only they: a node is one waiter for the
//! others.

use std::os::fd::AsFd as _;
use std::time::Duration;

use zeta_core::cluster::lease::{Entry, Op, Outcome as Decided};
use zeta_core::evidence::ProcessState;
use zeta_core::layout;
use zeta_core::lease::{AcquireRequest, Cause as Why, Held, Observed, Record};
use zeta_core::time::{Now, format_duration, format_utc};

use super::waiting::RECHECK;
use super::{Attempt, Attempted, OnWait, Outcome, SHOW_EVERY_NS, no_token_left};
use crate::context::Context;
use crate::directory::guard::Section;
use crate::lease::cluster::{
    Ask, CALL_LIMIT, Cluster, give_back, local_record, scope_of, seen_there,
};
use crate::lease::read_only;
use zeta_os::error::{Cause, Error, Kind, Result};
use zeta_os::inotify::poll_readable;
use zeta_os::{host, process};

/// The longest sleep before the store is read again: the news of it are hints.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Nodes that see the end of a lease at once ask for it at different moments.
const SPREAD_MS: u128 = 20;

/// What the head of the queue waits for in the store.
pub(super) struct Elsewhere {
    held: Option<Held>,
    pub(super) observed: Observed,
    revision: u64,
    /// Why the store has decided nothing.
    trouble: Option<Error>,
}

/// A grant: the record to be written here, why it was granted, and whose it was.
pub(super) type Granted = (Box<Record>, Option<Why>, Option<Box<Record>>);

impl Attempt<'_, '_> {
    /// Asks the cluster for a lease that is free here. `Err` says what the caller does instead of
    /// taking it.
    pub(super) fn ask_cluster(
        &mut self,
        section: &Section<'_>,
        observed: &Observed,
        now: &Now,
    ) -> Result<std::result::Result<Granted, Attempted>> {
        let (ctx, lease) = (self.handle.at.ctx, &self.request.lease);
        let limit = match self.limit_ms {
            Some(_) => CALL_LIMIT.min(Duration::from_millis(self.rest_ms().max(1_000))),
            None => CALL_LIMIT,
        };
        let life = &|record: &Record| life_of(record, observed, ctx);
        let op =
            Op::Acquire(Box::new(AcquireRequest { grace_ms: Some(0), ..self.request.clone() }));
        let (base, node) = (section.base(), section.node());
        let floor = section.highest_token()?;
        let ask = Ask { ctx, node, base, lease, op, known: None, floor, life, limit };
        let answered = match ctx.cluster()?.call(ask) {
            Ok(answered) => answered,
            Err(error) => return self.troubled(section, observed, error, now).map(Err),
        };
        let from = match &answered.entry {
            Entry::Grant(record, _) => Some(record.clone()),
            _ => None,
        };
        match answered.outcome {
            Decided::Granted(grant, cause) => Ok(Ok((local_record(grant), Some(cause), from))),
            Decided::Again(grant) => Ok(Ok((local_record(grant), None, None))),
            Decided::Held(held) => {
                let elsewhere = Elsewhere {
                    held: Some(held),
                    observed: seen_there(&answered.entry),
                    revision: answered.revision,
                    trouble: None,
                };
                self.held_elsewhere(section, elsewhere, now).map(Err)
            }
            Decided::NoTokenLeft => Err(no_token_left(lease)),
            Decided::TtlTooLong { max_ms } => Err(Error::usage(format!(
                "lease {lease}: the TTL is longer than the cluster allows, which is {}",
                format_duration(max_ms)
            ))),
            Decided::Unsupported => Err(Error::usage(format!(
                "lease {lease}: a lease of the cluster has one holder and the policy 'reclaim'"
            ))),
            Decided::Quarantine { until_us } => {
                let error = quarantine(self.request, until_us);
                self.troubled(section, observed, error, now).map(Err)
            }
            _ => {
                let error = unknown(self.request, answered.trouble);
                self.troubled(section, observed, error, now).map(Err)
            }
        }
    }

    /// Gives back what the store has granted: the local record could not be written. One that was
    /// written nevertheless goes first: without a grant it would count until its deadline.
    pub(super) fn undo_in_cluster(&self, section: &Section<'_>, record: &Record) {
        if scope_of(record).is_none() {
            return;
        }
        let file = layout::lease_file(&record.lease);
        let is_gone = match section.read(layout::RECORD_MAX) {
            Ok(bytes) => match read_only(bytes, &record.lease) {
                Observed::Ours(written, ..) if written.lease_id == record.lease_id => {
                    section.take_in(section.node().as_fd(), &file).is_ok()
                }
                _ => true,
            },
            Err(_) => false,
        };
        if is_gone {
            let place = (section.base(), section.node());
            let _ = give_back(self.handle.at.ctx, place, record, CALL_LIMIT);
        }
    }

    /// The store is not reached, or grants nothing now: a caller that waits tries again.
    fn troubled(
        &mut self,
        section: &Section<'_>,
        observed: &Observed,
        error: Error,
        now: &Now,
    ) -> Result<Attempted> {
        if self.limit_ms.is_none() || error.kind != Kind::Busy {
            return Err(error);
        }
        let observed = observed.clone();
        let elsewhere = Elsewhere { held: None, observed, revision: 0, trouble: Some(error) };
        self.held_elsewhere(section, elsewhere, now)
    }

    fn held_elsewhere(
        &mut self,
        section: &Section<'_>,
        elsewhere: Elsewhere,
        now: &Now,
    ) -> Result<Attempted> {
        if self.limit_ms.is_none() {
            let refusal = self.refusal(elsewhere.held, elsewhere.observed);
            return Ok(Attempted::Done(Outcome::Refused(refusal)));
        }
        self.queue_up(section, None, None, now)?;
        Ok(Attempted::Elsewhere(elsewhere))
    }

    /// Waits for a change in the store; the result is the end of the caller's time.
    pub(super) fn wait_elsewhere(
        &mut self,
        elsewhere: Elsewhere,
        on_wait: &mut OnWait<'_>,
        shown_ns: &mut Option<u64>,
    ) -> Result<Option<Outcome>> {
        let now_ns = host::reading().boot_ns;
        let quiet_for = shown_ns.map(|shown_ns| now_ns.saturating_sub(shown_ns));
        if let Some(held) = &elsewhere.held
            && quiet_for.is_none_or(|quiet_for| quiet_for > SHOW_EVERY_NS)
        {
            *shown_ns = Some(now_ns);
            on_wait(&elsewhere.observed, held);
        }
        if self.rest_ms() == 0 {
            return match elsewhere.trouble {
                Some(error) if !self.handle.is_stopped => Err(error),
                _ => Ok(Some(Outcome::Refused(self.refusal(elsewhere.held, elsewhere.observed)))),
            };
        }
        let rest_ms = elsewhere.held.as_ref().and_then(|held| held.rest_ms);
        let rest = rest_ms.map_or(LOOK_AGAIN, Duration::from_millis);
        let cluster = self.handle.at.ctx.cluster()?;
        self.sleep_elsewhere(cluster, &elsewhere, rest.min(LOOK_AGAIN));
        Ok(None)
    }

    fn sleep_elsewhere(&mut self, cluster: &Cluster, elsewhere: &Elsewhere, limit: Duration) {
        let limit = limit.min(Duration::from_millis(self.rest_ms()));
        let until_ns = host::reading().boot_ns + limit.as_nanos() as u64;
        let lease = &self.request.lease;
        loop {
            let left_ns = until_ns.saturating_sub(host::reading().boot_ns);
            let slice = Duration::from_nanos(left_ns).min(RECHECK);
            let waited = match elsewhere.trouble {
                Some(_) => Ok(false),
                None => cluster.wait(lease, elsewhere.revision, slice),
            };
            let idle = if waited == Ok(false) && elsewhere.trouble.is_none() {
                Duration::ZERO
            } else if waited == Ok(true) {
                Duration::from_millis((host::random().unwrap_or(0) % SPREAD_MS) as u64)
            } else {
                slice
            };
            let stop = self.handle.stop.as_ref().map(|stop| stop.as_fd());
            let fds: Vec<_> = stop.into_iter().collect();
            if poll_readable(&fds, idle).first() == Some(&true) {
                self.handle.is_stopped = true;
                return;
            }
            if waited != Ok(false) || left_ns <= slice.as_nanos() as u64 {
                return;
            }
        }
    }
}

/// Returns the state of the processes of a grant of this node. The local record knows more of them
/// than the store.
fn life_of(record: &Record, here: &Observed, ctx: &Context) -> ProcessState {
    match here {
        Observed::Ours(local, _, life)
            if local.lease_id == record.lease_id && local.fencing_token == record.fencing_token =>
        {
            *life
        }
        _ => process::life(&record.processes, &ctx.host),
    }
}

fn quarantine(request: &AcquireRequest, until_us: i64) -> Error {
    let lease = &request.lease;
    Error::new(
        Kind::Busy,
        format!(
            "lease {lease}: the store of the cluster has lost data, and grants no lease before {}",
            format_utc(until_us)
        ),
    )
    .hint("leases that were held are renewed and released as before")
}

fn unknown(request: &AcquireRequest, trouble: Option<Error>) -> Error {
    let AcquireRequest { lease, lease_id, .. } = request;
    let why = trouble.map_or("no answer in time".to_owned(), |error| error.text);
    let text = format!("lease {lease}: it is not known whether the cluster has granted it: {why}");
    let hint = format!("repeat the call with the id of this attempt: --lease-id {lease_id}");
    Error::new(Kind::Busy, text).hint(hint).with_cause(Cause::UnknownGrant)
}
