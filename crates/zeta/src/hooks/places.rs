//! The claims of other agents on what a tool is about to write, commit or push.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use zeta_core::evidence::ProcessState;
use zeta_core::hook::place::{
    Claim, Life, OfBranch, Written, decide_branch, decide_edit, of_branch, of_path,
};
use zeta_core::hook::shell_text::{GitCall, Verb, git_calls};
use zeta_core::hook::{Answer, Rule, Rules};

use super::repository::{self, Worktree};
use super::session::Session;
use zeta_bus::claim::place::PlacedClaim;
use zeta_os::error::Result;
use zeta_os::host;

/// Returns the claims that cover a path, the caller's own among them.
fn who_has<'c>(claims: &'c [Claim], path: &Path) -> Vec<&'c Claim> {
    let written =
        Written { path: path.to_path_buf(), root: path.parent().and_then(repository::root) };
    of_path(claims, &written)
}

/// Checks paths that are about to be written.
pub(super) fn check_edit(session: &Session, paths: &[PathBuf], rule: Rule) -> Result<Answer> {
    if rule == Rule::Off || paths.is_empty() {
        return Ok(Answer::Nothing);
    }
    let claims = claims(session)?;
    let one = |path: &PathBuf| decide_edit(rule, path, &who_has(&claims, path));
    // One refusal is enough, and the first names the next step.
    Ok(paths.iter().map(one).max_by_key(rank).unwrap_or_default())
}

/// Checks the calls of git in a shell text that runs in `cwd`.
pub(super) fn check_shell(
    session: &Session,
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
    let claims = claims(session)?;
    if claims.iter().all(|claim| claim.branch.is_none()) {
        return Ok(Answer::Nothing);
    }
    let mut found = Answer::Nothing;
    for call in &calls {
        let dir = call.dirs.iter().fold(cwd.to_path_buf(), |dir, next| dir.join(at_home(next)));
        let Some(worktree) = repository::worktree(&repository::resolve(&dir)) else { continue };
        let answer = check_call(&claims, call, &worktree, rule_of(call));
        if rank(&answer) > rank(&found) {
            found = answer;
        }
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
    let one = |branch: &String| decide_branch(rule, branch, &of_branch(&claims, branch));
    branches.map(one).max_by_key(rank).unwrap_or_default()
}

/// The weight of an answer, whatever its text.
fn rank(answer: &Answer) -> u8 {
    match answer {
        Answer::Nothing => 0,
        Answer::Tell(_) => 1,
        Answer::Refuse(_) => 2,
    }
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

/// Returns the claims of the node that name a place. A relative worktree names none.
fn claims(session: &Session) -> Result<Vec<Claim>> {
    let now_us = host::wall_us();
    // Read for a claim only whose processes say nothing.
    let living = OnceCell::new();
    let lives = |name: &str| {
        let living = living.get_or_init(|| session.living());
        living.iter().any(|known| known == name)
    };
    let claim = |placed: PlacedClaim| {
        let own = session.owns(&placed);
        let lives =
            placed.life == ProcessState::Alive || (!own && lives(placed.record.agent.as_str()));
        let age_us = placed.record.acquired_us.map(|acquired_us| now_us - acquired_us);
        let worktree = placed.claim.worktree.map(PathBuf::from).filter(|dir| dir.is_absolute());
        Claim {
            item: placed.claim.item,
            holder: placed.claim.from,
            worktree: worktree.map(|dir| repository::resolve(&dir)),
            branch: placed.claim.branch,
            age_s: age_us.and_then(|age_us| u64::try_from(age_us / 1_000_000).ok()),
            life: if lives { Life::Live } else { Life::Unsure },
            own,
        }
    };
    Ok(session.claims()?.into_iter().map(claim).collect())
}
