//! What must hold after each tick, by what the posts reported and by the words of the policy.

use std::collections::{BTreeMap, BTreeSet};

use zeta_core::name::Label;
use zeta_core::schedule::policy::{Dimension, Persona, Policy, Tier};
use zeta_core::schedule::state::Outcome;
use zeta_core::schedule::{Change, Report, State, Ticked};

/// What is remembered from tick to tick.
pub struct Oracle {
    policy: Policy,
    /// For each persona, the lines that it can be started with at all.
    offers: BTreeMap<Label, BTreeSet<Label>>,
    /// How long ago a line was reported as bad, in ms; not there if it never was.
    bad_ms: BTreeMap<Label, u64>,
    /// Failed reports in a row, of a persona on a line.
    failed: BTreeMap<(Label, Label), u32>,
    /// Since when a line is on trial, in ticks.
    turns: Vec<Turn>,
}

/// A turn: who stood at its begin, and whether all personas could, until its end.
struct Turn {
    stood: BTreeSet<Label>,
    all_could: bool,
}

impl Oracle {
    pub fn new(policy: &Policy) -> Oracle {
        let offers = policy.personas.iter().map(|persona| {
            let lines = persona.lines.iter().filter(|line| is_offered(policy, persona, line));
            (persona.name.clone(), lines.cloned().collect())
        });
        Oracle {
            offers: offers.collect(),
            policy: policy.clone(),
            bad_ms: BTreeMap::new(),
            failed: BTreeMap::new(),
            turns: Vec::new(),
        }
    }

    /// Looks at one tick; returns what is wrong with it.
    pub fn look(
        &mut self,
        before: &State,
        reports: &[Report],
        elapsed_ms: u64,
        after: &Ticked,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        self.remember(reports, elapsed_ms);
        self.each_stands_once_with_what_fits(&after.state, &mut wrong);
        self.as_many_stand_as_can(after, &mut wrong);
        self.failover_is_at_once(before, reports, &after.state, &mut wrong);
        self.nothing_moves_without_a_cause(before, reports, elapsed_ms, after, &mut wrong);
        self.the_best_line_is_used(&after.state, &mut wrong);
        self.count_turn(before, after);
        wrong
    }

    fn remember(&mut self, reports: &[Report], elapsed_ms: u64) {
        self.bad_ms.values_mut().for_each(|ms| *ms = ms.saturating_add(elapsed_ms));
        for Report { persona, line, outcome } in reports {
            if *outcome != Outcome::Ok {
                self.bad_ms.insert(line.clone(), 0);
            }
            if let Some(persona) = persona {
                let row = self.failed.entry((persona.clone(), line.clone())).or_default();
                match outcome {
                    Outcome::Ok => *row = 0,
                    Outcome::Failed => *row += 1,
                    Outcome::Outage => {}
                }
            }
        }
    }

    fn each_stands_once_with_what_fits(&self, state: &State, wrong: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (number, post) in &state.posts {
            let (name, choice) = (&post.persona, &post.choice);
            if !(1..=self.policy.posts).contains(number) || !seen.insert(name) {
                wrong.push(format!("{name} stands twice, or at a post that is not there"));
            }
            let persona = self.policy.personas.iter().find(|persona| persona.name == *name);
            let persona = persona.expect("a persona of the policy");
            let fits = persona.lines.contains(&choice.line)
                && choice.tier >= persona.min_tier
                && can_start(&self.policy, persona, &choice.line, choice.tier, &choice.harness);
            if !fits {
                wrong.push(format!("{name} cannot work with {choice:?}"));
            }
        }
    }

    /// A line that nothing bad was reported of for longer than it could be down can be used by each
    /// persona that it is offered to.
    fn as_many_stand_as_can(&self, after: &Ticked, wrong: &mut Vec<String>) {
        let is_well = |line: &Label| {
            self.bad_ms.get(line).is_none_or(|ms| *ms > self.policy.failover.down_max_ms)
                && after.state.lines.get(line).is_none_or(|health| !health.on_trial)
        };
        let able = self.offers.values().filter(|lines| lines.iter().any(is_well)).count();
        let able = able.min(self.policy.posts as usize);
        let stand = after.state.posts.len();
        if stand < able {
            wrong.push(format!("{able} can stand, and {stand} do"));
        }
        if after.has_floor != (stand >= self.policy.floor as usize) {
            wrong.push("the floor is told wrong".to_owned());
        }
    }

    /// After a report of an outage the persona does not work with that line, and none does unless
    /// the persona took a line down alone before and is the only one that says so. After the third
    /// failure in a row that persona does not work with it.
    fn failover_is_at_once(
        &self,
        before: &State,
        reports: &[Report],
        after: &State,
        wrong: &mut Vec<String>,
    ) {
        for Report { persona, line, outcome } in reports {
            let is_out = *outcome == Outcome::Outage;
            let says_so = |one: &&Report| one.line == *line && one.outcome == Outcome::Outage;
            let said: BTreeSet<_> =
                reports.iter().filter(says_so).map(|one| &one.persona).collect();
            let mut lines = before.lines.values();
            let is_alone = persona.is_some()
                && said.len() == 1
                && lines.any(|health| health.taken_by == *persona);
            for post in after.posts.values().filter(|post| post.choice.line == *line) {
                let failed = self.failed.get(&(post.persona.clone(), line.clone()));
                let failed = failed.is_some_and(|row| *row >= self.policy.failover.failures)
                    && persona.as_ref() == Some(&post.persona)
                    && before.posts.values().any(|was| was == post);
                let is_own = persona.as_ref() == Some(&post.persona);
                if is_out && (is_own || !is_alone) || failed {
                    wrong.push(format!("{} still works with {line}", post.persona));
                }
            }
        }
    }

