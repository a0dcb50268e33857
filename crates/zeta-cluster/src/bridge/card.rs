//! The card of this node: the right to use its name, and the beat that says that it is there.

use zeta_core::cluster::Id;
use zeta_core::cluster::card::{
    BEAT_MS, Card, CardSeen, Conflict, Start, decide_start, judge_conflict,
};
use zeta_core::cluster::copy::Moment;
use zeta_core::cluster::epoch;
use zeta_core::cluster::local::{Local, Stored};
use zeta_core::cluster::subject::Item;
use zeta_core::layout::RECORD_MAX;
use zeta_core::record::{Text, parse, quote};
use zeta_os::error::{Error, Kind};

use super::send::boot_ms;
use super::wire::{End, Put, Result, Wire};
use super::{Bridge, Level};
use crate::signer::CARD_KEY;

/// The key of a card that says how many records of its node are more than it may send.
const UNSENT: &str = "unsent";
/// How long a bridge that waits for a name sleeps between two looks, in ms.
const LOOK_MS: u64 = 1000;
/// How often a write is tried again whose answer was lost.
const TRIES: usize = 5;

/// The card of this run of the bridge.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) instance: Id,
    /// The highest counter that this run has sent; 0 before the first.
    sent: u64,
    /// The highest counter of a card that this run saw when it began.
    former: u64,
    /// The card that stood there when this run asked first.
    first: Option<CardSeen>,
    seen: Option<CardSeen>,
}

impl Own {
    pub(super) fn new(instance: Id) -> Own {
        Own { instance, sent: 0, former: 0, first: None, seen: None }
    }
}

