//! One change to the repository, proposed by one pull request: push a branch of a fixed name, open,
//! and where an answer is lost, ask again instead of repeating.

use std::time::Duration;

use zeta_core::registration::{Answer, Pull, PullState};

use crate::forge::{ForgeError, PullDraft, to_error};
use crate::git::{Author, Base, Repo};
use crate::node::repository::Connection;
use zeta_os::error::{Error, Kind, Result};

/// The number of times that a lost answer is asked for again.
const ASK_AGAIN: usize = 5;
/// The first pause before that; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// A change of one file.
pub struct Proposal {
    /// The branch; its name is what keeps the pull request single.
    pub branch: String,
    /// Title of the pull request and of the commit.
    pub title: String,
    /// Text of the commit below its title.
    pub message: String,
    /// Text of the pull request.
    pub body: String,
    /// The file.
    pub path: String,
    /// Its new content; `None` if it is to go.
    pub content: Option<String>,
}

/// The reason why there is no pull request.
pub enum ProposeError {
    /// A pull request that was not opened.
    No(Error),
    /// One that may have been opened, by this process or by another: the next run asks.
    Unclear(Error),
}

impl ProposeError {
    /// The error alone.
    pub fn error(self) -> Error {
        let (ProposeError::No(error) | ProposeError::Unclear(error)) = self;
        error
    }
}

/// Proposes a change. `still` is asked between the push and the pull request; the same `at_s` on
/// the same base is the same commit, so that a run that was cut off pushes nothing new.
pub fn propose(
    site: &Connection,
    proposal: &Proposal,
    (author, at_s): (&Author, i64),
    still: impl FnOnce() -> Result<()>,
) -> std::result::Result<Pull, ProposeError> {
    let base = push(site, proposal, (author, at_s)).map_err(ProposeError::No)?;
    still().map_err(ProposeError::Unclear)?;
    let draft = PullDraft {
        branch: proposal.branch.clone(),
        base,
        title: proposal.title.clone(),
        body: proposal.body.clone(),
    };
    match site.forge.open(&draft) {
        Ok(pull) => Ok(pull),
        Err(trouble @ (ForgeError::Lost(_) | ForgeError::Conflict(_))) => {
            find_open(site, &proposal.branch)
                .ok_or_else(|| ProposeError::Unclear(to_error(&trouble, &site.forge.name())))
        }
        Err(trouble) => Err(ProposeError::No(to_error(&trouble, &site.forge.name()))),
    }
}

/// Puts the change on top of the base and pushes that; returns the base branch.
fn push(site: &Connection, proposal: &Proposal, by: (&Author, i64)) -> Result<String> {
    let repo = Repo::new(site.remote.clone())?;
    let base = repo.fetch(site.base.as_deref())?;
    if let Some(other) = elsewhere(&repo, &base, proposal)? {
        let text = format!("{other}: this node is registered there, by another maintainer");
        return Err(Error::new(Kind::Refused, text)
            .hint("give that --maintainer, written the same; or let the node leave there first"));
    }
    let message = format!("{}\n\n{}\n", proposal.title, proposal.message);
    let content = proposal.content.as_deref();
    let commit = repo.commit(&base, &proposal.path, content, &message, by)?;
    let name = &proposal.branch;
    let tips = repo.branches(&format!("refs/heads/{name}"))?;
    let tip = tips.iter().find(|(found, _)| found == name).map(|(_, commit)| commit.as_str());
    if tip != Some(commit.as_str()) {
        repo.push(&commit, name, tip)?;
    }
    Ok(base.branch)
}

/// The other file of a node that gets a new one: below another maintainer, or the same one in other
/// letters, for a forge's user is the same in both.
fn elsewhere(repo: &Repo, base: &Base, proposal: &Proposal) -> Result<Option<String>> {
    let of_node = |path: &str| {
        let rest = path.strip_prefix("maintainers/")?.split_once('/')?.1;
        Some(rest.to_owned()).filter(|rest| rest.ends_with("/node.yaml"))
    };
    let files = repo.files(&base.commit, "maintainers/")?;
    let (wanted, new) = (of_node(&proposal.path), !files.contains(&proposal.path));
    Ok(files.into_iter().find(|path| new && wanted.is_some() && of_node(path) == wanted))
}

/// The open pull request of a branch, asked for until the forge answers.
fn find_open(site: &Connection, branch: &str) -> Option<Pull> {
    let mut pause = PAUSE;
    for _ in 0..ASK_AGAIN {
        if let Answer::Found(pulls) = site.forge.of_branch(branch)
            && let Some(pull) = pulls.into_iter().find(|pull| pull.state == PullState::Open)
        {
            return Some(pull);
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    None
}
