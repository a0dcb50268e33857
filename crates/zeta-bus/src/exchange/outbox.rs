//! What this node sends: the files of its bus, each once, in the order in which they were sent.

use std::collections::{BTreeSet, HashSet};

use zeta_core::bus::{Fate, FileSeen, Header, text_of};
use zeta_core::cluster::Id;
use zeta_core::cluster::mail::{Resume, Sent, decide_resume, judge_outgoing};
use zeta_os::error::Result;
use zeta_os::host;

use super::inbox::Inbox;
use super::journal::Journal;
use super::places::Known;
use super::{Answer, Ask, Carried, Sending, State};
use crate::directory::index::{Cursor, INDEX_LIMIT, Index};
use crate::directory::{Bus, file_of};

/// The list of what was sent.
const SENT: &str = "sent";
/// The word before the cluster, in its first line.
const CLUSTER: &str = "cluster";
/// So many lines more than there are messages are no reason yet to write the list anew.
const SPARE_LINES: usize = 1024;

/// What is to be sent, and what was.
pub(super) struct Outbox {
    cluster: Id,
    journal: Journal,
    sent: Vec<Sent>,
    ids: HashSet<String>,
    stage: Stage,
    looked: Cursor,
    waiting: BTreeSet<Waiting>,
    /// How many messages the bus has.
    pub(super) count: u64,
    /// The store has no room.
    pub(super) is_full: bool,
    /// The bus must be looked at again: messages that were sent wait again.
    pub(super) is_stale: bool,
}

/// A message that waits: when it was sent, when its file was stored, and its id.
type Waiting = (i64, i64, String);

/// What is known of the end of the chain.
#[derive(Debug, Clone)]
enum Stage {
    /// Nothing: the store is asked for it.
    Unknown,
    /// Own messages are read that are not noted, behind this sequence.
    Reading(u64),
    /// It has this sequence.
    Known(u64),
    /// A message is sent that expects this sequence.
    Sending(u64, Waiting),
}

impl Outbox {
    pub(super) fn open(bus: &Bus, cluster: &Id) -> Result<Outbox> {
        let (mut journal, lines) = Journal::open(bus, SENT)?;
        let mut lines = lines.iter();
        let header = format!("{CLUSTER} {cluster}");
        let sent: Vec<Sent> = match lines.next().is_some_and(|line| *line == header) {
            true => lines.filter_map(|line| sent_of(line)).collect(),
            // What was sent to another cluster says nothing about this one.
            false => {
                journal.rewrite(bus, &[header])?;
                Vec::new()
            }
        };
        let ids = sent.iter().map(|one| one.id.clone()).collect();
        Ok(Outbox {
            cluster: cluster.clone(),
            journal,
            sent,
            ids,
            stage: Stage::Unknown,
            looked: Cursor::default(),
            waiting: BTreeSet::new(),
            count: 0,
            is_full: false,
            is_stale: false,
        })
    }

    pub(super) fn doubt(&mut self) {
        self.stage = Stage::Unknown;
        self.is_full = false;
    }

