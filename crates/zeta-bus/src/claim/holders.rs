//! The holders of items: combines the grants of the tree with the messages of the bus.

use zeta_core::bus::Address;
use zeta_core::bus::claim::{Action, ClaimMessage, holders};
use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::{CLAIM_PREFIX, Item, path_item, space_of};
use zeta_core::layout::{self, Kind};
use zeta_core::lease::Standing;
use zeta_core::name::RecordName;
use zeta_core::pattern::PathClaim;

use super::{Claimant, Holders, grant_view, held, lease_place, record_of};
use crate::directory::Bus;
use crate::directory::index::{BrokenClaim, Claims, INDEX_LIMIT, Index};
use crate::messages::not_a_message;
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_state::context::NodeHandle;
use zeta_state::lease::LeaseView;

/// The holders of items on one bus and one node.
pub(super) struct HolderView<'a> {
    bus: Option<&'a Bus>,
    handle: Option<&'a NodeHandle<'a>>,
}

impl<'a> HolderView<'a> {
    pub(super) fn new(bus: Option<&'a Bus>, handle: Option<&'a NodeHandle<'a>>) -> HolderView<'a> {
        HolderView { bus, handle }
    }

    /// Returns the holders of an item, and claims that cannot be read.
    pub(super) fn of_item(&self, item: &Item) -> Result<Holders> {
        let Some(bus) = self.bus else {
            let mut claimants = Vec::new();
            let alone = self.add_elsewhere(item, &mut claimants)?;
            return Ok(Holders { claimants, alone, ..Holders::default() });
        };
        let mut index = Index::enter_or_fail(bus, INDEX_LIMIT)?;
        index.refresh()?;
        let Claims { messages, broken } = index.claims(item, host::wall_us())?;
        drop(index);
        let mut claimants = self.by_messages(&messages, item.as_str());
        self.add_exclusive(bus, item, &mut claimants)?;
        self.add_sharers(bus, Some(item), &mut claimants)?;
        let alone = self.add_elsewhere(item, &mut claimants)?;
        Ok(Holders { claimants, alone, findings: findings(bus, &broken), note: None })
    }

    /// Returns the holders of an item.
    pub(super) fn claimants(&self, item: &Item) -> Result<Vec<Claimant>> {
        Ok(self.of_item(item)?.claimants)
    }

    /// Returns the ids of claim messages that the original believes, and whose grants have ended.
    pub(super) fn void(&self, messages: &[ClaimMessage], item: &Item) -> Vec<String> {
        let void = |message: &&ClaimMessage| {
            let grant = message.grant.as_ref().zip(self.handle);
            message.action == Action::Claim
                && grant
                    .is_some_and(|(grant, handle)| matches!(grant_view(handle, grant), Some(None)))
        };
        let mut believed = holders(messages, item.as_str(), |_| None);
        believed.retain(void);
        // If only the newest message were removed, the original would believe the one before it.
        let of_those =
            |message: &&ClaimMessage| believed.iter().any(|other| other.from == message.from);
        messages.iter().filter(of_those).filter(void).map(|message| message.id.clone()).collect()
    }

    /// Returns the holders of an item according to messages. A message of `zeta` counts only while
    /// its grant lasts.
    pub(super) fn by_messages(&self, messages: &[ClaimMessage], item: &str) -> Vec<Claimant> {
        let lasts = |grant: &_| grant_view(self.handle?, grant).map(|view| view.is_some());
        let view = |message: &ClaimMessage| -> Option<LeaseView> {
            grant_view(self.handle?, message.grant.as_ref()?).flatten()
        };
        holders(messages, item, lasts)
            .into_iter()
            .map(|message| Claimant::of_message(message, view(message)))
            .collect()
    }

    /// Adds the exclusive grants: they count even if their messages are gone.
    fn add_exclusive(&self, bus: &Bus, item: &Item, claimants: &mut Vec<Claimant>) -> Result<()> {
        leases(item, bus).iter().try_for_each(|lease| self.add(item, lease, claimants))
    }

    /// Adds the grant of a lease of an item, if it is held and not among them.
    pub(super) fn add(
        &self,
        item: &Item,
        lease: &RecordName,
        claimants: &mut Vec<Claimant>,
    ) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let Some(view) = held(handle, lease)? else { return Ok(()) };
        let token = record_of(&view).map(|record| record.fencing_token);
        if token.is_none() || !claimants.iter().any(|c| c.fencing_token() == token) {
            claimants.push(Claimant::of_grant(item.as_str(), view));
        }
        Ok(())
    }

