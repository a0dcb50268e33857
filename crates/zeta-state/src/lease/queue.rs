//! The queue of the processes that wait for a lease: one empty file per waiter in the guard's
//! `queue/`.
//!
//! A ticket's name holds all its data: when it was drawn, until when its owner waits, and which
//! process that is. Tickets are hints that make the order fair; only the flock decides.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use zeta_core::evidence::{Process, ProcessState, Processes};
use zeta_core::layout;
use zeta_core::time::{Host, NS_PER_MS, Reading};

use crate::directory::create::publish_dir;
use crate::directory::guard::Section;
use crate::directory::tree::read;
use crate::directory::trusted_dir::open_inner;
use zeta_os::error::{Error, Result};
use zeta_os::files::list;
use zeta_os::process;

/// The ticket of one waiter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Boot clock when it was drawn: the order of the queue.
    drawn_ns: u64,
    /// Boot clock in ms until which its owner waits.
    until_ms: u64,
    pid: u32,
    pidfs_ino: u64,
    pid_ns: u64,
    /// Time namespace of both clocks.
    time_ns: u64,
}

/// The opened queue of one lease.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
}

impl Ticket {
    /// Makes a ticket for the calling process.
    pub fn draw(reading: Reading, until_ms: u64, host: &Host) -> Ticket {
        let me = process::identify_self();
        Ticket {
            drawn_ns: reading.boot_ns,
            until_ms,
            pid: me.pid,
            pidfs_ino: me.pidfs_ino.unwrap_or(0),
            pid_ns: host.pid_ns.unwrap_or(0),
            time_ns: host.time_ns.unwrap_or(0),
        }
    }

    /// Returns the name of the ticket's file.
    pub fn file(&self) -> String {
        let Ticket { drawn_ns, until_ms, pid, pidfs_ino, pid_ns, time_ns } = self;
        format!("{drawn_ns:020}-{until_ms}-{pid}-{pidfs_ino}-{pid_ns}-{time_ns}")
    }

    /// Reads the name of a ticket's file.
    pub(crate) fn parse(name: &str) -> Option<Ticket> {
        let mut parts = name.split('-').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        let (drawn_ns, until_ms, pid) = (next()?, next()?, next()?);
        let ticket = Ticket {
            drawn_ns,
            until_ms,
            pid: pid.try_into().ok()?,
            pidfs_ino: next()?,
            pid_ns: next()?,
            time_ns: next()?,
        };
        (ticket.file() == name).then_some(ticket)
    }

    /// Returns the process that drew the ticket.
    pub fn process(&self) -> Process {
        let pidfs_ino = (self.pidfs_ino != 0).then_some(self.pidfs_ino);
        Process { pid: self.pid, start_ticks: None, pidfs_ino }
    }

    /// Returns the pid namespace of the process, if that is known.
    pub(crate) fn pid_ns(&self) -> Option<u64> {
        (self.pid_ns != 0).then_some(self.pid_ns)
    }

    /// Returns until when its owner waits, in ns of the boot clock, if it was drawn by this one.
    pub(crate) fn until_ns(&self, host: &Host) -> Option<u64> {
        let our_clock = self.time_ns == host.time_ns.unwrap_or(0);
        our_clock.then(|| self.until_ms.saturating_add(1).saturating_mul(NS_PER_MS))
    }

    /// Returns whether the holder drew the ticket; the pid namespace must be the same.
    pub(crate) fn is_of(&self, holder: &Processes) -> bool {
        holder
            .own
            .is_some_and(|own| self.pid == own.pid && self.pidfs_ino == own.pidfs_ino.unwrap_or(0))
            && self.pid_ns == holder.pid_ns.unwrap_or(0)
    }

    /// Returns whether the owner has ended or stopped waiting; the latter is judged only by the
    /// clock that the ticket was drawn by.
    pub(crate) fn is_void(&self, reading: Reading, host: &Host) -> bool {
        let pid_ns = self.pid_ns();
        let processes = Processes { own: Some(self.process()), child: None, pid_ns };
        let our_clock = self.time_ns == host.time_ns.unwrap_or(0);
        let over = our_clock && reading.boot_ns / NS_PER_MS > self.until_ms;
        over || process::life(&processes, host) == ProcessState::Dead
    }
}

