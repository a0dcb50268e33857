//! What to do next about a registration: a pure function of what was observed.

use super::receipt::{Receipt, State};
use super::{MARKER_BEGIN, body_marker, branch};

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
    /// It was merged, and the history of the default branch shows that its file was removed since.
    Removed,
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
/// It is known by its branch; else by the marker in its body, which names one node; else by its
/// title: `node-register: <node>` and `feat(node-register): <node> …`; else by the branch of an
/// older tool, with a timestamp. What another node is named by is never this one's: the end of a
/// node's name may look like a timestamp.
pub fn is_of_node(pull: &Pull, node: &str) -> bool {
    if pull.branch == branch(node) {
        return true;
    }
    if pull.body.contains(MARKER_BEGIN) {
        return pull.body.contains(&body_marker(node));
    }
    let named = ["node-register: ", "feat(node-register): "];
    match named.iter().find_map(|prefix| pull.title.strip_prefix(prefix)) {
        Some(rest) => rest.split(' ').next() == Some(node),
        None => is_of_older_tool(&pull.branch, node),
    }
}

/// Returns whether a branch is one that an older tool made for this node: with a timestamp. It may
/// as well be that of a node whose name ends in a date.
pub fn is_of_older_tool(branch_name: &str, node: &str) -> bool {
    [branch(node), format!("register-{node}"), format!("register/{node}")].iter().any(|prefix| {
        let stamp = branch_name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
        stamp.is_some_and(is_stamp)
    })
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
pub(super) const LAG_S: i64 = 600;

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
    /// The last attempt forbids another one for a while.
    Throttled {
        /// How long, in s.
        rest_s: i64,
        /// The forge refused it; else it succeeded, and nothing of it is to be seen.
        refused: bool,
    },
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

/// Decides. A receipt is believed about two things only: when the last attempt was made and how
/// long it forbids another one, and which pull request this node opened itself.
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
    let opened = seen.receipt.as_ref().and_then(|receipt| receipt.opened_url.as_deref());
    let from = |pull: &Pull| if opened == Some(&*pull.url) { From::Ours } else { pull.from };
    // The oldest open one is the registration; there should be no other, but a stranger's.
    let open = pulls.iter().filter(|pull| pull.state == PullState::Open);
    if let Some(open) = open.min_by_key(|pull| (from(pull), pull.number)) {
        return Next::Watch(open.clone());
    }
    // A closed one of a stranger refuses nothing.
    let counts = |pull: &&Pull| from(pull) != From::Stranger || pull.state != PullState::Closed;
    let newest = pulls.iter().filter(counts).max_by_key(|pull| pull.number);
    let ended = match newest {
        None => None,
        Some(pull) => match pull.state {
            PullState::Merged(at_s) if policy.now_s.saturating_sub(at_s) < LAG_S => {
                return Next::Stop(Stop::Merging(pull.clone()));
            }
            PullState::Merged(_) | PullState::Removed => Some(Stop::Removed(pull.clone())),
            _ => Some(Stop::Closed(pull.clone())),
        },
    };
    if let Some(stop) = ended
        && !policy.reopen
    {
        return Next::Stop(stop);
    }
    match throttled(seen.receipt.as_ref(), policy) {
        Some(stop) => Next::Stop(stop),
        None => Next::Open { after: newest.cloned() },
    }
}

/// How long the last attempt forbids another one. One that was cut off is taken up again: its
/// branch has a fixed name, so the forge itself has at most one pull request of it.
fn throttled(receipt: Option<&Receipt>, policy: Policy) -> Option<Stop> {
    let receipt = receipt?;
    if receipt.state == State::Registering || policy.reopen {
        return None;
    }
    let refused = receipt.retry_after_s.is_some() || receipt.state == State::PullFailed;
    let rest_s = rest_s(receipt, policy.min_interval_s, policy.now_s)?;
    Some(Stop::Throttled { rest_s, refused })
}

/// How long the last attempt forbids another one, in s. One that is yet to come was made by a clock
/// that was ahead, and forbids nothing: it would until the clock is there again.
pub fn rest_s(receipt: &Receipt, min_interval_s: i64, now_s: i64) -> Option<i64> {
    let age_s = now_s.checked_sub(receipt.last_attempt_s?)?;
    let wait_s = receipt.retry_after_s.map_or(min_interval_s, |wait_s| wait_s.min(min_interval_s));
    (0..wait_s).contains(&age_s).then(|| wait_s - age_s)
}

/// The wait after the first refusal, in s.
const FIRST_WAIT_S: i64 = 60;
/// The longest wait after a refusal, in s.
const LONGEST_WAIT_S: i64 = 86_400;

/// How long the forge's refusal of an attempt forbids another one, in s: as long as the forge said,
/// else a minute, and five times as long after each refusal that follows. Most refusals pass, so
/// the first ones must not cost a day; one that lasts is asked for about once a day.
pub fn decide_wait_s(before: Option<&Receipt>, said_s: Option<u64>) -> i64 {
    let said_s = said_s.map(|s| i64::try_from(s).unwrap_or(LONGEST_WAIT_S));
    let earlier = before.and_then(|before| before.retry_after_s);
    let wait_s = said_s.unwrap_or_else(|| earlier.map_or(FIRST_WAIT_S, |s| s.saturating_mul(5)));
    wait_s.clamp(1, LONGEST_WAIT_S)
}
