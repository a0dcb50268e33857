//! A remote without a forge: a branch that waits is what a pull request would be, and the history
//! of the default branch is what is known of those that ended.

use zeta_core::registration::{
    Answer, From, Pull, PullState, branch, is_of_node, is_of_older_tool,
};

use super::{Forge, ForgeError, PullDraft, Search};
use crate::git::{Depth, Remote, Repo};
use zeta_os::error::Error;

/// A remote that only git knows.
#[derive(Debug)]
pub struct GitOnly {
    remote: Remote,
    base: Option<String>,
}

/// An error in one sentence, with what would help: an answer has no more room for it.
fn told(error: &Error) -> String {
    let hints = error.hints.iter().map(|hint| format!("; {hint}"));
    hints.fold(error.text.clone(), |text, hint| text + &hint)
}

impl GitOnly {
    /// The remote; `base` is the branch that nodes are registered on.
    pub fn new(remote: Remote, base: Option<String>) -> GitOnly {
        GitOnly { remote, base }
    }

    fn pull(&self, branch: &str) -> Pull {
        Pull {
            number: 0,
            url: format!("{}#{branch}", self.name()),
            state: PullState::Open,
            branch: branch.to_owned(),
            from: From::Ours,
            title: String::new(),
            body: String::new(),
        }
    }

    fn branches(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let tips = Repo::new(self.remote.clone())?.branches(&format!("refs/heads/{pattern}"))?;
        Ok(tips.into_iter().map(|(branch, _)| branch).collect())
    }

    fn ask_pulls(&self, node: &str, path: &str, look: Search) -> Result<Vec<Pull>, Error> {
        let mut pulls = Vec::new();
        for found in self.branches("register*")? {
            let mut pull = self.pull(&found);
            if found != branch(node) && is_of_older_tool(&found, node) {
                // It may be that of a node whose name ends in a date; its commit says which.
                let repo =
                    Repo::new(Remote { url: self.ours().to_owned(), ..self.remote.clone() })?;
                pull.title = repo.subject(&repo.fetch(Some(&found))?.commit)?;
            }
            pulls.extend(Some(pull).filter(|pull| is_of_node(pull, node)));
        }
        if pulls.is_empty() && look == Search::Exhaustive {
            pulls.extend(self.removed(node, path)?);
        }
        Ok(pulls)
    }

    /// The end of a node that was on the branch that counts: the commit that removed its file.
    fn removed(&self, node: &str, path: &str) -> Result<Option<Pull>, Error> {
        let repo = Repo::new(self.remote.clone())?;
        let base = repo.fetch_to(self.base.as_deref(), Depth::History)?;
        let there = repo.blob(&base.commit, path)?.is_some();
        let ended = repo.last_change(&base.commit, path)?.filter(|_| !there);
        Ok(ended.map(|commit| Pull {
            url: format!("{}#{commit}", self.name()),
            state: PullState::Removed,
            ..self.pull(&branch(node))
        }))
    }

    fn ours(&self) -> &str {
        self.remote.fork.as_deref().unwrap_or(&self.remote.url)
    }
}

impl Forge for GitOnly {
    fn name(&self) -> String {
        crate::git::without_secret(&self.remote.url)
    }

    fn file(&self, path: &str) -> Answer<String> {
        let asked = Repo::new(self.remote.clone()).and_then(|repo| {
            let base = repo.fetch(self.base.as_deref())?;
            repo.blob(&base.commit, path)
        });
        match asked {
            Ok(Some(blob)) => Answer::Found(blob),
            Ok(None) => Answer::Absent,
            Err(error) => Answer::Unknown(told(&error)),
        }
    }

    fn pulls(&self, node: &str, path: &str, look: Search) -> Answer<Vec<Pull>> {
        self.ask_pulls(node, path, look)
            .map_or_else(|error| Answer::Unknown(told(&error)), Answer::Found)
    }

    fn of_branch(&self, branch: &str) -> Answer<Vec<Pull>> {
        match self.branches(branch) {
            Err(error) => Answer::Unknown(told(&error)),
            Ok(branches) if branches.iter().any(|found| found == branch) => {
                Answer::Found(vec![self.pull(branch)])
            }
            Ok(_) => Answer::Absent,
        }
    }

    fn open(&self, draft: &PullDraft) -> Result<Pull, ForgeError> {
        match self.of_branch(&draft.branch) {
            Answer::Found(_) => Ok(self.pull(&draft.branch)),
            Answer::Absent => {
                Err(ForgeError::Refused(format!("branch {} is not there", draft.branch)))
            }
            Answer::Unknown(why) => Err(ForgeError::Lost(why)),
        }
    }

    fn comment_once(&self, _: u64, _: &str, _: &str) -> Result<(), ForgeError> {
        Ok(())
    }

    fn arm_auto_merge(&self, _: &Pull) -> Result<bool, ForgeError> {
        Ok(false)
    }
}
