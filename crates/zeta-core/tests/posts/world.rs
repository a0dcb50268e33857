//! What happens to the posts: vendors go down and come back, and agents report how their ticks end.

use std::collections::{BTreeMap, BTreeSet};

use zeta_core::name::Label;
use zeta_core::schedule::policy::{
    Dimension, Failover, Line, Offer, Order, Persona, Policy, Program, Rotation, Tier,
};
use zeta_core::schedule::state::Outcome;
use zeta_core::schedule::{Report, State};

pub const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Numbers that a seed gives (SplitMix64).
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The vendors, the policy, and the time.
pub struct World {
    pub policy: Policy,
    pub now_ms: u64,
    /// How many outages began.
    pub outages: u64,
    random: Random,
    /// The lines whose vendor is down, and when it comes back.
    down: BTreeMap<Label, u64>,
}

fn label(text: &str) -> Label {
    text.parse().expect("a name")
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let mut all = std::iter::repeat_with(|| policy(&mut random)).take(10_000);
        let policy = all.find(|policy| policy.problems().is_empty()).expect("a sound policy");
        World { policy, now_ms: 0, outages: 0, random, down: BTreeMap::new() }
    }

    /// Lets time go by: most ticks are on time, some come late or at once, and about once a month
    /// one comes after a day of sleep.
    pub fn pass(&mut self, tick_ms: u64) -> u64 {
        let slept = self.random.once_in(30 * DAY_MS / tick_ms);
        let elapsed_ms = match self.random.below(200) {
            _ if slept => DAY_MS + self.random.below(DAY_MS),
            0 | 1 => 0,
            2..=9 => tick_ms * (2 + self.random.below(4)),
            _ => tick_ms,
        };
        self.now_ms += elapsed_ms;
        self.down.retain(|_, until_ms| *until_ms > self.now_ms);
        let lines: Vec<Label> = self.policy.lines.keys().cloned().collect();
        // An outage of each line about every four days, for minutes or for many hours.
        let often = 4 * DAY_MS / elapsed_ms.max(MINUTE_MS) + 1;
        for line in lines {
            if !self.down.contains_key(&line) && self.random.once_in(often) {
                let longest = if self.random.once_in(3) { 20 * HOUR_MS } else { HOUR_MS };
                self.down.insert(line, self.now_ms + self.random.below(longest));
                self.outages += 1;
            }
        }
        elapsed_ms
    }

    /// The reports of all posts since the last tick of the scheduler, in any order.
    pub fn work(&mut self, state: &State) -> Vec<Report> {
        let mut reports = Vec::new();
        for post in state.posts.values() {
            for _ in 0..self.random.below(3) {
                let outcome = match self.down.contains_key(&post.choice.line) {
                    true if self.random.once_in(3) => Outcome::Failed,
                    true => Outcome::Outage,
                    false if self.random.once_in(50) => Outcome::Failed,
                    false => Outcome::Ok,
                };
                let (persona, line) = (Some(post.persona.clone()), post.choice.line.clone());
                reports.push(Report { persona, line, outcome });
            }
        }
        let probed: Vec<Label> = state.lines.keys().cloned().collect();
        for line in probed {
            let health = &state.lines[&line];
            if self.policy.lines[&line].probe.is_some() && (health.on_trial || health.down_ms == 0)
            {
                let is_down = self.down.contains_key(&line);
                let outcome = if is_down { Outcome::Outage } else { Outcome::Ok };
                reports.push(Report { persona: None, line, outcome });
            }
        }
        if !reports.is_empty() {
            let at = self.random.below(reports.len() as u64) as usize;
            reports.rotate_left(at);
        }
        reports
    }
}

/// A policy that an operator could have written: three to five lines, four to nine personas.
fn policy(random: &mut Random) -> Policy {
    let program = || Program { program: "agent".to_owned(), ..Program::default() };
    let harnesses = ["claude-code", "codex", "gemini-cli"].map(label);
    let mut lines = BTreeMap::new();
    for number in 0..3 + random.below(3) {
        let mut tiers = BTreeMap::new();
        for tier in Tier::ALL {
            if tier == Tier::High || random.once_in(2) {
                let own = harnesses.iter().filter(|_| random.once_in(2));
                let by_harness = own.map(|harness| (harness.clone(), program())).collect();
                // All harnesses have a program, or those of their own.
                let all = random.once_in(2).then(program);
                tiers.insert(tier, Offer { program: all, by_harness });
            }
        }
        let probe = random.once_in(3).then(program);
        lines.insert(label(&format!("line-{number}")), Line { tiers, probe, ..Line::default() });
    }
    let names: Vec<Label> = lines.keys().cloned().collect();
    let mut compatible = BTreeMap::new();
    let mut personas = Vec::new();
    for number in 0..4 + random.below(6) {
        let name = label(&format!("persona-{number}"));
        let shift = random.below(names.len() as u64) as usize;
        let mut own: Vec<Label> = names[shift..].iter().chain(&names[..shift]).cloned().collect();
        own.truncate(1 + random.below(names.len() as u64) as usize);
        for line in &own {
            if random.once_in(4) {
                let one = harnesses[random.below(3) as usize].clone();
                compatible.insert((name.clone(), line.clone()), vec![one]);
            }
        }
        let min_tier = Tier::ALL[random.below(3) as usize];
        let mut harnesses = harnesses.to_vec();
        harnesses.rotate_left(random.below(3) as usize);
        personas.push(Persona { name, lines: own, harnesses, min_tier });
    }
    let order = [Order::RoundRobin, Order::Random, Order::LeastRecentlyUsed];
    let mut dimensions = BTreeSet::from([Dimension::Persona]);
    let others = [Dimension::Model, Dimension::Tier, Dimension::Harness];
    dimensions.extend(others.into_iter().filter(|_| random.once_in(4)));
    let posts = 3 + random.below(2) as u32;
    Policy {
        personas,
        lines,
        compatible,
        posts,
        floor: 3,
        rotation: Rotation {
            every_ms: Some(DAY_MS),
            dimensions,
            order: order[random.below(3) as usize],
            seed: random.below(1000),
        },
        failover: Failover { failures: 3, down_ms: 10 * MINUTE_MS, down_max_ms: 6 * HOUR_MS },
    }
}
