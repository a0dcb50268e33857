//! Leaving: the node's file is taken off the default branch, through a pull request again; and the
//! nodes that are there.

use zeta_core::registration::node::{ClusterNode, EXPIRES_AT};
use zeta_core::registration::{Pull, node_path};
use zeta_core::time::parse_utc;

use crate::adapters::forge::{Forge, PullDraft, Trouble};
use crate::adapters::git::{Author, Remote, Repo};
use crate::adapters::{host, yaml};
use crate::error::{Error, Kind, Result};

/// How long a node may be overdue before it counts as dead, in µs.
const GRACE_US: i64 = 3 * 86_400 * 1_000_000;

/// What taking a node off came to.
#[derive(Debug, Clone)]
pub enum Left {
    /// It is not on the default branch.
    Gone,
    /// We opened a pull request that removes it.
    Opened(Pull),
    /// One that removes it is open already.
    Waiting,
}

/// Opens a pull request that removes a node.
pub fn deregister(
    remote: &Remote,
    base: Option<&str>,
    forge: &dyn Forge,
    (maintainer, node): (&str, &str),
    reason: &str,
    author: &Author,
) -> Result<Left> {
    let repo = Repo::new(remote.clone())?;
    let base = repo.fetch(base)?;
    let path = node_path(maintainer, node);
    if repo.blob(&base.commit, &path)?.is_none() {
        return Ok(Left::Gone);
    }
    let title = format!("deregister(cluster-node): {node}");
    let message = format!("{title}\n\n{reason}\n");
    // The base's own commit, so that the same base gives the same commit.
    let at_s = host::wall_us() / 1_000_000;
    let commit = repo.commit(&base, &path, None, &message, (author, at_s))?;
    let branch = format!("deregister-node-{node}");
    let tips = repo.branches(&format!("refs/heads/{branch}"))?;
    let tip = tips.iter().find(|(name, _)| *name == branch).map(|(_, commit)| commit.as_str());
    if tip.is_none() {
        repo.push(&commit, &branch, None)?;
    }
    let body = format!(
        "Removes `{path}`.\n\nReason: {reason}\n\n<!-- zeta-node-deregistration: {node} -->\n"
    );
    match forge.open(&PullDraft { branch, base: base.branch, title, body }) {
        Ok(pull) => Ok(Left::Opened(pull)),
        Err(Trouble::Conflict(_)) => Ok(Left::Waiting),
        Err(trouble) => Err(super::register::trouble(&trouble, &forge.name())),
    }
}

/// A node of the default branch.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its file.
    pub path: String,
    /// What it says; why it could not be read otherwise.
    pub node: std::result::Result<ClusterNode, String>,
    /// It has an end, and that is over by more than the grace.
    pub dead: bool,
}

/// All nodes of the default branch.
pub fn list(remote: &Remote, base: Option<&str>) -> Result<Vec<Listed>> {
    let repo = Repo::new(remote.clone())?;
    let base = repo.fetch(base)?;
    let mut nodes = Vec::new();
    for path in repo.files(&base.commit, "maintainers/")? {
        if !path.ends_with("/node.yaml") || !path.contains("/cluster-nodes/") {
            continue;
        }
        let text = repo.content(&base.commit, &path)?;
        let node = yaml::read(text.as_bytes()).map_err(|error: Error| error.text);
        let until = node.as_ref().ok().and_then(|node| node.metadata.annotations.get(EXPIRES_AT));
        let dead = until
            .and_then(|until| parse_utc(until).ok())
            .is_some_and(|until_us| host::wall_us() > until_us.saturating_add(GRACE_US));
        nodes.push(Listed { path, node, dead });
    }
    match nodes.is_empty() {
        false => Ok(nodes),
        true => Err(Error::new(Kind::NotFound, "no node is registered there")
            .hint("register this one: zeta node register")),
    }
}
