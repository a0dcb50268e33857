//! The mail of an agent that `zeta run` wakes: it notices that the bus changes, and reads what
//! waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::inbox;
use crate::directory::Bus;
use zeta_os::error::Result;
use zeta_os::inotify::Watch;
use zeta_state::presence::run::{Letter, Mail};

/// The mailbox of one agent.
pub struct Mailbox {
    dir: PathBuf,
    agent: String,
    changes: Watch,
    /// Held open, because the watch is on it.
    bus: Bus,
}

impl Mailbox {
    /// Opens the mailbox of an agent, and makes the bus if there is none.
    pub fn open(dir: &Path, agent: &str) -> Result<Mailbox> {
        let bus = Bus::open_or_create(dir)?;
        let changes = Watch::new();
        changes.changes_in(bus.as_fd());
        Ok(Mailbox { dir: dir.to_owned(), agent: agent.to_owned(), changes, bus })
    }
}

impl Mail for Mailbox {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.changes.fd()
    }

    fn look(&mut self) -> Result<Vec<Letter>> {
        self.changes.each(|_, _| ());
        self.bus.check_place()?;
        let waiting = inbox::unread(&self.dir, &self.agent)?.messages;
        let letter = |message: super::MessageView| Letter {
            id: message.envelope.id,
            from: message.envelope.from,
        };
        Ok(waiting.into_iter().map(letter).collect())
    }

    fn arm(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn woken(&mut self, _ids: &[&str]) -> Result<()> {
        Ok(())
    }

    fn disarm(&mut self) {}
}
