//! A remote without a forge: a branch that waits is what a pull request would be.

use zeta_core::registration::{Answer, From, Pull, PullState, is_of_node};

use super::{Forge, ForgeError, PullDraft, Search};
use crate::git::{Remote, Repo};
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

    fn pulls(&self, node: &str, _: &str, _: Search) -> Answer<Vec<Pull>> {
        match self.branches("register*") {
            Err(error) => Answer::Unknown(told(&error)),
            Ok(branches) => {
                let pulls = branches.iter().map(|branch| self.pull(branch));
                Answer::Found(pulls.filter(|pull| is_of_node(pull, node)).collect())
            }
        }
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
