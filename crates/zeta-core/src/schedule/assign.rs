//! One tick of the scheduler.
//!
//! It moves as little as it can: a persona that stands at a post stays there until its turn is over
//! or nothing fits it any more, and a persona that stays keeps its post.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::choice::{Choice, Usable, choose};
use super::order::line_up;
use super::policy::{Dimension, Persona, Policy};
use super::state::{Outcome, Post, Report, Served, State};
use crate::name::Label;

/// So many personas that fail on a line take it down for all.
const PERSONAS_FAILING: usize = 2;

/// Why something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// The post was free.
    Free,
    /// A new turn began.
    Turn,
    /// The line is down.
    LineDown {
        /// The line.
        line: Label,
    },
    /// The persona failed on its line too often, or said an outage that is not believed.
    Failing {
        /// The line.
        line: Label,
    },
    /// A line that the persona likes better is back.
    Back {
        /// The line.
        line: Label,
    },
    /// A line that was down is tried.
    Trial {
        /// The line.
        line: Label,
    },
    /// Nothing fits the persona now.
    Nothing,
    /// The policy is another one.
    Policy,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A persona left a post.
    Left {
        /// The post.
        post: u32,
        /// The persona.
        persona: Label,
        /// Why.
        #[serde(flatten)]
        why: Why,
    },
    /// A persona came to a post.
    Came {
        /// The post.
        post: u32,
        /// Who, and with what.
        now: Post,
        /// Why.
        #[serde(flatten)]
        why: Why,
    },
    /// A persona works with something else, at its post.
    Switched {
        /// The post.
        post: u32,
        /// Who, and with what.
        now: Post,
        /// Why.
        #[serde(flatten)]
        why: Why,
    },
    /// A line is down.
    Down {
        /// The line.
        line: Label,
        /// For how long, in ms.
        down_ms: u64,
    },
    /// A line that was down works again.
    Up {
        /// The line.
        line: Label,
    },
}

/// What a tick decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    /// What holds now.
    pub state: State,
    /// What changed, in the order of the posts.
    pub changes: Vec<Change>,
    /// Whether as many posts are manned as must be.
    pub has_floor: bool,
    /// How long nothing changes by time alone, in ms; `None` if it never does.
    pub next_ms: Option<u64>,
}

/// Decides who stands where: from what held before, what the posts reported, and how much time went
/// by.
pub fn tick(policy: &Policy, before: &State, reports: &[Report], elapsed_ms: u64) -> Ticked {
    let mut tick = Tick::new(policy, before.clone());
    tick.pass(elapsed_ms);
    reports.iter().for_each(|report| tick.count(report));
    let is_new_turn = tick.begin_turn(elapsed_ms);
    tick.give_trials();
    let chosen = tick.who_stands(is_new_turn);
    tick.begin_turns(&chosen, is_new_turn);
    tick.place(chosen);
    tick.compare(before, is_new_turn);
    tick.forget();
    let Tick { state, changes, .. } = tick;
    Ticked {
        has_floor: state.posts.len() >= policy.floor as usize,
        next_ms: next_ms(policy, &state),
        changes,
        state,
    }
}

/// The time until something happens by itself.
pub(super) fn next_ms(policy: &Policy, state: &State) -> Option<u64> {
    let pairs = state.failed.values().flat_map(BTreeMap::values);
    let downs = state.lines.values().chain(pairs).map(|health| health.down_ms);
    let turn = policy.rotation.every_ms.map(|_| state.turn_left_ms);
    downs.filter(|ms| *ms > 0).chain(turn).min()
}

/// A tick under way.
struct Tick<'p> {
    policy: &'p Policy,
    /// Where each persona stands in the list of the policy.
    places: BTreeMap<&'p Label, usize>,
    state: State,
    changes: Vec<Change>,
}

impl<'p> Tick<'p> {
    /// Begins, without what the policy does not have any more.
    fn new(policy: &'p Policy, mut state: State) -> Tick<'p> {
        let personas = policy.personas.iter().enumerate();
        let places: BTreeMap<_, _> = personas.map(|(at, persona)| (&persona.name, at)).collect();
        state.posts.retain(|number, post| {
            (1..=policy.posts).contains(number) && places.contains_key(&post.persona)
        });
        state.served.retain(|persona, _| places.contains_key(persona));
        state.failed.retain(|persona, _| places.contains_key(persona));
        state.lines.retain(|line, _| policy.lines.contains_key(line));
        Tick { policy, places, state, changes: Vec::new() }
    }

    fn persona(&self, name: &Label) -> Option<&'p Persona> {
        self.policy.personas.get(*self.places.get(name)?)
    }

