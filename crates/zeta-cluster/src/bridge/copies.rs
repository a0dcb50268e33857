//! The records of other nodes as files of this tree, and what is refused of them.

use std::collections::{BTreeMap, BTreeSet};

use zeta_core::cluster::Id;
use zeta_core::cluster::card::Card;
use zeta_core::cluster::copy::{self, About, copy_max, decide_observed};
use zeta_core::cluster::envelope::{Trust, body_max};
use zeta_core::cluster::peer::{Follows, Pace, Refusals, Writer};
use zeta_core::cluster::replay::{Mark, Order, judge_node, judge_record};
use zeta_core::cluster::subject::{Item, Subject};
use zeta_core::layout::{self, ENTRIES_MAX, RECORD_MAX};
use zeta_core::name::Label;
use zeta_core::record::{Text, parse};
use zeta_core::time::{Now, format_utc};
use zeta_os::error::Result;
use zeta_state::directory::copied::BridgeDir;
use zeta_state::directory::tree::Tree;

use crate::signer::Received;

/// Why a value is refused that the key of its node did not sign.
pub(super) const FORGED: &str = "its signature is not that of its node's key";

/// Where and when copies are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) tree: &'p Tree,
    pub(super) cluster: &'p Id,
    pub(super) epoch: u64,
    pub(super) now: Now<'p>,
    /// The longest time between two readings of the cards; none if they are sent as they come.
    pub(super) card_every_ms: Option<u64>,
}

impl Place<'_> {
    /// What this observer says about a value, of whose record it has this copy.
    pub(super) fn about(&self, value: &Received, before: Option<&About>) -> About {
        let verified = value.trust.is_verified();
        let counter = verified.then(|| value.counter());
        let place = (self.epoch, value.sequence);
        About {
            node: value.envelope.node.clone(),
            cluster: self.cluster.clone(),
            epoch: self.epoch,
            sequence: value.sequence,
            observed: decide_observed(before, self.cluster, place, counter, &self.now),
            verified,
            counter,
            gone: before.and_then(|before| before.gone).filter(|gone| Some(gone.1) > counter),
            card_every_ms: None,
        }
    }

    fn mark(&self, value: &Received) -> Mark {
        let (sequence, counter) = (value.sequence, value.counter());
        Mark { store_epoch: self.epoch, sequence, counter }
    }
}

/// What became of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is a copy now, or the copy is gone.
    Written,
    /// It is there already, or an older one.
    Known,
    /// It was refused, for this reason.
    Refused(Writer, String),
}

/// Whose fault a value is that breaks the rules.
fn writer(value: &Received) -> Writer {
    if value.trust.is_verified() { Writer::Node } else { Writer::Unknown }
}

/// The last value of a record.
#[derive(Debug, Clone)]
struct Known {
    sequence: u64,
    /// There is a copy.
    is_there: bool,
    /// The key of its node signed what is there.
    verified: bool,
    /// The last value that the key of its node signed.
    mark: Option<Mark>,
}

/// Another node.
#[derive(Debug, Default)]
struct Peer {
    dir: Option<BridgeDir>,
    known: BTreeMap<Item, Known>,
    /// The last value that is known to have come from the node, as its card and the records say
    /// that it took back; once it was read.
    last: Option<Option<Mark>>,
    refusals: Refusals,
    pace: Pace,
}

/// All other nodes.
#[derive(Debug, Default)]
pub(super) struct Copies {
    peers: BTreeMap<Label, Peer>,
    /// That of all nodes together whose keys are not known: names cost nothing.
    strangers: Pace,
}

impl Copies {
    /// Forgets which revisions were taken: the store counts anew.
    pub(super) fn forget_revisions(&mut self) {
        for peer in self.peers.values_mut() {
            peer.known.clear();
            peer.last = None;
        }
    }