    /// Adds the claim of the cluster that another machine holds, by the copy of this one. Returns
    /// the claims of other machines alone, which hold nothing here.
    fn add_elsewhere(&self, item: &Item, claimants: &mut Vec<Claimant>) -> Result<Vec<Claimant>> {
        let Some(handle) = self.handle else { return Ok(Vec::new()) };
        let lease = item.lease(CLUSTER, None);
        let found = handle.elsewhere(&lease, &prefix_of(&lease))?;
        let held = found.in_cluster.filter(|view| view.holding_node().is_some());
        held.into_iter().for_each(|view| push_elsewhere(claimants, item.as_str(), view));
        let is_of_item = |view: &LeaseView| {
            let claim = record_of(view).and_then(ClaimRecord::of);
            claim.is_some_and(|claim| claim.item == item.as_str())
        };
        let alone = found.alone.into_iter().filter(is_of_item);
        Ok(alone.map(|view| Claimant::of_grant(item.as_str(), view)).collect())
    }

    /// As [`HolderView::add_elsewhere`], for all items; returns what could not be read.
    fn add_all_elsewhere(&self, claimants: &mut Vec<Claimant>) -> Result<Vec<Error>> {
        let Some(handle) = self.handle else { return Ok(Vec::new()) };
        let (views, findings) = handle.all_elsewhere()?;
        for view in views.into_iter().filter(|view| view.holding_node().is_some()) {
            if let Some(item) = item_of(&view) {
                push_elsewhere(claimants, item.as_str(), view);
            }
        }
        Ok(findings)
    }

    /// Returns the holders of all items, by item, and claims that cannot be read.
    pub(super) fn of_all(&self) -> Result<Holders> {
        let mut of_paths = Vec::new();
        self.add_paths(&mut of_paths)?;
        let Some(bus) = self.bus else {
            let findings = self.add_all_elsewhere(&mut of_paths)?;
            return Ok(Holders { claimants: of_paths, findings, ..Holders::default() });
        };
        let mut index = Index::enter_or_fail(bus, INDEX_LIMIT)?;
        index.refresh()?;
        let Claims { mut messages, broken } = index.all_claims(host::wall_us())?;
        drop(index);
        // The grants of claims on paths are in the list already.
        let place = self.handle.map(lease_place);
        messages.retain(|message| {
            let grant = message.grant.as_ref().filter(|grant| Some(&grant.place) == place.as_ref());
            grant.is_none_or(|grant| space_of(&grant.lease).is_none())
        });
        messages.sort_by(|a, b| a.item.cmp(&b.item));
        let mut claimants = Vec::new();
        for of_item in messages.chunk_by(|a, b| a.item == b.item) {
            let item = of_item.first().map_or("", |message| message.item.as_str());
            claimants.extend(self.by_messages(of_item, item));
        }
        self.add_sharers(bus, None, &mut claimants)?;
        claimants.extend(of_paths);
        let mut faults = self.add_all_elsewhere(&mut claimants)?;
        faults.extend(findings(bus, &broken));
        claimants.sort_by(|a, b| (&a.item, &a.timestamp).cmp(&(&b.item, &b.timestamp)));
        Ok(Holders { claimants, findings: faults, ..Holders::default() })
    }

