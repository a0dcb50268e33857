//! What this node takes in: each message of another node once, with its bytes as they are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use zeta_core::bus::{CHANNEL_SIGN, Channel, EVERYBODY, Header, Recipient, is_id, text_of, topic};
use zeta_core::cluster::Id;
use zeta_core::cluster::mail::{
    Arrival, Arriving, Cursor, Incoming, StoreSeen, decide_read, judge_incoming,
};
use zeta_core::name::Label;
use zeta_core::sum::hash;
use zeta_os::error::Result;
use zeta_os::host;

use super::journal::Journal;
use super::places::Known;
use super::{Answer, Ask, Carried, Ends, State, cursor};
use crate::directory::{Bus, file_of, id_of};
use crate::messages::{MESSAGES_MAX, inbox as marks, send};

/// The list of what came from other nodes.
const IMPORTED: &str = "imported";
/// Most messages of a bus at which one of another node is taken in: the rest is for its own.
pub(super) const COUNT_MAX: u64 = MESSAGES_MAX / 10 * 9;
/// Most messages that are known as taken in. Beyond it the oldest are forgotten.
const KNOWN_MAX: usize = 100_000;
/// After so many messages the cursor is saved. A process that is killed before reads them again.
const SAVE_EVERY: u32 = 64;
/// So many lines more than are known are no reason yet to write the list anew.
const SPARE_LINES: usize = 1024;

/// What was taken in, and how far the store was read.
pub(super) struct Inbox {
    cluster: Id,
    memory: PathBuf,
    journal: Journal,
    /// Each with the time until which it is known, in µs.
    imported: HashMap<String, i64>,
    cursor: Option<Cursor>,
    /// How many messages were read since it was saved.
    unsaved: u32,
    stage: Stage,
    /// There may be messages behind the cursor.
    pub(super) has_news: bool,
    /// A file may be listed and have no name yet.
    is_unfinished: bool,
    /// The sender, the timestamp and the time of the file of the last one.
    before: Option<(Label, String, i64)>,
    /// How many messages the bus has.
    count: u64,
}

/// What is known of the place of the cursor in the store.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Nothing: the store is asked how far it goes.
    Unknown,
    /// The message at the cursor is read again.
    Placing(Ends),
    /// It is right, in this epoch.
    Reading(u64),
}

impl Inbox {
    pub(super) fn open(bus: &Bus, cluster: &Id, memory: &Path) -> Result<Inbox> {
        let (journal, lines) = Journal::open(bus, IMPORTED)?;
        let imported = lines.iter().filter_map(|line| known_of(line)).collect();
        let cursor = cursor::load(memory);
        let (cluster, memory) = (cluster.clone(), memory.to_owned());
        let mut inbox = Inbox {
            cluster,
            memory,
            journal,
            imported,
            cursor,
            unsaved: 0,
            stage: Stage::Unknown,
            has_news: true,
            is_unfinished: true,
            before: None,
            count: 0,
        };
        inbox.finish(bus)?;
        inbox.forget(bus)?;
        Ok(inbox)
    }

