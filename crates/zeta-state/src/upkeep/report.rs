//! What `init` did, step by step, for people and for JSON.

/// What was done about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was in order.
    Found,
    /// It was missing and is there now.
    Made,
    /// A program was run.
    Ran,
    /// It was tried out and works.
    Checked,
    /// It stays as it is, for the reason given.
    Left,
}

impl Action {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Action::Found => "found",
            Action::Made => "made",
            Action::Ran => "ran",
            Action::Checked => "checked",
            Action::Left => "left",
        }
    }
}

/// One line of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub did: Action,
    /// About what.
    pub text: String,
}

impl Step {
    /// A line of the account.
    pub fn new(did: Action, text: impl Into<String>) -> Step {
        Step { did, text: text.into() }
    }
}
