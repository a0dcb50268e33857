//! The messages that this node and other nodes have for each other: which files of the bus go out,
//! and which files arrive.
//!
//! The directory of the bus is the queue: nothing else holds what is to be sent. Below
//! `.zeta/cluster`, `sent` lists what was sent, in the order of the chain, and `imported` what came
//! from other nodes; `incoming` holds files that are about to arrive. How far the store was read is
//! in a file that outlives the bus ([`cursor`]).
//!
//! A file that came from another node has no right to be written, for nobody. By that it is known
//! to every reader: it is never sent on, it claims nothing here, and the rest of its life begins
//! with the time of its file.

mod cursor;
mod inbox;
mod journal;
mod outbox;
mod places;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use zeta_core::cluster::Id;
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::inotify::Watch;
use zeta_state::context::Context;

use self::inbox::Inbox;
use self::outbox::Outbox;
use self::places::{Elsewhere, Known};
use crate::directory::{Bus, CLUSTER, INNER};

/// A message in the store of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its sequence.
    pub sequence: u64,
    /// The node that sent it.
    pub node: Label,
    /// Whether it is to be believed that the node did; the text is for people.
    pub verified: std::result::Result<(), String>,
    /// The life that it had left when it was sent, in ms.
    pub left_ms: Option<u64>,
    /// The number of this sending: another one each time that its node sends a message.
    pub counter: u64,
    /// The bytes of its file.
    pub body: Vec<u8>,
}

/// What became of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It is in the store, with this sequence.
    Stored(u64),
    /// It may be in the store, or the end of the chain is not what was expected.
    Doubtful,
    /// It is not in the store, which has no room.
    Full,
}

/// What a store shows of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The epoch of the cluster.
    pub epoch: u64,
    /// The last sequence.
    pub last: u64,
}

