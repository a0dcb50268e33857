//! What an operator wrote about personas, model lines and posts, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{LABEL_MAX, Label, NameError};

/// Most personas of a policy.
pub const PERSONAS_MAX: usize = 4096;
/// Most posts of a node.
pub const POSTS_MAX: u32 = 1000;

/// How strong a model is. A persona names the least that it works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Quick and cheap.
    Fast,
    /// Between the two.
    Medium,
    /// The strongest.
    High,
}

impl Tier {
    /// All tiers, the weakest first.
    pub const ALL: [Tier; 3] = [Tier::Fast, Tier::Medium, Tier::High];

    /// Its word on disk.
    pub fn word(self) -> &'static str {
        match self {
            Tier::Fast => "fast",
            Tier::Medium => "medium",
            Tier::High => "high",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// Its name or path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The arguments that go on with a session that it had before; none if it cannot.
    pub resume: Vec<String>,
}

/// How a line is run in one tier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The program for harnesses that have none of their own; none if each one has its own.
    pub program: Option<Program>,
    /// The programs of single harnesses.
    pub by_harness: BTreeMap<Label, Program>,
}

impl Offer {
    /// The program for a harness.
    pub fn program(&self, harness: &Label) -> Option<&Program> {
        self.by_harness.get(harness).or(self.program.as_ref())
    }
}

/// A model line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// How it is run in each tier.
    pub tiers: BTreeMap<Tier, Offer>,
    /// A program that ends with status 0 while the vendor can be used; it is run while the line is
    /// on trial.
    pub probe: Option<Program>,
    /// What its program says while the vendor cannot be used.
    pub outage: super::outage::Signs,
}

/// A persona and what it prefers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    /// Its name.
    pub name: Label,
    /// The model lines that it works with, the best first.
    pub lines: Vec<Label>,
    /// The harnesses that it works in, the best first.
    pub harnesses: Vec<Label>,
    /// The weakest tier that it works with.
    pub min_tier: Tier,
}

/// What changes at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// Who stands there.
    Persona,
    /// The model line of who stands there.
    Model,
    /// The tier.
    Tier,
    /// The harness.
    Harness,
}

/// Who comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One after the other, in the order of the policy.
    RoundRobin,
    /// One after the other, in an order that is drawn from the seed.
    Random,
    /// The one whose last turn began the longest time ago.
    LeastRecentlyUsed,
}

/// When posts change hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// How long a turn lasts, in ms; `None` if turns do not end.
    pub every_ms: Option<u64>,
    /// What changes.
    pub dimensions: BTreeSet<Dimension>,
    /// Who comes next.
    pub order: Order,
    /// The seed of [`Order::Random`].
    pub seed: u64,
}

/// When a line counts as down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// So many failed ticks in a row of one persona on one line are enough.
    pub failures: u32,
    /// How long it is left alone the first time, in ms.
    pub down_ms: u64,
    /// How long at most, in ms: each time in a row it is twice as long as before.
    pub down_max_ms: u64,
}

/// What an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The personas, in the order in which they take turns.
    pub personas: Vec<Persona>,
    /// The model lines.
    pub lines: BTreeMap<Label, Line>,
    /// The harnesses of a persona on a line; without an entry, all of the persona's.
    pub compatible: BTreeMap<(Label, Label), Vec<Label>>,
    /// The number of posts.
    pub posts: u32,
    /// How many of them must be manned.
    pub floor: u32,
    /// When posts change hands.
    pub rotation: Rotation,
    /// When a line counts as down.
    pub failover: Failover,
}

impl Policy {
    /// Returns whether something changes at the end of a turn.
    pub fn rotates(&self, dimension: Dimension) -> bool {
        self.rotation.every_ms.is_some() && self.rotation.dimensions.contains(&dimension)
    }

    /// The persona of this name, and its place in the order of the policy.
    pub fn persona(&self, name: &Label) -> Option<&Persona> {
        self.personas.iter().find(|persona| persona.name == *name)
    }

    /// The program of a choice; none if the policy does not offer it any more.
    pub fn program(&self, line: &Label, tier: Tier, harness: &Label) -> Option<&Program> {
        self.lines.get(line)?.tiers.get(&tier)?.program(harness)
    }
}

/// What stands between a persona and the number of its post in the name of its agent.
const AT_POST: &str = "-post";

/// The name of the agent that a persona is at a post.
///
/// # Errors
/// The name would be too long.
pub fn agent_of(persona: &Label, post: u32) -> Result<Label, NameError> {
    Label::new("agent", &format!("{persona}{AT_POST}{post}"))
}

