//! The removal of a node's file from the default branch, by a pull request again; and the list of
//! the nodes that are there.

use zeta_core::name::Label;
use zeta_core::registration::expiry::{Expiry, expiry};
use zeta_core::registration::node::ClusterNode;
use zeta_core::registration::{Answer, Pull, PullState, leave_branch, node_of_path, node_path};

use super::IN_FLIGHT;
use crate::git::Repo;
use crate::node::exclusive::with_lease;
use crate::node::proposal::{Before, Proposal, ProposeError, Proposed, propose};
use crate::node::repository::{Connection, author, check_maintainer};
use crate::node_yaml;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::Context;
use zeta_state::lease::acquire::Refusal;

/// The result of a removal.
#[derive(Debug, Clone)]
pub enum Left {
    /// The node is not on the default branch.
    Gone,
    /// This call opened a pull request that removes it.
    Opened(Pull),
    /// One that removes it is open already.
    Waiting(Pull),
    /// One was closed: a person decided that the node stays.
    Stays(Pull),
    /// Another agent of this machine opens a pull request right now.
    InFlight(Box<Refusal>),
}

/// Opens a pull request that removes a node. Without a `wish` of a person, as by a timer, one that
/// was closed is followed by no other.
pub fn deregister(
    ctx: &Context,
    site: &Connection,
    (maintainer, node): (&str, &str),
    (reason, wish): (&str, bool),
) -> Result<Left> {
    let path = node_path(maintainer, node);
    match site.forge.file(&path) {
        Answer::Found(_) => {}
        Answer::Absent => return Ok(Left::Gone),
        Answer::Unknown(why) => return Err(could_not_ask(&why)),
    }
    let branch = leave_branch(node);
    if let Some(left) = stands(site, &branch, wish)? {
        return Ok(left);
    }
    let proposal = Proposal {
        title: format!("deregister(cluster-node): {node}"),
        message: reason.to_owned(),
        body: format!(
            "Removes `{path}`.\n\nReason: {reason}\n\n\
             <!-- zeta-node-deregistration: {node} -->\n"
        ),
        path,
        content: None,
        before: Before::Present,
        branch,
    };
    let purpose = format!("pull request that removes {node}");
    let acted = with_lease(ctx, IN_FLIGHT, purpose, |held| {
        // The holder of the lease before may just have opened it.
        if let Some(left) = stands(site, &proposal.branch, wish)? {
            return Ok(left);
        }
        let by = (&author(maintainer), host::wall_us() / 1_000_000);
        match propose(site, &proposal, by, || held.still()).map_err(ProposeError::error)? {
            Proposed::Opened(pull) => Ok(Left::Opened(pull)),
            Proposed::Overtaken(_) => Ok(Left::Gone),
        }
    })?;
    Ok(acted.unwrap_or_else(Left::InFlight))
}

/// The result of an earlier removal; `None` if a pull request may be opened.
fn stands(site: &Connection, branch: &str, wish: bool) -> Result<Option<Left>> {
    let pulls = match site.forge.of_branch(branch) {
        Answer::Unknown(why) => return Err(could_not_ask(&why)),
        Answer::Absent => return Ok(None),
        Answer::Found(pulls) => pulls,
    };
    if let Some(pull) = pulls.iter().find(|pull| pull.state == PullState::Open) {
        return Ok(Some(Left::Waiting(pull.clone())));
    }
    let newest = pulls.into_iter().max_by_key(|pull| pull.number);
    Ok(newest.filter(|pull| pull.state == PullState::Closed && !wish).map(Left::Stays))
}

fn could_not_ask(why: &str) -> Error {
    Error::new(Kind::Fault, format!("could not ask: {why}"))
        .hint("nothing is done before it is known; try again")
}

/// A node of the default branch.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its file.
    pub path: String,
    /// Its content, or the reason why it could not be read.
    pub node: std::result::Result<ClusterNode, String>,
    /// Whether its time is over; `None` if it could not be read.
    pub expiry: Option<Expiry>,
}

/// All nodes of the default branch.
pub fn list(site: &Connection) -> Result<Vec<Listed>> {
    let repo = Repo::new(site.remote.clone())?;
    let base = repo.fetch(site.base.as_deref())?;
    let mut nodes = Vec::new();
    for path in repo.files(&base.commit, "maintainers/")? {
        if !path.ends_with("/node.yaml") || !path.contains("/cluster-nodes/") {
            continue;
        }
        // An entry that is no file, or whose name is no text, is damaged itself and hides no other.
        let text = repo.content(&base.commit, &path);
        let node = text.and_then(|text| node_yaml::read(text.as_bytes()));
        let node = node.map_err(|error: Error| error.text);
        let expiry = node.as_ref().ok().map(|node| expiry(node, host::wall_us()));
        nodes.push(Listed { path, node, expiry });
    }
    if nodes.is_empty() {
        return Err(Error::new(Kind::NotFound, "no node is registered there")
            .hint("register this one: zeta node register, with the same repository"));
    }
    Ok(nodes)
}

impl Listed {
    /// Its maintainer and its name, from its path; the file itself could say anything. `None` where
    /// these are no names: such a path goes into no branch and no line for git.
    pub fn named(&self) -> Option<(&str, &str)> {
        let node = node_of_path(&self.path)?;
        let maintainer = self.path.strip_prefix("maintainers/")?.split('/').next()?;
        let names = check_maintainer(maintainer).is_ok() && Label::new("node", node).is_ok();
        names.then_some((maintainer, node))
    }
}