    /// Without a bad report, a new turn, a time that ran out or a trial that went well, everything
    /// stays. A persona that stays keeps its post in any case.
    fn nothing_moves_without_a_cause(
        &self,
        before: &State,
        reports: &[Report],
        elapsed_ms: u64,
        after: &Ticked,
        wrong: &mut Vec<String>,
    ) {
        let is_bad = reports.iter().any(|report| report.outcome != Outcome::Ok);
        let healths =
            || before.lines.values().chain(before.failed.values().flat_map(BTreeMap::values));
        let is_over = healths().any(|health| health.down_ms > 0 && health.down_ms <= elapsed_ms);
        let is_tried = before.lines.values().any(|health| health.on_trial);
        let is_turn = before.turn == 0 || before.turn_left_ms <= elapsed_ms;
        if !is_bad && !is_over && !is_tried && !is_turn && before.posts != after.state.posts {
            wrong.push("something moved without a cause".to_owned());
        }
        for (number, was) in &before.posts {
            let now = after.state.posts.iter().find(|(_, is)| is.persona == was.persona);
            if now.is_some_and(|(now, _)| now != number) {
                wrong.push(format!("{} changed its post", was.persona));
            }
        }
        let downs = after.changes.iter().filter(|one| matches!(one, Change::Down { .. })).count();
        if downs > 0 && !is_bad {
            wrong.push("a line is down, and no report said so".to_owned());
        }
    }

    /// Each persona works with the first of its lines that can be used: so it returns with the
    /// first tick after a trial that went well. Where models rotate, the first one is another one.
    fn the_best_line_is_used(&self, after: &State, wrong: &mut Vec<String>) {
        if self.policy.rotation.dimensions.contains(&Dimension::Model) {
            return;
        }
        for post in after.posts.values() {
            let persona = self.policy.personas.iter().find(|one| one.name == post.persona);
            let lines = &persona.expect("a persona of the policy").lines;
            let better = lines.iter().take_while(|line| **line != post.choice.line);
            for line in better.filter(|line| self.offers[&post.persona].contains(*line)) {
                let health = after.lines.get(line);
                let pair = after.failed.get(&post.persona).and_then(|pairs| pairs.get(line));
                let waits = |down_ms: u64| down_ms > 0;
                let is_kept_away = health.is_some_and(|one| one.on_trial || waits(one.down_ms))
                    || pair.is_some_and(|pair| waits(pair.down_ms));
                if !is_kept_away {
                    wrong.push(format!("{} likes {line} better", post.persona));
                }
            }
        }
        for (line, health) in after.lines.iter().filter(|(_, health)| health.on_trial) {
            let users = after.posts.values().filter(|post| post.choice.line == *line).count();
            if users > 1 {
                wrong.push(format!("{users} personas try {line}: {health:?}"));
            }
        }
    }

    fn count_turn(&mut self, before: &State, after: &Ticked) {
        let state = &after.state;
        let is_usable = |persona: &Label, line: &Label| {
            let pair = state.failed.get(persona).and_then(|pairs| pairs.get(line));
            pair.is_none_or(|pair| pair.down_ms == 0)
                && state.lines.get(line).is_none_or(|one| one.down_ms == 0 && !one.on_trial)
        };
        let mut offers = self.offers.iter();
        let all_can = offers.all(|(persona, lines)| lines.iter().any(|l| is_usable(persona, l)));
        let stood: BTreeSet<Label> =
            state.posts.values().map(|post| post.persona.clone()).collect();
        match self.turns.last_mut() {
            Some(turn) if before.turn == state.turn => {
                turn.all_could &= all_can && turn.stood == stood
            }
            _ => self.turns.push(Turn { stood, all_could: all_can }),
        }
    }

    /// Over each run of turns in which all personas could stand, none stood more than one turn more
    /// often than another one.
    pub fn judge_turns(&self, seed: u64) {
        for run in self.turns.split(|turn| !turn.all_could) {
            for begin in 0..run.len() {
                let mut counts: BTreeMap<&Label, u32> =
                    self.offers.keys().map(|name| (name, 0)).collect();
                for turn in &run[begin..] {
                    for name in &turn.stood {
                        *counts.entry(name).or_default() += 1;
                    }
                    let least = counts.values().min().expect("a persona");
                    let most = counts.values().max().expect("a persona");
                    assert!(most - least <= 1, "seed {seed}: {counts:?}");
                }
            }
        }
    }
}

/// Whether the catalogue has a program for this, and the persona uses the harness with the line.
fn can_start(
    policy: &Policy,
    persona: &Persona,
    line: &Label,
    tier: Tier,
    harness: &Label,
) -> bool {
    let pair = (persona.name.clone(), line.clone());
    let is_compatible = match policy.compatible.get(&pair) {
        Some(harnesses) => harnesses.contains(harness),
        None => true,
    };
    let offer = policy.lines.get(line).and_then(|known| known.tiers.get(&tier));
    is_compatible
        && persona.harnesses.contains(harness)
        && offer.is_some_and(|o| o.program.is_some() || o.by_harness.contains_key(harness))
}

fn is_offered(policy: &Policy, persona: &Persona, line: &Label) -> bool {
    Tier::ALL.into_iter().filter(|tier| *tier >= persona.min_tier).any(|tier| {
        let mut harnesses = persona.harnesses.iter();
        harnesses.any(|harness| can_start(policy, persona, line, tier, harness))
    })
}
