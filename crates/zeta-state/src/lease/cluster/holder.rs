//! What the holder of a lease of the cluster does: first in the store, then in the local record.
//!
//! A store that is not reached changes nothing here. The grant stands until its deadline, and a
//! holder that cannot renew until then has lost it.

use std::time::Duration;

use zeta_core::cluster::lease::{Grant, Op, Outcome, deadline_ns};
use zeta_core::evidence::ProcessState;
use zeta_core::history::Event;
use zeta_core::lease::{Checked, FencingToken, Lost, Observed, Record, Successor, decide_check};
use zeta_core::name::RecordName;
use zeta_core::time::{NS_PER_MS, Now, format_duration};

use super::{Answered, Ask, CALL_LIMIT, RENEW_LIMIT, local_record, observed_of, scope_of};
use crate::context::Context;
use crate::directory::guard::ENTER_LIMIT;
use crate::directory::tree::Node;
use crate::directory::trusted_dir::TrustedDir;
use crate::lease::joint::Found;
use crate::lease::{HolderResult, HolderSection, LostTo, Renewal, break_note};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, process};

/// The key of a note that says of a grant that it was lost in the cluster, and that no person broke
/// it.
pub(crate) const OF_CLUSTER: &str = "scope";
/// Why a grant is lost that the store has no more.
const ENDED: &str = "the cluster has ended it, or granted it to another holder";

/// Returns the record of a grant that the store of the cluster has, too.
pub fn of_cluster(observed: &Observed) -> Option<&Record> {
    let Observed::Ours(record, ..) = observed else { return None };
    scope_of(record).is_some().then_some(record)
}

/// As [`decide_check`]. A dead holder of the cluster has lost its lease, although its record
/// stands: the bridge of its node may have freed it, and no other holder replaces the record here.
pub fn check(observed: &Observed, token: FencingToken, now: &Now) -> Checked {
    let checked = decide_check(observed, token, now);
    let life = |record: &Record| process::life(&record.processes, now.host);
    match of_cluster(observed) {
        Some(record)
            if matches!(checked, Checked::Good { .. }) && life(record) == ProcessState::Dead =>
        {
            Checked::Lost(Lost { by: None })
        }
        _ => checked,
    }
}

/// Gives a grant back in the store. An end that cannot be written comes with the TTL.
///
/// # Errors
/// The store is not reached, or it is not known whether it was written.
pub fn give_back(
    ctx: &Context,
    (base, node): (&TrustedDir, &Node),
    record: &Record,
    limit: Duration,
) -> HolderResult<()> {
    let answered =
        ask(ctx, (base, node), record, Op::Release { token: record.fencing_token }, limit)?;
    match answered.outcome {
        Outcome::Released => Ok(Ok(())),
        Outcome::Lost(lost) if answered.decided => Ok(Err(LostTo::new(&record.lease, lost))),
        _ => Err(not_done(record, "released", answered.trouble)),
    }
}

fn ask(
    ctx: &Context,
    (base, node): (&TrustedDir, &Node),
    record: &Record,
    op: Op,
    limit: Duration,
) -> Result<Answered> {
    let known = scope_of(record).map(|scope| observed_of(record, scope));
    let life = &|_: &Record| ProcessState::Unknown;
    let (lease, floor) = (&record.lease, 0);
    ctx.cluster()?.call(Ask { ctx, node, base, lease, op, known, floor, life, limit })
}

/// The error of a break that the store does not know of.
pub fn broken_here_only(lease: &RecordName, error: &Error) -> Error {
    let text = format!(
        "lease {lease}: it is broken on this node, and the cluster does not know it yet: {}",
        error.text
    );
    Error::new(Kind::Busy, text)
        .hint("other nodes are granted it when its TTL has run out, or when the bridge says it")
}

fn not_done(record: &Record, done: &str, trouble: Option<Error>) -> Error {
    let why = trouble.map_or("no answer in time".to_owned(), |error| error.text);
    let lease = &record.lease;
    let text = format!("lease {lease}: it is not known whether the cluster has {done} it: {why}");
    Error::new(Kind::Busy, text).hint("repeat the call, which looks first")
}

