//! A remote without a forge: a branch that waits is what a pull request would be.

use zeta_core::registration::{Answer, Pull, PullState, is_of_node};

use super::{Forge, PullDraft, Trouble};
use crate::adapters::git::{Remote, Repo};
use crate::error::Error;

/// A remote that only git knows.
#[derive(Debug)]
pub struct Plain {
    remote: Remote,
    base: Option<String>,
}

impl Plain {
    /// The remote; `base` is the branch that nodes are registered on.
    pub fn new(remote: Remote, base: Option<String>) -> Plain {
        Plain { remote, base }
    }

    fn pull(&self, branch: &str) -> Pull {
        Pull {
            number: 0,
            url: format!("{}#{branch}", self.name()),
            state: PullState::Open,
            branch: branch.to_owned(),
            title: String::new(),
            body: String::new(),
        }
    }

    fn branches(&self) -> Result<Vec<(String, String)>, Error> {
        Repo::new(self.remote.clone())?.branches("refs/heads/register*")
    }
}

impl Forge for Plain {
    fn name(&self) -> String {
        crate::adapters::git::without_secret(&self.remote.url)
    }

    fn file(&self, path: &str) -> Answer<String> {
        let asked = Repo::new(self.remote.clone()).and_then(|repo| {
            let base = repo.fetch(self.base.as_deref())?;
            repo.blob(&base.commit, path)
        });
        match asked {
            Ok(Some(blob)) => Answer::Found(blob),
            Ok(None) => Answer::Absent,
            Err(error) => Answer::Unknown(error.text),
        }
    }

    fn pulls(&self, node: &str) -> Answer<Vec<Pull>> {
        match self.branches() {
            Err(error) => Answer::Unknown(error.text),
            Ok(branches) => {
                let pulls = branches.iter().map(|(branch, _)| self.pull(branch));
                Answer::Found(pulls.filter(|pull| is_of_node(pull, node)).collect())
            }
        }
    }

    fn open(&self, draft: &PullDraft) -> Result<Pull, Trouble> {
        let branches = self.branches().map_err(|error| Trouble::Lost(error.text))?;
        match branches.iter().any(|(branch, _)| *branch == draft.branch) {
            true => Ok(self.pull(&draft.branch)),
            false => Err(Trouble::Refused(format!("branch {} is not there", draft.branch))),
        }
    }

    fn comment(&self, _: u64, _: &str) -> Result<(), Trouble> {
        Ok(())
    }

    fn arm_auto_merge(&self, _: &Pull) -> Result<bool, Trouble> {
        Ok(false)
    }
}
