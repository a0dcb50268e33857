//! The records of other nodes as files of this tree, and what is refused of them.

use std::collections::{BTreeMap, BTreeSet};

use zeta_core::cluster::Id;
use zeta_core::cluster::card::Card;
use zeta_core::cluster::copy::{self, About, copy_max, decide_observed};
use zeta_core::cluster::envelope::{Trust, body_max, is_newer};
use zeta_core::cluster::peer::Refusals;
use zeta_core::cluster::subject::{Item, Subject};
use zeta_core::layout::{self, ENTRIES_MAX, RECORD_MAX};
use zeta_core::name::Label;
use zeta_core::record::{Text, parse};
use zeta_core::time::{Now, format_utc};
use zeta_os::error::Result;
use zeta_state::directory::copied::BridgeDir;
use zeta_state::directory::tree::Tree;

use crate::signer::Received;

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) tree: &'p Tree,
    pub(super) cluster: &'p Id,
    pub(super) epoch: u64,
}

/// What became of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is a copy now, or the copy is gone.
    Written,
    /// It is there already, or an older one.
    Known,
    /// It was refused, for this reason.
    Refused(String),
}

/// A value of another node that was taken.
#[derive(Debug, Clone)]
struct Known {
    sequence: u64,
    /// The epoch and the counter of its writer.
    counter: (u64, u64),
    is_there: bool,
}

/// Another node.
#[derive(Debug, Default)]
struct Peer {
    dir: Option<BridgeDir>,
    known: BTreeMap<Item, Known>,
    refusals: Refusals,
}

/// All other nodes.
#[derive(Debug, Default)]
pub(super) struct Copies {
    peers: BTreeMap<Label, Peer>,
}

impl Copies {
    /// Forgets which revisions were taken: the store counts anew.
    pub(super) fn forget_revisions(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.known.clear());
    }

    /// The peers of which something was refused.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Label, &Refusals)> {
        self.peers.iter().map(|(node, peer)| (node, &peer.refusals)).filter(|(_, r)| r.count > 0)
    }

    /// How many peers there are, and how many records they have.
    pub(super) fn count(&self) -> (usize, usize) {
        let records = |peer: &Peer| peer.known.values().filter(|known| known.is_there).count();
        (self.peers.len(), self.peers.values().map(records).sum())
    }

    /// Counts a refusal; true if the peer is ignored from now on.
    pub(super) fn refuse(&mut self, node: &Label, reason: String, now_ms: u64) -> bool {
        self.peers.entry(node.clone()).or_default().refusals.add(reason, now_ms)
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
    pub(super) fn take(
        &mut self,
        at: Place<'_>,
        node: &Label,
        item: &Item,
        value: &Received,
        now: &Now<'_>,
    ) -> Result<Taken> {
        let peer = self.peers.entry(node.clone()).or_default();
        if let Some(refusal) = peer.judge(item, value) {
            return Ok(refusal);
        }
        let known = Known {
            sequence: value.sequence,
            counter: (value.envelope.epoch, value.envelope.counter),
            is_there: value.envelope.gone.is_none(),
        };
        if value.envelope.gone.is_some() {
            peer.remove(at.tree, node, item)?;
        } else {
            match peer.write(at, node, item, value, now)? {
                Ok(()) => {}
                Err(reason) => return Ok(Taken::Refused(reason)),
            }
        }
        peer.known.insert(item.clone(), known);
        Ok(Taken::Written)
    }

    /// Removes the copies of records that the store has no value of. A directory in which this does
    /// not work keeps no other one from it.
    ///
    /// # Errors
    /// The first one that came: the tree cannot be read or written.
    pub(super) fn keep_only(
        &mut self,
        tree: &Tree,
        own: &Label,
        listed: &BTreeMap<Label, BTreeSet<Item>>,
    ) -> Result<()> {
        let mut done = Ok(());
        for name in tree.nodes()?.names {
            let Ok(node) = Label::new("node", &name) else { continue };
            if node == *own {
                continue;
            }
            let there = listed.get(&node);
            let is_listed = |item: &Item| there.is_some_and(|there| there.contains(item));
            done = done.and(keep_listed(tree, &node, is_listed));
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.known.retain(|item, _| is_listed(item));
            }
        }
        done
    }
}

impl Peer {
    /// Judges a value before anything is written: `None` if it is taken.
    fn judge(&self, item: &Item, value: &Received) -> Option<Taken> {
        let refused = |text: &str| Some(Taken::Refused(text.to_owned()));
        if value.trust == Trust::Forged {
            return refused("its signature is not that of its node's key");
        }
        match self.known.get(item) {
            Some(known) if value.sequence <= known.sequence => Some(Taken::Known),
            Some(known) if !is_newer(Some(known.counter), &value.envelope) => {
                refused("it is an older value, sent again")
            }
            None if self.known.len() >= ENTRIES_MAX => {
                refused("its node has more records than a node may have")
            }
            _ => None,
        }
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

    /// Writes the copy; the inner error says why the value is refused.
    fn write(
        &mut self,
        at: Place<'_>,
        node: &Label,
        item: &Item,
        value: &Received,
        now: &Now<'_>,
    ) -> Result<std::result::Result<(), String>> {
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
        let before = about(dir, at.tree, item);
        let observed =
            decide_observed(before.as_ref(), at.cluster, (at.epoch, value.sequence), now);
        let about = About {
            node: node.clone(),
            cluster: at.cluster.clone(),
            epoch: at.epoch,
            sequence: value.sequence,
            observed,
            verified: value.trust.is_verified(),
        };
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
            let line = format!("{}\n", format_utc(now.reading.wall_us));
            dir.put(at.tree, layout::LAST_SEEN, &line)?;
        }
        Ok(Ok(()))
    }
}

/// Removes the copies of a node that are not listed.
fn keep_listed(tree: &Tree, node: &Label, is_listed: impl Fn(&Item) -> bool) -> Result<()> {
    let Some(Some(dir)) = BridgeDir::find_node(tree, node)? else { return Ok(()) };
    dir.sweep();
    let mut done = Ok(());
    for file in dir.list()?.names {
        if Item::of_file(&file).is_some_and(|item| !is_listed(&item)) {
            done = done.and(dir.remove(&file));
        }
    }
    done
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