    /// The peers, with what was refused of each, and how many values were passed over.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Label, &Refusals, u64)> {
        self.peers.iter().map(|(node, peer)| (node, &peer.refusals, peer.pace.passed_over))
    }

    /// How many values of nodes whose keys are not known were passed over.
    pub(super) fn strangers_passed_over(&self) -> u64 {
        self.strangers.passed_over
    }

    /// Takes a value of a peer, if that has a turn now; `node` is none for a stranger. Else returns
    /// how many of its values were passed over: a peer that writes more than this node can take
    /// costs it no more than it can give.
    pub(super) fn pass_over(&mut self, node: Option<&Label>, now_ms: u64) -> Option<u64> {
        let pace = match node {
            Some(node) => &mut self.peers.entry(node.clone()).or_default().pace,
            None => &mut self.strangers,
        };
        (!pace.take(now_ms)).then_some(pace.passed_over)
    }

    /// How many peers there are, and how many records they have.
    pub(super) fn count(&self) -> (usize, usize) {
        let records = |peer: &Peer| peer.known.values().filter(|known| known.is_there).count();
        (self.peers.len(), self.peers.values().map(records).sum())
    }

    /// Counts a refusal, and says what follows from it.
    pub(super) fn refuse(
        &mut self,
        node: &Label,
        writer: Writer,
        reason: String,
        now_ms: u64,
    ) -> Follows {
        self.peers.entry(node.clone()).or_default().refusals.add(writer, reason, now_ms)
    }

    /// Returns whether the values of a peer are ignored now.
    pub(super) fn is_ignored(&self, node: &Label, now_ms: u64) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.refusals.ignored_ms(now_ms).is_some())
    }

    /// Returns whether a time of ignoring a peer has ended, so that all must be read again.
    pub(super) fn take_ends(&mut self, now_ms: u64) -> bool {
        let ends = self.peers.values_mut().map(|peer| peer.refusals.take_end(now_ms));
        ends.fold(false, |any, ended| any | ended)
    }

    /// The revision of the copy that this tree has of a record; `None` if there is none of this
    /// epoch. Of a run before this one, the file says it.
    pub(super) fn revision(&mut self, at: Place<'_>, node: &Label, item: &Item) -> Option<u64> {
        let peer = self.peers.entry(node.clone()).or_default();
        if let Some(known) = peer.known.get(item) {
            return known.is_there.then_some(known.sequence);
        }
        let dir = BridgeDir::find_node(at.tree, node).ok()??;
        let about = about(&dir?, at.tree, item)?;
        let same = about.cluster == *at.cluster && about.epoch == at.epoch;
        same.then_some(about.sequence)
    }

    /// Takes a value of another node's record.
    ///
    /// # Errors
    /// The tree cannot be written.
    pub(super) fn take(&mut self, at: Place<'_>, item: &Item, value: &Received) -> Result<Taken> {
        let node = &value.envelope.node;
        let peer = self.peers.entry(node.clone()).or_default();
        let before = match peer.judge(at, item, value)? {
            Ok(before) => before,
            Err(other) => return Ok(other),
        };
        let verified = value.trust.is_verified();
        let is_there = value.envelope.gone.is_none();
        if !is_there {
            if verified {
                peer.remember_gone(at, value)?;
            }
            peer.remove(at.tree, node, item)?;
        } else if let Err(reason) = peer.write(at, item, value)? {
            return Ok(Taken::Refused(writer(value), reason));
        }
        let mark = if verified { Some(at.mark(value)) } else { before.mark };
        let known = Known { sequence: value.sequence, is_there, verified, mark };
        peer.known.insert(item.clone(), known);
        if !is_there {
            peer.forget_gone();
        }
        Ok(Taken::Written)
    }

    /// The copies of records that are not listed. A directory that cannot be read keeps no other
    /// one from it; the error is the first one that came.
    pub(super) fn unlisted(
        &mut self,
        tree: &Tree,
        own: &Label,
        listed: &BTreeMap<Label, BTreeSet<Item>>,
    ) -> (Vec<(Label, Item)>, Result<()>) {
        let (mut found, mut done) = (Vec::new(), Ok(()));
        let names = match tree.nodes() {
            Ok(listing) => listing.names,
            Err(error) => return (found, Err(error)),
        };
        for name in names {
            let Ok(node) = Label::new("node", &name) else { continue };
            if node == *own {
                continue;
            }
            let is_listed =
                |item: &Item| listed.get(&node).is_some_and(|there| there.contains(item));
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.known.retain(|item, known| known.is_there || is_listed(item));
            }
            match items(tree, &node) {
                Ok(items) => {
                    let items = items.into_iter().filter(|item| !is_listed(item));
                    found.extend(items.map(|item| (node.clone(), item)));
                }
                Err(error) => done = done.and(Err(error)),
            }
        }
        (found, done)
    }

    /// Removes the copy of a record that the store has no value of.
    ///
    /// # Errors
    /// The tree cannot be written.
    pub(super) fn forget(&mut self, tree: &Tree, node: &Label, item: &Item) -> Result<()> {
        let peer = self.peers.entry(node.clone()).or_default();
        peer.known.remove(item);
        peer.remove(tree, node, item)
    }

    /// Removes all that this tree has of nodes that are not followed.
    ///
    /// # Errors
    /// The tree cannot be written.
    pub(super) fn keep_only(&mut self, tree: &Tree, keep: impl Fn(&Label) -> bool) -> Result<()> {
        self.peers.retain(|node, _| keep(node));
        let names = tree.nodes()?.names;
        let nodes = names.iter().filter_map(|name| Label::new("node", name).ok());
        nodes.filter(|node| !keep(node)).try_for_each(|node| BridgeDir::remove_node(tree, &node))
    }
}