/// What an exchange asks of the store. It asks one thing at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// How far the messages of the store go.
    Ends,
    /// The last message of this node.
    Last,
    /// The first message behind a sequence.
    Next {
        /// The sequence.
        after: u64,
        /// Only messages of this node count.
        only_own: bool,
    },
    /// To store a message of this node, if its last one has the expected sequence.
    Send {
        /// The sequence; 0 if there must be none.
        expected: u64,
        /// The life that it has left, in ms.
        left_ms: u64,
        /// The bytes of its file.
        body: Vec<u8>,
    },
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Ends`].
    Ends(Ends),
    /// To [`Ask::Last`] and [`Ask::Next`].
    Message(Option<Carried>),
    /// To [`Ask::Send`].
    Sending(Sending),
}

/// What is known of the exchange, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Messages that wait to be sent.
    pub pending: u64,
    /// Messages that were sent since the bridge began.
    pub sent: u64,
    /// Messages that were taken in since then.
    pub imported: u64,
    /// Messages that were refused since then.
    pub refused: u64,
    /// The node and the reason of the last refusal.
    pub last_refusal: Option<(Label, String)>,
    /// The sequence up to which the store was read.
    pub cursor: u64,
    /// The last sequence of the store, as far as it is known.
    pub last: u64,
    /// The bus has no room for messages of other nodes.
    pub is_bus_full: bool,
    /// The store has no room for messages.
    pub is_store_full: bool,
}

/// The exchange of one bus with the cluster. One process at a time has it.
pub struct Exchange<'c> {
    ctx: &'c Context,
    node: Label,
    bus: Bus,
    changes: Option<Watch>,
    _lock: OwnedFd,
    outbox: Outbox,
    inbox: Inbox,
    elsewhere: Elsewhere,
    state: State,
    /// Whose question is open.
    asked: Option<Side>,
    /// Who asks next.
    turn: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

impl<'c> Exchange<'c> {
    /// Opens the exchange of a bus, which is made if there is none. `memory` is the directory of
    /// what outlives the bus.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another process has it; the bus cannot be opened or written.
    pub fn open(
        ctx: &'c Context,
        bus: &Path,
        node: &Label,
        cluster: &Id,
        memory: &Path,
    ) -> Result<Exchange<'c>> {
        let bus = Bus::open_or_create(bus)?;
        let path = bus.path(INNER).join(CLUSTER);
        let lock = bus.inner(CLUSTER)?;
        lock_within(&lock, Duration::ZERO).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                let text =
                    format!("{}: another bridge sends its messages", bus.base.path.display());
                Error::new(Kind::Busy, text).hint("one bridge at a time serves a bus")
            }
            _ => Error::io("cannot lock", &path, errno),
        })?;
        let inbox = Inbox::open(&bus, cluster, memory)?;
        let outbox = Outbox::open(&bus, cluster)?;
        Ok(Exchange {
            ctx,
            node: node.clone(),
            bus,
            changes: None,
            _lock: lock,
            outbox,
            state: State { cursor: inbox.cursor(), ..State::default() },
            inbox,
            elsewhere: Elsewhere::default(),
            asked: None,
            turn: Side::In,
        })
    }

    /// Begins to watch the bus. What is returned becomes readable when it changes; `None` where the
    /// kernel gives no watch. A look after this misses nothing.
    pub fn watch(&mut self) -> Option<BorrowedFd<'_>> {
        let bus = &self.bus;
        let changes = self.changes.get_or_insert_with(|| {
            let changes = Watch::new();
            changes.changes_in(bus.as_fd());
            changes
        });
        changes.fd()
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Forgets what the store said, also an answer that is still open: the connection is another
    /// one, or the store may have changed behind it.
    pub fn doubt(&mut self) {
        self.asked = None;
        self.outbox.doubt();
        self.inbox.doubt();
    }

    /// The store has a message with this sequence.
    pub fn hear(&mut self, sequence: u64) {
        self.state.last = self.state.last.max(sequence);
        self.inbox.has_news |= sequence > self.inbox.cursor();
    }

    /// Looks at the bus for messages to send: after a change, and from time to time where the
    /// kernel gives no watch, or where something is full.
    ///
    /// # Errors
    /// The bus is gone or cannot be read.
    pub fn look(&mut self) -> Result<()> {
        // Changes that are not seen by this look are seen by the next one.
        if let Some(changes) = &self.changes {
            changes.each(|_, _| ());
        }
        self.bus.check_place()?;
        let handle = self.ctx.find()?;
        let known = Known::new(&self.bus, handle.as_ref(), &self.node, &self.elsewhere);
        let looked = self.outbox.look(&known, &self.inbox);
        self.inbox.count(self.outbox.count);
        self.show();
        looked
    }

    /// Returns the next question to the store, if there is one.
    ///
    /// # Errors
    /// The bus cannot be read.
    pub fn ask(&mut self) -> Result<Option<Ask>> {
        if self.outbox.is_stale {
            self.look()?;
        }
        for side in [self.turn, self.turn.other()] {
            let ask = match side {
                Side::In => self.inbox.ask(),
                Side::Out => self.outbox.ask(&self.bus)?,
            };
            if ask.is_some() {
                (self.asked, self.turn) = (Some(side), side.other());
                self.show();
                return Ok(ask);
            }
        }
        self.show();
        Ok(None)
    }

    /// Takes the answer to the question.
    ///
    /// # Errors
    /// The bus cannot be read or written. The question is asked again.
    pub fn answer(&mut self, answer: Answer) -> Result<()> {
        let done = match self.asked.take() {
            Some(Side::In) => {
                let handle = self.ctx.find()?;
                let known = Known::new(&self.bus, handle.as_ref(), &self.node, &self.elsewhere);
                self.inbox.answer(&known, answer, &mut self.state)
            }
            Some(Side::Out) => self.outbox.answer(&self.bus, answer, &mut self.state),
            None => Ok(()),
        };
        self.show();
        done
    }

    fn show(&mut self) {
        self.state.pending = self.outbox.pending();
        self.state.cursor = self.inbox.cursor();
        self.state.last = self.state.last.max(self.state.cursor);
        self.state.is_bus_full = self.inbox.is_full();
        self.state.is_store_full = self.outbox.is_full;
    }
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::In => Side::Out,
            Side::Out => Side::In,
        }
    }
}

#[cfg(test)]
mod tests;
