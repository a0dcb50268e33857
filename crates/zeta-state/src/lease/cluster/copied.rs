//! What other machines hold, as the bridge of this one has copied it: for the verbs that show
//! leases. They ask no server, and say how old a copy is.

use std::collections::BTreeMap;

use zeta_core::cluster::card::{self, is_silent};
use zeta_core::cluster::copy::{self, About, copy_max};
use zeta_core::cluster::lease::{Entry, Scope};
use zeta_core::evidence::{Age, ProcessState};
use zeta_core::layout::{self, RECORD_MAX};
use zeta_core::lease::{Observed, Record, Standing, judge};
use zeta_core::name::{Label, RecordName};
use zeta_core::record::{Damage, parse};
use zeta_core::time::Now;

use crate::context::NodeHandle;
use crate::directory::copied::{BridgeDir, is_copied};
use crate::directory::tree::Bytes;
use crate::lease::{LeaseView, observe_text};
use zeta_os::error::{Error, Result};

/// What this machine knows of the record of another one, when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOf {
    /// The other machine's node.
    pub node: Label,
    /// Its key signed the record.
    pub verified: bool,
    /// How long ago this machine first saw this revision; `None` if its clock was another one then.
    pub age_ms: Option<u64>,
    /// How long ago the last card of that machine came, if one came since this machine started.
    pub heard_ms: Option<u64>,
    /// Nothing was heard of that machine for a while, or this one's own bridge does not run: the
    /// record may be another one by now.
    pub silent: bool,
}

/// What other machines have, by the copies of this one.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// The grant of a lease of the cluster. It may have expired.
    pub in_cluster: Option<LeaseView>,
    /// Grants of leases that each are of their machine alone. They hold nothing here.
    pub alone: Vec<LeaseView>,
}

/// The cards of the nodes that were asked for.
type Cards = BTreeMap<Label, Option<card::Copied>>;

impl NodeHandle<'_> {
    /// Returns a lease as it is shown: its grants on this node, and the one of another machine.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn shown(&self, lease: &RecordName) -> Result<Vec<LeaseView>> {
        let mut views = self.views(lease)?;
        self.say_copied(&mut views);
        views.extend(self.held_elsewhere(lease)?);
        Ok(views)
    }

    /// Returns all leases as they are shown, and for each file that could not be read the reason.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn all_shown(&self) -> Result<(Vec<LeaseView>, Vec<Error>)> {
        let (mut views, mut findings) = self.leases()?;
        self.say_copied(&mut views);
        let (elsewhere, more) = self.all_elsewhere()?;
        views.extend(elsewhere);
        views.sort_by(|one, other| one.lease.cmp(&other.lease));
        findings.extend(more);
        Ok((views, findings))
    }

    /// Returns the grant of a lease of the cluster that another machine has, by the copy of this
    /// one. It may have expired.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn held_elsewhere(&self, lease: &RecordName) -> Result<Option<LeaseView>> {
        let Some(dir) = self.copies()? else { return Ok(None) };
        self.read_copy(&dir, lease, &mut Cards::new())
    }

    /// Returns the grant of a lease of the cluster that another machine has, and what each machine
    /// has alone under names that begin with `prefix`.
    ///
    /// # Errors
    /// The copy of the first one cannot be read, or the nodes cannot be listed.
    pub fn elsewhere(&self, lease: &RecordName, prefix: &str) -> Result<Elsewhere> {
        let Some(dir) = self.copies()? else { return Ok(Elsewhere::default()) };
        let mut cards = Cards::new();
        let in_cluster = self.read_copy(&dir, lease, &mut cards)?;
        Ok(Elsewhere { in_cluster, alone: self.alone(prefix, &mut cards)? })
    }

    /// The grants of leases of other machines alone that last. What cannot be read is the matter of
    /// `zeta doctor`.
    fn alone(&self, prefix: &str, cards: &mut Cards) -> Result<Vec<LeaseView>> {
        let (mut views, now) = (Vec::new(), self.ctx.now());
        for name in self.tree.nodes()?.names {
            let Ok(node) = Label::new("node", &name) else { continue };
            let Ok(Some(Some(dir))) = BridgeDir::find_node(&self.tree, &node) else { continue };
            let names = dir.list().map(|listing| listing.names).unwrap_or_default();
            for file in names.iter().filter(|file| file.starts_with(prefix)) {
                let layout::Kind::Lease(lease) = layout::kind_of(file) else { continue };
                let Ok(lease) = RecordName::new("lease", lease) else { continue };
                let read = dir.read(&self.tree, file, copy_max(RECORD_MAX));
                let view = read.ok().flatten().and_then(|bytes| judge_alone(&bytes, &lease, &now));
                views.extend(view.map(|(view, about)| {
                    let copy = Some(Box::new(self.copy_of(&about, cards, &now)));
                    LeaseView { copy, ..view }
                }));
            }
        }
        Ok(views)
    }

    /// As [`NodeHandle::held_elsewhere`]: those of all leases, and for each file that could not be
    /// read the reason.
    ///
    /// # Errors
    /// The copies cannot be listed.
    pub fn all_elsewhere(&self) -> Result<(Vec<LeaseView>, Vec<Error>)> {
        let (mut views, mut findings, mut cards) = (Vec::new(), Vec::new(), Cards::new());
        let Some(dir) = self.copies()? else { return Ok((views, findings)) };
        for lease in dir.list()?.names.iter().filter_map(|file| layout::cluster_lease_of(file)) {
            match self.read_copy(&dir, &lease, &mut cards) {
                Ok(view) => views.extend(view),
                Err(error) => findings.push(error),
            }
        }
        Ok((views, findings))
    }

    /// The copies of the leases of the cluster, for a node of this machine.
    fn copies(&self) -> Result<Option<BridgeDir>> {
        let Some(dir) = BridgeDir::find_cluster(&self.tree, Some(layout::CLUSTER_LEASES))? else {
            return Ok(None);
        };
        Ok((!is_copied(&self.node)?).then_some(dir))
    }

    fn read_copy(
        &self,
        dir: &BridgeDir,
        lease: &RecordName,
        cards: &mut Cards,
    ) -> Result<Option<LeaseView>> {
        let file = layout::cluster_lease_file(lease);
        let Some(bytes) = dir.read(&self.tree, &file, copy_max(RECORD_MAX))? else {
            return Ok(None);
        };
        let now = self.ctx.now();
        let Some((observed, about)) = judge_copy(&bytes, lease, &self.node.name, &now) else {
            return Ok(None);
        };
        let copy = about.map(|about| Box::new(self.copy_of(&about, cards, &now)));
        let standing = judge(&observed, &now);
        Ok(Some(LeaseView { lease: lease.clone(), observed, standing, copy }))
    }

    /// Says of records that they are copies, where they are.
    fn say_copied(&self, views: &mut [LeaseView]) {
        let (mut cards, now) = (Cards::new(), self.ctx.now());
        for view in views {
            let about = record_of(view).and_then(about_of);
            view.copy = about.map(|about| Box::new(self.copy_of(&about, &mut cards, &now)));
        }
    }

    fn copy_of(&self, about: &About, cards: &mut Cards, now: &Now) -> CopyOf {
        let read = |node: &Label| {
            let opened = BridgeDir::find_node(&self.tree, node).ok()???;
            let read = opened.read(&self.tree, layout::COPY_MARK, copy_max(RECORD_MAX));
            card::Copied::read(&read.ok()??.bytes).ok()
        };
        let card = cards.entry(about.node.clone()).or_insert_with_key(read).as_ref();
        let age_ms = match about.observed.age(now) {
            Age::Ms(age_ms) => Some(age_ms),
            Age::Unclear => None,
        };
        let heard_ms = card.and_then(|card| card.age_ms(now));
        CopyOf {
            node: about.node.clone(),
            verified: about.verified,
            age_ms,
            heard_ms,
            silent: heard_ms.is_none() || card.is_none_or(|card| is_silent(&card.seen, now)),
        }
    }
}

