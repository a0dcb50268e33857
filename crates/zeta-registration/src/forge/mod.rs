//! The forge, which keeps the pull requests: its requests, and its refusals.
//!
//! A question has three answers ([`Answer`]); a change has one error type that names what would
//! help. A change whose answer was lost may have happened: the caller asks before it repeats.

pub mod git_only;
pub mod github;
pub mod token;

use zeta_core::registration::{Answer, Pull};
use zeta_os::error::{Error, Kind};

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

/// The reason why a forge did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgeError {
    /// No answer came, or none that can be read: the change may have happened.
    Lost(String),
    /// No account is logged in, or the token is not accepted.
    Unauthenticated(String),
    /// The token may not do that: its scopes, single sign-on, no write access, a protected branch.
    Forbidden(String),
    /// A rate limit, which ends after so many seconds.
    RateLimited(u64, String),
    /// A thing that is there already, or cannot be in this state.
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

/// The effort of a search for pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// By branch, title and text, among those that are open or ended lately: enough to say *there
    /// is one*. It can be done by every agent at every boot.
    Quick,
    /// Also by a search, and by the files that open ones add: before *there is none* is believed.
    /// A forge allows few of these per minute.
    Exhaustive,
}

/// The requests to a forge.
pub trait Forge {
    /// Its name, for people: "github.com, owner/name".
    fn name(&self) -> String;

    /// The file at `path` on the default branch: its blob's id.
    fn file(&self, path: &str) -> Answer<String>;

    /// The pull requests of this node, whatever their state, by branch, title, body, or because
    /// they add `path`.
    fn pulls(&self, node: &str, path: &str, look: Search) -> Answer<Vec<Pull>>;

    /// The pull requests of exactly this branch of this node, whatever their state.
    fn of_branch(&self, branch: &str) -> Answer<Vec<Pull>>;

    /// Opens a pull request.
    fn open(&self, draft: &PullDraft) -> Result<Pull, ForgeError>;

    /// Leaves a comment on a pull request, unless there is one that holds `mark`, as `text` does.
    fn comment_once(&self, number: u64, mark: &str, text: &str) -> Result<(), ForgeError>;

    /// Lets a pull request that changes one file be merged as soon as it may be; false where the
    /// forge has no such function.
    fn arm_auto_merge(&self, pull: &Pull) -> Result<bool, ForgeError>;
}

/// Makes an error with the next step of what the forge `name` answered.
pub fn to_error(trouble: &ForgeError, name: &str) -> Error {
    let error = |kind: Kind, text: &str| Error::new(kind, format!("{name}: {text}"));
    match trouble {
        ForgeError::Lost(text) => error(Kind::Fault, text)
            .hint("it may have happened: run it again, it asks before it repeats anything"),
        ForgeError::Unauthenticated(text) => {
            error(Kind::Unsafe, text).hint("log in: 'gh auth login', or give --token-file")
        }
        // What would help is in the text: it depends on the reason.
        ForgeError::Forbidden(text) => {
            error(Kind::Unsafe, text).hint("put right what the forge names, then run it again")
        }
        ForgeError::RateLimited(s, text) => {
            error(Kind::Busy, text).hint(format!("try again in {s} s"))
        }
        ForgeError::Conflict(text) => {
            error(Kind::Refused, text).hint("run it again: it adopts what is open")
        }
        ForgeError::Refused(text) => {
            error(Kind::Fault, text).hint("put right what the forge names, then run it again")
        }
    }
}