impl Queue {
    /// Opens the queue of a lease; `None` if no process ever waited.
    pub fn open(section: &Section<'_>) -> Result<Option<Queue>> {
        let path = || section.path().join(layout::QUEUE);
        let opened = open_inner(section.as_fd(), layout::QUEUE, section.base(), path)?;
        Ok(opened.map(|(fd, _)| Queue { fd }))
    }

    /// Opens the queue of a lease, or creates it.
    pub fn open_or_create(section: &Section<'_>) -> Result<Queue> {
        if let Some(queue) = Queue::open(section)? {
            return Ok(queue);
        }
        let path = section.path().join(layout::QUEUE);
        publish_dir(section.as_fd(), layout::QUEUE, section.base(), &path)?;
        Queue::open(section)?.ok_or_else(|| Error::not_safe(&path, "it vanishes at once"))
    }

    /// Returns the ticket right before `own` (or the last one of all), and removes void ones on the
    /// way.
    ///
    /// A ticket of `holder`, the process that has the lease, does not count: this process does not
    /// wait any more, and removes its ticket when it releases the lease.
    pub fn before(
        &self,
        own: Option<&Ticket>,
        holder: Option<&Processes>,
        reading: Reading,
        host: &Host,
    ) -> Result<Option<Ticket>> {
        let listing = list(self.fd.as_fd(), layout::ENTRIES_MAX, Path::new(layout::QUEUE))?;
        // From the back: most often the ticket right before `own` is valid, and no other matters.
        for name in listing.names.iter().rev() {
            let Some(ticket) = Ticket::parse(name) else { continue };
            if own.is_some_and(|own| ticket >= *own) {
                continue;
            }
            if ticket.is_void(reading, host) {
                self.remove(&ticket);
            } else if !holder.is_some_and(|holder| ticket.is_of(holder)) {
                return Ok(Some(ticket));
            }
        }
        Ok(None)
    }

    /// Returns the first ticket of the queue that is not void, if it comes before `own`; the
    /// holder's does not count.
    pub fn head(
        &self,
        own: &Ticket,
        holder: Option<&Processes>,
        reading: Reading,
        host: &Host,
    ) -> Result<Option<Ticket>> {
        Ok(self.earlier(own, holder)?.into_iter().find(|ticket| !ticket.is_void(reading, host)))
    }

    /// Counts the tickets that are not void and come before `own`; the holder's does not count.
    pub fn ahead(
        &self,
        own: &Ticket,
        holder: Option<&Processes>,
        reading: Reading,
        host: &Host,
    ) -> Result<usize> {
        let earlier = self.earlier(own, holder)?;
        Ok(earlier.iter().filter(|ticket| !ticket.is_void(reading, host)).count())
    }

    /// Lists the tickets before `own`, void ones among them, but not the holder's.
    fn earlier(&self, own: &Ticket, holder: Option<&Processes>) -> Result<Vec<Ticket>> {
        let listing = list(self.fd.as_fd(), layout::ENTRIES_MAX, Path::new(layout::QUEUE))?;
        let tickets = listing.names.iter().filter_map(|name| Ticket::parse(name));
        let counts =
            |ticket: &Ticket| ticket < own && !holder.is_some_and(|holder| ticket.is_of(holder));
        Ok(tickets.filter(counts).collect())
    }

    /// Removes the tickets of a holder that lost the lease: the waiter behind it wakes up. Tickets
    /// are hints, so a failure does no harm.
    pub fn remove_tickets_of(section: &Section<'_>, holder: &Processes) {
        let Ok(Some(queue)) = Queue::open(section) else { return };
        let listing = list(queue.fd.as_fd(), layout::ENTRIES_MAX, Path::new(layout::QUEUE));
        let names = listing.unwrap_or_default().names;
        let tickets = names.iter().filter_map(|name| Ticket::parse(name));
        tickets.filter(|ticket| ticket.is_of(holder)).for_each(|t| queue.remove(&t));
    }

