//! The claims of other agents on what a tool is about to write, commit or push.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use zeta_core::evidence::ProcessState;
use zeta_core::hook::place::{
    Claim, InRepository, Life, OfBranch, Written, decide_branch, decide_edit, decide_path,
    of_branch, of_path,
};
use zeta_core::hook::shell_text::{GitCall, Verb, git_calls};
use zeta_core::hook::{Answer, Rule, Rules};
use zeta_core::lease::Record;
use zeta_core::pattern::{Pattern, RepoPath};
use zeta_core::shell::quote_word;

use super::repository::{self, Worktree};
use super::session::Session;
use zeta_bus::claim::place::{CoveringClaim, PlacedClaim, covering, places};
use zeta_os::error::Result;
use zeta_os::host;
use zeta_state::context::NodeHandle;
use zeta_state::lease::space::Space;

/// Returns the claims that cover a path, the caller's own among them.
fn who_has<'c>(claims: &'c [Claim], path: &Path) -> Vec<&'c Claim> {
    let written =
        Written { path: path.to_path_buf(), root: path.parent().and_then(repository::root) };
    of_path(claims, &written)
}

/// Checks paths that are about to be written.
pub(super) fn check_edit(
    session: &Session,
    handle: &NodeHandle<'_>,
    paths: &[PathBuf],
    rule: Rule,
) -> Result<Answer> {
    if rule == Rule::Off || paths.is_empty() {
        return Ok(Answer::Nothing);
    }
    let judge = Judge::new(session);
    let places = places(handle)?;
    let has_paths = !places.spaces.is_empty();
    let claims: Vec<Claim> = places.claims.into_iter().map(|placed| judge.placed(placed)).collect();
    let one = |path: &PathBuf| decide_edit(rule, path, &who_has(&claims, path));
    // One refusal is enough, and the first names the next step.
    let mut found = paths.iter().map(one).fold(Answer::Nothing, Answer::or_heavier);
    let mut fault = None;
    for path in paths.iter().filter(|_| has_paths) {
        match judge.path(handle, path, rule) {
            Ok(answer) => found = found.or_heavier(answer),
            Err(error) => fault = Some(error),
        }
    }
    match fault {
        Some(error) if found == Answer::Nothing => Err(error),
        _ => Ok(found),
    }
}

/// Checks the calls of git in a shell text that runs in `cwd`.
pub(super) fn check_shell(
    session: &Session,
    handle: &NodeHandle<'_>,
    text: &str,
    cwd: &Path,
    rules: Rules,
) -> Result<Answer> {
    let rule_of = |call: &GitCall| match call.verb {
        Verb::Commit => rules.commit,
        Verb::Push => rules.push,
    };
    let mut calls = git_calls(text);
    calls.retain(|call| rule_of(call) != Rule::Off);
    if calls.is_empty() {
        return Ok(Answer::Nothing);
    }
    let judge = Judge::new(session);
    let placed = places(handle)?.claims.into_iter();
    let claims: Vec<Claim> = placed.map(|placed| judge.placed(placed)).collect();
    if claims.iter().all(|claim| claim.branch.is_none()) {
        return Ok(Answer::Nothing);
    }
    let mut found = Answer::Nothing;
    for call in &calls {
        let dir = call.dirs.iter().fold(cwd.to_path_buf(), |dir, next| dir.join(at_home(next)));
        let Some(worktree) = repository::worktree(&repository::resolve(&dir)) else { continue };
        found = found.or_heavier(check_call(&claims, call, &worktree, rule_of(call)));
    }
    Ok(found)
}

fn check_call(claims: &[Claim], call: &GitCall, worktree: &Worktree, rule: Rule) -> Answer {
    let repository_of = |dir: &PathBuf| repository::worktree(dir).map(|found| found.repository);
    let of = |claim| OfBranch {
        claim,
        same_repository: claim
            .worktree
            .as_ref()
            .map(|dir| repository_of(dir).as_ref() == Some(&worktree.repository)),
    };
    let claims: Vec<OfBranch<'_>> = claims.iter().map(of).collect();
    let current = call.current.then(|| worktree.branch()).flatten();
    let branches = call.branches.iter().chain(current.as_ref());
    let one = |branch: &String| decide_branch(rule, &of_branch(&claims, branch));
    branches.map(one).fold(Answer::Nothing, Answer::or_heavier)
}

/// Resolves the home of this user, as a shell would.
fn at_home(dir: &str) -> PathBuf {
    match (dir.strip_prefix("~"), host::home()) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(dir),
    }
}

/// Judges claims for one agent.
struct Judge<'s> {
    session: &'s Session,
    now_us: i64,
    /// The agents that live: read for a claim only whose processes say nothing.
    living: OnceCell<Vec<String>>,
}

impl Judge<'_> {
    fn new(session: &Session) -> Judge<'_> {
        Judge { session, now_us: host::wall_us(), living: OnceCell::new() }
    }

    /// Judges a claim of an item. A relative worktree names none.
    fn placed(&self, placed: PlacedClaim) -> Claim {
        let worktree = placed.claim.worktree.map(PathBuf::from).filter(|dir| dir.is_absolute());
        Claim {
            holder: placed.claim.from,
            worktree: worktree.map(|dir| repository::resolve(&dir)),
            branch: placed.claim.branch,
            ..self.claim(Some(&placed.record), placed.life, placed.claim.item)
        }
    }

    /// Judges a claim by the record of its grant.
    fn claim(&self, record: Option<&Record>, life: ProcessState, item: String) -> Claim {
        let own = record.is_some_and(|record| self.session.owns(record));
        let lives = |record: &Record| {
            let living = self.living.get_or_init(|| self.session.living());
            living.iter().any(|known| known == record.agent.as_str())
        };
        let lives = life == ProcessState::Alive || (!own && record.is_some_and(lives));
        let age_us = record.and_then(|record| Some(self.now_us - record.acquired_us?));
        Claim {
            item,
            holder: record.map_or("unknown", |record| record.agent.as_str()).to_owned(),
            worktree: None,
            branch: None,
            age_s: age_us.and_then(|age_us| u64::try_from(age_us / 1_000_000).ok()),
            life: if lives { Life::Live } else { Life::Unsure },
            own,
        }
    }

    /// Checks a path against the claims on paths of its repository.
    fn path(&self, handle: &NodeHandle<'_>, path: &Path, rule: Rule) -> Result<Answer> {
        let dir = path.parent().filter(|dir| repository::root(dir).is_some());
        let Some(dir) = dir else { return Ok(Answer::Nothing) };
        let space = Space::find(dir)?;
        let below = space.below(path).unwrap_or_default();
        let Ok(below) = RepoPath::new(&below) else { return Ok(Answer::Nothing) };
        let claims = covering(handle, &space.lease, below, &space.worktree())?;
        let text = Pattern::of_path(below).map(|pattern| Space::from_anywhere(&pattern));
        let arguments = text.ok().map(|text| format!("--path {}", quote_word(&text)));
        let judged = |claim: &CoveringClaim| {
            self.claim(claim.record.as_deref(), claim.life, claim.patterns.clone())
        };
        let judged: Vec<Claim> = claims.iter().map(judged).collect();
        let shared = claims.iter().all(|claim| claim.shared);
        let written = InRepository { path, arguments, shared };
        Ok(decide_path(rule, &written, &judged.iter().collect::<Vec<_>>()))
    }
}
