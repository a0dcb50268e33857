//! The receipt: what was observed about a registration, and when. It is never an answer.
//!
//! `key=value` lines, as the second generation of the original writes them. A receipt of the first
//! generation is one line (a time, or the address of a pull request), and says only that there was
//! an attempt.

use crate::time::{format_utc, parse_utc};

/// What the last run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The node is on the default branch.
    Converged,
    /// A pull request is open.
    Converging,
    /// An attempt was begun; if this is the last word, it was cut off.
    Registering,
    /// A pull request was opened by us.
    PullOpened,
    /// An attempt failed.
    PullFailed,
    /// Somebody could not be asked.
    CheckFailed,
    /// An earlier attempt forbids another one for a while.
    Throttled,
    /// Nobody is logged in at the forge.
    Unauthenticated,
    /// The pull request was closed, or the node removed.
    Closed,
}

const WORDS: [(State, &str); 9] = [
    (State::Converged, "converged"),
    (State::Converging, "converging"),
    (State::Registering, "registering"),
    (State::PullOpened, "pr-opened"),
    (State::PullFailed, "pr-failed"),
    (State::CheckFailed, "check-failed"),
    (State::Throttled, "throttled"),
    (State::Unauthenticated, "unauthenticated"),
    (State::Closed, "closed"),
];

impl State {
    /// The word on disk.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it came to.
    pub state: State,
    /// The node.
    pub node: String,
    /// When, in µs since the Unix epoch.
    pub observed_us: i64,
    /// Its file in the repository.
    pub node_path: String,
    /// Page of the pull request, if there is one.
    pub pr_url: Option<String>,
    /// Branch of the pull request.
    pub branch: Option<String>,
    /// More, for people; one line.
    pub detail: String,
    /// When the last attempt was begun, in s since the Unix epoch.
    pub last_attempt_s: Option<i64>,
}

impl Receipt {
    /// Reads a receipt; `None` if it is none that can be understood.
    pub fn parse(text: &str) -> Option<Receipt> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
        };
        let word = value("state")?;
        let (state, _) = WORDS.iter().find(|(_, known)| *known == word)?;
        Some(Receipt {
            state: *state,
            node: value("node").unwrap_or_default(),
            observed_us: value("observed-at").and_then(|t| parse_utc(&t).ok()).unwrap_or(0),
            node_path: value("node-path").unwrap_or_default(),
            pr_url: value("pr-url").filter(|url| !url.is_empty()),
            branch: value("branch").filter(|branch| !branch.is_empty()),
            detail: value("detail").unwrap_or_default(),
            last_attempt_s: value("last-pr-attempt-epoch").and_then(|s| s.parse().ok()),
        })
    }

    /// The receipt as it is written.
    pub fn render(&self) -> String {
        let line = |text: &str| text.replace(['\n', '\r'], " ");
        let mut out = format!(
            "state={}\nnode={}\nobserved-at={}\nnode-path={}\n",
            self.state.word(),
            line(&self.node),
            format_utc(self.observed_us),
            line(&self.node_path)
        );
        for (key, value) in [("pr-url", &self.pr_url), ("branch", &self.branch)] {
            if let Some(value) = value {
                out += &format!("{key}={}\n", line(value));
            }
        }
        if let Some(s) = self.last_attempt_s {
            out += &format!("last-pr-attempt-epoch={s}\n");
        }
        out + &format!("detail={}\n", line(&self.detail))
    }
}
