//! One lease of one process, from its first attempt to its release: the opened guard, and the
//! position in the queue.
//!
//! A process that waited keeps its ticket while it holds. Giving it back is the first step of a
//! release: the next process in the queue wakes up while the rest of the release is done, and no
//! process wakes up before.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use zeta_core::evidence::Processes;
use zeta_core::lease::{AcquireRequest, FencingToken};
use zeta_core::name::RecordName;

use super::{Attempt, Outcome, WaitOptions};
use crate::context::NodeHandle;
use crate::directory::guard;
use crate::directory::guard::{ENTER_LIMIT, Guard, Section};
use crate::lease::acquire::waiting::QueuePosition;
use crate::lease::{BeforeCommit, HolderResult, HolderSection, LostTo, Renewal};
use zeta_core::layout;
use zeta_os::error::{Kind, Result};
use zeta_os::host;

/// The handle of one process on one lease. Dropping it leaves the queue, and releases nothing.
///
/// A handle belongs to one process: a fork that does not exec would share its lock.
pub struct LeaseHandle<'a> {
    pub(super) at: &'a NodeHandle<'a>,
    pub(super) lease: &'a RecordName,
    /// The file of the lease's record.
    pub(super) file: String,
    guard: Option<Rc<Guard>>,
    pub(super) position: Option<QueuePosition>,
    /// How long the ticket counts at least, in ms, from when it is drawn.
    pub(super) stays_ms: Option<u64>,
    /// Becomes readable when this process does not want to wait any more.
    pub(super) stop: Option<OwnedFd>,
    pub(super) is_stopped: bool,
}

impl<'a> LeaseHandle<'a> {
    /// Makes a handle; nothing is opened or created yet.
    pub fn new(at: &'a NodeHandle<'a>, lease: &'a RecordName) -> LeaseHandle<'a> {
        let file = layout::lease_file(lease);
        let (guard, position, stays_ms, stop) = (None, None, None, None);
        LeaseHandle { at, lease, file, guard, position, stays_ms, stop, is_stopped: false }
    }

    /// From now on the position in the queue outlives an [`acquire`](Self::acquire) that waited in
    /// vain, for the next one. The ticket counts for at most `ms` from when it is drawn.
    pub fn stay_in_queue(&mut self, ms: u64) {
        self.stays_ms = Some(ms);
    }

    /// From now on an [`acquire`](Self::acquire) that waits ends as if its time were over when this
    /// descriptor becomes readable, as that of a pipe whose other end is closed.
    pub fn stop_with(&mut self, stop: OwnedFd) {
        self.stop = Some(stop);
    }

    /// Returns how many other waiters are ahead in the queue; the ticket of `holder`, which has the
    /// lease, does not count. `None` without a position.
    pub fn ahead(&self, holder: Option<&Processes>) -> Result<Option<usize>> {
        let Some(position) = &self.position else { return Ok(None) };
        position.ahead(holder, host::reading(), &self.at.ctx.host).map(Some)
    }

    /// Acquires the lease, waiting in the queue as `wait` says.
    pub fn acquire(
        &mut self,
        request: &AcquireRequest,
        wait: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let started_ns = host::reading().boot_ns;
        let mut attempt = Attempt { request, started_ns, limit_ms: wait.limit_ms, handle: self };
        let outcome = attempt.run(wait, before_commit);
        match (&outcome, &self.position) {
            (Ok(Outcome::Granted { .. }), Some(position)) => position.stop_watching(),
            (Ok(Outcome::Refused(_)), Some(_)) if self.stays_ms.is_some() => {}
            // The servers of the cluster did not answer: the next attempt asks them again.
            (Err(error), Some(_)) if self.stays_ms.is_some() && error.kind == Kind::Busy => {}
            _ => self.leave_queue(),
        }
        outcome
    }

    /// Renews the lease, with a bound on entering its guard.
    pub fn renew(&mut self, token: FencingToken, limit: Duration) -> HolderResult<Renewal> {
        let Some(holder) = self.enter_as_holder(token, limit)? else {
            self.leave_queue();
            return Ok(Err(LostTo::no_holder(self.lease)));
        };
        let renewed = holder.renew(None, &mut |_| Ok(()))?;
        if renewed.is_err() {
            self.leave_queue();
        }
        Ok(renewed)
    }

    /// Releases the lease; true if the grant was there, false if it was gone already and no other
    /// process was granted the lease since.
    pub fn release(&mut self, token: FencingToken) -> HolderResult<bool> {
        let mut position = self.position.take();
        let Some(holder) = self.enter_as_holder(token, ENTER_LIMIT)? else {
            return Ok(Err(LostTo::no_holder(self.lease)));
        };
        if let Some(position) = &mut position {
            position.give_back(&holder.section);
        }
        holder.release(true)
    }

    /// Leaves the queue: the lease was lost, or is not wanted any more.
    fn leave_queue(&mut self) {
        self.position = None;
    }

    /// Enters the guard that is open, or a new one if that was removed.
    pub(super) fn enter(&mut self, limit: Duration) -> Result<Section<'a>> {
        match self.enter_again(limit)? {
            Some(section) => Ok(section),
            None => {
                let section = self.at.enter(self.file.clone(), limit)?;
                self.remember(&section);
                Ok(section)
            }
        }
    }

    fn enter_as_holder(
        &mut self,
        token: FencingToken,
        limit: Duration,
    ) -> Result<Option<HolderSection<'a>>> {
        if let Some(section) = self.enter_again(limit)? {
            let LeaseHandle { at, lease, .. } = *self;
            return Ok(Some(HolderSection { ctx: at.ctx, section, lease, token, limit }));
        }
        let holder = self.at.enter_as_holder(self.lease, token, limit)?;
        if let Some(holder) = &holder {
            self.remember(&holder.section);
        }
        Ok(holder)
    }

    /// Enters the guard that is open; `None` if there is none, or if it was removed or replaced.
    /// The ticket is in that guard's queue, so both are dropped together.
    fn enter_again(&mut self, limit: Duration) -> Result<Option<Section<'a>>> {
        let Some(guard) = self.guard.take() else {
            self.position = None;
            return Ok(None);
        };
        let NodeHandle { tree, node, .. } = self.at;
        match guard::enter_again(&tree.base, node, self.file.clone(), guard.clone(), limit) {
            Err(error) if error.kind == Kind::Unsafe => {
                self.position = None;
                Ok(None)
            }
            // Another process stays inside: this guard can still be entered later.
            Err(error) => {
                self.guard = Some(guard);
                Err(error)
            }
            Ok(section) => {
                self.remember(&section);
                Ok(Some(section))
            }
        }
    }

    fn remember(&mut self, section: &Section<'a>) {
        self.guard = Some(section.guard());
    }
}
