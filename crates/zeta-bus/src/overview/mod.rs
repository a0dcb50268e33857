//! The overview of a state directory and its bus, kept up to date. Front ends draw it: they read
//! nothing and decide nothing themselves.

mod mail;
mod marks;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use zeta_core::history::Entry;
use zeta_core::layout;
use zeta_core::overview::finding::unread_mail;
use zeta_core::overview::order::sort_findings;
use zeta_core::overview::{Finding, Overview};

use self::mail::Mail;
use crate::messages::inbox::INBOX_PATH;
use zeta_os::host;
use zeta_os::inotify::poll_readable;
use zeta_os::timer::Timer;
use zeta_state::context::Context;
pub use zeta_state::overview::HISTORY_MAX;
use zeta_state::overview::TreeFollower;
use zeta_state::overview::place::{Place, PlaceWatcher};

/// Changes within this time are taken in together.
const TOGETHER: Duration = Duration::from_millis(40);
/// How often is looked for changes that come without an event: the watches or descriptors of the
/// user are used up, or a file cannot be read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Follows a state directory and its bus. Neither needs to be there.
#[derive(Debug)]
pub struct Follower {
    overview: Overview,
    tree: TreeFollower,
    mail: Mail,
    places: PlaceWatcher,
    state_dir: PathBuf,
    bus_dir: PathBuf,
    timer: Timer,
}

/// Why [`Follower::wait`] returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// The overview changed.
    pub changed: bool,
    /// One of the caller's descriptors is readable.
    pub readable: bool,
}

impl Follower {
    /// Reads everything, and follows it from then on.
    pub fn new(ctx: &Context) -> Follower {
        let mut follower = Follower {
            overview: Overview {
                state_dir: ctx.state_dir.display().to_string(),
                ..Overview::default()
            },
            tree: TreeFollower::new(ctx.clone()),
            mail: Mail::new(ctx.bus_dir.clone()),
            places: PlaceWatcher::default(),
            state_dir: ctx.state_dir.clone(),
            bus_dir: ctx.bus_dir.clone(),
            timer: Timer::new(),
        };
        follower.follow_places();
        follower.refresh();
        follower
    }

    /// The overview as it was read last.
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// Returns the entries of the history since the last call, in the order of time: at first those
    /// that are there, at most [`HISTORY_MAX`] of them. A new entry is a change, too.
    pub fn take_history(&mut self) -> Vec<Entry> {
        self.tree.take_history()
    }

    /// Brings the overview up to date; returns whether it changed, but for the time of the reading.
    pub fn refresh(&mut self) -> bool {
        let is_moved = self.places.take();
        if is_moved {
            self.follow_places();
            self.mail.look_again();
        }
        let out = &mut self.overview;
        let mut changed = is_moved && self.tree.look_again(out);
        changed |= self.tree.refresh(out);
        let mail = self.mail.refresh(out);
        if changed || mail.counts {
            for agent in &mut out.agents {
                let unread = self.mail.unread(&agent.name);
                changed |= std::mem::replace(&mut agent.unread, unread) != unread;
            }
        }
        if self.tree.have_findings_changed() || mail.counts {
            let mut findings: Vec<Finding> = Vec::new();
            self.tree.findings(&mut findings);
            findings.extend(unread_mail(self.mail.all_unread(), &out.agents));
            findings.extend(self.mail.fault());
            sort_findings(&mut findings);
            changed |= findings != out.findings;
            out.findings = findings;
        }
        out.at_us = host::wall_us();
        changed | mail.messages
    }

    /// Sleeps until the overview changes, or one of the caller's descriptors is readable, or
    /// `limit` is over. There is no other reason to wake up than a change, or the moment at which a
    /// judgement changes by time alone.
    pub fn wait(&mut self, limit: Duration, others: &[BorrowedFd<'_>]) -> Woken {
        let started = Instant::now();
        loop {
            if self.refresh() {
                return Woken { changed: true, readable: false };
            }
            let mut left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Woken::default();
            }
            if self.must_poll() {
                left = left.min(POLL_INTERVAL);
            }
            let until_ns = self.tree.until_ns().into_iter().chain(self.mail.until_ns()).min();
            self.timer.set(until_ns);
            let mut fds = others.to_vec();
            fds.extend(self.timer.fd());
            let own = fds.len();
            fds.extend(self.places.fd().into_iter().chain(self.mail.fd()));
            fds.extend(self.tree.fds());
            let ready = poll_readable(&fds, left);
            let is_ready = |from: usize, to: usize| {
                ready.get(from..to).is_some_and(|ready| ready.contains(&true))
            };
            if is_ready(0, others.len()) {
                return Woken { changed: false, readable: true };
            }
            if is_ready(own, fds.len()) && poll_readable(others, TOGETHER).contains(&true) {
                return Woken { changed: false, readable: true };
            }
        }
    }

    fn must_poll(&self) -> bool {
        self.tree.must_poll() || self.mail.must_poll() || self.places.must_poll()
    }

    fn follow_places(&mut self) {
        self.places.follow(&[
            Place { base: &self.state_dir, below: layout::NODES, files: &[layout::LOCAL_NODE] },
            Place { base: &self.bus_dir, below: INBOX_PATH, files: &[] },
        ]);
    }
}
