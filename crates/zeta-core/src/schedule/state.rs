//! What the scheduler keeps between ticks, and its text on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::assign::{Change, Why};
use super::choice::{Choice, Usable};
use super::health::Health;
use crate::name::Label;

/// The `kind` of the file.
pub const KIND: &str = "guard-post-assignments";
/// The version of its form.
pub const SCHEMA: u64 = 1;
/// Longest file, in bytes.
pub const ASSIGNMENTS_MAX: usize = 4 << 20;
/// Most changes that the file remembers: the newest.
pub const CHANGES_MAX: usize = 256;

/// A post and who stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// The persona.
    pub persona: Label,
    /// What it works with.
    #[serde(flatten)]
    pub choice: Choice,
}

/// When a persona stood at a post last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The number of its last turn, among those of all personas.
    pub number: u64,
    /// How many turns it has begun.
    pub turns: u64,
}

/// What the scheduler decided, and what it goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The number of the turn.
    pub turn: u64,
    /// What is left of it, in ms; 0 if turns do not end.
    pub turn_left_ms: u64,
    /// How many turns of single personas have begun.
    pub number: u64,
    /// The persona whose turn began last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<Label>,
    /// Who stands where.
    pub posts: BTreeMap<u32, Post>,
    /// When each persona stood last.
    pub served: BTreeMap<Label, Served>,
    /// The lines of which something is known.
    pub lines: BTreeMap<Label, Health>,
    /// The same for a persona on a line.
    pub failed: BTreeMap<Label, BTreeMap<Label, Health>>,
}

impl State {
    /// Returns whether a persona may use a line now; it may use the line `trial` if that is on
    /// trial.
    pub fn usable(&self, persona: &Label, line: &Label, trial: Option<&Label>) -> Usable {
        let health = self.lines.get(line);
        let pair = self.failed.get(persona).and_then(|pairs| pairs.get(line));
        match (health, pair) {
            (_, Some(pair)) if pair.down_ms > 0 => Usable::Failed(pair.down_ms),
            (Some(health), _) if health.down_ms > 0 => Usable::Down(health.down_ms),
            (Some(health), _) if health.on_trial => {
                let may = trial == Some(line) || health.tried_by.as_ref() == Some(persona);
                if may { Usable::Yes } else { Usable::OnTrial }
            }
            _ => Usable::Yes,
        }
    }
}

/// What a post reports of a tick, or a probe of its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The persona; `None` for a probe.
    pub persona: Option<Label>,
    /// The line that was used.
    pub line: Label,
    /// How the tick ended.
    pub outcome: Outcome,
}

/// How a tick of an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ended well.
    Ok,
    /// It failed, or was ended after its limit of time.
    Failed,
    /// It failed, and said that its vendor cannot be used now.
    Outage,
}

impl Outcome {
    /// Its word on disk.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::Outage => "outage",
        }
    }
}

/// A moment by both clocks of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The boot.
    pub boot_id: String,
    /// The time since that boot, in ms.
    pub boot_ms: u64,
    /// The wall clock, in µs since 1970 (UTC).
    pub wall_us: i64,
}

impl Moment {
    /// Returns how much time went by, in ms. Within a boot the wall clock does not count.
    pub fn elapsed_ms(&self, now: &Moment) -> u64 {
        if self.boot_id == now.boot_id {
            return now.boot_ms.saturating_sub(self.boot_ms);
        }
        // What ran since the boot has gone by in any case.
        let wall_ms = now.wall_us.saturating_sub(self.wall_us) / 1000;
        u64::try_from(wall_ms).unwrap_or(0).max(now.boot_ms)
    }
}

/// A change that the file remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When, by the wall clock, in µs since 1970 (UTC).
    pub at_us: i64,
    /// In which turn.
    pub turn: u64,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

