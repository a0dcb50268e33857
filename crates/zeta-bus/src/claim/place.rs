//! The claims of a node by the places that they name: worktrees and branches. Only leases are read,
//! and no message, because a hook asks this before each edit.

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::is_claim_lease;
use zeta_core::evidence::ProcessState;
use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Observed, Record};
use zeta_core::name::RecordName;

use zeta_os::error::Result;
use zeta_state::context::NodeHandle;

/// A claim whose lease is held, and that names a branch or a worktree.
#[derive(Debug, Clone)]
pub struct PlacedClaim {
    /// The record of the lease.
    pub record: Record,
    /// The claim.
    pub claim: ClaimRecord,
    /// Whether the processes that vouch for it run.
    pub life: ProcessState,
}

/// Returns the claims of the node that name a place.
pub fn placed(handle: &NodeHandle<'_>) -> Result<Vec<PlacedClaim>> {
    let placed = |file: &String| {
        let Kind::Lease(name) = layout::kind_of(file) else { return None };
        let name = RecordName::new("lease", name).ok().filter(|name| is_claim_lease(name.as_str()));
        match super::held(handle, &name?).ok()??.observed {
            Observed::Ours(record, _, life) => {
                let claim = ClaimRecord::of(&record)?;
                let named = claim.branch.is_some() || claim.worktree.is_some();
                named.then_some(PlacedClaim { record: *record, claim, life })
            }
            _ => None,
        }
    };
    Ok(handle.node.list()?.names.iter().filter_map(placed).collect())
}
