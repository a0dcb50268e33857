//! Where pull requests live: what is asked of a forge, and how it can refuse.
//!
//! Asking has three answers ([`Answer`]); doing has one error type that names what would help. A
//! change whose answer was lost may have happened: whoever calls asks again before it repeats.

pub mod git_only;
pub mod github;
pub mod token;

use zeta_core::registration::{Answer, Pull};

/// A pull request that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullDraft {
    /// The branch that it would merge; it exists already.
    pub branch: String,
    /// The branch that it would be merged into.
    pub base: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
}

/// Why a forge did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgeError {
    /// No answer came, or none that can be read: it may have happened.
    Lost(String),
    /// Nobody is logged in, or the token is not accepted.
    Unauthenticated(String),
    /// The token may not do that: its scopes, single sign-on, no write access, a protected branch.
    Forbidden(String),
    /// Not before so many seconds.
    RateLimited(u64, String),
    /// It is there already, or cannot be in this state.
    Conflict(String),
    /// Anything else, with status and message.
    Refused(String),
}

impl std::fmt::Display for ForgeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForgeError::Lost(text)
            | ForgeError::Unauthenticated(text)
            | ForgeError::Forbidden(text)
            | ForgeError::RateLimited(_, text)
            | ForgeError::Conflict(text)
            | ForgeError::Refused(text) => f.write_str(text),
        }
    }
}

/// How thoroughly pull requests are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// By branch, title and text, among those that are open or ended lately: enough to say *there
    /// is one*. It can be done by every agent at every boot.
    Quick,
    /// Also by a search, and by the files that open ones add: before *there is none* is believed.
    /// A forge allows few of these per minute.
    Exhaustive,
}

/// What a forge is asked for.
pub trait Forge {
    /// Its name, for people: "github.com, owner/name".
    fn name(&self) -> String;

    /// The file at `path` on the default branch: its blob's id.
    fn file(&self, path: &str) -> Answer<String>;

    /// The pull requests of this node, whatever their state, by branch, title, body, or because
    /// they add `path`.
    fn pulls(&self, node: &str, path: &str, look: Search) -> Answer<Vec<Pull>>;

    /// The pull requests of exactly this branch of ours, whatever their state.
    fn of_branch(&self, branch: &str) -> Answer<Vec<Pull>>;

    /// Opens a pull request.
    fn open(&self, draft: &PullDraft) -> Result<Pull, ForgeError>;

    /// Leaves a comment on a pull request, unless there is one that holds `mark`, as `text` does.
    fn comment_once(&self, number: u64, mark: &str, text: &str) -> Result<(), ForgeError>;

    /// Lets it be merged as soon as it may be, if it changes one file; false where there is no such
    /// thing.
    fn arm_auto_merge(&self, pull: &Pull) -> Result<bool, ForgeError>;
}
