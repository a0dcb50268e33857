//! The mail of an agent that `zeta run` wakes: it notices that the bus changes, and reads what
//! waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use zeta_core::bus::Means;

use super::inbox::Selection;
use super::wake::{Armed, arm};
use super::{MessageView, inbox};
use crate::directory::{Bus, delivery_log};
use zeta_os::error::Result;
use zeta_os::host::wall_us;
use zeta_os::inotify::Watch;
use zeta_state::presence::run::{Letter, Mail};

/// The mailbox of one agent.
pub struct Mailbox {
    dir: PathBuf,
    agent: String,
    changes: Watch,
    /// Held open, because the watch is on it.
    bus: Bus,
    /// When the session began, in µs since the Unix epoch.
    since_us: i64,
    /// While the agent is being woken.
    armed: Option<Armed>,
}

impl Mailbox {
    /// Opens the mailbox of an agent, and makes the bus if there is none.
    pub fn open(dir: &Path, agent: &str) -> Result<Mailbox> {
        let (bus, changes) = open(dir)?;
        let (dir, agent, since_us) = (dir.to_owned(), agent.to_owned(), wall_us());
        Ok(Mailbox { dir, agent, changes, bus, since_us, armed: None })
    }
}

fn open(dir: &Path) -> Result<(Bus, Watch)> {
    let bus = Bus::open_or_create(dir)?;
    let changes = Watch::new();
    changes.changes_in(bus.as_fd());
    Ok((bus, changes))
}

impl Mail for Mailbox {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.changes.fd()
    }

    fn look(&mut self) -> Result<Vec<Letter>> {
        self.changes.each(|_, _| ());
        // Another directory has its name, or none: what is sent from now on comes there.
        if self.bus.check_place().is_err() {
            (self.bus, self.changes) = open(&self.dir)?;
        }
        let now = Selection { now: true, ..Selection::default() };
        let mut waiting = inbox::unread_of(&self.dir, &self.agent, &now)?.messages;
        if !waiting.is_empty() {
            // What another means used in this session is no reason to begin a turn.
            let woken = delivery_log::peek(&self.bus, &self.agent)?.woken;
            waiting.retain(|MessageView { envelope, .. }| {
                woken.get(&envelope.id).is_none_or(|woken| woken.at_us <= self.since_us)
            });
        }
        let letter =
            |message: MessageView| Letter { id: message.envelope.id, from: message.envelope.from };
        Ok(waiting.into_iter().map(letter).collect())
    }

    fn arm(&mut self) -> Result<bool> {
        self.armed = arm(&self.bus, &self.agent)?.ok();
        Ok(self.armed.is_some())
    }

    fn woken(&mut self, ids: &[&str]) -> Result<()> {
        inbox::was_woken(&self.dir, &self.agent, ids, Means::Pty)
    }

    fn disarm(&mut self) {
        self.armed = None;
    }
}
