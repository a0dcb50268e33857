//! The place of a waiter in the line, and what it sleeps on there.
//!
//! A waiter draws a ticket inside the guard and then sleeps on the one thing that can make it next:
//! the ticket before its own (its removal, or its owner's death), or, at the head of the line, the
//! record itself (its removal, its holder's death, its expiry). Nobody polls and nobody is woken in
//! vain. A look once a second bounds what a lost wake-up or a stopped waiter can cost.
//!
//! A holder that waited keeps its ticket, and the next one goes on sleeping on that. If it comes to
//! look nevertheless, the ticket of the holder does not count: it is the head, and watches the
//! record.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use zeta_core::evidence::Processes;
use zeta_core::lease::{Held, Observed};
use zeta_core::time::{NS_PER_MS, Now};

use super::Attempt;
use crate::directory::guard::Section;
use crate::lease::queue::{Queue, Ticket};
use zeta_os::error::Result;
use zeta_os::inotify::{Drained, Watch, poll_readable};
use zeta_os::{host, process};

/// The longest sleep between two looks, whatever is watched.
const RECHECK: Duration = Duration::from_secs(1);

/// How long a free lease may lie before those further back in the line take it, in ns.
const IDLE_HEAD_NS: u64 = 100 * NS_PER_MS;

/// A place in the line.
pub(super) struct QueuePosition {
    queue: Queue,
    ticket: Ticket,
    given_back: bool,
    /// The holder before us moved its ticket away: it releases, and we are the next.
    handed_over: bool,
    watch: Watch,
    watches_record: bool,
    /// The waiter right before us, and a descriptor that tells its end.
    before: Option<(Ticket, Option<OwnedFd>)>,
    /// The head that was seen to leave a free lease lying, and since when.
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
    /// Takes our ticket out of the line, which wakes the next one.
    pub(super) fn give_back(&mut self, section: &Section<'_>) {
        self.queue.remove_inside(&self.ticket, section);
        self.given_back = true;
    }

    /// We have what we waited for: nothing needs to be watched any more.
    pub(super) fn stop_watching(&self) {
        if self.watches_record {
            self.watch.stop();
        }
    }

    /// Is nobody before us? Otherwise the last of them is watched.
    fn is_first(&mut self, holder: Option<&Processes>, now: &Now) -> Result<bool> {
        // Tickets are drawn inside the guard, so nobody comes before whoever is the first.
        if self.watches_record || self.handed_over {
            return Ok(true);
        }
        let before = self.queue.before(Some(&self.ticket), holder, now.reading, now.host)?;
        match before {
            // Whoever was before us is forgotten later: now the lease may be had.
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

fn holder(observed: &Observed) -> Option<&Processes> {
    let Observed::Ours(record, ..) = observed else { return None };
    Some(&record.processes)
}

impl Attempt<'_, '_> {
    /// Is somebody before us, who came earlier and still waits? Asked where a lease is to be had.
    pub(super) fn must_queue(
        &mut self,
        section: &Section<'_>,
        observed: &Observed,
        now: &Now,
    ) -> Result<bool> {
        if self.limit_ms.is_none() {
            return Ok(false);
        }
        let holder = holder(observed);
        if self.handle.place.is_none() && !self.somebody_waits(section, holder, now)? {
            return Ok(false);
        }
        let mut place = self.take_place(section, now)?;
        let first = place.is_first(holder, now);
        self.handle.place = Some(place);
        if first? {
            return Ok(false);
        }
        // A stopped head must not keep everybody from a free lease.
        let head = self.head(holder, now)?;
        let Some(place) = &mut self.handle.place else { return Ok(false) };
        match (&place.idle, head) {
            (_, None) => Ok(false),
            (Some((idle, since)), Some(head)) if *idle == head => {
                // Nobody wakes the head where a record stands: it comes by its look once a second.
                let look_ns = if holder.is_some() { RECHECK.as_nanos() as u64 } else { 0 };
                Ok(now.reading.boot_ns.saturating_sub(*since) <= look_ns + IDLE_HEAD_NS)
            }
            (_, Some(head)) => {
                place.idle = Some((head, now.reading.boot_ns));
                Ok(true)
            }
        }
    }

    fn somebody_waits(
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
        match &self.handle.place {
            Some(place) => place.queue.head(&place.ticket, holder, now.reading, now.host),
            None => Ok(None),
        }
    }

    /// Makes sure that we stand in line and watch what is before us; true at the head.
    pub(super) fn queue_up(
        &mut self,
        section: &Section<'_>,
        observed: &Observed,
        now: &Now,
    ) -> Result<bool> {
        let mut place = self.take_place(section, now)?;
        let first = place.is_first(holder(observed), now)?;
        if first && !place.watches_record {
            place.watch.removals_in(section.node().as_fd());
            place.watches_record = true;
            place.before = None;
        }
        self.handle.place = Some(place);
        Ok(first)
    }

    fn take_place(&mut self, section: &Section<'_>, now: &Now) -> Result<QueuePosition> {
        if let Some(place) = self.handle.place.take() {
            return Ok(place);
        }
        let queue = Queue::open_or_create(section)?;
        let until_ms = now.reading.boot_ns / NS_PER_MS + self.rest_ms() + 1;
        let ticket = Ticket::draw(now.reading, until_ms, now.host);
        queue.add(&ticket, section)?;
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

    /// Sleeps until something happens that may make us next.
    pub(super) fn sleep(&mut self, held: Option<&Held>, holder: &[OwnedFd]) {
        let rest = Duration::from_millis(self.rest_ms());
        let Some(place) = &mut self.handle.place else { return };
        let mut alive: Vec<&OwnedFd> = holder.iter().collect();
        let recheck = if place.idle.is_some() && held.is_none() {
            Duration::from_nanos(IDLE_HEAD_NS)
        } else if place.watch.sees() {
            RECHECK
        } else {
            Duration::from_millis(20)
        };
        let mut limit = rest.min(recheck);
        if place.watches_record
            && let Some(rest_ms) = held.and_then(|held| held.rest_ms)
        {
            limit = limit.min(Duration::from_millis(rest_ms));
        }
        let until = host::reading().boot_ns + limit.as_nanos() as u64;
        loop {
            let left = until.saturating_sub(host::reading().boot_ns);
            let mut fds: Vec<BorrowedFd<'_>> = alive.iter().map(|fd| fd.as_fd()).collect();
            let holders = fds.len();
            fds.extend(place.before.iter().filter_map(|(_, ends)| ends.as_ref()).map(AsFd::as_fd));
            let befores = fds.len();
            fds.extend(place.watch.fd());
            let ready = poll_readable(&fds, Duration::from_nanos(left));
            let is_ready = |at: usize| ready.get(at).copied().unwrap_or(false);
            let drained = if befores < fds.len() && is_ready(befores) {
                place.watch.drain(&self.handle.file)
            } else {
                Drained::default()
            };
            place.handed_over |= drained.moved;
            let before_ended = (holders..befores).any(is_ready);
            let mut at = 0;
            alive.retain(|_| {
                at += 1;
                !is_ready(at - 1)
            });
            // Dead only if all of the holder's processes are.
            let holder_ended = holders > 0 && alive.is_empty();
            if drained.about || before_ended || holder_ended || host::reading().boot_ns >= until {
                return;
            }
        }
    }
}