    fn pass(&mut self, elapsed_ms: u64) {
        let failover = &self.policy.failover;
        let pairs = self.state.failed.values_mut().flat_map(BTreeMap::values_mut);
        let all = self.state.lines.values_mut().chain(pairs);
        all.for_each(|health| health.pass(elapsed_ms, failover));
    }

    /// Counts what a post or a probe reported.
    fn count(&mut self, report: &Report) {
        let failover = &self.policy.failover;
        let Report { persona, line, outcome } = report;
        let is_known = persona.as_ref().is_none_or(|persona| self.places.contains_key(persona));
        if !is_known || !self.policy.lines.contains_key(line) {
            return;
        }
        let health = self.state.lines.entry(line.clone()).or_default();
        let is_trial = health.on_trial && (persona.is_none() || health.tried_by == *persona);
        let is_believed = is_trial || !self.has_taken_down(persona.as_ref());
        let was_failing = match persona {
            Some(persona) => self.count_of_persona(persona, line, *outcome, is_believed),
            None => false,
        };
        let Some(health) = self.state.lines.get_mut(line) else { return };
        let by = persona.as_ref().filter(|_| !was_failing);
        let goes_down = match outcome {
            Outcome::Ok if is_trial => {
                health.succeed();
                self.changes.push(Change::Up { line: line.clone() });
                false
            }
            Outcome::Ok => false,
            Outcome::Outage => (is_believed || was_failing) && health.go_down(failover, by),
            Outcome::Failed => (is_trial || was_failing) && health.go_down(failover, by),
        };
        if goes_down {
            self.changes.push(Change::Down { line: line.clone(), down_ms: health.down_ms });
        }
    }

    /// Returns whether a persona took a line down lately by its word alone. What it says of the
    /// next one may be about itself, so that does not count for others.
    fn has_taken_down(&self, persona: Option<&Label>) -> bool {
        let mut lines = self.state.lines.values();
        persona.is_some() && lines.any(|health| health.taken_by.as_ref() == persona)
    }

    /// Counts a tick of a persona; true if it is not the only one now that is kept from this line.
    /// An outage is the fault of the line alone, if the persona is believed.
    fn count_of_persona(
        &mut self,
        persona: &Label,
        line: &Label,
        outcome: Outcome,
        is_believed: bool,
    ) -> bool {
        let failover = &self.policy.failover;
        let pairs = self.state.failed.entry(persona.clone()).or_default();
        let pair = pairs.entry(line.clone()).or_default();
        let is_kept_away = match outcome {
            Outcome::Ok => {
                pair.succeed();
                false
            }
            Outcome::Outage => !is_believed && pair.go_down(failover, None),
            Outcome::Failed => pair.fail(failover),
        };
        let failed = self.state.failed.values().filter_map(|pairs| pairs.get(line));
        is_kept_away && failed.filter(|pair| pair.down_ms > 0).count() >= PERSONAS_FAILING
    }

    /// Ends the turn if its time is over. However long nothing ran, one turn ends.
    fn begin_turn(&mut self, elapsed_ms: u64) -> bool {
        let Some(every_ms) = self.policy.rotation.every_ms else {
            self.state.turn_left_ms = 0;
            return false;
        };
        let is_first = self.state.turn == 0;
        // An interval that was made shorter meanwhile counts at once.
        let left = self.state.turn_left_ms.min(every_ms).saturating_sub(elapsed_ms);
        if left > 0 && !is_first {
            self.state.turn_left_ms = left;
            return false;
        }
        self.state.turn = self.state.turn.saturating_add(1);
        self.state.turn_left_ms = every_ms;
        true
    }

    /// What a persona would work with, in the turn that is its own now or in its next one.
    fn choice(&self, persona: &Persona, trial: Option<&Label>, turns: u64) -> Option<Choice> {
        let usable = |line: &Label| self.state.usable(&persona.name, line, trial);
        choose(self.policy, persona, turns, &usable, &mut |_| {})
    }

