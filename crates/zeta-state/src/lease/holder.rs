//! What the holder of a lease does with it inside its guard: renew, release, and leave its session.

use std::time::Duration;

use zeta_core::evidence::Processes;
use zeta_core::history::{Entry, Event};
use zeta_core::layout;
use zeta_core::lease::{
    FencingToken, Lost, Observed, Reassigned, Record, Released, Renewed, Successor,
    decide_reassign, decide_release, decide_renew,
};
use zeta_core::name::RecordName;

use super::{BeforeCommit, HolderResult, LostTo, find_outside, lost_to, note_of, refuse_if_fenced};
use crate::context::{Context, NodeHandle};
use crate::directory::guard;
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::history;
use crate::lease::cluster::of_cluster;
use crate::lease::joint::Found;
use crate::lease::queue::Queue;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

/// The renewed record, and for how long it had been expired.
pub type Renewal = (Box<Record>, Option<u64>);

/// The entered guard of a lease, for a caller that claims to hold the grant `token`.
#[derive(Debug)]
pub struct HolderSection<'a> {
    /// The caller.
    pub ctx: &'a Context,
    /// The entered guard.
    pub section: Section<'a>,
    /// The lease.
    pub lease: &'a RecordName,
    /// The grant.
    pub token: FencingToken,
    /// How long the caller was ready to wait for the guard.
    pub limit: Duration,
}

impl HolderSection<'_> {
    /// Renews the lease, for its old TTL if none is given.
    pub fn renew(
        &self,
        ttl_ms: Option<u64>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> HolderResult<Renewal> {
        let HolderSection { ctx, section, lease, token, .. } = self;
        let found = Found::find(section, lease, *token, &ctx.host)?;
        let now = ctx.at(host::reading());
        match decide_renew(&found.observed, *token, ttl_ms, &now) {
            Renewed::Write { record, gap_ms } => {
                let renewed = match of_cluster(&found.observed) {
                    Some(before) => self.renew_in_cluster(&found, before, ttl_ms)?,
                    None => Ok((record, gap_ms)),
                };
                let (mut record, gap_ms) = match renewed {
                    Ok(renewed) => renewed,
                    Err(lost) => return Ok(Err(lost)),
                };
                before_commit(&mut record)?;
                found.publish(section, &record, 0, &now)?;
                Ok(Ok((record, gap_ms)))
            }
            Renewed::Lost(lost) => Ok(Err(self.lost(lost))),
        }
    }

    /// Returns whether the grant is the caller's still.
    pub fn stands(&self) -> Result<bool> {
        let found = Found::find(&self.section, self.lease, self.token, &self.ctx.host)?;
        Ok(match &found.observed {
            Observed::Ours(record, ..) => record.fencing_token == self.token,
            _ => false,
        })
    }

    /// Passes the grant on, without a moment in which it is free; its token grows.
    pub fn pass_on(
        &self,
        successor: Successor,
        before_commit: &mut BeforeCommit<'_>,
    ) -> HolderResult<Box<Record>> {
        let HolderSection { ctx, section, lease, token, .. } = self;
        let found = Found::find(section, lease, *token, &ctx.host)?;
        let (highest, now) = (section.highest_token()?, ctx.at(host::reading()));
        let next = successor.clone();
        let mut record = match decide_reassign(&found.observed, *token, highest, next, &now) {
            Reassigned::Write(record) => match of_cluster(&found.observed) {
                None => record,
                Some(before) => match self.pass_on_in_cluster(&found, before, successor)? {
                    Ok(record) => record,
                    Err(lost) => return Ok(Err(lost)),
                },
            },
            Reassigned::Lost(lost) => return Ok(Err(self.lost(lost))),
            Reassigned::NoTokenLeft => {
                return Err(Error::new(Kind::Unsafe, "no fencing token is left"));
            }
        };
        let committed = before_commit(&mut record)
            .and_then(|()| section.remember(record.fencing_token.get()))
            .and_then(|()| found.replace(section, &record, &now));
        if let Err(error) = committed {
            self.undo_in_cluster(&found, &record);
            return Err(error);
        }
        if let Observed::Ours(from, ..) = &found.observed {
            let (node, at_us) = (section.node().name.as_str(), now.reading.wall_us);
            let entry = Entry::of(node, Event::HandedOver, &record, at_us).from(from);
            history::append(section, &entry);
        }
        Ok(Ok(record))
    }

    /// Releases the lease; true if the grant was there, false if it was gone already and no other
    /// process was granted the lease since. `ticket_given_back` says that the holder's own ticket
    /// has left the queue.
    pub fn release(&self, ticket_given_back: bool) -> HolderResult<bool> {
        let HolderSection { ctx, section, lease, token, .. } = self;
        let found = Found::find(section, lease, *token, &ctx.host)?;
        let seen = &found.observed;
        let (highest, broken) = match seen {
            Observed::Absent => (section.highest_token()?, self.was_broken()),
            _ => (0, false),
        };
        match decide_release(seen, *token, highest, broken) {
            Released::Remove => {
                if let Some(record) = of_cluster(seen)
                    && let Err(lost) = self.release_in_cluster(&found, record)?
                {
                    return Ok(Err(lost));
                }
                let mut entry = found.entry(section, Event::Released, lease);
                if entry.agent.as_deref() != Some(ctx.agent.as_str()) {
                    entry = entry.by(ctx.agent.as_str());
                }
                found.remove(section, ctx, &ctx.now(), &entry)?;
                // The ticket of a holder that waited must not stay at the head of the queue.
                if let Observed::Ours(record, ..) = seen
                    && !ticket_given_back
                {
                    Queue::remove_tickets_of(section, &record.processes);
                }
                Ok(Ok(true))
            }
            Released::Already => Ok(Ok(false)),
            Released::Lost(lost) => Ok(Err(self.lost(lost))),
        }
    }

    fn lost(&self, lost: Lost) -> LostTo {
        lost_to(self.section.base(), self.section.node(), self.lease, self.token, lost)
    }

    fn was_broken(&self) -> bool {
        note_of(self.section.read_break_note().ok().flatten(), self.token).is_some()
    }
}

