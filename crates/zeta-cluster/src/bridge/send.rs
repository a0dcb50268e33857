//! Sends what changed: one compare-and-set for each record, in the order of their names.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use zeta_core::cluster::envelope::Gone;
use zeta_core::cluster::local::{Local, Send, Stored, decide_sends};
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::name::Label;
use zeta_core::time::NS_PER_MS;
use zeta_os::error::{Error, Kind};
use zeta_os::host;

use super::local::Directory;
use super::wire::{End, Put, Result, Wire};
use super::{Bridge, Level};
use crate::signer::Received;

/// When the values of this node are read, after another hand wrote one.
const OWN_SOON: Duration = Duration::from_secs(1);

/// So many writes are on their way at once.
const TOGETHER: usize = 16;

/// A write that is ready.
struct Outgoing {
    item: Item,
    subject: Subject,
    expected: u64,
    counter: u64,
    body: Vec<u8>,
    gone: Option<Gone>,
}

impl Outgoing {
    async fn write(&self, wire: &Wire) -> Result<Put> {
        wire.write(&self.subject, self.expected, self.counter, &self.body, self.gone).await
    }
}

/// A time by the boot clock, in ms.
pub(super) fn boot_ms() -> u64 {
    host::reading().boot_ns / NS_PER_MS
}

/// The pattern of all subjects of a node.
pub(super) fn state_of(node: &Label) -> String {
    format!("zeta1.state.{node}.>")
}

impl Bridge<'_> {
    /// The subject of a record of this node.
    pub(super) fn subject(&self, item: Item) -> Subject {
        Subject::State { node: self.own.clone(), item }
    }

    /// Takes in what stands under the subjects of this node.
    pub(super) async fn read_own(&mut self, wire: &Wire) -> Result<()> {
        self.own_at = None;
        let values = wire.list(Stream::State, &state_of(&self.own)).await?;
        self.sent.clear();
        let mut highest = (0, 0);
        for stored in values {
            let Ok(Subject::State { item, .. }) = Subject::parse(&stored.subject) else { continue };
            let (sequence, at_ms) = (stored.sequence, boot_ms());
            let value = wire.open(stored)?.ok().filter(|value| value.trust.is_verified());
            let in_order = value.filter(|value| value.counter() > highest);
            if let Some(value) = &in_order {
                highest = value.counter();
                wire.signer.raise_counter(value.envelope.counter);
            }
            let record = record_of(&item, in_order.as_ref());
            self.sent.insert(item, Stored { sequence, record, at_ms });
        }
        Ok(())
    }

    /// Takes the news of a value under a subject of this node: if this run did not write it,
    /// another hand did, or it arrived late.
    pub(super) fn take_own(&mut self, item: &Item, sequence: u64) {
        if self.sent.get(item).is_none_or(|stored| stored.sequence < sequence) {
            self.own_at.get_or_insert(Instant::now() + OWN_SOON);
        }
    }

    /// Fails if the directory of this node is not the one that was opened. Another one may be in
    /// its place, whose leases this bridge must not take for released.
    pub(super) fn expect_directory(&self) -> Result<()> {
        if !self.directory.is_gone() {
            return Ok(());
        }
        let path = zeta_os::given_path::shown(&self.directory.node.path);
        let text = format!("{path} was removed, or another directory is in its place");
        Err(End::Refused(
            Error::new(Kind::Unsafe, text).hint("start the bridge again: it opens what is there"),
        ))
    }

    /// Looks at the directory and sends what differs from the store.
    pub(super) async fn send_changes(&mut self, wire: &Wire) -> Result<()> {
        self.expect_directory()?;
        let (has_lease, failed) = self.directory.look(&self.sent)?;
        if has_lease {
            self.leases.look_soon();
        }
        if let Some(error) = failed {
            self.fault(&error.text);
        }
        let Directory { records, unsent, .. } = &self.directory;
        let sends = decide_sends(records, unsent, &self.sent, boot_ms());
        for some in sends.chunks(TOGETHER) {
            let outgoing: Vec<_> =
                some.iter().filter_map(|send| self.prepare(wire, send)).collect();
            // Each begins in its turn, and none waits for the answer to another one.
            let puts = join_all(outgoing.iter().map(|one| one.write(wire))).await;
            let mut goes_on = true;
            for (one, put) in outgoing.into_iter().zip(puts) {
                goes_on &= self.take_answer(wire, one, put?).await?;
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Makes a write ready; none if there is nothing to be written.
    fn prepare(&mut self, wire: &Wire, (item, send): &(Item, Send)) -> Option<Outgoing> {
        let (body, gone) = match send {
            Send::Put => match self.directory.take(item) {
                Ok(body) => (body?, None),
                Err(error) => {
                    self.fault(&error.text);
                    return None;
                }
            },
            Send::Gone(how) => (Vec::new(), Some(*how)),
        };
        let expected = self.sent.get(item).map_or(0, |stored| stored.sequence);
        let (subject, counter) = (self.subject(item.clone()), wire.signer.next_counter());
        Some(Outgoing { item: item.clone(), subject, expected, counter, body, gone })
    }

    /// Takes what became of a write; false if the store takes none now.
    async fn take_answer(&mut self, wire: &Wire, one: Outgoing, put: Put) -> Result<bool> {
        let Outgoing { item, subject, body, gone, .. } = one;
        match put {
            Put::Stored(sequence) => {
                self.status.sent += 1;
                let record = gone.is_none().then(|| Local::of(&item, &body));
                let stored = Stored { sequence, record, at_ms: boot_ms() };
                self.sent.insert(item, stored);
                Ok(true)
            }
            Put::Full(why) => {
                self.fault(&format!("ZETA1_STATE takes no records now: {why}"));
                Ok(false)
            }
            Put::Conflict | Put::Unknown => {
                match put {
                    Put::Conflict => {
                        let text = format!("a write of {subject} was refused");
                        (self.log)(Level::Notice, &text);
                    }
                    // A server whose disk is full says nothing, and reads go on.
                    _ => self.fault("writes to ZETA1_STATE have no answer: is a disk full there?"),
                }
                self.check_writer(wire).await?;
                self.read_again(wire, item).await?;
                self.send_at = Some(Instant::now());
                Ok(false)
            }
        }
    }

    /// Reads what stands under a subject of this node, to write over it.
    async fn read_again(&mut self, wire: &Wire, item: Item) -> Result<()> {
        let found = wire.last(&self.subject(item.clone())).await?;
        let Some((sequence, value)) = found else {
            self.sent.remove(&item);
            return Ok(());
        };
        let record = record_of(&item, value.filter(|value| value.trust.is_verified()).as_ref());
        self.sent.insert(item, Stored { sequence, record, at_ms: boot_ms() });
        // It may be an older one of this node.
        self.own_at.get_or_insert(Instant::now() + OWN_SOON);
        Ok(())
    }
}

/// What stands under a subject of this node; none if this node said that it is gone. Anything but
/// the newest value of this node counts as another record, which is written over.
fn record_of(item: &Item, value: Option<&Received>) -> Option<Local> {
    match value {
        Some(value) if value.envelope.gone.is_some() => None,
        Some(value) => Some(Local::of(item, &value.body)),
        None => Some(Local::of(item, b"")),
    }
}