/// Something that is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no persona at all.
    #[error("there is no persona")]
    NoPersona,
    /// More than a policy may have.
    #[error("there are {0} personas, and at most {PERSONAS_MAX} are read")]
    ManyPersonas(usize),
    /// A name that stands twice.
    #[error("the persona {0} is there twice")]
    Twice(Label),
    /// A persona whose agents would have no name.
    #[error(
        "the persona {persona} can have no agent at post {post}: {persona}{AT_POST}{post} is \
         longer than the {LABEL_MAX} letters of a name"
    )]
    LongName {
        /// The persona.
        persona: Label,
        /// The post.
        post: u32,
    },
    /// A persona with the name of another one's agent.
    #[error("the persona {persona} has the name of the agent of {other} at post {post}")]
    NameOfAgent {
        /// The persona.
        persona: Label,
        /// The other one.
        other: Label,
        /// The post.
        post: u32,
    },
    /// A list without an entry.
    #[error("the persona {persona} has no {what}")]
    Empty {
        /// The persona.
        persona: Label,
        /// What it has none of.
        what: &'static str,
    },
    /// An entry that stands twice in a list of preferences.
    #[error("the persona {persona} names {name} twice")]
    Repeated {
        /// The persona.
        persona: Label,
        /// The entry.
        name: Label,
    },
    /// A line that is not in the catalogue.
    #[error("the persona {persona} names the line {line}, which the catalogue does not have")]
    UnknownLine {
        /// The persona.
        persona: Label,
        /// The line.
        line: Label,
    },
    /// A persona that can never stand at a post.
    #[error(
        "no line fits the persona {0}: none of its lines has a tier of at least its minimum with \
         one of its harnesses"
    )]
    NothingFits(Label),
    /// A tier of a line that cannot be started.
    #[error("the tier {tier} of the line {line} has no program")]
    NoProgram {
        /// The line.
        line: Label,
        /// The tier.
        tier: Tier,
    },
    /// A rule for a persona or a line that is not there.
    #[error("the compatibility of {persona} with {line} is about a {what} that is not there")]
    UnknownPair {
        /// The persona.
        persona: Label,
        /// The line.
        line: Label,
        /// Which of the two is not there.
        what: &'static str,
    },
    /// A number of posts that cannot be.
    #[error("{posts} posts with a floor of {floor}: use 1 to {POSTS_MAX}, and no higher floor")]
    Posts {
        /// The number of posts.
        posts: u32,
        /// The floor.
        floor: u32,
    },
    /// A time that cannot be.
    #[error("{0} must be longer than nothing")]
    NoTime(&'static str),
    /// A line is left alone for longer the first time than at most.
    #[error("a line is down for longer at first than at most")]
    DownTimes,
}

impl Policy {
    /// Finds out what is wrong; with a problem of [`Problem::is_fatal`] nothing can be planned.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems_of_numbers();
        let mut seen = BTreeSet::new();
        for persona in &self.personas {
            if !seen.insert(&persona.name) {
                problems.push(Problem::Twice(persona.name.clone()));
            }
            self.problems_of_persona(persona, &mut problems);
        }
        self.problems_of_names(&seen, &mut problems);
        for (line, known) in &self.lines {
            let empty = known.tiers.iter().filter(|(_, offer)| {
                let mut programs = offer.program.iter().chain(offer.by_harness.values());
                offer.program.is_none() && offer.by_harness.is_empty()
                    || programs.any(|program| program.program.is_empty())
            });
            let problem = |tier| Problem::NoProgram { line: line.clone(), tier };
            problems.extend(empty.map(|(tier, _)| problem(*tier)));
        }
        for (persona, line) in self.compatible.keys() {
            let what = match (seen.contains(persona), self.lines.contains_key(line)) {
                (false, _) => "persona",
                (true, false) => "line",
                (true, true) => continue,
            };
            let (persona, line) = (persona.clone(), line.clone());
            problems.push(Problem::UnknownPair { persona, line, what });
        }
        problems
    }

    fn problems_of_numbers(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.personas.len() {
            0 => problems.push(Problem::NoPersona),
            many if many > PERSONAS_MAX => problems.push(Problem::ManyPersonas(many)),
            _ => {}
        }
        let (posts, floor) = (self.posts, self.floor);
        if posts == 0 || posts > POSTS_MAX || floor > posts {
            problems.push(Problem::Posts { posts, floor });
        }
        if self.rotation.every_ms == Some(0) {
            problems.push(Problem::NoTime("the interval of the rotation"));
        }
        if self.failover.down_ms == 0 {
            problems.push(Problem::NoTime("the time for which a line is down"));
        }
        if self.failover.down_ms > self.failover.down_max_ms {
            problems.push(Problem::DownTimes);
        }
        problems
    }

    fn problems_of_names(&self, personas: &BTreeSet<&Label>, problems: &mut Vec<Problem>) {
        for name in personas {
            let (persona, post) = ((*name).clone(), self.posts);
            if agent_of(&persona, post).is_err() {
                problems.push(Problem::LongName { persona, post });
                continue;
            }
            let at_post = name.as_str().rsplit_once(AT_POST).and_then(|(other, post)| {
                let other = other.parse().ok().filter(|other| personas.contains(other))?;
                Some((other, post.parse().ok()?))
            });
            // Not only the posts of now: their number may become another one.
            if let Some((other, post)) = at_post
                && agent_of(&other, post).as_ref() == Ok(&persona)
            {
                problems.push(Problem::NameOfAgent { persona, other, post });
            }
        }
    }

    fn problems_of_persona(&self, persona: &Persona, problems: &mut Vec<Problem>) {
        let name = || persona.name.clone();
        let lists = [("model lines", &persona.lines), ("harnesses", &persona.harnesses)];
        for (what, list) in lists {
            if list.is_empty() {
                problems.push(Problem::Empty { persona: name(), what });
            }
            let mut seen = BTreeSet::new();
            let again = list.iter().filter(|entry| !seen.insert(*entry));
            let again =
                again.map(|entry| Problem::Repeated { persona: name(), name: entry.clone() });
            problems.extend(again);
        }
        let unknown = persona.lines.iter().filter(|line| !self.lines.contains_key(*line));
        let unknown =
            unknown.map(|line| Problem::UnknownLine { persona: name(), line: line.clone() });
        problems.extend(unknown);
        if super::choose(self, persona, 0, &|_| super::choice::Usable::Yes, &mut |_| {}).is_none() {
            problems.push(Problem::NothingFits(name()));
        }
    }
}

impl Problem {
    /// Returns whether nothing can be planned. With the others the rest of the policy holds: a
    /// persona that no line fits does not leave a post without a guard.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Problem::NothingFits(_)
                | Problem::UnknownLine { .. }
                | Problem::UnknownPair { .. }
                | Problem::NoProgram { .. }
                | Problem::Empty { .. }
        )
    }
}
