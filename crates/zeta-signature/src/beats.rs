//! Signed commits as signs of life: when each agent committed last, by the history itself.

use std::path::Path;

use zeta_core::signature::audit::{Reader, Signed};
use zeta_core::signature::beat::{Beat, Beats};
use zeta_os::error::Result;

use crate::log::{Limits, Log};
use crate::repository;

/// Most commits that are read.
const COMMITS_MAX: u64 = 5000;

/// The beats of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Of each agent, the newest first.
    pub beats: Vec<Beat>,
    /// How many commits were read, signed or not.
    pub commits: u64,
    /// How many of them lie in the future, and count as no sign of life.
    pub in_the_future: u64,
}

/// Reads the signed commits of a branch since a time, the newest 5000 at most.
///
/// # Errors
/// There is no such repository or branch, or git fails.
pub fn read(dir: &Path, branch: &str, since_us: i64, now_us: i64) -> Result<Seen> {
    let found = repository::commit(dir, branch)?;
    let limits = Limits { max: Some(COMMITS_MAX), since_us: Some(since_us) };
    let (mut all, mut commits) = (Beats::default(), 0);
    Log::open(dir, &found.tips(), limits)?.each(|commit| {
        commits += 1;
        let signed = Signed::of(commit.message);
        if let Some(block) = signed.block(Reader::Anywhere) {
            all.add(commit.id, commit.at_us, block, now_us);
        }
        Ok(())
    })?;
    let in_the_future = all.in_the_future;
    Ok(Seen { beats: all.done(), commits, in_the_future })
}
