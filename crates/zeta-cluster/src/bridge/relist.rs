//! Reading all values: at each connection, after each gap, and by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::name::Label;
use zeta_os::host;

use super::Bridge;
use super::copies::Place;
use super::feed::Feed;
use super::wire::{End, Result, Wire};
use crate::api::Stored;
use crate::follow::Follow;

/// How often everything is read again, though nothing says so.
pub(super) const RELIST: Duration = Duration::from_secs(600);
/// The shortest time between two readings of everything.
const RELIST_SOON: Duration = Duration::from_secs(1);
/// The longest one after something may have been missed.
const RELIST_LATE: Duration = Duration::from_secs(30);
/// After a reading of everything comes a rest of so many times its length.
const RELIST_REST: u32 = 8;
/// The subjects of all cards.
const CARDS: &str = "zeta1.state.*.card.self";
/// How the subject of a card ends.
const CARD_END: &str = ".card.self";

impl Bridge<'_> {
    /// Returns whether a copy of this tree is newer than what the store has of its record. What
    /// this node writes from now on is newer than what it finds of its own.
    pub(super) fn look_back(&mut self, wire: &Wire, values: &[Stored]) -> Result<bool> {
        let known = self.memory.known.as_ref().map(|known| &known.meta);
        let known = known.map(|meta| (meta.cluster.clone(), meta.epoch));
        let mut went_back = false;
        for stored in values {
            let Ok(Subject::State { node, item }) = Subject::parse(&stored.subject) else {
                continue;
            };
            if node == self.own {
                let own = wire.open(stored.clone())?.ok().filter(|own| own.trust.is_verified());
                wire.signer.raise_counter(own.map_or(0, |own| own.envelope.counter));
            } else if let Some((cluster, epoch)) = &known {
                let (tree, now) = (&self.directory.tree, self.ctx.now());
                let at = Place { tree, cluster, epoch: *epoch, now, card_every_ms: None };
                let copied = self.copies.revision(at, &node, &item);
                went_back |= copied.is_some_and(|copied| copied > stored.sequence);
            }
        }
        Ok(went_back)
    }

    /// Lists the last values of a stream that are followed. It may take long, so what is due is
    /// done meanwhile.
    async fn list(&mut self, wire: &mut Wire, feed: &Feed, stream: Stream) -> Result<Vec<Stored>> {
        let last = wire.last_sequence(stream).await?;
        let mut found = Vec::new();
        for pattern in self.follow.patterns(&self.own, stream) {
            let mut from = 0;
            while let Some(stored) = wire.connection.next(stream.name(), &pattern, from).await? {
                if stored.sequence > last {
                    break;
                }
                from = stored.sequence.saturating_add(1);
                found.push(stored);
                if self.next_due() <= Instant::now() {
                    self.do_due(wire, feed).await?;
                }
            }
        }
        Ok(found)
    }

    /// Reads all values, and removes copies of what is not there any more.
    pub(super) async fn read_everything(&mut self, wire: &mut Wire, feed: &mut Feed) -> Result<()> {
        let begun = Instant::now();
        self.relist_at = begun + jittered(RELIST);
        self.status.relisted += 1;
        for stream in Stream::ALL {
            if let Some(info) = wire.connection.info(stream.name()).await? {
                feed.read_up_to(stream, info.last_sequence);
            }
        }
        self.mail.begin();
        self.read_own(wire).await?;
        let mut listed: BTreeMap<Label, BTreeSet<Item>> = BTreeMap::new();
        // The cards first: they have the keys by which the others are believed.
        let values = self.list(wire, feed, Stream::State).await?;
        let (cards, others): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|stored| stored.subject.ends_with(CARD_END));
        for stored in cards.into_iter().chain(others) {
            if let Ok(Subject::State { node, item }) = Subject::parse(&stored.subject) {
                listed.entry(node).or_default().insert(item);
            }
            self.take_stored(wire, stored)?;
            if self.next_due() <= Instant::now() {
                self.do_due(wire, feed).await?;
            }
        }
        self.forget_unlisted(wire, &listed).await?;
        self.look_at_others(wire).await?;
        let values = self.list(wire, feed, Stream::Lease).await?;
        self.take_leases(wire, values).await?;
        self.directory.look_at_all();
        self.send_changes(wire).await?;
        self.relist_took = begun.elapsed();
        self.mail.work(wire).await
    }

    /// Removes copies of what the store does not have. What was not listed may have been written
    /// meanwhile.
    async fn forget_unlisted(
        &mut self,
        wire: &Wire,
        listed: &BTreeMap<Label, BTreeSet<Item>>,
    ) -> Result<()> {
        let tree = &self.directory.tree;
        let (unlisted, mut done) = self.copies.unlisted(tree, &self.own, listed);
        let follow = &self.follow;
        // Copies of nodes that are not followed are removed with their directories.
        for (node, item) in unlisted.into_iter().filter(|(node, _)| follow.has(&self.own, node)) {
            let subject = Subject::State { node: node.clone(), item: item.clone() };
            if wire.connection.last(Stream::State.name(), &subject.to_string()).await?.is_none() {
                done = done.and(self.copies.forget(&self.directory.tree, &node, &item));
            }
        }
        if let Err(error) = done {
            self.missed(&error);
        }
        Ok(())
    }

    /// Reads everything in a moment, because something may have been missed. The longer the last
    /// time took, the longer this waits: a peer that floods the feed makes gaps all the time.
    pub(super) fn relist_soon(&mut self) {
        let pause = (self.relist_took * RELIST_REST).clamp(RELIST_SOON, RELIST_LATE);
        self.relist_at = self.relist_at.min(Instant::now() + pause);
    }

    pub(super) async fn read_again_if_due(
        &mut self,
        wire: &mut Wire,
        feed: &mut Feed,
    ) -> Result<()> {
        if self.relist_at > Instant::now() {
            return Ok(());
        }
        let values = self.list(wire, feed, Stream::State).await?;
        let went_back = self.look_back(wire, &values)?;
        if self.judge(wire, feed, went_back).await? {
            return Err(End::Again("the store is not what it was".to_owned()));
        }
        self.read_everything(wire, feed).await
    }

    /// Counts the nodes that are not followed, and takes the keys of new ones from their cards: by
    /// these keys their leases and messages are believed.
    async fn look_at_others(&mut self, wire: &Wire) -> Result<()> {
        if !matches!(self.follow, Follow::Nodes(_)) {
            return Ok(());
        }
        let cards = wire.connection.subjects(Stream::State.name(), CARDS).await?;
        self.status.not_followed = 0;
        for subject in cards {
            let Ok(Subject::State { node, .. }) = Subject::parse(&subject) else { continue };
            if self.follow.has(&self.own, &node) {
                continue;
            }
            self.status.not_followed += 1;
            let is_known = wire.signer.keys().of(&node).is_some();
            if !is_known
                && let Some(stored) = wire.connection.last(Stream::State.name(), &subject).await?
            {
                let _ = wire.open(stored)?;
            }
        }
        let keep = |node: &Label| self.follow.has(&self.own, node);
        if let Err(error) = self.copies.keep_only(&self.directory.tree, keep) {
            self.missed(&error);
        }
        Ok(())
    }
}

/// A time between three quarters of this one and all of it.
fn jittered(time: Duration) -> Duration {
    let random = host::random().unwrap_or(0) % 1000;
    time.mul_f64(0.75 + random as f64 / 4000.0)
}
