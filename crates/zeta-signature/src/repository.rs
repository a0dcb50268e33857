//! What git says about a repository: which commits a name means, and settings.

use std::path::Path;

use zeta_core::signature::trailer::COMMENT;
use zeta_os::error::{Error, Result};
use zeta_os::git;

/// Commits of a history, by their ids: git takes none of these for an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revisions {
    /// The ids; one with `^` in front leaves out what it can reach.
    pub ids: Vec<String>,
    /// The repository has no commits beyond some depth.
    pub is_shallow: bool,
}

impl Revisions {
    /// The same, without what is left out.
    pub fn tips(&self) -> Vec<&str> {
        let tips = self.ids.iter().filter(|id| !id.starts_with('^'));
        tips.map(String::as_str).collect()
    }
}

/// Finds the commits that a name means: a branch, a tag, an id, or a range such as `v1..main`.
///
/// # Errors
/// There is no repository, or no such commit in it.
pub fn resolve(dir: &Path, name: &str) -> Result<Revisions> {
    // What a name alone means may be a file of a commit.
    if !name.contains("..") {
        return commit(dir, name);
    }
    find(dir, name, name)
}

fn find(dir: &Path, name: &str, asked: &str) -> Result<Revisions> {
    let unknown = || Error::usage(format!("{name:?} is no commit, branch or range here"));
    if name.starts_with('-') || name.is_empty() {
        return Err(unknown());
    }
    let args = ["rev-parse", "--is-shallow-repository", "--revs-only", asked, "--"];
    let said = git::answer(dir, &args).map_err(|error| match repository_is_there(dir) {
        Ok(()) => unknown(),
        Err(_) => error,
    })?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let (flag, ids): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| matches!(*line, "true" | "false"));
    let is_id = |id: &&str| {
        let id = id.strip_prefix('^').unwrap_or(id);
        id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if ids.iter().all(|id| id.starts_with('^')) || !ids.iter().all(is_id) {
        return Err(unknown());
    }
    let ids = ids.into_iter().map(str::to_owned).collect();
    Ok(Revisions { ids, is_shallow: flag.contains(&"true") })
}

/// Finds one commit.
///
/// # Errors
/// As [`resolve`]; a range is no commit.
pub fn commit(dir: &Path, name: &str) -> Result<Revisions> {
    let found = find(dir, name, &format!("{name}^{{commit}}"))?;
    match found.ids.as_slice() {
        [id] if !id.starts_with('^') => Ok(found),
        _ => Err(Error::usage(format!("{name:?} is no single commit"))),
    }
}

fn repository_is_there(dir: &Path) -> Result<()> {
    git::answer(dir, &["rev-parse", "--git-dir"]).map(|_| ())
}

/// Returns what begins a comment in a message (`core.commentChar`, `core.commentString`).
pub fn comment(dir: &Path) -> Vec<u8> {
    let named = "^core\\.comment(char|string)$";
    let said = git::answer(dir, &["config", "--get-regexp", named]).unwrap_or_default();
    let last = said.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let value = last.and_then(|line| line.split(|byte| *byte == b' ').nth(1));
    // With "auto", git chooses one that no line of the message begins with.
    match value {
        Some(value) if !value.is_empty() && value != b"auto" => value.to_vec(),
        _ => COMMENT.to_vec(),
    }
}

/// Returns the address that a commit of the caller would have.
pub fn committer(dir: &Path) -> Option<String> {
    let said = git::answer(dir, &["var", "GIT_COMMITTER_IDENT"]).ok()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let (_, rest) = said.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    Some(address.to_owned()).filter(|address| !address.is_empty())
}
