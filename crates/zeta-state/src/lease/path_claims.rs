//! Questions about claims on paths: the index shows which grants to read.

use zeta_core::bus::grant::is_handed_over;
use zeta_core::layout;
use zeta_core::lease::{Observed, Record};
use zeta_core::name::RecordName;
use zeta_core::pattern::index::Index;
use zeta_core::pattern::{PathClaim, RepoPath};

use super::joint::index::named_outside;
use super::joint::{Grants, look_again, standing_of};
use super::{LeaseView, view};
use crate::context::NodeHandle;
use zeta_os::error::Result;

impl NodeHandle<'_> {
    /// Returns the claims on paths of a space that `claim` excludes, without taking any lock, up to
    /// so many that `counts` is true of.
    pub fn excluded_claims(
        &self,
        lease: &RecordName,
        claim: &PathClaim,
        most: usize,
        counts: impl Fn(&LeaseView) -> bool,
    ) -> Result<Vec<LeaseView>> {
        let excluded = |record: &Record| claim.excludes(&PathClaim::of(&record.extra));
        self.claims_on_paths(lease, |index| index.excluded_by(claim), excluded, most, counts)
    }

    /// Returns the claims on paths of a space that have one of the patterns of `claim`, where a
    /// slash at the end of a path does not count, and all that were handed over and not acquired
    /// since.
    pub fn claims_naming(&self, lease: &RecordName, claim: &PathClaim) -> Result<Vec<LeaseView>> {
        let names = |record: &Record| {
            is_handed_over(&record.extra) || PathClaim::of(&record.extra).shares_name(claim)
        };
        self.claims_on_paths(lease, |index| index.naming(claim), names, usize::MAX, |_| true)
    }

    /// Returns the claims on paths of a space that cover `path` of the worktree whose top is
    /// `worktree`, without taking any lock.
    pub fn claims_covering(
        &self,
        lease: &RecordName,
        path: RepoPath<'_>,
        worktree: &str,
    ) -> Result<Vec<LeaseView>> {
        let covers = |record: &Record| PathClaim::of(&record.extra).covers(path, worktree);
        self.claims_on_paths(lease, |index| index.covering(path), covers, usize::MAX, |_| true)
    }

    /// Returns the claims on paths that `ask` finds in the index, and that `wanted` is true of, up
    /// to so many that `counts` is true of.
    fn claims_on_paths(
        &self,
        lease: &RecordName,
        ask: impl for<'i> Fn(&Index<'i>) -> Vec<&'i str>,
        wanted: impl Fn(&Record) -> bool,
        most: usize,
        counts: impl Fn(&LeaseView) -> bool,
    ) -> Result<Vec<LeaseView>> {
        let now = self.ctx.now();
        let one = view(self.read(&layout::lease_file(lease), layout::RECORD_MAX)?, lease, &now);
        if standing_of(&one.observed).is_none() {
            return Ok(Vec::from_iter((one.observed != Observed::Absent).then_some(one)));
        }
        let base = &self.tree.base;
        let Some(grants) = Grants::open(base, &self.node, lease)? else { return Ok(Vec::new()) };
        look_again(|| {
            let (mut found, mut counted, mut was_gone) = (Vec::new(), 0, false);
            for file in named_outside(base, &self.node, &grants, lease, now.host, &ask)? {
                let Some(bytes) = grants.read(base, &file)? else {
                    was_gone = true;
                    continue;
                };
                let view = view(Some(bytes), lease, &now);
                let is_wanted = match &view.observed {
                    Observed::Ours(record, ..) => wanted(record),
                    _ => true,
                };
                if is_wanted {
                    counted += usize::from(counts(&view));
                    found.push(view);
                    if counted == most {
                        break;
                    }
                }
            }
            Ok((found, was_gone))
        })
    }
}
