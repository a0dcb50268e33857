//! The claims of a node by the places that they name: worktrees, branches, paths. Only leases are
//! read, and no message, because a hook asks this before each edit.

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::{is_claim_lease, space_of};
use zeta_core::bus::note::Note;
use zeta_core::evidence::{ProcessState, Processes};
use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Observed, Record, Standing, judge};
use zeta_core::name::RecordName;
use zeta_core::pattern::{Mode, PathClaim, RepoPath};
use zeta_core::record::parse;
use zeta_core::time::Host;

use super::note;
use super::paths::report::paths;
use zeta_os::error::Result;
use zeta_os::process;
use zeta_state::context::NodeHandle;
use zeta_state::lease::{LeaseView, observe_text};

/// A claim whose lease is held, and that names a branch or a worktree, or was handed over.
#[derive(Debug, Clone)]
pub struct PlacedClaim {
    /// The record of the lease.
    pub record: Record,
    /// The claim.
    pub claim: ClaimRecord,
    /// Whether the processes that vouch for it run.
    pub life: ProcessState,
}

impl PlacedClaim {
    /// Returns the note that its holder has from the one before.
    pub fn note(&self, handle: &NodeHandle<'_>) -> Option<Note> {
        note::of_lease(handle, &self.record.lease, &self.claim.item)
    }
}

/// The claims of a node that name a place.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Those that name a branch or a worktree, or wait for their new holder.
    pub claims: Vec<PlacedClaim>,
    /// The joint leases of claims on paths: one for each repository.
    pub spaces: Vec<RecordName>,
}

/// Returns the claims of the node that name a place.
pub fn places(handle: &NodeHandle<'_>) -> Result<Places> {
    let mut places = Places::default();
    let mut evidence = Evidence::default();
    for file in handle.node.list()?.names {
        let Kind::Lease(name) = layout::kind_of(&file) else { continue };
        let Ok(name) = RecordName::new("lease", name) else { continue };
        if is_claim_lease(name.as_str()) {
            places.claims.extend(placed(handle, &name, &mut evidence));
        } else if space_of(name.as_str()).is_some() {
            places.spaces.push(name);
        }
    }
    Ok(places)
}

/// Returns the claim on a lease, if it is held and names a place or was handed over.
fn placed(
    handle: &NodeHandle<'_>,
    lease: &RecordName,
    evidence: &mut Evidence,
) -> Option<PlacedClaim> {
    let bytes = handle.read(&layout::lease_file(lease), layout::RECORD_MAX).ok()??;
    let text = parse(&bytes.bytes, layout::RECORD_MAX);
    let host = &handle.ctx.host;
    let life = |processes: &Processes| evidence.life(processes, host);
    let observed = observe_text(&text, bytes.times, lease, host, life);
    if matches!(judge(&observed, &handle.ctx.now()), Standing::Grantable(_)) {
        return None;
    }
    match observed {
        Observed::Ours(record, _, life) => {
            let claim = ClaimRecord::of(&record)?;
            let named = claim.branch.is_some() || claim.worktree.is_some();
            (named || claim.handed_over).then_some(PlacedClaim { record: *record, claim, life })
        }
        _ => None,
    }
}

/// The states of processes that were asked for: the claims of a session name the same ones.
#[derive(Default)]
struct Evidence(Vec<(Processes, ProcessState)>);

impl Evidence {
    fn life(&mut self, processes: &Processes, host: &Host) -> ProcessState {
        if let Some((_, life)) = self.0.iter().find(|(known, _)| known == processes) {
            return *life;
        }
        let life = process::life(processes, host);
        self.0.push((*processes, life));
        life
    }
}

/// A claim on paths that covers one.
#[derive(Debug, Clone)]
pub struct CoveringClaim {
    /// The record of its grant; `None` if that cannot be read.
    pub record: Option<Box<Record>>,
    /// Whether the processes that vouch for it run.
    pub life: ProcessState,
    /// Whether it stands beside other shared ones.
    pub shared: bool,
    /// Its patterns.
    pub patterns: String,
}

/// Returns the claims on paths of a space that are held and cover a path of one worktree.
pub fn covering(
    handle: &NodeHandle<'_>,
    lease: &RecordName,
    path: RepoPath<'_>,
    worktree: &str,
) -> Result<Vec<CoveringClaim>> {
    let mut views = handle.claims_covering(lease, path, worktree)?;
    views.retain(|view| !matches!(view.standing, Standing::Grantable(_)));
    let claim = |view: LeaseView| {
        let (record, life) = match view.observed {
            Observed::Ours(record, _, life) => (Some(record), life),
            _ => (None, ProcessState::Unknown),
        };
        let claim = PathClaim::of(record.as_ref().map_or(&[], |record| record.extra.as_slice()));
        let shared = claim.mode == Mode::Shared;
        CoveringClaim { record, life, shared, patterns: paths(&claim) }
    };
    Ok(views.into_iter().map(claim).collect())
}
