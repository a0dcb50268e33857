//! The receipt: what was observed about a registration, and when. It is never an answer.
//!
//! `key=value` lines, as the second generation of the original writes them; that one names its node
//! by the path of its file alone. A receipt of the first generation is one line (a time, or the
//! address of a pull request), and says only that there was an attempt.

use super::node_of_path;
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
    /// How long that attempt forbids another one, in s, because the forge refused it; as long as
    /// the policy says for `None`.
    pub retry_after_s: Option<i64>,
    /// Page of the pull request that this node opened last.
    pub opened_url: Option<String>,
    /// The bindings of the machine that wrote this ([`crate::machine`]); none if it has none, or if
    /// another program wrote it.
    pub machine: Vec<String>,
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
        let some = |key: &str| value(key).filter(|value| !value.is_empty());
        let node_path = value("node-path").unwrap_or_default();
        let node = some("node").or_else(|| node_of_path(&node_path).map(str::to_owned));
        Some(Receipt {
            state: *state,
            node: node.unwrap_or_default(),
            observed_us: value("observed-at").and_then(|t| parse_utc(&t).ok()).unwrap_or(0),
            node_path,
            pr_url: some("pr-url"),
            branch: some("branch"),
            detail: value("detail").unwrap_or_default(),
            last_attempt_s: value("last-pr-attempt-epoch").and_then(|s| s.parse().ok()),
            retry_after_s: value("retry-after").and_then(|s| s.parse().ok()),
            opened_url: some("opened-pr-url"),
            machine: some("machine")
                .map(|all| all.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
        })
    }

    /// Returns whether a text is a receipt of the first generation, which named every node after
    /// its host.
    pub fn is_of_first_generation(text: &str) -> bool {
        let mut lines = text.lines();
        let line = lines.next().unwrap_or_default().trim();
        let is_said = parse_utc(line).is_ok() || line.starts_with("https://");
        is_said && lines.all(|line| line.trim().is_empty())
    }

    /// Returns whether a machine with other bindings than `these` wrote this. A receipt without any
    /// may be of this one.
    pub fn is_of_another_machine(&self, these: &[String]) -> bool {
        !self.machine.is_empty() && !self.machine.iter().any(|binding| these.contains(binding))
    }

    /// Takes over what later runs rely on from the receipt before.
    #[must_use]
    pub fn following(self, before: Option<&Receipt>) -> Receipt {
        Receipt {
            last_attempt_s: before.and_then(|before| before.last_attempt_s),
            retry_after_s: before.and_then(|before| before.retry_after_s),
            opened_url: before.and_then(|before| before.opened_url.clone()),
            ..self
        }
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
        for (key, value) in [
            ("pr-url", &self.pr_url),
            ("branch", &self.branch),
            ("opened-pr-url", &self.opened_url),
            ("machine", &Some(self.machine.join(",")).filter(|all| !all.is_empty())),
            ("last-pr-attempt-epoch", &self.last_attempt_s.map(|s| s.to_string())),
            ("retry-after", &self.retry_after_s.map(|s| s.to_string())),
        ] {
            if let Some(value) = value {
                out += &format!("{key}={}\n", line(value));
            }
        }
        out + &format!("detail={}\n", line(&self.detail))
    }
}
