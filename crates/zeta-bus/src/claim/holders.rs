//! Who holds what: the grants of the tree and the messages of the bus, looked at together.

use zeta_core::bus::claim::{Action, ClaimMessage, holders};
use zeta_core::bus::item::Item;
use zeta_core::layout::{self, Kind};
use zeta_core::name::RecordName;

use super::{Claimant, extra_text, held, key, look_at, record_of};
use crate::directory::Bus;
use crate::directory::index::INDEX_LIMIT;
use crate::directory::index::Index;
use zeta_os::error::Result;
use zeta_os::host;
use zeta_state::context::NodeHandle;
use zeta_state::lease::LeaseView;

/// How the lease of a claim begins.
const PREFIX: &str = "claim.";

/// A view on one bus and one node.
pub(super) struct HolderView<'a> {
    bus: Option<&'a Bus>,
    handle: Option<&'a NodeHandle<'a>>,
}

impl<'a> HolderView<'a> {
    pub(super) fn new(bus: Option<&'a Bus>, handle: Option<&'a NodeHandle<'a>>) -> HolderView<'a> {
        HolderView { bus, handle }
    }

    /// Who holds an item.
    pub(super) fn claimants(&self, item: &Item) -> Result<Vec<Claimant>> {
        let Some(bus) = self.bus else { return Ok(Vec::new()) };
        let mut index = Index::enter_or_fail(bus, INDEX_LIMIT)?;
        index.refresh()?;
        let notices = index.notices(item, host::wall_us())?;
        drop(index);
        let mut claimants = self.by_notices(&notices, item.as_str());
        self.add_exclusive(bus, item, &mut claimants)?;
        self.add_sharers(bus, Some(item), &mut claimants)?;
        Ok(claimants)
    }

    /// Claims of senders whom the original believes, and whose grants stand no more.
    pub(super) fn void(&self, notices: &[ClaimMessage], item: &Item) -> Vec<String> {
        let void = |notice: &&ClaimMessage| {
            let grant = notice.grant.as_ref().zip(self.handle);
            notice.action == Action::Claim
                && grant.is_some_and(|(grant, handle)| matches!(look_at(handle, grant), Some(None)))
        };
        let mut believed = holders(notices, item.as_str(), |_| None);
        believed.retain(void);
        // With the newest word alone, the one before it would be believed.
        let of_those =
            |notice: &&ClaimMessage| believed.iter().any(|other| other.from == notice.from);
        notices.iter().filter(of_those).filter(void).map(|notice| notice.id.clone()).collect()
    }

    /// Those who hold an item by what messages say. A mirror counts while its grant stands.
    pub(super) fn by_notices(&self, notices: &[ClaimMessage], item: &str) -> Vec<Claimant> {
        let stands = |grant: &_| look_at(self.handle?, grant).map(|look| look.is_some());
        let look = |notice: &ClaimMessage| -> Option<LeaseView> {
            look_at(self.handle?, notice.grant.as_ref()?).flatten()
        };
        holders(notices, item, stands)
            .into_iter()
            .map(|notice| Claimant::of_notice(notice, look(notice)))
            .collect()
    }

    /// The exclusive grant counts, whatever became of its message.
    fn add_exclusive(&self, bus: &Bus, item: &Item, claimants: &mut Vec<Claimant>) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let lease = item.lease(&scope(bus), None);
        let Some(look) = held(handle, &lease)? else { return Ok(()) };
        let token = record_of(&look).map(|record| record.fencing_token);
        if token.is_none() || !claimants.iter().any(|c| c.fencing_token() == token) {
            claimants.push(Claimant::of_grant(item.as_str(), look));
        }
        Ok(())
    }

    /// Who holds anything, by item.
    pub(super) fn all_claimants(&self) -> Result<Vec<Claimant>> {
        let Some(bus) = self.bus else { return Ok(Vec::new()) };
        let mut index = Index::enter_or_fail(bus, INDEX_LIMIT)?;
        index.refresh()?;
        let mut claimants = Vec::new();
        for digest in index.item_digests()? {
            let notices = index.notices_by_digest(&digest, host::wall_us())?;
            if notices.iter().all(|notice| notice.until_us.is_none()) {
                index.forget_item(&digest)?;
                continue;
            }
            let mut items: Vec<&str> = notices.iter().map(|n| n.item.as_str()).collect();
            items.sort_unstable();
            items.dedup();
            for item in items {
                claimants.extend(self.by_notices(&notices, item));
            }
        }
        drop(index);
        self.add_sharers(bus, None, &mut claimants)?;
        claimants.sort_by(|a, b| (&a.item, &a.timestamp).cmp(&(&b.item, &b.timestamp)));
        Ok(claimants)
    }

    /// Grants whose messages are gone: those that share an item, or all of all items.
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
                let readable = lease.as_str().rsplit_once('.').map_or(PREFIX, |(front, _)| front);
                (format!("{readable}."), Some(lease))
            }
            None => (PREFIX.to_owned(), None),
        };
        for file in handle.node.list()?.names {
            let Kind::Lease(name) = layout::kind_of(&file) else { continue };
            if !name.starts_with(&prefix) || exclusive.as_ref().is_some_and(|e| e.as_str() == name)
            {
                continue;
            }
            let Ok(lease) = RecordName::new("lease", name) else { continue };
            let Some(look) = held(handle, &lease)? else { continue };
            let Some(record) = record_of(&look) else { continue };
            let ours = extra_text(record, key::BUS).is_some_and(|dir| dir == scope(bus));
            let (token, lease) = (record.fencing_token, &record.lease);
            let known = |c: &Claimant| {
                let record = c.grant.as_deref().and_then(record_of);
                record.is_some_and(|r| r.fencing_token == token && r.lease == *lease)
            };
            if let Some(about) = extra_text(record, key::ITEM)
                && ours
                && item.is_none_or(|item| item.as_str() == about)
                && !claimants.iter().any(known)
            {
                claimants.push(Claimant::of_grant(&about, look));
            }
        }
        Ok(())
    }
}

/// What keeps the claims of one bus apart from those of another.
pub(super) fn scope(bus: &Bus) -> String {
    bus.base.path.to_string_lossy().into_owned()
}