impl LeaseView {
    /// The other machine whose lease it is, if it is held there as far as this one knows.
    pub fn holding_node(&self) -> Option<&Label> {
        let copy = self.copy.as_ref()?;
        matches!(self.standing, Standing::Held(_)).then_some(&copy.node)
    }
}

/// Reads a copy: what is known of the grant of another node. An end that its node signed is none.
fn judge_copy(
    bytes: &Bytes,
    lease: &RecordName,
    own: &Label,
    now: &Now,
) -> Option<(Observed, Option<About>)> {
    let (about, original) = match copy::read(&bytes.bytes, RECORD_MAX) {
        Ok(read) => read,
        Err(damage) => return Some((Observed::Damaged(damage, bytes.times), None)),
    };
    if about.node == *own {
        return None;
    }
    let entry = match about.verified {
        true => Entry::read(&original, lease, &about.node),
        false => Entry::Unreadable,
    };
    let observed = match entry {
        Entry::Absent | Entry::End(_) => return None,
        Entry::Unreadable => Observed::Damaged(Damage::NotSigned, bytes.times),
        // As a copy, so that the age is that of its observer.
        Entry::Grant(..) => {
            let text = parse(&bytes.bytes, copy_max(RECORD_MAX));
            observe_text(&text, bytes.times, lease, now.host, |_| ProcessState::Unknown)
        }
    };
    Some((observed, Some(about)))
}

/// Reads the copy of a lease that is of its machine alone, and lasts.
fn judge_alone(bytes: &Bytes, lease: &RecordName, now: &Now) -> Option<(LeaseView, About)> {
    let (about, _) = copy::read(&bytes.bytes, RECORD_MAX).ok()?;
    let text = parse(&bytes.bytes, copy_max(RECORD_MAX));
    let observed = observe_text(&text, bytes.times, lease, now.host, |_| ProcessState::Unknown);
    let standing = judge(&observed, now);
    let view = LeaseView { lease: lease.clone(), observed, standing, copy: None };
    let lasts = matches!(view.standing, Standing::Held(_));
    let is_alone = record_of(&view).is_some_and(|record| Scope::of(record).is_none());
    (about.verified && lasts && is_alone).then_some((view, about))
}

fn record_of(view: &LeaseView) -> Option<&Record> {
    match &view.observed {
        Observed::Ours(record, ..) => Some(record),
        _ => None,
    }
}

/// What the observer says in a record, if that is a copy.
fn about_of(record: &Record) -> Option<About> {
    let is_copy = record.extra.iter().any(|(key, _)| key.starts_with(copy::PREFIX));
    is_copy.then(|| About::of(&record.to_fields()).ok()).flatten()
}

/// The node of a lease of the cluster.
pub fn node_of(view: &LeaseView) -> Option<Label> {
    let copied = view.copy.as_ref().map(|copy| copy.node.clone());
    copied.or_else(|| Some(Scope::of(record_of(view)?)?.node))
}
