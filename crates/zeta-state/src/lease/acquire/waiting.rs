//! The position of a waiter in the queue, and what it sleeps on there.
//!
//! A waiter draws a ticket inside the guard and then sleeps on the one event that can make it the
//! next: the end of the ticket before its own (its removal, or its owner's death), or, at the head
//! of the queue, the end of the record (its removal, its holder's death, its expiry). No waiter
//! polls, and none wakes up in vain. A check once a second bounds what a lost wake-up or a stopped
//! waiter can cost.
//!
//! A holder that waited keeps its ticket, and the next waiter goes on sleeping on that. If this
//! waiter checks nevertheless, the ticket of the holder does not count: the waiter is the head, and
//! watches the record.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use zeta_core::evidence::Processes;
use zeta_core::layout;
use zeta_core::lease::Held;
use zeta_core::time::{Host, NS_PER_MS, Now, Reading};

use super::Attempt;
use crate::directory::guard::Section;
use crate::lease::queue::{Queue, Ticket};
use zeta_os::error::Result;
use zeta_os::inotify::{Drained, Watch, poll_readable};
use zeta_os::{host, process};

/// The longest sleep between two checks, whatever is watched.
pub(super) const RECHECK: Duration = Duration::from_secs(1);

/// How long the head of the queue may leave a free lease before the waiters behind it take it, in
/// ns.
const IDLE_HEAD_NS: u64 = 100 * NS_PER_MS;

/// A position in the queue.
pub(super) struct QueuePosition {
    queue: Queue,
    ticket: Ticket,
    given_back: bool,
    /// The holder moved its ticket away: it is releasing, and this waiter is the next.
    handed_over: bool,
    watch: Watch,
    watches_record: bool,
    /// The waiter right before this one, and a descriptor that becomes readable when it ends.
    before: Option<(Ticket, Option<OwnedFd>)>,
    /// The head that leaves a free lease, and since when.
    idle: Option<(Ticket, u64)>,
}

impl Drop for QueuePosition {
    fn drop(&mut self) {
        if !self.given_back {
            self.queue.remove(&self.ticket);
        }
    }
}

impl QueuePosition {
    /// Removes this waiter's ticket from the queue, which wakes the next one.
    pub(super) fn give_back(&mut self, section: &Section<'_>) {
        self.queue.remove_inside(&self.ticket, section);
        self.given_back = true;
    }

    /// Returns how many waiters have an earlier ticket.
    pub(super) fn ahead(
        &self,
        holder: Option<&Processes>,
        reading: Reading,
        host: &Host,
    ) -> Result<usize> {
        self.queue.ahead(&self.ticket, holder, reading, host)
    }

    /// Stops watching: the lease was granted.
    pub(super) fn stop_watching(&self) {
        if self.watches_record {
            self.watch.stop();
        }
    }

    /// Returns whether this waiter is the first; otherwise it watches the one right before it.
    fn is_first(&mut self, holder: Option<&Processes>, now: &Now) -> Result<bool> {
        // Tickets are drawn inside the guard, so the first one stays the first.
        if self.watches_record || self.handed_over {
            return Ok(true);
        }
        let before = self.queue.before(Some(&self.ticket), holder, now.reading, now.host)?;
        match before {
            // `before` is cleared later: now the lease may be free.
            None => return Ok(true),
            Some(ticket) if self.before.as_ref().is_some_and(|(before, _)| *before == ticket) => {}
            Some(ticket) => {
                self.watch.removal_of(&self.queue.watch_path(&ticket));
                let ends = process::watch(&ticket.process());
                self.before = Some((ticket, ends));
            }
        }
        Ok(false)
    }
}

impl Attempt<'_, '_> {
    /// Returns whether a free lease is another process's: one that came earlier and still waits.
    /// `has_room` says whether a request of so many slots would be granted now.
    pub(super) fn must_queue(
        &mut self,
        section: &Section<'_>,
        holder: Option<&Processes>,
        has_room: &dyn Fn(u32) -> bool,
        now: &Now,
    ) -> Result<bool> {
        if self.limit_ms.is_none() || self.is_for_paths() {
            return Ok(false);
        }
        if self.handle.position.is_none() && !self.is_waited_for(section, holder, now)? {
            return Ok(false);
        }
        let mut position = self.take_position(section, now)?;
        let first = position.is_first(holder, now);
        self.handle.position = Some(position);
        if first? {
            return Ok(false);
        }
        // A stopped head must not keep all others from a free lease.
        let head = self.head(holder, now)?;
        let Some(position) = &mut self.handle.position else { return Ok(false) };
        // One that waits for other nodes does not idle.
        let is_stopped = |head: &Ticket| process::is_stopped(head.process().pid);
        if self.request.in_cluster && head.as_ref().is_some_and(|head| !is_stopped(head)) {
            position.idle = None;
            return Ok(true);
        }
        // One that needs more room than there is does not idle.
        if head.as_ref().is_some_and(|head| !has_room(position.queue.slots_of(head, section))) {
            position.idle = None;
            return Ok(true);
        }
        match (&position.idle, head) {
            (_, None) => Ok(false),
            (Some((idle, since)), Some(head)) if *idle == head => {
                // Nothing wakes the head while there is a record: it checks once a second.
                let recheck_ns = if holder.is_some() { RECHECK.as_nanos() as u64 } else { 0 };
                Ok(now.reading.boot_ns.saturating_sub(*since) <= recheck_ns + IDLE_HEAD_NS)
            }
            (_, Some(head)) => {
                position.idle = Some((head, now.reading.boot_ns));
                Ok(true)
            }
        }
    }