    /// How many turns a persona has begun before the one in which it would stand.
    fn turns(&self, persona: &Label) -> u64 {
        self.state.served.get(persona).map_or(0, |served| served.turns)
    }

    /// Lets one persona try each line that was down: one that could not stand otherwise, if a post
    /// is free; else the first one at a post that would rather work with it. The persona that took
    /// the line down tries it only if no other one can.
    fn give_trials(&mut self) {
        let standing: BTreeSet<Label> =
            self.state.posts.values().map(|post| post.persona.clone()).collect();
        for health in self.state.lines.values_mut() {
            if health.tried_by.as_ref().is_some_and(|persona| !standing.contains(persona)) {
                health.tried_by = None;
            }
        }
        let open = self.state.lines.iter().filter(|(_, h)| h.on_trial && h.tried_by.is_none());
        let open: Vec<Label> = open.map(|(line, _)| line.clone()).collect();
        for line in open {
            let found = self.who_tries(&line, &standing);
            if let (Some(persona), Some(health)) = (found, self.state.lines.get_mut(&line)) {
                health.tried_by = Some(persona);
            }
        }
    }

    fn who_tries(&self, line: &Label, standing: &BTreeSet<Label>) -> Option<Label> {
        let would = |persona: &&Persona, turns: u64| {
            self.choice(persona, Some(line), turns).is_some_and(|choice| choice.line == *line)
        };
        let personas = || self.policy.personas.iter();
        let fit = personas().filter(|one| self.choice(one, None, self.turns(&one.name)).is_some());
        let has_room = fit.count() < self.policy.posts as usize;
        let others = personas().filter(|one| {
            let turns = self.turns(&one.name);
            has_room && self.choice(one, None, turns).is_none() && would(one, turns)
        });
        let posts = self.state.posts.values().filter(|post| standing.contains(&post.persona));
        let posts = posts.filter_map(|post| self.persona(&post.persona));
        let posts = posts.filter(|one| would(one, self.turns(&one.name).saturating_sub(1)));
        let able: Vec<&Label> = others.chain(posts).map(|one| &one.name).collect();
        let taken_by = self.state.lines.get(line).and_then(|health| health.taken_by.as_ref());
        let other = able.iter().find(|name| Some(**name) != taken_by);
        other.or(able.first()).map(|name| (*name).clone())
    }

    /// Decides which personas stand: places in the list of the policy, in the order in which they
    /// were taken. True for one whose turn begins now.
    fn who_stands(&self, is_new_turn: bool) -> Vec<(usize, bool)> {
        let posts = self.policy.posts as usize;
        let fits = |at: usize, turns: &dyn Fn(&Label) -> u64| {
            let persona = self.policy.personas.get(at);
            persona.is_some_and(|one| self.choice(one, None, turns(&one.name)).is_some())
        };
        let begun = |name: &Label| self.turns(name);
        let rotates = is_new_turn && self.policy.rotates(Dimension::Persona);
        let mut stand: Vec<(usize, bool)> = Vec::new();
        if !rotates {
            let now = |name: &Label| begun(name).saturating_sub(u64::from(!is_new_turn));
            let places = self.state.posts.values().filter_map(|p| self.places.get(&p.persona));
            let stay = places.copied().filter(|at| fits(*at, &now));
            stand.extend(stay.map(|at| (at, is_new_turn)));
        }
        let taken: BTreeSet<usize> = stand.iter().map(|(at, _)| *at).collect();
        let line = line_up(self.policy, &self.state.served, self.state.last.as_ref());
        let next = line.into_iter().filter(|at| !taken.contains(at) && fits(*at, &begun));
        stand.extend(next.take(posts.saturating_sub(taken.len())).map(|at| (at, true)));
        stand
    }

    /// Counts the turns that begin.
    fn begin_turns(&mut self, stand: &[(usize, bool)], is_new_turn: bool) {
        let keeps_line = is_new_turn && !self.policy.rotates(Dimension::Persona);
        let stood: BTreeSet<&Label> = self.state.posts.values().map(|post| &post.persona).collect();
        for (at, begins) in stand {
            let Some(persona) = self.policy.personas.get(*at).filter(|_| *begins) else { continue };
            let stays = keeps_line && stood.contains(&persona.name);
            self.state.number = self.state.number.saturating_add(1);
            let turns = self.turns(&persona.name).saturating_add(1);
            let served = Served { number: self.state.number, turns };
            self.state.served.insert(persona.name.clone(), served);
            if !stays {
                self.state.last = Some(persona.name.clone());
            }
        }
    }