impl Bridge<'_> {
    fn own_card(&self, wire: &Wire, counter: u64) -> Card {
        Card {
            node: self.own.clone(),
            machine_id: self.ctx.host.machine_id.clone(),
            boot_id: self.ctx.host.boot_id.clone(),
            instance: self.card.instance.clone(),
            counter,
            beat_ms: BEAT_MS,
            damaged: self.directory.damaged(),
            extra: vec![
                (CARD_KEY.to_owned(), quote(&wire.signer.identity.public_key())),
                (UNSENT.to_owned(), self.directory.unsent.len().to_string()),
            ],
        }
    }

    /// Reads the card that stands under this node's subject.
    pub(super) async fn read_card(&mut self, wire: &Wire) -> Result<Option<CardSeen>> {
        let found = wire.last(&self.subject(Item::Card)).await?;
        let Some((sequence, value)) = found else {
            // A stream that was made anew has none: the next write expects none.
            self.sent.remove(&Item::Card);
            return Ok(None);
        };
        let card = value.and_then(|value| match parse(&value.body, RECORD_MAX) {
            Ok(Text::Own(fields)) => Card::of(&fields).ok(),
            _ => None,
        });
        // A value that is no card holds nobody's name.
        let Some(card) = card else {
            self.sent.insert(Item::Card, Stored { sequence, record: None, at_ms: boot_ms() });
            return Ok(None);
        };
        let same = self.card.seen.take().filter(|seen| seen.sequence == sequence);
        let observed = same.map_or_else(|| Moment::at(&self.ctx.now()), |seen| seen.observed);
        self.sent.insert(Item::Card, Stored { sequence, record: None, at_ms: boot_ms() });
        let seen = CardSeen { card, sequence, observed, every_ms: 0 };
        self.card.seen = Some(seen.clone());
        Ok(Some(seen))
    }

    /// Takes the name of this node, or waits until the machine that used it is silent.
    pub(super) async fn take_name(&mut self, wire: &Wire) -> Result<()> {
        let machine_id = self.ctx.host.machine_id.clone();
        let mut tries = 0;
        loop {
            let seen = self.read_card(wire).await?;
            if self.card.sent == 0 {
                let counter = seen.as_ref().map_or(0, |seen| seen.card.counter);
                self.card.former = self.card.former.max(counter);
            }
            if let Some(seen) = &seen
                && seen.card.instance == self.card.instance
            {
                return self.beat(wire).await;
            }
            if self.card.first.is_none() {
                self.card.first.clone_from(&seen);
            }
            let first = self.card.first.as_ref();
            match decide_start(machine_id.as_deref(), first, seen.as_ref(), &self.ctx.now()) {
                Start::Write { expected } => {
                    tries += 1;
                    let none = Stored { sequence: expected, record: None, at_ms: 0 };
                    if expected > 0 || !self.sent.contains_key(&Item::Card) {
                        self.sent.insert(Item::Card, none);
                    }
                    match self.put_card(wire).await? {
                        Put::Stored(_) => return Ok(()),
                        // What others have is read all the same; each beat tries again.
                        Put::Full(why) => {
                            self.fault(&format!("ZETA1_STATE takes no card now: {why}"));
                            return Ok(());
                        }
                        _ if tries < TRIES => {}
                        _ => return Err(End::Lost("the card of this node is not taken".into())),
                    }
                }
                Start::Wait { rest_ms } => {
                    self.wait_for_name(seen.as_ref());
                    self.write_status();
                    self.feed_watchdog();
                    let pause = rest_ms.clamp(1, LOOK_MS);
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
                Start::Taken(card) => return Err(self.taken(&card)),
            }
        }
    }

    fn wait_for_name(&mut self, seen: Option<&CardSeen>) {
        let machine = seen.and_then(|seen| seen.card.machine_id.clone());
        let machine = machine.unwrap_or_else(|| "without an id".to_owned());
        let text = format!(
            "another machine ({machine}) has used the name {}: waiting until it is silent",
            self.own
        );
        self.fault(&text);
    }

    fn taken(&self, card: &Card) -> End {
        let name = |id: &Option<String>| id.clone().unwrap_or_else(|| "without an id".to_owned());
        let text = format!(
            "the name {} is used by another machine: {} in boot {}, and this is {} in boot {}",
            self.own,
            name(&card.machine_id),
            card.boot_id,
            name(&self.ctx.host.machine_id),
            self.ctx.host.boot_id,
        );
        let error = Error::new(Kind::Unsafe, text)
            .hint("give one of the two machines another name and a key of its own")
            .hint("nothing of this machine's was changed, and its local verbs go on");
        End::Refused(error)
    }

    /// Writes the card. What is sent is remembered before, so that this run knows its own card
    /// again after a lost answer.
    async fn put_card(&mut self, wire: &Wire) -> Result<Put> {
        let counter = wire.signer.next_counter();
        let card = self.own_card(wire, counter);
        let body = card.to_fields().render();
        if let Some(known) = &mut self.memory.known {
            known.counter_sent = known.counter_sent.max(counter);
        }
        self.remember();
        self.card.sent = counter;
        let expected = self.sent.get(&Item::Card).map_or(0, |stored| stored.sequence);
        let subject = self.subject(Item::Card);
        let put = wire.write(&subject, expected, counter, body.as_bytes(), None).await?;
        if let Put::Stored(sequence) = put {
            let is_first = self.memory.known.as_ref().is_none_or(|known| {
                known.card.as_ref().is_none_or(|card| card.instance != self.card.instance)
            });
            let record = Some(Local::of(&Item::Card, body.as_bytes()));
            self.sent.insert(Item::Card, Stored { sequence, record, at_ms: boot_ms() });
            let instance = self.card.instance.clone();
            if let Some(known) = &mut self.memory.known {
                known.card = Some(epoch::CardSeen { instance, counter, sequence });
            }
            if is_first {
                self.remember();
            }
        }
        Ok(put)
    }

    /// Writes the memory; a full disk is told, and the beat goes on.
    pub(super) fn remember(&mut self) {
        if let Err(error) = self.memory.save() {
            self.fault(&error.text);
        }
    }

    /// Beats: writes the next card over the last one.
    pub(super) async fn beat(&mut self, wire: &Wire) -> Result<()> {
        for _ in 0..TRIES {
            match self.put_card(wire).await? {
                Put::Stored(_) => return Ok(()),
                Put::Full(why) => {
                    self.fault(&format!("ZETA1_STATE takes no beat now: {why}"));
                    return Ok(());
                }
                Put::Conflict | Put::Unknown => self.check_writer(wire).await?,
            }
        }
        Err(End::Lost("the card of this node is not taken".to_owned()))
    }

    /// Looks whose card stands under this node's subject, after a write that was refused or has no
    /// answer.
    pub(super) async fn check_writer(&mut self, wire: &Wire) -> Result<()> {
        let Some(found) = self.read_card(wire).await? else {
            return Err(End::Again("the card of this node is gone".to_owned()));
        };
        let own = self.own_card(wire, self.card.sent);
        let conflict = judge_conflict(&own, self.card.sent, self.card.former, &found.card);
        (self.log)(Level::Debug, &format!("the card is that of {conflict:?}"));
        match conflict {
            Conflict::Own => {
                // An older one of this run: the store went back.
                let last = self.memory.known.as_ref().and_then(|known| known.card.as_ref());
                match last.is_some_and(|last| found.card.counter < last.counter) {
                    true => Err(End::Again("an older card of this node stands there".to_owned())),
                    false => Ok(()),
                }
            }
            Conflict::FormerRun => Err(End::Again("a card of a former run arrived".to_owned())),
            Conflict::OtherMachine | Conflict::SecondRun => Err(self.taken(&found.card)),
        }
    }
}
