//! What to do next about a registration: a pure function of what was observed.

use super::receipt::{Receipt, State};
use super::{body_marker, branch, title};

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is there.
    Found(T),
    /// It is not there, by an answer of the forge.
    Absent,
    /// The forge could not be asked, and why. Nothing follows from it.
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

/// Where the branch of a pull request lies. Every user can open one from a fork, under any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// In the repository, or in the fork that this node pushes to: its author may write there.
    Ours,
    /// In a fork of a user who has a part in the repository.
    Member,
    /// In a fork of another user.
    Stranger,
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
    /// Where that branch lies.
    pub from: From,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
}

/// Returns whether a pull request is the registration of this node, whatever user opened it.
///
/// It is known by its branch (today's name, and those of older tools with a timestamp), by the
/// marker in its body, or by its title: `node-register: <node>` and `feat(node-register): <node>
/// …`.
pub fn is_of_node(pull: &Pull, node: &str) -> bool {
    let stamped = |prefix: &str| {
        let stamp = pull.branch.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
        stamp.is_some_and(is_stamp)
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

/// A date, and maybe a time: `20260519`, `20260519-1011`, `20260519T101112Z`. What else begins with
/// digits is the end of another node's name.
fn is_stamp(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (date, time) = text.split_once(['T', '-']).unwrap_or((text, "0"));
    let time = time.strip_suffix('Z').unwrap_or(time);
    digits(date) && digits(time) && (date.len() == 8 || date.len() == 14)
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
    /// The forge could not be asked.
    CouldNotAsk(String),
    /// It was merged a moment ago, and the default branch that we see does not have it yet.
    Merging(Pull),
    /// It was closed: a person said no.
    Closed(Pull),
    /// It was merged, and the node was removed since.
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
    // The oldest open one is the registration; there should be no other, but a stranger's.
    let open = pulls.iter().filter(|pull| pull.state == PullState::Open);
    if let Some(open) = open.min_by_key(|pull| (pull.from, pull.number)) {
        return Next::Watch(open.clone());
    }
    // A closed one of a stranger refuses nothing.
    let counts = |pull: &&Pull| pull.from != From::Stranger || pull.state != PullState::Closed;
    let newest = pulls.iter().filter(counts).max_by_key(|pull| pull.number);
    let ended = match newest {
        None => None,
        Some(pull) => match pull.state {
            PullState::Merged(at_s) if policy.now_s.saturating_sub(at_s) < LAG_S => {
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
    match receipt.state == State::Registering || policy.reopen {
        true => None,
        false => rest_s(receipt, policy.min_interval_s, policy.now_s),
    }
}

/// How long the last attempt forbids another one, in s. One that is yet to come was made by a clock
/// that was ahead, and forbids nothing: it would until the clock is there again.
pub fn rest_s(receipt: &Receipt, min_interval_s: i64, now_s: i64) -> Option<i64> {
    let age_s = now_s.checked_sub(receipt.last_attempt_s?)?;
    (0..min_interval_s).contains(&age_s).then(|| min_interval_s - age_s)
}