    /// Puts those that stand at posts: each stays where it is, and the others take the free posts
    /// in order.
    fn place(&mut self, stand: Vec<(usize, bool)>) {
        let names = stand.iter().filter_map(|(at, _)| self.policy.personas.get(*at));
        let mut waiting: Vec<&Persona> = names.collect();
        let held: BTreeMap<&Label, u32> =
            self.state.posts.iter().map(|(number, post)| (&post.persona, *number)).collect();
        let mut posts: BTreeMap<u32, &Persona> = BTreeMap::new();
        waiting.retain(|persona| match held.get(&persona.name) {
            Some(number) => {
                posts.insert(*number, persona);
                false
            }
            None => true,
        });
        let free: Vec<u32> = (1..=self.policy.posts).filter(|n| !posts.contains_key(n)).collect();
        posts.extend(free.into_iter().zip(waiting));
        let placed = posts.into_iter().filter_map(|(number, persona)| {
            let turns = self.turns(&persona.name).saturating_sub(1);
            let choice = self.choice(persona, None, turns)?;
            Some((number, Post { persona: persona.name.clone(), choice }))
        });
        self.state.posts = placed.collect();
    }

    /// Finds out what changed.
    fn compare(&mut self, before: &State, is_new_turn: bool) {
        let numbers: BTreeSet<u32> =
            before.posts.keys().chain(self.state.posts.keys()).copied().collect();
        for number in numbers {
            let (was, is) = (before.posts.get(&number), self.state.posts.get(&number));
            let mut changes = Vec::new();
            match (was, is) {
                (Some(was), Some(is)) if was == is => {}
                (Some(was), Some(is)) if was.persona == is.persona => {
                    let why = self.why_switched(was, is, is_new_turn);
                    changes.push(Change::Switched { post: number, now: is.clone(), why });
                }
                (was, is) => {
                    changes.extend(was.map(|was| Change::Left {
                        post: number,
                        persona: was.persona.clone(),
                        why: self.why_left(number, was, is_new_turn),
                    }));
                    let why = || if is_new_turn { Why::Turn } else { Why::Free };
                    changes.extend(is.map(|is| Change::Came {
                        post: number,
                        now: is.clone(),
                        why: why(),
                    }));
                }
            }
            self.changes.extend(changes);
        }
    }

    /// Why a line is not used any more; none if it could be.
    fn why_not(&self, post: &Post) -> Option<Why> {
        let line = post.choice.line.clone();
        match self.state.usable(&post.persona, &line, None) {
            Usable::Yes => None,
            Usable::Failed(_) => Some(Why::Failing { line }),
            Usable::Down(_) | Usable::OnTrial => Some(Why::LineDown { line }),
        }
    }

    fn why_left(&self, number: u32, was: &Post, is_new_turn: bool) -> Why {
        match self.persona(&was.persona) {
            None => Why::Policy,
            Some(_) if number > self.policy.posts => Why::Policy,
            Some(_) => match self.why_not(was) {
                Some(why) => why,
                None if is_new_turn => Why::Turn,
                None => Why::Nothing,
            },
        }
    }

    fn why_switched(&self, was: &Post, is: &Post, is_new_turn: bool) -> Why {
        let line = is.choice.line.clone();
        let health = self.state.lines.get(&line);
        if let Some(why) = self.why_not(was) {
            return why;
        }
        let is_known = |line: &Label| {
            let pairs = self.state.failed.get(&was.persona);
            health.is_some() || pairs.is_some_and(|pairs| pairs.contains_key(line))
        };
        match health {
            Some(health) if health.on_trial => Why::Trial { line },
            _ if is_new_turn => Why::Turn,
            _ if was.choice.line != line && is_known(&line) => Why::Back { line },
            _ => Why::Policy,
        }
    }

    /// Forgets what says nothing.
    fn forget(&mut self) {
        self.state.lines.retain(|_, health| !health.is_plain());
        self.state.failed.values_mut().for_each(|pairs| pairs.retain(|_, pair| !pair.is_plain()));
        self.state.failed.retain(|_, pairs| !pairs.is_empty());
    }
}
