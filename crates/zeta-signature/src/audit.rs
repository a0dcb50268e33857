//! The audit of a history: each commit is read once, judged, and given on.

use std::path::{Path, PathBuf};

use zeta_core::signature::audit::{
    Class, Commit, Judgement, Reader, SHIP_SEARCH, Ship, Signed, judge, ship_of,
};
use zeta_core::signature::co_author::CoAuthors;
use zeta_os::error::Result;

use crate::log::{Limits, Log};
use crate::repository::{self, Revisions};

/// Which commits are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest commit of a branch, or as many as the caller says.
    Branch(String),
    /// All of a range.
    Range(String),
    /// One commit of a branch.
    Commit {
        /// The commit.
        commit: String,
        /// The branch, in which the convention began.
        branch: String,
    },
}

/// What is asked.
#[derive(Debug)]
pub struct Request {
    /// The repository.
    pub dir: PathBuf,
    /// Which commits.
    pub which: Which,
    /// At most so many.
    pub max: Option<u64>,
    /// Only those since this time, in µs since 1970 (UTC).
    pub since_us: Option<i64>,
    /// When the convention began, if the caller knows.
    pub ship_us: Option<i64>,
    /// Which reader decides.
    pub reader: Reader,
    /// Which co-authors are agents.
    pub agents: CoAuthors,
}

/// A commit, and the judgement on it.
#[derive(Debug)]
pub struct Row<'r> {
    /// The commit.
    pub commit: &'r Commit<'r>,
    /// Its block, in both ways of reading.
    pub signed: &'r Signed<'r>,
    /// The judgement.
    pub judgement: &'r Judgement,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many commits of each class there are, in the order of [`Class::ALL`].
    pub counts: [u64; 4],
    /// When the convention began.
    pub ship: Ship,
    /// The repository has no commits beyond some depth, so the convention may be older.
    pub is_shallow: bool,
}

impl Summary {
    /// How many commits are of a class.
    pub fn of(&self, class: Class) -> u64 {
        self.counts.get(class as usize).copied().unwrap_or(0)
    }
}

/// Judges the commits, the newest first. `begin` gets when the convention began, before the first.
///
/// # Errors
/// There is no such repository or commit; git fails, or `each` does.
pub fn run(
    request: &Request,
    begin: impl FnOnce(Ship) -> Result<()>,
    mut each: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<Summary> {
    let Request { dir, max, since_us, .. } = request;
    let (shown, searched, max) = match &request.which {
        Which::Branch(name) => {
            let found = repository::commit(dir, name)?;
            // As the original does: without a limit, the tip alone.
            (found.clone(), found, max.or(since_us.is_none().then_some(1)))
        }
        Which::Range(name) => {
            let found = repository::resolve(dir, name)?;
            (found.clone(), found, *max)
        }
        Which::Commit { commit, branch } => {
            let shown = repository::commit(dir, commit)?;
            (shown, repository::commit(dir, branch)?, Some(1))
        }
    };
    let ids: Vec<&str> = shown.ids.iter().map(String::as_str).collect();
    // git begins to read while the newest commits are searched.
    let log = Log::open(dir, &ids, Limits { max, since_us: *since_us })?;
    let ship = match request.ship_us {
        Some(ship_us) => Ship::Given(ship_us),
        None => find_ship(dir, &searched, request.reader)?,
    };
    begin(ship)?;
    let mut counts = [0; 4];
    log.each(|commit| {
        let signed = Signed::of(commit.message);
        let judgement = judge(commit, &signed, (request.reader, ship), &request.agents);
        if let Some(count) = counts.get_mut(judgement.class as usize) {
            *count += 1;
        }
        each(&Row { commit, signed: &signed, judgement: &judgement })
    })?;
    Ok(Summary { counts, ship, is_shallow: searched.is_shallow })
}

/// Finds when the convention began: the oldest signed commit among the newest of the branch.
fn find_ship(dir: &Path, revisions: &Revisions, reader: Reader) -> Result<Ship> {
    let limits = Limits { max: Some(SHIP_SEARCH as u64), since_us: None };
    let mut oldest = None;
    Log::open(dir, &revisions.tips(), limits)?.each(|commit| {
        if Signed::of(commit.message).block(reader).is_some() {
            let at_us = oldest.unwrap_or(commit.at_us).min(commit.at_us);
            oldest = Some(at_us);
        }
        Ok(())
    })?;
    Ok(ship_of(oldest))
}