    pub(super) fn doubt(&mut self) {
        (self.stage, self.has_news) = (Stage::Unknown, true);
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |cursor| cursor.sequence)
    }

    /// Returns whether a message came from another node.
    pub(super) fn has(&self, id: &str) -> bool {
        self.imported.contains_key(id)
    }

    /// Says how many messages the bus has.
    pub(super) fn count(&mut self, count: u64) {
        self.count = count;
    }

    /// Returns whether there are messages that have no room.
    pub(super) fn is_full(&self) -> bool {
        self.has_news && self.count >= COUNT_MAX
    }

    /// Returns the next question.
    pub(super) fn ask(&self) -> Option<Ask> {
        let next = |after| Some(Ask::Next { after, only_own: false });
        match self.stage {
            Stage::Unknown => Some(Ask::Ends),
            Stage::Placing(_) => next(self.cursor().saturating_sub(1)),
            Stage::Reading(_) if self.has_news && !self.is_full() => next(self.cursor()),
            Stage::Reading(_) => None,
        }
    }

    /// Takes the answer.
    pub(super) fn answer(
        &mut self,
        known: &Known<'_>,
        answer: Answer,
        state: &mut State,
    ) -> Result<()> {
        match (self.stage, answer) {
            (Stage::Unknown, Answer::Ends(ends)) => {
                state.last = ends.last;
                self.stage = match self.cursor {
                    Some(_) => Stage::Placing(ends),
                    None => Stage::Reading(ends.epoch),
                };
            }
            (Stage::Placing(ends), Answer::Message(there)) => {
                let at_cursor = there.map(|there| (there.sequence, sum_of(&there)));
                let (cluster, Ends { epoch, last }) = (&self.cluster, ends);
                let seen = StoreSeen { cluster, epoch, last, at_cursor };
                if decide_read(self.cursor.as_ref(), &seen) == 0 {
                    self.cursor = None;
                }
                self.stage = Stage::Reading(epoch);
            }
            (Stage::Reading(epoch), Answer::Message(Some(carried))) => {
                self.finish(known.bus)?;
                self.count_in(known, &carried, state)?;
                let (cluster, sequence) = (self.cluster.clone(), carried.sequence);
                let sum = sum_of(&carried);
                self.cursor = Some(Cursor { cluster, epoch, sequence, sum });
                self.unsaved += 1;
                if self.unsaved >= SAVE_EVERY {
                    self.save()?;
                }
            }
            (Stage::Reading(_), Answer::Message(None)) => {
                self.has_news = false;
                // The number of the store goes on where messages have ended, and begins high.
                state.last = self.cursor();
                self.save()?;
            }
            _ => self.doubt(),
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.unsaved > 0) {
            cursor::save(&self.memory, cursor)?;
            self.unsaved = 0;
        }
        Ok(())
    }

    /// Names the file that was listed last, if that did not succeed.
    fn finish(&mut self, bus: &Bus) -> Result<()> {
        if self.is_unfinished {
            bus.finish_incoming(|id| self.has(id))?;
            self.is_unfinished = false;
        }
        Ok(())
    }

    fn count_in(&mut self, known: &Known<'_>, carried: &Carried, state: &mut State) -> Result<()> {
        match self.take_in(known.bus, known, carried)? {
            Ok(Incoming::Stored) => {
                self.count += 1;
                state.imported += 1;
            }
            Ok(_) => {}
            Err(reason) => {
                state.refused += 1;
                state.last_refusal = Some((carried.node.clone(), reason));
            }
        }
        Ok(())
    }

    /// Takes in one message; the inner error is why it is refused.
    fn take_in(
        &mut self,
        bus: &Bus,
        known: &Known<'_>,
        carried: &Carried,
    ) -> Result<std::result::Result<Incoming, String>> {
        if carried.node == *known.node {
            return Ok(Ok(Incoming::Own));
        }
        if let Err(reason) = &carried.verified {
            return Ok(Err(reason.clone()));
        }
        let text = text_of(&carried.body);
        let header = match Header::read(&text).and_then(|header| header.whole().map(|_| header)) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let id = header.id.as_ref();
        if !is_id(id) || id_of(&file_of(id)).is_none() {
            return Ok(Err("its id is not one of a message".to_owned()));
        }
        let Some(left_ms) = carried.left_ms else {
            return Ok(Err("it does not say what is left of its life".to_owned()));
        };
        let is_known = self.has(id) || bus.has(id);
        let arriving = Arriving { sender: &carried.node, to: &header.to, left_ms, is_known };
        let incoming = judge_incoming(known.node, &arriving, known);
        if incoming == Incoming::Stored {
            self.store(bus, known, carried, &header, left_ms)?;
        }
        Ok(Ok(incoming))
    }

    /// Stores a message. It is listed before it has its name in the bus: a call that is killed in
    /// between leaves a file that the next one names, so a message that was removed in the meantime
    /// does not come back.
    fn store(
        &mut self,
        bus: &Bus,
        known: &Known<'_>,
        carried: &Carried,
        header: &Header<'_>,
        left_ms: u64,
    ) -> Result<()> {
        let (id, timestamp) = (header.id.as_ref(), header.timestamp.as_ref());
        let arrival = Arrival { now_us: host::wall_us(), left_ms, when: header.when() };
        let before = self.before.as_ref();
        let before = before.filter(|(node, at, _)| *node == carried.node && at == timestamp);
        let mtime_us = arrival.mtime_us(before.map(|(.., mtime_us)| *mtime_us));
        bus.prepare_incoming(id, &carried.body, mtime_us)?;
        let until_us = arrival.known_until_us();
        self.journal.add(bus, &format!("{id} {until_us}"))?;
        self.imported.insert(id.to_owned(), until_us);
        if let Ok(envelope) = header.whole() {
            for agent in recipients(known, header) {
                marks::mark(bus, &agent, &envelope);
            }
        }
        self.is_unfinished = true;
        bus.name_incoming(id)?;
        self.is_unfinished = false;
        self.before = Some((carried.node.clone(), timestamp.to_owned(), mtime_us));
        if self.journal.lines > 2 * self.imported.len() + SPARE_LINES
            || self.imported.len() > KNOWN_MAX + SPARE_LINES
        {
            self.forget(bus)?;
        }
        Ok(())
    }

    /// Forgets what no store shows any more.
    fn forget(&mut self, bus: &Bus) -> Result<()> {
        let now_us = host::wall_us();
        self.imported.retain(|_, until_us| *until_us > now_us);
        let mut known: Vec<(i64, String)> =
            self.imported.iter().map(|(id, until_us)| (*until_us, id.clone())).collect();
        known.sort_unstable();
        let oldest = known.len().saturating_sub(KNOWN_MAX);
        for (_, id) in known.drain(..oldest) {
            self.imported.remove(&id);
        }
        if self.journal.lines <= self.imported.len() + SPARE_LINES {
            return Ok(());
        }
        let lines: Vec<String> =
            known.iter().map(|(until_us, id)| format!("{id} {until_us}")).collect();
        self.journal.rewrite(bus, &lines)
    }
}

/// The agents of this node that a message is marked as unread for.
fn recipients(known: &Known<'_>, header: &Header<'_>) -> Vec<String> {
    let to = header.to.as_ref();
    let recipient = match to {
        EVERYBODY if header.topic != topic::TEXT => return Vec::new(),
        to if to.starts_with(CHANNEL_SIGN) => Channel::new(to).ok().map(Recipient::Channel),
        to => send::recipient(to).ok(),
    };
    let Some(recipient) = recipient else { return Vec::new() };
    let mut all = send::recipients(known.bus, known.handle, &recipient).unwrap_or_default();
    all.retain(|agent| to == agent || *agent != header.from);
    all
}

fn known_of(line: &str) -> Option<(String, i64)> {
    let (id, until_us) = line.split_once(' ')?;
    Some((id.to_owned(), until_us.parse().ok()?))
}

/// The sum that says whether the message in one place of the store is still the one that was read.
/// One that was sent again after a loss may be in its old place, behind others that are new.
fn sum_of(carried: &Carried) -> u64 {
    hash(&[&carried.counter.to_le_bytes()[..], &carried.body].concat())
}