impl HolderSection<'_> {
    /// Renews the grant in the store; returns the local record to be written.
    pub(crate) fn renew_in_cluster(
        &self,
        found: &Found,
        record: &Record,
        ttl_ms: Option<u64>,
    ) -> HolderResult<Renewal> {
        self.write_in_cluster(found, record, Op::Renew { token: self.token, ttl_ms })
    }

    /// Passes the grant on in the store; returns the local record to be written.
    pub(crate) fn pass_on_in_cluster(
        &self,
        found: &Found,
        record: &Record,
        successor: Successor,
    ) -> HolderResult<Box<Record>> {
        let op = Op::PassOn { token: self.token, successor: Box::new(successor) };
        Ok(self.write_in_cluster(found, record, op)?.map(|(record, _)| record))
    }

    fn write_in_cluster(&self, found: &Found, record: &Record, op: Op) -> HolderResult<Renewal> {
        let left = self.left(record);
        let answered = ask(self.ctx, self.place(), record, op, self.patience().min(left));
        match answered {
            Ok(Answered { outcome: Outcome::Renewed { grant, gap_ms }, .. }) => {
                Ok(Ok((renewed_record(record, grant), gap_ms)))
            }
            Ok(Answered { outcome: Outcome::Lost(lost), decided: true, .. }) => {
                self.end_lost(found, lost, ENDED).map(Err)
            }
            Ok(Answered { outcome: Outcome::NoTokenLeft, .. }) => {
                Err(Error::new(Kind::Unsafe, "no fencing token is left"))
            }
            Ok(Answered { trouble, .. }) => self.not_renewed(found, record, trouble),
            Err(error) => self.not_renewed(found, record, Some(error)),
        }
    }

    /// Releases the grant in the store.
    pub(crate) fn release_in_cluster(&self, found: &Found, record: &Record) -> HolderResult<()> {
        match give_back(self.ctx, self.place(), record, self.patience())? {
            Ok(()) => Ok(Ok(())),
            Err(LostTo { lost, .. }) => self.end_lost(found, lost, ENDED).map(Err),
        }
    }

    /// Ends a grant that was passed on in the store and could not be written here: the old token is
    /// void. The record goes first: without a grant it would count until its deadline.
    pub(crate) fn undo_in_cluster(&self, found: &Found, record: &Record) {
        if scope_of(record).is_some() && self.end_lost(found, Lost { by: None }, ENDED).is_ok() {
            let _ = give_back(self.ctx, self.place(), record, self.patience());
        }
    }

    /// Removes the record of a grant of the cluster that its store has replaced by a later one, as
    /// after a handover that was killed before it wrote the record.
    pub fn remove_replaced(&self) -> Result<()> {
        let found = Found::find(&self.section, self.lease, self.token, &self.ctx.host)?;
        self.end_lost(&found, Lost { by: None }, ENDED).map(|_| ())
    }

    /// Removes the local record of a grant that the store has no more, or that could not be renewed
    /// in time. The note tells all who keep the lease that it was not given back.
    fn end_lost(&self, found: &Found, lost: Lost, why: &str) -> Result<LostTo> {
        let HolderSection { ctx, section, lease, .. } = self;
        let mut note = break_note(ctx, lease, &found.observed, why);
        note.push_text(OF_CLUSTER, "cluster");
        // Best effort, as for a break.
        let _ = section.note_break(&note.render());
        let entry = found.entry(section, Event::Removed, lease).because("lost");
        found.remove(section, ctx, &ctx.now(), &entry)?;
        if let Observed::Ours(record, ..) = &found.observed {
            (ctx.lease_ended)(ctx, record);
        }
        Ok(LostTo { broken: Some(note), ..LostTo::new(lease, lost) })
    }

    /// The store did not answer: until the deadline that is no loss.
    fn not_renewed(
        &self,
        found: &Found,
        record: &Record,
        trouble: Option<Error>,
    ) -> HolderResult<Renewal> {
        let why = trouble.as_ref().map_or("no answer in time", |error| error.text.as_str());
        let left = self.left(record);
        if left.is_zero() {
            let why = format!("it could not be renewed in the cluster before its deadline: {why}");
            return self.end_lost(found, Lost { by: None }, &why).map(Err);
        }
        let left = format_duration(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let text = format!(
            "lease {}: it could not be renewed in the cluster, and is yours for {left} more: {why}",
            self.lease
        );
        let hints = trouble.into_iter().flat_map(|error| error.hints);
        Err(hints.fold(Error::new(Kind::Busy, text), |error, hint| error.hint(hint.as_str())))
    }

    /// How long the grant is the holder's.
    fn left(&self, record: &Record) -> Duration {
        let left_ns = deadline_ns(record).saturating_sub(host::reading().boot_ns);
        Duration::from_millis(left_ns / NS_PER_MS)
    }

    fn place(&self) -> (&TrustedDir, &Node) {
        (self.section.base(), self.section.node())
    }

    fn patience(&self) -> Duration {
        if self.limit < ENTER_LIMIT { RENEW_LIMIT } else { CALL_LIMIT }
    }
}

/// The local record after a renewal: what the store has, and the keys that only this node has.
fn renewed_record(before: &Record, grant: Grant) -> Box<Record> {
    let mut record = local_record(grant);
    for (key, value) in &before.extra {
        if !record.extra.iter().any(|(known, _)| known == key) {
            record.extra.push((key.clone(), value.clone()));
        }
    }
    if record.fencing_token == before.fencing_token {
        record.processes = before.processes;
    }
    record
}

/// The deadline of a local record of the cluster, by the boot clock.
pub fn deadline_of(record: &Record) -> Option<u64> {
    scope_of(record).map(|_| deadline_ns(record))
}