impl Peer {
    /// Judges a value before anything is written: what is known of its record if it is taken, else
    /// what becomes of it.
    fn judge(
        &mut self,
        at: Place<'_>,
        item: &Item,
        value: &Received,
    ) -> Result<std::result::Result<Known, Taken>> {
        let refused = |writer, text: &str| Ok(Err(Taken::Refused(writer, text.to_owned())));
        if value.trust == Trust::Forged {
            return refused(Writer::Unknown, FORGED);
        }
        let known = match self.known.get(item) {
            Some(known) if value.sequence <= known.sequence => return Ok(Err(Taken::Known)),
            Some(known) => known.clone(),
            None => self.find_known(at, item, &value.envelope.node)?,
        };
        if value.trust == Trust::Unsigned && known.is_there && known.verified {
            return refused(Writer::Unknown, "it is not signed, and the value before it is");
        }
        let order = match (known.mark, self.last.flatten()) {
            _ if !value.trust.is_verified() => Order::Newer,
            (Some(mark), _) => judge_record(mark, at.mark(value)),
            (None, Some(last)) => judge_node(last, at.mark(value)),
            (None, None) => Order::Newer,
        };
        match order {
            Order::Newer if self.is_full(item, value) => {
                refused(writer(value), "its node has more records than a node may have")
            }
            Order::Newer => Ok(Ok(known)),
            Order::Older | Order::Replayed => {
                // It is judged once. What comes after it must still be newer than what was known.
                let mark = known.mark.or(self.last.flatten());
                let known = Known { sequence: value.sequence, mark, ..known };
                self.known.insert(item.clone(), known);
                match order {
                    Order::Replayed => refused(Writer::Unknown, "it is an older value, sent again"),
                    Order::Newer | Order::Older => Ok(Err(Taken::Known)),
                }
            }
        }
    }

    fn is_full(&self, item: &Item, value: &Received) -> bool {
        let is_new = value.envelope.gone.is_none() && !self.known.contains_key(item);
        is_new && self.known.values().filter(|known| known.is_there).count() >= ENTRIES_MAX
    }

    /// What a run before this one has left of a record.
    fn find_known(&mut self, at: Place<'_>, item: &Item, node: &Label) -> Result<Known> {
        if self.dir.is_none() {
            self.dir = BridgeDir::find_node(at.tree, node)?.flatten();
        }
        let find = |item: &Item| about(self.dir.as_ref()?, at.tree, item);
        if self.last.is_none() {
            self.last = Some(find(&Item::Card).and_then(|about| about.last_mark(at.cluster)));
        }
        let found = find(item).filter(|about| about.cluster == *at.cluster);
        Ok(Known {
            sequence: 0,
            is_there: found.is_some(),
            verified: found.as_ref().is_some_and(|about| about.verified),
            mark: found.and_then(|about| about.mark(at.cluster)),
        })
    }

    fn remove(&mut self, tree: &Tree, node: &Label, item: &Item) -> Result<()> {
        if self.dir.is_none() {
            self.dir = BridgeDir::find_node(tree, node)?.flatten();
        }
        match (&self.dir, item.file()) {
            (Some(dir), Some(file)) => dir.remove(&file),
            _ => Ok(()),
        }
    }

