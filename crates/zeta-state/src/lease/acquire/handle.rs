//! Where a process stands at a lease, from its first look to its release: the opened guard, and the
//! place in line that it waited in.
//!
//! Whoever waited keeps its ticket while it holds. Giving it back is the first thing of a release:
//! the next in line wakes up while the rest of the release is done, and nobody is woken before.

use std::rc::Rc;
use std::time::Duration;

use zeta_core::lease::{AcquireRequest, FencingToken};
use zeta_core::name::RecordName;

use super::{Attempt, BeforeCommit, Outcome, WaitOptions};
use crate::context::Context;
use crate::directory::guard;
use crate::directory::guard::{ENTER_LIMIT, Guard, Section};
use crate::directory::tree::{Node, Tree};
use crate::lease::acquire::waiting::QueuePosition;
use crate::lease::{
    HolderResult, Renewal, enter_as_holder, lost_to_nobody, release_inside, renew_inside,
};
use zeta_os::error::{Kind, Result};
use zeta_os::host;

/// A process at one lease. Dropping it leaves the line, and releases nothing.
///
/// It belongs to one process: a fork that does not exec would share its lock.
pub struct LeaseHandle<'a> {
    pub(super) tree: &'a Tree,
    pub(super) node: &'a Node,
    pub(super) file: &'a str,
    guard: Option<Rc<Guard>>,
    pub(super) place: Option<QueuePosition>,
}

impl<'a> LeaseHandle<'a> {
    /// Before the lease whose record is `file`; nothing is opened or made yet.
    pub fn before(tree: &'a Tree, node: &'a Node, file: &'a str) -> LeaseHandle<'a> {
        LeaseHandle { tree, node, file, guard: None, place: None }
    }

    /// Acquires the lease, waiting in line as long as asked.
    pub fn acquire(
        &mut self,
        ctx: &Context,
        ask: &AcquireRequest,
        patience: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let started_ns = host::reading().boot_ns;
        let mut attempt =
            Attempt { ctx, ask, started_ns, limit_ms: patience.limit_ms, stand: self };
        let outcome = attempt.run(patience, before_commit);
        match (&outcome, &self.place) {
            (Ok(Outcome::Granted { .. }), Some(place)) => place.stop_watching(),
            _ => self.leave_line(),
        }
        outcome
    }

    /// Renews the lease, with a bound on entering its guard.
    pub fn renew(
        &mut self,
        ctx: &Context,
        lease: &RecordName,
        token: FencingToken,
        limit: Duration,
    ) -> HolderResult<Renewal> {
        let Some(section) = self.enter_as_holder(lease, token, limit)? else {
            self.leave_line();
            return Ok(Err(lost_to_nobody(lease)));
        };
        let renewed = renew_inside(ctx, &section, lease, token, None)?;
        if renewed.is_err() {
            self.leave_line();
        }
        Ok(renewed)
    }

    /// Releases the lease; true if it stood, false if it was gone already and nobody was granted
    /// since.
    pub fn release(&mut self, lease: &RecordName, token: FencingToken) -> HolderResult<bool> {
        let mut place = self.place.take();
        let Some(section) = self.enter_as_holder(lease, token, ENTER_LIMIT)? else {
            return Ok(Err(lost_to_nobody(lease)));
        };
        if let Some(place) = &mut place {
            place.give_back(&section);
        }
        release_inside(&section, lease, token, true)
    }

    /// Leaves the line: the lease was lost, or is not wanted any more.
    fn leave_line(&mut self) {
        self.place = None;
    }

    /// Enters the guard that is open, or a new one where somebody removed that.
    pub(super) fn enter(&mut self, limit: Duration) -> Result<Section<'a>> {
        match self.enter_again(limit)? {
            Some(section) => Ok(section),
            None => {
                let section = guard::enter(&self.tree.base, self.node, self.file, limit)?;
                Ok(self.remember(section))
            }
        }
    }

    fn enter_as_holder(
        &mut self,
        lease: &RecordName,
        token: FencingToken,
        limit: Duration,
    ) -> Result<Option<Section<'a>>> {
        if let Some(section) = self.enter_again(limit)? {
            return Ok(Some(section));
        }
        let section = enter_as_holder(self.tree, self.node, self.file, lease, token, limit)?;
        Ok(section.map(|section| self.remember(section)))
    }

    /// Enters the guard that is open; `None` if there is none, or if it is not the one with the
    /// name any more. Our ticket stands in that guard's line, so the two are forgotten together.
    fn enter_again(&mut self, limit: Duration) -> Result<Option<Section<'a>>> {
        let Some(guard) = self.guard.take() else {
            self.place = None;
            return Ok(None);
        };
        match guard::enter_again(&self.tree.base, self.node, self.file, guard.clone(), limit) {
            Err(error) if error.kind == Kind::Unsafe => {
                self.place = None;
                Ok(None)
            }
            // Somebody stays inside: it is still ours to enter.
            Err(error) => {
                self.guard = Some(guard);
                Err(error)
            }
            Ok(section) => Ok(Some(self.remember(section))),
        }
    }

    fn remember(&mut self, section: Section<'a>) -> Section<'a> {
        self.guard = Some(section.guard());
        section
    }
}
