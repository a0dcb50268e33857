//! Which repository, by which forge, and as whom: made of what a person or a unit says.

use std::path::PathBuf;

use zeta_core::registration::node::{About, ClusterNode, compose};

use super::propose::said;
use crate::adapters::forge::Forge;
use crate::adapters::forge::github::{API, GitHub, Limits, Repository};
use crate::adapters::forge::plain::Plain;
use crate::adapters::forge::token::{self, Places};
use crate::adapters::git::{Author, Remote};
use crate::adapters::hardware;
use crate::error::{Error, Result};

/// Where nodes are registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `owner/name` on GitHub.
    pub repo: Option<String>,
    /// Its address for git; of a repository on GitHub by HTTPS for `None`.
    pub remote: Option<String>,
    /// A fork to push branches to, `owner/name`.
    pub fork: Option<String>,
    /// The fork's address for git; by HTTPS for `None`.
    pub fork_remote: Option<String>,
    /// Address of the API; GitHub's own for `None`.
    pub api: Option<String>,
    /// The branch that counts; the default branch for `None`.
    pub base: Option<String>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
}

/// A place that is ready to be asked.
pub struct Ready {
    /// For git.
    pub remote: Remote,
    /// For pull requests.
    pub forge: Box<dyn Forge>,
    /// The branch that counts.
    pub base: Option<String>,
}

impl Place {
    /// Finds the token, if one is needed, and makes the place ready.
    pub fn ready(&self) -> Result<Ready> {
        let base = self.base.clone();
        let Some(repo) = &self.repo else {
            let url = self.remote.clone().ok_or_else(|| {
                Error::usage("which repository? give --repo OWNER/NAME, or --remote URL")
                    .hint("with --remote alone a branch is pushed and no pull request is opened")
            })?;
            let remote = Remote { url, fork: self.fork_remote.clone(), header: None };
            let forge = Box::new(Plain::new(remote.clone(), base.clone()));
            return Ok(Ready { remote, forge, base });
        };
        let (owner, name) = slug(repo)?;
        let fork = self.fork.as_deref().map(slug).transpose()?;
        let places = Places {
            file: self.token_file.as_deref(),
            variable: &|name| std::env::var(name).ok(),
            gh: "gh".as_ref(),
            host: "github.com",
        };
        let token = token::find(&places).map_err(|error| said(&error, "the forge's token"))?;
        let url = self.remote.clone().unwrap_or_else(|| format!("https://github.com/{repo}.git"));
        let header = url.starts_with("https://").then(|| token.header());
        let repository = Repository {
            api: self.api.clone().unwrap_or_else(|| API.to_owned()),
            owner: owner.to_owned(),
            name: name.to_owned(),
            base: base.clone(),
            fork: fork.map(|(owner, _)| owner.to_owned()),
        };
        let github = GitHub::new(repository, token, Limits::default());
        let github = github.map_err(|error| said(&error, repo))?;
        let at_github = |fork: &String| format!("https://github.com/{fork}.git");
        let fork = self.fork_remote.clone().or_else(|| self.fork.as_ref().map(at_github));
        Ok(Ready { remote: Remote { url, fork, header }, forge: Box::new(github), base })
    }
}

/// The two parts of `owner/name`.
fn slug(text: &str) -> Result<(&str, &str)> {
    let parts = text.split_once('/').filter(|(owner, name)| is_word(owner) && is_word(name));
    parts.ok_or_else(|| Error::usage(format!("repository {text:?} is not of the form owner/name")))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Refuses a maintainer that could be no directory.
pub fn check_maintainer(name: &str) -> Result<()> {
    match is_word(name) && !name.starts_with('.') && name.len() <= 39 {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "maintainer {name:?} is not valid: it is a user's name on the forge"
        ))),
    }
}

/// The file of this machine, as it is now.
pub fn compose_here(about: &About) -> ClusterNode {
    compose(about, hardware::probe())
}

/// Who commits are by: the maintainer, at an address that reaches nobody by accident.
pub fn author(maintainer: &str) -> Author {
    Author { name: maintainer.to_owned(), mail: format!("{maintainer}@users.noreply.github.com") }
}