    /// Lists the tickets whose owners have ended or stopped waiting.
    pub fn void(&self, reading: Reading, host: &Host) -> Result<Vec<Ticket>> {
        let listing = list(self.fd.as_fd(), layout::ENTRIES_MAX, Path::new(layout::QUEUE))?;
        let tickets = listing.names.iter().filter_map(|name| Ticket::parse(name));
        Ok(tickets.filter(|ticket| ticket.is_void(reading, host)).collect())
    }

    /// Returns how many holders the owner of a ticket can stand beside, itself included. Where its
    /// ticket does not say so, it stands alone.
    pub fn slots_of(&self, ticket: &Ticket, section: &Section<'_>) -> u32 {
        let path = || section.path().join(layout::QUEUE);
        let read = read(self.fd.as_fd(), &ticket.file(), layout::LINE_MAX, section.base(), path);
        let Ok(Some(bytes)) = read else { return 1 };
        let text = String::from_utf8_lossy(&bytes.bytes);
        let slots = text.strip_prefix("slots ").and_then(|number| number.trim().parse().ok());
        slots.unwrap_or(1)
    }

    /// Puts a ticket into the queue; one for more than one slot says so.
    pub fn add(&self, ticket: &Ticket, slots: u32, section: &Section<'_>) -> Result<()> {
        // Exclusively: otherwise a member of the group could put a file there under a guessed name,
        // and a waiter, which may be root, would open it and change its mode.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = section.base().sharing.file_mode();
        let path = section.path().join(layout::QUEUE);
        let cannot = |errno| Error::below("cannot queue in", &path, errno);
        let fd = openat(&self.fd, ticket.file(), flags | OFlags::CLOEXEC, mode).map_err(cannot)?;
        // Other waiters watch it, which needs read permission whatever the umask is.
        if mode != Mode::from_raw_mode(0o600) {
            rustix::fs::fchmod(&fd, mode).map_err(cannot)?;
        }
        if slots > 1 {
            // Without it the waiter is one that stands alone.
            let _ = rustix::io::write(&fd, format!("slots {slots}\n").as_bytes());
        }
        Ok(())
    }

    /// Removes a ticket from the queue.
    pub fn remove(&self, ticket: &Ticket) {
        let _ = unlinkat(&self.fd, ticket.file(), AtFlags::empty());
    }

    /// As [`Queue::remove`], for a holder inside the guard. The next waiter wakes up at once; the
    /// kernel removes its watch later, together with the file.
    pub fn remove_inside(&self, ticket: &Ticket, section: &Section<'_>) {
        if section.take_in(self.fd.as_fd(), &ticket.file()).is_err() {
            self.remove(ticket);
        }
    }

    /// Returns a path to the ticket through the opened queue, for a watch.
    pub fn watch_path(&self, ticket: &Ticket) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/{}", self.fd.as_raw_fd(), ticket.file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket { drawn_ns: 5, until_ms: 60, pid: 7, pidfs_ino: 8, pid_ns: 9, time_ns: 4 }
    }

    #[test]
    fn a_ticket_runs_out_only_by_the_clock_that_it_was_drawn_by() {
        let reading = Reading { boot_ns: 61 * NS_PER_MS, awake_ns: 0, wall_us: 0 };
        let void = |time_ns| {
            // The ticket is of another pid namespace, so nothing is known about its process.
            let host = Host { pid_ns: Some(1), time_ns, ..Host::default() };
            ticket().is_void(reading, &host)
        };
        assert!(void(Some(4)));
        assert!(!void(Some(5)));
        assert!(!void(None));
    }

    #[test]
    fn a_ticket_is_its_name() {
        let ticket = ticket();
        assert_eq!(Ticket::parse(&ticket.file()), Some(ticket.clone()));
        assert_eq!(ticket.file(), "00000000000000000005-60-7-8-9-4");
        for name in ["", "5-60-7-8-9-4", "x", "00000000000000000005-60-7-8-9", "0-0-0-0-0-0-0"] {
            assert_eq!(Ticket::parse(name), None, "{name}");
        }
    }
}