    /// Keeps the counter of a value by which a record was taken back, beside the card: no copy has
    /// it. The next card is newer, and takes its place.
    fn remember_gone(&mut self, at: Place<'_>, value: &Received) -> Result<()> {
        let mark = at.mark(value);
        if self.last.flatten().is_none_or(|last| last.counter >= mark.counter) {
            return Ok(());
        }
        let Some(dir) = &self.dir else { return Ok(()) };
        let max = copy_max(RECORD_MAX);
        let Some(bytes) = dir.read(at.tree, layout::COPY_MARK, max)? else { return Ok(()) };
        let Ok((about, card)) = copy::read(&bytes.bytes, RECORD_MAX) else { return Ok(()) };
        let about = About { gone: Some((mark.sequence, mark.counter)), ..about };
        if let Ok(text) = copy::write(&card, RECORD_MAX, &about) {
            dir.put(at.tree, layout::COPY_MARK, &text)?;
            self.last = Some(Some(mark));
        }
        Ok(())
    }

    /// Forgets the oldest record that is gone, if there are too many: the card knows of it.
    fn forget_gone(&mut self) {
        let gone = || self.known.iter().filter(|(_, known)| !known.is_there);
        if gone().count() <= ENTRIES_MAX {
            return;
        }
        let oldest = gone().min_by_key(|(_, known)| known.sequence);
        if let Some(item) = oldest.map(|(item, _)| item.clone()) {
            self.known.remove(&item);
        }
    }

    /// Writes the copy; the inner error says why the value is refused.
    fn write(
        &mut self,
        at: Place<'_>,
        item: &Item,
        value: &Received,
    ) -> Result<std::result::Result<(), String>> {
        let node = &value.envelope.node;
        if *item == Item::Card
            && let Err(reason) = check_card(node, value)
        {
            return Ok(Err(reason));
        }
        if self.dir.is_none() {
            self.dir = BridgeDir::of_node(at.tree, node, &mark(node))?;
        }
        let Some(dir) = &self.dir else {
            let text = "this tree has a directory of its own with the name of that node";
            return Ok(Err(text.to_owned()));
        };
        // A value that is newer than one of this run was not seen before.
        let before = match self.known.contains_key(item) && *item != Item::Card {
            true => None,
            false => about(dir, at.tree, item),
        };
        let card_every_ms = at.card_every_ms.filter(|_| *item == Item::Card);
        let about = About { card_every_ms, ..at.about(value, before.as_ref()) };
        if before.as_ref() == Some(&about) {
            return Ok(Ok(()));
        }
        let subject = Subject::State { node: node.clone(), item: item.clone() };
        let text = match copy::write(&value.body, body_max(&subject), &about) {
            Ok(text) => text,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        dir.put(at.tree, &file_of(item), &text)?;
        if *item == Item::Card {
            let line = format!("{}\n", format_utc(at.now.reading.wall_us));
            dir.put(at.tree, layout::LAST_SEEN, &line)?;
            self.last = Some(about.last_mark(at.cluster));
        }
        Ok(Ok(()))
    }
}

/// The records of a node that this tree has copies of.
fn items(tree: &Tree, node: &Label) -> Result<Vec<Item>> {
    let Some(Some(dir)) = BridgeDir::find_node(tree, node)? else { return Ok(Vec::new()) };
    dir.sweep();
    Ok(dir.list()?.names.iter().filter_map(|name| Item::of_file(name)).collect())
}

/// The file of a copy; that of the card marks the directory.
fn file_of(item: &Item) -> String {
    item.file().unwrap_or_else(|| layout::COPY_MARK.to_owned())
}

/// What stands in the mark of a directory until the first card has come.
fn mark(node: &Label) -> String {
    format!("a copy of the records of {node}, written by the bridge of this machine\n")
}

fn about(dir: &BridgeDir, tree: &Tree, item: &Item) -> Option<About> {
    let max = match item {
        Item::Persona(_) => layout::PERSONA_MAX,
        _ => RECORD_MAX,
    };
    let bytes = dir.read(tree, &file_of(item), copy_max(max)).ok()??.bytes;
    match parse(&bytes, copy_max(max)) {
        Ok(Text::Own(fields)) => About::of(&fields).ok(),
        _ => None,
    }
}

fn check_card(node: &Label, value: &Received) -> std::result::Result<(), String> {
    let card = match parse(&value.body, RECORD_MAX) {
        Ok(Text::Own(fields)) => Card::of(&fields).map_err(|damage| damage.to_string())?,
        Ok(Text::Foreign(_)) => return Err("its card is no card".to_owned()),
        Err(damage) => return Err(damage.to_string()),
    };
    match card.node == *node {
        true => Ok(()),
        false => Err(format!("its card names the node {}", card.node)),
    }
}
