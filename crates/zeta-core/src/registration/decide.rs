//! What to do next about a registration: a pure function of what was observed.

use super::receipt::{Receipt, State};
use super::{body_marker, branch, title};

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is there.
    Found(T),
    /// It is not there: somebody who knows said so.
    Absent,
    /// Nobody could be asked, and why. Nothing follows from it.
    Unknown(String),
}

/// How a pull request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullState {
    /// It waits.
    Open,
    /// It was merged, at this time in s since the Unix epoch.
    Merged(i64),
    /// It was closed and not merged.
    Closed,
}

/// A pull request that may be a node's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it stands.
    pub state: PullState,
    /// The branch that it would merge.
    pub branch: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
}

/// Is a pull request the registration of this node, ours or anybody's?
///
/// By its branch (ours, and those with a timestamp of older tools), by the marker in its body, or
/// by its title: `node-register: <node>` and `feat(node-register): <node> …`.
pub fn is_of_node(pull: &Pull, node: &str) -> bool {
    let stamped = |prefix: &str| {
        pull.branch.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).is_some_and(
            |stamp| stamp.len() >= 8 && stamp.starts_with(|c: char| c.is_ascii_digit()),
        )
    };
    let ours = branch(node);
    let word = |prefix: &str| {
        let rest = pull.title.strip_prefix(prefix);
        rest.is_some_and(|rest| rest == node || rest.starts_with(&format!("{node} ")))
    };
    pull.branch == ours
        || stamped(&ours)
        || stamped(&format!("register-{node}"))
        || stamped(&format!("register/{node}"))
        || pull.body.contains(&body_marker(node))
        || pull.title == title(node)
        || word("node-register: ")
        || word("feat(node-register): ")
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What was observed the last time, for what it is worth.
    pub receipt: Option<Receipt>,
    /// The node's file on the default branch: its blob's id.
    pub on_main: Answer<String>,
    /// The pull requests of this node, whatever their state.
    pub pulls: Answer<Vec<Pull>>,
}

/// What the caller allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A closed pull request may be followed by another attempt.
    pub reopen: bool,
    /// Least time between attempts, in s.
    pub min_interval_s: i64,
    /// Now, in s since the Unix epoch.
    pub now_s: i64,
}

/// How long a merged pull request may be ahead of the default branch that we see, in s.
const LAG_S: i64 = 600;

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Somebody could not be asked.
    CouldNotAsk(String),
    /// It was merged a moment ago, and the default branch that we see does not have it yet.
    Merging(Pull),
    /// It was closed: a person said no.
    Closed(Pull),
    /// It was merged, and somebody removed the node since.
    Removed(Pull),
    /// The last attempt failed less than the least interval ago; s until the next one.
    Throttled(i64),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is registered: the blob's id on the default branch.
    Registered(String),
    /// A pull request is open: watch it, and open no other.
    Watch(Pull),
    /// Open one. `after` is the closed one that it follows.
    Open {
        /// The pull request that was closed or whose node was removed.
        after: Option<Pull>,
    },
    /// Do nothing, and say why.
    Stop(Stop),
}

/// Decides. A receipt is believed about one thing only: when the last attempt was made.
pub fn decide(seen: &Seen, policy: Policy) -> Next {
    let unknown = |why: &String| Next::Stop(Stop::CouldNotAsk(why.clone()));
    match &seen.on_main {
        Answer::Found(blob) => return Next::Registered(blob.clone()),
        Answer::Unknown(why) => return unknown(why),
        Answer::Absent => {}
    }
    let pulls = match &seen.pulls {
        Answer::Unknown(why) => return unknown(why),
        Answer::Absent => &[][..],
        Answer::Found(pulls) => pulls.as_slice(),
    };
    // The oldest open one is the registration; there should be no other.
    if let Some(open) = pulls.iter().filter(|p| p.state == PullState::Open).min_by_key(|p| p.number)
    {
        return Next::Watch(open.clone());
    }
    let newest = pulls.iter().max_by_key(|pull| pull.number);
    let ended = match newest {
        None => None,
        Some(pull) => match pull.state {
            PullState::Merged(at_s) if policy.now_s - at_s < LAG_S => {
                return Next::Stop(Stop::Merging(pull.clone()));
            }
            PullState::Merged(_) => Some(Stop::Removed(pull.clone())),
            _ => Some(Stop::Closed(pull.clone())),
        },
    };
    if let Some(stop) = ended
        && !policy.reopen
    {
        return Next::Stop(stop);
    }
    match throttled(seen.receipt.as_ref(), policy) {
        Some(rest_s) => Next::Stop(Stop::Throttled(rest_s)),
        None => Next::Open { after: newest.cloned() },
    }
}

/// How long the last attempt forbids another one. One that was cut off is taken up again: its
/// branch has a fixed name, so the forge itself has at most one pull request of it.
fn throttled(receipt: Option<&Receipt>, policy: Policy) -> Option<i64> {
    let receipt = receipt?;
    let attempt_s = receipt.last_attempt_s?;
    if receipt.state == State::Registering || policy.reopen {
        return None;
    }
    // A clock that was set back does not lock anybody out for longer than the interval.
    let age_s = (policy.now_s - attempt_s).max(0);
    (age_s < policy.min_interval_s).then(|| policy.min_interval_s - age_s)
}
