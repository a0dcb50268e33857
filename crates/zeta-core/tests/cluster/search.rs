//! A small world, searched in every order of steps.

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::mutant::Mutant;
use super::step::{Action, actions, apply};
use super::world::{Budget, World};

/// Two nodes whose clocks run at the rates that are furthest apart.
#[derive(Clone, Debug)]
struct Small {
    procs: Vec<(usize, usize)>,
    budget: Budget,
    ticks: Vec<u64>,
    mutant: Option<Mutant>,
}

impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let world = World::new(&[-10_000, 10_000], 1, &self.procs, self.budget);
        vec![World { mutant: self.mutant, ..world }]
    }

    fn actions(&self, world: &World, possible: &mut Vec<Action>) {
        possible.extend(actions(world, &self.ticks));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        apply(&mut next, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Small>> {
        vec![Property::always("no claim is broken", |_, world: &World| world.faults.is_empty())]
    }
}

/// Searches a world: how many states it has, and a shortest way to a broken claim.
fn search(small: Small) -> (usize, Option<(&'static str, Vec<Action>)>) {
    let until = HasDiscoveries::AnyFailures;
    // One thread, so that a short trace is found, and the same one each time.
    let checker = small.checker().threads(1).finish_when(until).spawn_bfs().join();
    let broken = checker.discovery("no claim is broken").map(|path| {
        let claim = path.last_state().faults.first().copied().unwrap_or_default();
        (claim, path.into_actions())
    });
    (checker.unique_state_count(), broken)
}

fn must_hold(name: &str, small: Small) {
    let (states, broken) = search(small);
    println!("{states:>9} states  {name}");
    if let Some((claim, trace)) = broken {
        let told: String = trace.iter().map(|action| format!("  {action:?}\n")).collect();
        panic!("{name}: not true: {claim}\n{told}");
    }
}

fn small() -> Small {
    let budget = Budget {
        crashes: 0,
        reboots: 0,
        losses: 0,
        jumps: 0,
        ticks: 1,
        attempts: 1,
        stale: 0,
        timeouts: 0,
        calls: 2,
        writes: 3,
    };
    Small { procs: vec![(0, 0), (1, 0)], budget, ticks: vec![30_100], mutant: None }
}

fn with(change: impl FnOnce(&mut Budget)) -> Small {
    let mut small = small();
    change(&mut small.budget);
    small
}

#[test]
fn two_hold_in_every_order_of_steps() {
    must_hold("nothing is lost", with(|budget| (budget.calls, budget.writes) = (3, 4)));
}

#[test]
fn two_hold_when_an_answer_is_late_or_lost() {
    must_hold("one answer is late or lost", with(|budget| budget.timeouts = 1));
}

#[test]
fn two_hold_when_a_process_is_killed() {
    must_hold("one process is killed", with(|budget| budget.crashes = 1));
}

#[test]
fn two_hold_when_a_server_is_cut_off() {
    must_hold("one reading is old", with(|budget| budget.stale = 1));
}

#[test]
fn two_hold_when_the_store_loses_values() {
    must_hold("the store loses values", with(|budget| budget.losses = 1));
}

#[test]
fn a_holder_that_acts_to_the_end_of_its_ttl_is_missed() {
    let (states, broken) = search(Small {
        mutant: Some(Mutant::NoMargin),
        ..with(|budget| (budget.calls, budget.writes) = (3, 4))
    });
    let (claim, trace) = broken.expect("it must be noticed");
    println!("NoMargin -> {claim} after {states} states, {} steps", trace.len());
}