/// The file of the assignments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// [`SCHEMA`].
    pub schema: u64,
    /// [`KIND`].
    pub kind: String,
    /// The fencing token under which it was written.
    pub fencing_token: u64,
    /// When it was written.
    pub written: Moment,
    /// How many posts must be manned.
    pub floor: u32,
    /// What was decided.
    pub state: State,
    /// The number of the last report of each post that was counted.
    #[serde(default)]
    pub seen: BTreeMap<u32, u64>,
    /// The last changes, the newest last.
    #[serde(default)]
    pub changes: Vec<Past>,
}

/// Why a file of assignments is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is too long.
    #[error("it is longer than {ASSIGNMENTS_MAX} bytes")]
    TooLong,
    /// It is no JSON of this form: torn, or written by another program.
    #[error("it is no file of assignments: {0}")]
    NotOne(String),
    /// A newer version wrote it.
    #[error("it has the form {0}, and this version reads up to {SCHEMA}")]
    Newer(u64),
    /// It was written under a token that the lease does not give yet.
    #[error("its token {0} is above {1}, that of this tick: a clock was ahead when it was written")]
    Ahead(u64, u64),
    /// One persona stands at two posts.
    #[error("the persona {0} stands at two posts in it")]
    Twice(Label),
    /// Another user could have written it: the reason.
    #[error("{0}")]
    Untrusted(String),
}

impl Assignments {
    /// Reads a file.
    ///
    /// # Errors
    /// It is damaged, or of another hand.
    pub fn read(bytes: &[u8]) -> Result<Assignments, Damage> {
        if bytes.len() > ASSIGNMENTS_MAX {
            return Err(Damage::TooLong);
        }
        let read: Assignments =
            serde_json::from_slice(bytes).map_err(|error| Damage::NotOne(error.to_string()))?;
        match (read.kind.as_str(), read.schema) {
            (KIND, SCHEMA) => {}
            (KIND, newer) if newer > SCHEMA => return Err(Damage::Newer(newer)),
            _ => return Err(Damage::NotOne("its kind is another one".to_owned())),
        }
        let mut seen = std::collections::BTreeSet::new();
        let twice = read.state.posts.values().find(|post| !seen.insert(&post.persona));
        match twice {
            Some(post) => Err(Damage::Twice(post.persona.clone())),
            None => Ok(read),
        }
    }

    /// What is wrong with it for one that holds the lease under a token: no tick of this tree wrote
    /// a file that is above that.
    pub fn ahead_of(&self, token: u64) -> Option<Damage> {
        let is_ahead = self.fencing_token > token;
        is_ahead.then_some(Damage::Ahead(self.fencing_token, token))
    }

    /// Its text, with a line feed at the end.
    pub fn render(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        text + "\n"
    }

    /// Adds changes, and forgets the oldest.
    pub fn remember(&mut self, at_us: i64, changes: Vec<Change>) {
        let turn = self.state.turn;
        self.changes.extend(changes.into_iter().map(|change| Past { at_us, turn, change }));
        let over = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..over);
    }
}

impl Why {
    /// Its word on disk and in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Why::Free => "free",
            Why::Turn => "turn",
            Why::LineDown { .. } => "line_down",
            Why::Failing { .. } => "failing",
            Why::Back { .. } => "back",
            Why::Trial { .. } => "trial",
            Why::Nothing => "nothing",
            Why::Policy => "policy",
        }
    }

    /// What it says to a person.
    pub fn text(&self) -> String {
        match self {
            Why::Free => "the post was free".to_owned(),
            Why::Turn => "a new turn began".to_owned(),
            Why::LineDown { line } => format!("{line} is down"),
            Why::Failing { line } => format!("it failed on {line}"),
            Why::Back { line } => format!("{line} is back"),
            Why::Trial { line } => format!("{line} was down, and is tried"),
            Why::Nothing => "nothing fits it now".to_owned(),
            Why::Policy => "the policy changed".to_owned(),
        }
    }
}