    /// Adds the claims on paths, one for each pattern.
    fn add_paths(&self, claimants: &mut Vec<Claimant>) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        for file in handle.node.list()?.names {
            let Kind::Lease(name) = layout::kind_of(&file) else { continue };
            if space_of(name).is_none() {
                continue;
            }
            let Ok(lease) = RecordName::new("lease", name) else { continue };
            for view in handle.views(&lease)? {
                if matches!(view.standing, Standing::Grantable(_)) {
                    continue;
                }
                let entries = record_of(&view).map_or(&[][..], |record| record.extra.as_slice());
                for pattern in PathClaim::of(entries).patterns {
                    let item = path_item(&lease, &pattern);
                    claimants.push(Claimant::of_grant(item.as_str(), view.clone()));
                }
            }
        }
        Ok(())
    }

    /// Adds grants whose messages are gone: those that share an item, or all grants of all items.
    pub(super) fn add_sharers(
        &self,
        bus: &Bus,
        item: Option<&Item>,
        claimants: &mut Vec<Claimant>,
    ) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let (prefix, exclusive) = match item {
            Some(item) => {
                let lease = item.lease(&scope(bus), None);
                (prefix_of(&lease), Some(lease))
            }
            None => (CLAIM_PREFIX.to_owned(), None),
        };
        for file in handle.node.list()?.names {
            let Kind::Lease(name) = layout::kind_of(&file) else { continue };
            if !name.starts_with(&prefix) || exclusive.as_ref().is_some_and(|e| e.as_str() == name)
            {
                continue;
            }
            let Ok(lease) = RecordName::new("lease", name) else { continue };
            let Some(view) = held(handle, &lease)? else { continue };
            let Some(record) = record_of(&view) else { continue };
            let Some(claim) = ClaimRecord::of(record) else { continue };
            let of_this_bus = claim.bus_dir.is_some_and(|dir| dir == scope(bus));
            let (token, lease) = (record.fencing_token, &record.lease);
            let known = |c: &Claimant| {
                let record = c.grant.as_deref().and_then(record_of);
                record.is_some_and(|r| r.fencing_token == token && r.lease == *lease)
            };
            if of_this_bus
                && item.is_none_or(|item| item.as_str() == claim.item)
                && !claimants.iter().any(known)
            {
                claimants.push(Claimant::of_grant(&claim.item, view));
            }
        }
        Ok(())
    }
}

/// How the names of all leases of the item of a lease begin, whichever bus they are of.
fn prefix_of(lease: &RecordName) -> String {
    let readable = lease.as_str().rsplit_once('.').map_or(CLAIM_PREFIX, |(front, _)| front);
    format!("{readable}.")
}

/// The item of a claim of the cluster. The store has no keys of a claim: the purpose names the
/// item, and the name of the lease shows that it is the right one.
fn item_of(view: &LeaseView) -> Option<Item> {
    let purpose = record_of(view)?.purpose.as_deref()?;
    let item = Item::new(purpose.strip_prefix(PURPOSE)?).ok()?;
    (item.lease(CLUSTER, None) == view.lease).then_some(item)
}

/// Adds the claim of another machine, in place of the message that announced it here, which also
/// says where the work is.
fn push_elsewhere(claimants: &mut Vec<Claimant>, item: &str, view: LeaseView) {
    let mut claim = Claimant::of_grant(item, view);
    let is_label = |from: &str| Address::new(from).is_ok_and(|from| from.as_label() == claim.from);
    let said = claimants.iter().position(|other| {
        let is_same = other.from == claim.from || is_label(&other.from);
        other.grant.is_none() && other.item == claim.item && is_same
    });
    if let Some(at) = said {
        let said = claimants.remove(at);
        (claim.from, claim.message) = (said.from, said.message);
        (claim.branch, claim.worktree) = (said.branch, said.worktree);
    }
    claimants.push(claim);
}

/// Makes the findings about claims that cannot be read.
pub(super) fn findings(bus: &Bus, broken: &[BrokenClaim]) -> Vec<Error> {
    let finding = |broken: &BrokenClaim| {
        let error = not_a_message(bus, &broken.file);
        let text = match &broken.item {
            Some(item) => format!("{}; it counts as a claim of {item:?}", error.text),
            None => format!("{}; it is a claim, and its item cannot be seen", error.text),
        };
        Error { text, ..error }
    };
    broken.iter().map(finding).collect()
}

/// How the purpose of a claim begins; its item follows.
pub(super) const PURPOSE: &str = "claim of ";

/// What stands for the bus in the name of a claim of the cluster: a path of one machine means
/// nothing on the others. No bus has this path, because it is not absolute.
const CLUSTER: &str = "cluster";

/// The exclusive leases of an item: that of the bus, and that of the cluster.
pub(super) fn leases(item: &Item, bus: &Bus) -> [RecordName; 2] {
    [item.lease(&scope(bus), None), item.lease(CLUSTER, None)]
}

/// Returns what distinguishes the claims of one bus from those of another.
pub(super) fn scope(bus: &Bus) -> String {
    bus.base.path.to_string_lossy().into_owned()
}