    pub(super) fn pending(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Returns the next question.
    pub(super) fn ask(&mut self, bus: &Bus) -> Result<Option<Ask>> {
        match self.stage {
            Stage::Unknown => Ok(Some(Ask::Last)),
            Stage::Reading(after) => Ok(Some(Ask::Next { after, only_own: true })),
            Stage::Known(_) if self.is_full => Ok(None),
            Stage::Known(expected) | Stage::Sending(expected, _) => {
                while let Some(next) = self.waiting.first().cloned() {
                    if let Some((body, left_ms)) = read_living(bus, &next.2)? {
                        self.stage = Stage::Sending(expected, next);
                        return Ok(Some(Ask::Send { expected, left_ms, body }));
                    }
                    self.waiting.remove(&next);
                }
                Ok(None)
            }
        }
    }

    /// Takes the answer. If it cannot be noted, only the store knows of it, and is asked again.
    pub(super) fn answer(&mut self, bus: &Bus, answer: Answer, state: &mut State) -> Result<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Unknown);
        self.stage = match (stage, answer) {
            (Stage::Unknown, Answer::Message(last)) => self.resume(bus, last.and_then(sent_in))?,
            (Stage::Reading(_), Answer::Message(Some(own))) => {
                let sequence = own.sequence;
                if let Some(sent) = sent_in(own) {
                    self.note(bus, sent)?;
                }
                Stage::Reading(sequence)
            }
            (Stage::Reading(_), Answer::Message(None)) => {
                self.waiting.retain(|(_, _, id)| !self.ids.contains(id));
                Stage::Unknown
            }
            (Stage::Sending(_, waited), Answer::Sending(Sending::Stored(sequence))) => {
                self.note(bus, Sent { sequence, id: waited.2.clone() })?;
                self.waiting.remove(&waited);
                state.sent += 1;
                Stage::Known(sequence)
            }
            (Stage::Sending(expected, _), Answer::Sending(Sending::Full)) => {
                self.is_full = true;
                Stage::Known(expected)
            }
            _ => Stage::Unknown,
        };
        Ok(())
    }

    /// Decides how to go on from the end of the chain.
    fn resume(&mut self, bus: &Bus, last: Option<Sent>) -> Result<Stage> {
        match decide_resume(&self.sent, last.as_ref()) {
            Resume::Send { keep, expected } => {
                self.keep(bus, keep)?;
                Ok(Stage::Known(expected))
            }
            Resume::Read { keep, after } => {
                self.keep(bus, keep)?;
                Ok(Stage::Reading(after))
            }
        }
    }

    /// Keeps the first of the notes. The messages behind them wait again, if they are there.
    fn keep(&mut self, bus: &Bus, keep: usize) -> Result<()> {
        let is_there = |id: &str| bus.has(id);
        let is_shorter = keep < self.sent.len();
        if is_shorter {
            self.sent.truncate(keep);
            self.ids = self.sent.iter().map(|one| one.id.clone()).collect();
            self.looked = Cursor::default();
            self.is_stale = true;
        }
        let is_long = self.journal.lines > self.count as usize + SPARE_LINES;
        if !is_shorter && !is_long {
            return Ok(());
        }
        // The last one is the end of the chain, also when its file is gone.
        let last = self.sent.pop();
        self.sent.retain(|one| is_there(&one.id));
        self.sent.extend(last);
        self.ids = self.sent.iter().map(|one| one.id.clone()).collect();
        let header = format!("{CLUSTER} {}", self.cluster);
        let lines = self.sent.iter().map(|one| format!("{} {}", one.sequence, one.id));
        let lines: Vec<String> = std::iter::once(header).chain(lines).collect();
        self.journal.rewrite(bus, &lines)
    }

    fn note(&mut self, bus: &Bus, sent: Sent) -> Result<()> {
        self.journal.add(bus, &format!("{} {}", sent.sequence, sent.id))?;
        self.ids.insert(sent.id.clone());
        self.sent.push(sent);
        Ok(())
    }

    /// Finds what came into the bus since the last look.
    pub(super) fn look(&mut self, known: &Known<'_>, inbox: &Inbox) -> Result<()> {
        (self.is_full, self.is_stale) = (false, false);
        let mut index = Index::enter_or_fail(known.bus, INDEX_LIMIT)?;
        index.refresh()?;
        self.count = index.count();
        let snapshot = index.snapshot(&mut self.looked);
        drop(index);
        let (headers, _) = snapshot.headers();
        let now_us = host::wall_us();
        for (header, file) in headers {
            let is_own = !file.is_imported && !inbox.has(&header.id);
            if is_own
                && !self.ids.contains(header.id.as_ref())
                && judge_outgoing(known.node, &header.to, known)
            {
                let sent_us = header.when().sent_us(file.seen(now_us));
                self.waiting.insert((sent_us, file.mtime_us, header.id.clone().into_owned()));
            }
        }
        Ok(())
    }
}

/// Reads a message and the life that it has left, in ms; `None` if it is gone or over.
fn read_living(bus: &Bus, id: &str) -> Result<Option<(Vec<u8>, u64)>> {
    let Some(read) = bus.read(&file_of(id))? else { return Ok(None) };
    let text = text_of(&read.bytes);
    let Ok(header) = Header::of(&text, id) else { return Ok(None) };
    let (mtime_us, now_us) = (read.times.mtime_us, host::wall_us());
    let left_ms = match header.when().fate(FileSeen { mtime_us, now_us, is_imported: false }) {
        Fate::Lives(until_us) => u64::try_from((until_us - now_us) / 1000).unwrap_or(0),
        Fate::Expired => 0,
    };
    Ok(Some((read.bytes, left_ms)).filter(|_| left_ms > 0))
}

fn sent_in(own: Carried) -> Option<Sent> {
    let text = text_of(&own.body);
    let header = Header::read(&text).ok()?;
    Some(Sent { sequence: own.sequence, id: header.id.into_owned() })
}

fn sent_of(line: &str) -> Option<Sent> {
    let (sequence, id) = line.split_once(' ')?;
    Some(Sent { sequence: sequence.parse().ok()?, id: id.to_owned() })
}
