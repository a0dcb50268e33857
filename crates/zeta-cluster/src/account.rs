//! Whose account on the servers a login belongs to, and what that changes.

/// Whose account a login belongs to. It says under which subjects JetStream answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// That of the streams.
    Store,
    /// One of its own, which imports a part of the store.
    Node,
}

impl Account {
    /// What the subjects of requests to JetStream begin with. In an account of its own, JetStream's
    /// usual subjects are about the streams of that account, and it has none.
    pub(crate) fn api(self) -> &'static str {
        match self {
            Account::Store => "$JS.API",
            Account::Node => MAPPED,
        }
    }

    /// The word for it in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Account::Store => "store",
            Account::Node => "node",
        }
    }
}

/// What a node's account calls the imported requests.
pub(crate) const MAPPED: &str = "JSZ";
