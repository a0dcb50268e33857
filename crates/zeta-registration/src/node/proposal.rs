//! One change to the repository, proposed by one pull request: push a branch of a fixed name, open,
//! and where an answer is lost, ask again instead of repeating.

use std::time::Duration;

use zeta_core::registration::receipt::{Receipt, State};
use zeta_core::registration::{Answer, Pull, PullState, decide_wait_s, node_of_path};

use crate::forge::{ForgeError, PullDraft, to_error};
use crate::git::{Author, Base, Effect, PushError, Repo};
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
    /// What the file is where this change was thought of.
    pub before: Before,
}

/// What a file is before a change of it.
pub enum Before {
    /// It is not there.
    Absent,
    /// It is there, whatever is in it.
    Present,
    /// It has this content.
    Content(String),
}

/// What came of a proposal.
pub enum Proposed {
    /// A pull request that was opened, by this call or by one that was cut off.
    Opened(Pull),
    /// The base, in its newest state, is not as the change expects it any more: what was wanted has
    /// come to pass, or another change came first.
    Overtaken(Base),
}

/// The reason why there is no pull request.
pub enum ProposeError {
    /// Nothing reached the forge.
    NotSent(Error),
    /// The forge refused it, and said after how many s it may be asked again, if it did.
    Refused(Error, Option<u64>),
    /// It may have been opened, by this process or by another: the next run asks.
    Unclear(Error),
}

impl ProposeError {
    /// The error alone.
    pub fn error(self) -> Error {
        let (ProposeError::NotSent(error)
        | ProposeError::Refused(error, _)
        | ProposeError::Unclear(error)) = self;
        error
    }

    /// The receipt after this failure of an attempt, of which `begun` is the receipt and `before`
    /// the one of an earlier run.
    pub fn receipt(&self, begun: Receipt, before: Option<&Receipt>) -> Receipt {
        match self {
            // The attempt stays begun: the next run asks, and goes on from here.
            ProposeError::Unclear(_) => begun,
            // An attempt of which the forge saw nothing was none. One before it that was cut off
            // is taken up as if this one had not been.
            ProposeError::NotSent(error) => {
                let cut_off = before.is_some_and(|before| before.state == State::Registering);
                let state = if cut_off { State::Registering } else { State::PullFailed };
                Receipt { state, detail: error.text.clone(), ..begun }.following(before)
            }
            ProposeError::Refused(error, said_s) => Receipt {
                state: State::PullFailed,
                detail: error.text.clone(),
                retry_after_s: Some(decide_wait_s(before, *said_s)),
                ..begun
            },
        }
    }
}

impl From<PushError> for ProposeError {
    fn from(failed: PushError) -> ProposeError {
        match failed.effect {
            Effect::None => ProposeError::NotSent(failed.error),
            Effect::Refused => ProposeError::Refused(failed.error, None),
            Effect::Unknown => ProposeError::Unclear(failed.error),
        }
    }
}

/// Proposes a change. `still` is asked between the push and the pull request; the same
/// content and `at_s` on the same base are the same commit, so that a run that was cut off pushes
/// nothing new if its content names no time of its own.
pub fn propose(
    site: &Connection,
    proposal: &Proposal,
    (author, at_s): (&Author, i64),
    still: impl FnOnce() -> Result<()>,
) -> std::result::Result<Proposed, ProposeError> {
    let (repo, base) = fetch(site).map_err(ProposeError::NotSent)?;
    if !is_as_before(&repo, &base, proposal).map_err(ProposeError::NotSent)? {
        return Ok(Proposed::Overtaken(base));
    }
    push(&repo, &base, proposal, (author, at_s))?;
    still().map_err(ProposeError::Unclear)?;
    let draft = PullDraft {
        branch: proposal.branch.clone(),
        base: base.branch,
        title: proposal.title.clone(),
        body: proposal.body.clone(),
    };
    let error = |trouble: &ForgeError| to_error(trouble, &site.forge.name());
    match site.forge.open(&draft) {
        Ok(pull) => Ok(Proposed::Opened(pull)),
        Err(trouble @ (ForgeError::Lost(_) | ForgeError::Conflict(_))) => {
            let found = find_open(site, &proposal.branch).map(Proposed::Opened);
            found.ok_or_else(|| ProposeError::Unclear(error(&trouble)))
        }
        Err(ForgeError::RateLimited(s, text)) => {
            Err(ProposeError::Refused(error(&ForgeError::RateLimited(s, text)), Some(s)))
        }
        Err(trouble) => Err(ProposeError::Refused(error(&trouble), None)),
    }
}

fn fetch(site: &Connection) -> Result<(Repo, Base)> {
    let repo = Repo::new(site.remote.clone())?;
    let base = repo.fetch(site.base.as_deref())?;
    Ok((repo, base))
}

/// Returns whether the file is still what the change was made for.
///
/// # Errors
/// The node has a file elsewhere: it must not get a second one.
fn is_as_before(repo: &Repo, base: &Base, proposal: &Proposal) -> Result<bool> {
    let blob = repo.blob(&base.commit, &proposal.path)?;
    Ok(match &proposal.before {
        Before::Absent if blob.is_some() => false,
        Before::Absent => match elsewhere(repo, base, &proposal.path)? {
            Some(other) => return Err(is_elsewhere(&other)),
            None => true,
        },
        Before::Present => blob.is_some(),
        Before::Content(text) => {
            blob.is_some() && repo.content(&base.commit, &proposal.path)? == *text
        }
    })
}

/// Puts the change on top of the base and pushes that.
fn push(
    repo: &Repo,
    base: &Base,
    proposal: &Proposal,
    by: (&Author, i64),
) -> std::result::Result<(), ProposeError> {
    let message = format!("{}\n\n{}\n", proposal.title, proposal.message);
    let content = proposal.content.as_deref();
    let commit = repo.commit(base, &proposal.path, content, &message, by);
    let commit = commit.map_err(ProposeError::NotSent)?;
    let name = &proposal.branch;
    let tips = repo.branches(&format!("refs/heads/{name}")).map_err(ProposeError::NotSent)?;
    let tip = tips.iter().find(|(found, _)| found == name).map(|(_, commit)| commit.as_str());
    if tip != Some(commit.as_str()) {
        repo.push(&commit, name, tip)?;
    }
    Ok(())
}

/// The refusal of a second file of a node.
pub fn is_elsewhere(other: &str) -> Error {
    let text = format!("{other}: this node is registered there, by another maintainer");
    Error::new(Kind::Refused, text)
        .hint("give that --maintainer, written the same; or let the node leave there first")
}

/// The file of a node that is registered below another maintainer than `path` says.
pub fn found_elsewhere(site: &Connection, path: &str) -> Result<Option<String>> {
    let (repo, base) = fetch(site)?;
    elsewhere(&repo, &base, path)
}

/// The other file of the node whose file would be `path`: below another maintainer, or the same one
/// in other letters, for a forge's user is the same in both.
fn elsewhere(repo: &Repo, base: &Base, path: &str) -> Result<Option<String>> {
    let node = node_of_path(path);
    let files = repo.files(&base.commit, "maintainers/")?;
    let other = |file: &String| file != path && node.is_some() && node_of_path(file) == node;
    Ok(files.into_iter().find(other))
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
