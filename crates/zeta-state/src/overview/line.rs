//! The processes that wait for a lease, from the tickets in its queue.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, statat};
use zeta_core::evidence::{Process, Processes};
use zeta_core::layout;
use zeta_core::overview::Waiter;
use zeta_core::time::Now;

use crate::directory::tree::Node;
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use crate::lease::queue::Ticket;
use zeta_os::files::{list, times};
use zeta_os::inotify::DirectoryWatcher;

/// The line for a lease, as it was read last.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The watcher's number for the queue, or for the guard if there is no queue yet.
    pub(super) followed: Option<i32>,
    /// It cannot be followed, so it must be read now and then.
    pub(super) must_poll: bool,
    tickets: Vec<(Ticket, Option<i64>)>,
    /// When the first of the owners stops waiting, by the boot clock.
    pub(super) until_ns: Option<u64>,
}

impl Line {
    /// Reads the queue of a lease, and follows it, or the directory in which it will appear.
    pub(super) fn read(
        base: &TrustedDir,
        node: &Node,
        file: &str,
        watcher: Option<&DirectoryWatcher>,
        now: &Now,
    ) -> Line {
        let guard = format!("{}/{file}", layout::GUARDS);
        let queue = format!("{guard}/{}", layout::QUEUE);
        let read_queue = || Line::read_queue(base, node, &queue, watcher, now);
        if let Some(line) = read_queue() {
            return line;
        }
        let guard = open(base, node, &guard);
        let has_guard = guard.is_some();
        let followed = guard.and_then(|guard| watcher?.follow_published(guard.as_fd()));
        // It may have appeared before its guard was followed.
        match read_queue() {
            Some(line) => {
                if let (Some(watcher), Some(number)) = (watcher, followed) {
                    watcher.leave(number);
                }
                line
            }
            // A guard that is not there yet shows in the directory of all guards.
            None => {
                let must_poll = has_guard && followed.is_none();
                Line { followed, must_poll, ..Line::default() }
            }
        }
    }

    fn read_queue(
        base: &TrustedDir,
        node: &Node,
        queue: &str,
        watcher: Option<&DirectoryWatcher>,
        now: &Now,
    ) -> Option<Line> {
        let queue = open(base, node, queue)?;
        let followed = watcher.and_then(|watcher| watcher.follow(queue.as_fd()));
        let names = list(queue.as_fd(), layout::ENTRIES_MAX, Path::new(layout::QUEUE));
        let names = names.unwrap_or_default().names;
        let mut tickets: Vec<(Ticket, Option<i64>)> = names
            .iter()
            .filter_map(|name| {
                let stat = statat(&queue, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
                Some((Ticket::parse(name)?, Some(times(&stat).mtime_us)))
            })
            .collect();
        tickets.sort_unstable();
        let until = tickets.iter().filter_map(|(ticket, _)| ticket.until_ns(now.host));
        let until_ns = until.filter(|until_ns| *until_ns > now.reading.boot_ns).min();
        Some(Line { followed, must_poll: followed.is_none(), tickets, until_ns })
    }

    /// Returns those who wait, in their order: no ticket whose owner ended or waits no more, and
    /// none of a holder. `agent_of` finds the agent of a process.
    pub(super) fn waiters(
        &self,
        holders: &[Processes],
        now: &Now,
        agent_of: impl Fn(&Ticket) -> Option<String>,
    ) -> Vec<Waiter> {
        let waits = |(ticket, _): &&(Ticket, Option<i64>)| {
            !ticket.is_void(now.reading, now.host)
                && !holders.iter().any(|holder| ticket.is_of(holder))
        };
        let waiter = |(ticket, since_us): &(Ticket, Option<i64>)| Waiter {
            agent: agent_of(ticket),
            pid: ticket.process().pid.into(),
            since_us: *since_us,
        };
        self.tickets.iter().filter(waits).map(waiter).collect()
    }

    /// The processes of the tickets that belong to this pid namespace.
    pub(super) fn processes(&self, now: &Now) -> impl Iterator<Item = Process> {
        let pid_ns = now.host.pid_ns;
        let ours = move |(ticket, _): &&(Ticket, Option<i64>)| ticket.pid_ns() == pid_ns;
        self.tickets.iter().filter(ours).map(|(ticket, _)| ticket.process())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }
}

fn open(base: &TrustedDir, node: &Node, name: &str) -> Option<OwnedFd> {
    let opened = open_inner(node.as_fd(), name, base, || node.path.join(name));
    Some(opened.ok()??.0)
}
