//! Signed commits as signs of life: outside of the agent's own memory, they say when it last
//! worked, and for how many ticks in a row it did not.

use std::collections::BTreeMap;

use super::block::{Block, Key};

/// A tick of the idle counter: the two minutes of the founding rule.
pub const TICK_MS: u64 = 120_000;
/// After so many idle ticks in a row, an agent has to do real work.
pub const IDLE_LIMIT: u64 = 6;
/// How far a commit may lie in the future: clocks of machines differ.
const FUTURE_US: i64 = 300_000_000;
/// How many agents are counted; a history by many hands does not fill the memory.
const AGENTS_MAX: usize = 1000;

/// The signed commits of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Its name, as the newest commit has it.
    pub agent: String,
    /// The program that it ran in.
    pub runtime: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its task.
    pub task: Option<String>,
    /// The id of the newest commit.
    pub commit: String,
    /// When that was made, in µs since 1970 (UTC).
    pub at_us: i64,
    /// How many commits were seen.
    pub commits: u64,
}

impl Beat {
    /// How long ago the newest commit was.
    pub fn idle_ms(&self, now_us: i64) -> u64 {
        u64::try_from(now_us.saturating_sub(self.at_us)).unwrap_or(0) / 1000
    }

    /// How many whole ticks in a row had no commit.
    pub fn idle_ticks(&self, now_us: i64, tick_ms: u64) -> u64 {
        self.idle_ms(now_us) / tick_ms.max(1)
    }

    /// What the counter means.
    pub fn state(&self, now_us: i64, tick_ms: u64) -> State {
        match self.idle_ticks(now_us, tick_ms) {
            0 => State::Active,
            ticks if ticks < IDLE_LIMIT => State::Idle,
            _ => State::Overdue,
        }
    }
}

/// What the idle counter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A commit was made in the last tick.
    Active,
    /// Some ticks went by without one.
    Idle,
    /// As many went by as ask for real work.
    Overdue,
}

impl State {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Idle => "idle",
            State::Overdue => "overdue",
        }
    }
}

/// The beats of all agents of a history, under construction.
#[derive(Debug, Clone, Default)]
pub struct Beats {
    agents: BTreeMap<String, Beat>,
    /// How many commits lie in the future, and do not count.
    pub in_the_future: u64,
}

impl Beats {
    /// Adds a signed commit. A name in capital letters is the same one.
    pub fn add(&mut self, id: &str, at_us: i64, block: &Block<'_>, now_us: i64) {
        if at_us > now_us.saturating_add(FUTURE_US) {
            self.in_the_future += 1;
            return;
        }
        let agent = block.get(Key::Agent).filter(|agent| !agent.is_empty()).unwrap_or("-");
        let name = agent.to_lowercase();
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(&name) {
            return;
        }
        let text = |key| block.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        let new = || Beat {
            agent: agent.to_owned(),
            runtime: text(Key::Runtime),
            model: text(Key::Model),
            task: text(Key::Task),
            commit: id.to_owned(),
            at_us,
            commits: 0,
        };
        let beat = self.agents.entry(name).or_insert_with(new);
        let commits = beat.commits + 1;
        if at_us > beat.at_us {
            *beat = new();
        }
        beat.commits = commits;
    }

    /// The beats, the newest first.
    pub fn done(self) -> Vec<Beat> {
        let mut all: Vec<Beat> = self.agents.into_values().collect();
        all.sort_by(|one, other| other.at_us.cmp(&one.at_us).then(one.agent.cmp(&other.agent)));
        all
    }
}