impl Context {
    /// Runs `verb` for the holder of a lease. Where there is no tree or no node, the lease is lost.
    ///
    /// # Errors
    /// As [`refuse_if_fenced`].
    pub fn as_holder<T>(
        &self,
        lease: &RecordName,
        verb: impl FnOnce(&NodeHandle<'_>) -> HolderResult<T>,
    ) -> HolderResult<T> {
        refuse_if_fenced(self, lease)?;
        match self.find()? {
            Some(handle) => verb(&handle),
            None => Ok(Err(LostTo::no_tree(lease))),
        }
    }
}

impl NodeHandle<'_> {
    /// Enters the guard of a lease for the holder of the grant `token`. If only the guard
    /// was removed, a new one is created; if the node is gone, the lease is gone too (`None`).
    pub fn enter_as_holder<'a>(
        &'a self,
        lease: &'a RecordName,
        token: FencingToken,
        limit: Duration,
    ) -> Result<Option<HolderSection<'a>>> {
        let file = layout::lease_file(lease);
        let holder = |section| HolderSection { ctx: self.ctx, section, lease, token, limit };
        match guard::try_enter(&self.tree.base, &self.node, file.clone(), limit) {
            Ok(Some(section)) => return Ok(Some(holder(section))),
            Ok(None) => {}
            Err(error) if error.kind == Kind::Unsafe && self.node.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        }
        let bytes = self.read(&file, layout::RECORD_MAX)?;
        match find_outside(&self.tree.base, &self.node, lease, token, bytes)? {
            Observed::Ours(record, ..) if record.fencing_token == token && !self.node.is_gone() => {
                self.enter(file, limit).map(|section| Some(holder(section)))
            }
            _ => Ok(None),
        }
    }

    /// Makes the loss of a lease that has no guard.
    fn lost_outside(&self, lease: &RecordName, token: FencingToken) -> LostTo {
        lost_to(&self.tree.base, &self.node, lease, token, Lost { by: None })
    }

    /// Renews a lease, with a bound on entering its guard.
    pub fn renew(
        &self,
        lease: &RecordName,
        token: FencingToken,
        ttl_ms: Option<u64>,
        limit: Duration,
    ) -> HolderResult<Renewal> {
        match self.enter_as_holder(lease, token, limit)? {
            Some(holder) => holder.renew(ttl_ms, &mut |_| Ok(())),
            None => Ok(Err(self.lost_outside(lease, token))),
        }
    }

    /// Releases a lease; true if the grant was there, false if it was gone already and no other
    /// process was granted the lease since.
    pub fn release(&self, lease: &RecordName, token: FencingToken) -> HolderResult<bool> {
        self.release_within(lease, token, ENTER_LIMIT)
    }

    /// Releases as [`Self::release`] does, and waits at most this long for the guard.
    pub fn release_within(
        &self,
        lease: &RecordName,
        token: FencingToken,
        limit: Duration,
    ) -> HolderResult<bool> {
        match self.enter_as_holder(lease, token, limit)? {
            Some(holder) => holder.release(false),
            None => Ok(Err(self.lost_outside(lease, token))),
        }
    }

    /// Removes the processes of a session that has ended from its last grant. Otherwise the lease
    /// would be free at once.
    pub fn detach_session(&self, lease: &RecordName, token: FencingToken) -> Result<()> {
        let section = self.enter(layout::lease_file(lease), ENTER_LIMIT)?;
        let found = Found::find(&section, lease, token, &self.ctx.host)?;
        match &found.observed {
            Observed::Ours(record, ..) if record.fencing_token == token => {
                let record = Record { processes: Processes::default(), ..(**record).clone() };
                found.publish(&section, &record, 0, &self.ctx.now())
            }
            _ => Err(Error::new(
                Kind::Lost,
                format!("lease {lease}: your session ended, and its grant with it"),
            )
            .hint(format!("take it again outside of the session: zeta lease acquire {lease}"))),
        }
    }
}
