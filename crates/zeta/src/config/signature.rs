//! The keys of the configuration that are about signed commits.

use std::path::{Path, PathBuf};

use zeta_core::signature::Key;
use zeta_core::signature::co_author::CoAuthors;

/// What commits of this machine say by default, and where its agents commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// The repository whose signed commits `zeta status` shows.
    pub repository: Option<PathBuf>,
    /// The branch of it that counts.
    pub branch: Option<String>,
    /// The program that agents run in.
    pub runtime: Option<String>,
    /// Their model.
    pub model: Option<String>,
    /// The account that commits are pushed with.
    pub identity: Option<String>,
    /// Whose account that is.
    pub credential_mode: Option<String>,
    /// How much a person has a part in the work.
    pub action_mode: Option<String>,
    /// More names and addresses of agents.
    pub co_authors: Option<String>,
}

impl Signature {
    /// The values of this file where it has some, and of the one below it elsewhere.
    pub(super) fn over(self, below: Signature) -> Signature {
        Signature {
            repository: self.repository.or(below.repository),
            branch: self.branch.or(below.branch),
            runtime: self.runtime.or(below.runtime),
            model: self.model.or(below.model),
            identity: self.identity.or(below.identity),
            credential_mode: self.credential_mode.or(below.credential_mode),
            action_mode: self.action_mode.or(below.action_mode),
            co_authors: self.co_authors.or(below.co_authors),
        }
    }
}

/// Checks the value of a key that has a list.
pub(super) fn word_of(key: Key, value: &str) -> Result<String, String> {
    let allowed = key.values().unwrap_or_default();
    match allowed.contains(&value) {
        true => Ok(value.to_owned()),
        false => Err(format!("{key} is {}", allowed.join(" or "))),
    }
}

/// Checks the rows of a person.
pub(super) fn rows_of(value: &str) -> Result<String, String> {
    CoAuthors::default().add(value).map_err(|bad| bad.to_string())?;
    Ok(value.to_owned())
}

/// Checks a path.
pub(super) fn absolute(value: &str) -> Result<String, String> {
    match Path::new(value).is_absolute() {
        true => Ok(value.to_owned()),
        false => Err("give an absolute path".to_owned()),
    }
}