    fn is_waited_for(
        &self,
        section: &Section<'_>,
        holder: Option<&Processes>,
        now: &Now,
    ) -> Result<bool> {
        match Queue::open(section)? {
            Some(queue) => Ok(queue.before(None, holder, now.reading, now.host)?.is_some()),
            None => Ok(false),
        }
    }

    fn head(&self, holder: Option<&Processes>, now: &Now) -> Result<Option<Ticket>> {
        match &self.handle.position {
            Some(position) => position.queue.head(&position.ticket, holder, now.reading, now.host),
            None => Ok(None),
        }
    }

    /// Puts this waiter into the queue, where it watches the one before it; true at the head, where
    /// it watches the record and the `grants` of a joint lease.
    pub(super) fn queue_up(
        &mut self,
        section: &Section<'_>,
        holder: Option<&Processes>,
        grants: Option<BorrowedFd<'_>>,
        now: &Now,
    ) -> Result<bool> {
        let mut position = self.take_position(section, now)?;
        let first = self.is_for_paths() || position.is_first(holder, now)?;
        if first && !position.watches_record {
            position.watch.removals_in(section.node().as_fd());
            position.watches_record = true;
            position.before = None;
        }
        // Each time: the directory may be another one than before.
        if first && let Some(grants) = grants {
            position.watch.removals_in(grants);
        }
        self.handle.position = Some(position);
        Ok(first)
    }

    fn take_position(&mut self, section: &Section<'_>, now: &Now) -> Result<QueuePosition> {
        if let Some(position) = self.handle.position.take() {
            return Ok(position);
        }
        let queue = Queue::open_or_create(section)?;
        let waits_ms = self.rest_ms().max(self.handle.stays_ms.unwrap_or(0));
        let until_ms = now.reading.boot_ns / NS_PER_MS + waits_ms + 1;
        let ticket = Ticket::draw(now.reading, until_ms, now.host);
        queue.add(&ticket, self.slots(), section)?;
        let watch = Watch::new();
        let (before, idle) = (None, None);
        Ok(QueuePosition {
            queue,
            ticket,
            given_back: false,
            handed_over: false,
            watch,
            watches_record: false,
            before,
            idle,
        })
    }

    /// Sleeps until an event that may make this waiter the next.
    pub(super) fn sleep(&mut self, held: Option<&Held>, holders: &[Vec<OwnedFd>]) {
        let rest = Duration::from_millis(self.rest_ms());
        let Some(position) = &mut self.handle.position else { return };
        let mut alive: Vec<(usize, &OwnedFd)> = Vec::new();
        for (at, fds) in holders.iter().enumerate() {
            alive.extend(fds.iter().map(|fd| (at, fd)));
        }
        let recheck = if position.idle.is_some() && held.is_none() {
            Duration::from_nanos(IDLE_HEAD_NS)
        } else if position.watch.sees() {
            RECHECK
        } else {
            Duration::from_millis(20)
        };
        let mut limit = rest.min(recheck);
        if position.watches_record
            && let Some(rest_ms) = held.and_then(|held| held.rest_ms)
        {
            limit = limit.min(Duration::from_millis(rest_ms));
        }
        let until = host::reading().boot_ns + limit.as_nanos() as u64;
        loop {
            let left = until.saturating_sub(host::reading().boot_ns);
            let mut fds: Vec<BorrowedFd<'_>> = alive.iter().map(|(_, fd)| fd.as_fd()).collect();
            let recorded = fds.len();
            fds.extend(
                position.before.iter().filter_map(|(_, ends)| ends.as_ref()).map(AsFd::as_fd),
            );
            let befores = fds.len();
            fds.extend(position.watch.fd());
            let watches = fds.len();
            fds.extend(self.handle.stop.as_ref().map(AsFd::as_fd));
            let ready = poll_readable(&fds, Duration::from_nanos(left));
            let is_ready = |at: usize| ready.get(at).copied().unwrap_or(false);
            if is_ready(watches) {
                self.handle.is_stopped = true;
                return;
            }
            let drained = if befores < watches && is_ready(befores) {
                let file = &self.handle.file;
                position.watch.drain(|name| name == file || layout::is_grant_file(name))
            } else {
                Drained::default()
            };
            position.handed_over |= drained.moved;
            let before_ended = (recorded..befores).any(is_ready);
            let mut at = 0;
            let mut ended = Vec::new();
            alive.retain(|(holder, _)| {
                at += 1;
                ended.extend(is_ready(at - 1).then_some(*holder));
                !is_ready(at - 1)
            });
            // Dead only if all of a holder's processes are.
            let holder_ended = ended.iter().any(|ended| alive.iter().all(|(at, _)| at != ended));
            if drained.about || before_ended || holder_ended || host::reading().boot_ns >= until {
                return;
            }
        }
    }
}
