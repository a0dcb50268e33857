//! Long random runs, with the seed of a failing one.

use super::mutant::Mutant;
use super::step::{Action, actions, apply};
use super::world::{Budget, World};

const TICKS: [u64; 7] = [1, 40, 700, 3_000, 8_000, 15_000, 30_100];

/// Numbers that depend on their seed alone (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// What goes wrong beside lost answers and crashes. A server whose clock is set while its store
/// loses values may repeat a token until the floor is raised: both at once are not promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Nothing,
    Loss,
    Clock,
}

fn world_of(random: &mut Random, trouble: Trouble) -> World {
    let nodes = 3 + random.below(3);
    let rates = [-10_000, 10_000, 0, -3_000, 7_000];
    let leases = 1 + random.below(2);
    let procs = (0..nodes * 2).map(|at| (at % nodes, random.below(leases))).collect::<Vec<_>>();
    let (losses, jumps) = match trouble {
        Trouble::Nothing => (0, 0),
        Trouble::Loss => (2, 0),
        Trouble::Clock => (0, 4),
    };
    let budget = Budget {
        crashes: 6,
        reboots: 2,
        losses,
        jumps,
        ticks: u32::MAX,
        attempts: u64::MAX,
        stale: u32::MAX,
        timeouts: u32::MAX,
        calls: u32::MAX,
        writes: u64::MAX,
    };
    let mut world = World::new(&rates[..nodes], leases, &procs, budget);
    if trouble == Trouble::Clock {
        for node in &mut world.nodes {
            node.clock_error_ms = random.below(20_000) as i64 - 10_000;
        }
    }
    world
}

/// A mixture in which calls come to an end: most steps carry on what was begun.
fn choose(random: &mut Random, possible: &[Action]) -> Action {
    let rare = |action: &Action| {
        matches!(
            action,
            Action::Crash(_)
                | Action::Reboot(_)
                | Action::Lose(_)
                | Action::Jump(_)
                | Action::Release(_)
                | Action::Drop(_)
                | Action::Refuse(_)
                | Action::GiveUp(_)
                | Action::Timeout(_)
        )
    };
    let is_tick = |action: &Action| matches!(action, Action::Tick(_));
    let ticks = random.below(4) == 0;
    for _ in 0..64 {
        let action = possible[random.below(possible.len())];
        let wanted = if ticks { is_tick(&action) } else { !is_tick(&action) };
        if wanted && (!rare(&action) || random.below(6) == 0) {
            return action;
        }
    }
    possible[0]
}

/// Runs one world to its first fault, if it has any; the grants that it made, too.
fn run(seed: u64, trouble: Trouble, mutant: Option<Mutant>, steps: usize) -> (World, Vec<Action>) {
    let mut random = Random(seed);
    let mut world = world_of(&mut random, trouble);
    world.mutant = mutant;
    let mut done = Vec::new();
    for _ in 0..steps {
        let possible = actions(&world, &TICKS);
        let action = choose(&mut random, &possible);
        apply(&mut world, action);
        done.push(action);
        if !world.faults.is_empty() {
            break;
        }
    }
    (world, done)
}

/// After all trouble, each call under an unknown id ends, and each lease is granted again.
fn settle(world: &mut World) {
    world.flights.clear();
    for node in 0..world.nodes.len() {
        apply(world, Action::Look(node));
    }
    for _ in 0..12 {
        apply(world, Action::Tick(15_000));
        for at in 0..world.procs.len() {
            finish_call(world, at);
            if world.procs[at].belief.is_some() {
                apply(world, Action::Release(at));
                finish_call(world, at);
            }
            apply(world, Action::End(at));
            finish_call(world, at);
        }
        for at in 0..world.procs.len() {
            // Twice: what is known of the lease may be old.
            for _ in 0..2 {
                if world.procs[at].belief.is_none() {
                    apply(world, Action::Acquire(at));
                    finish_call(world, at);
                }
            }
        }
    }
    for lease in 0..world.highest.len() {
        let held = |at: &usize| world.procs[*at].lease == lease && world.believes(*at);
        let is_wanted = world.procs.iter().any(|proc| proc.lease == lease);
        if is_wanted && (0..world.procs.len()).filter(held).count() != 1 {
            world.fault("each lease is granted again");
        }
    }
    if world.procs.iter().any(|proc| proc.unknown.is_some()) {
        world.fault("each unknown attempt is found out under its id");
    }
}

/// Answers everything that a call wants, until it ends.
fn finish_call(world: &mut World, at: usize) {
    for turn in 0..40 {
        if world.procs[at].call.is_none() {
            return;
        }
        // It may have to wait for the end of a TTL.
        if turn % 10 == 9 {
            apply(world, Action::Tick(15_000));
        }
        match (world.procs[at].waits, world.flights.iter().position(|flight| flight.proc == at)) {
            (Some(_), Some(flight)) => {
                if world.flights[flight].answer.is_none() {
                    apply(world, Action::Arrive(flight));
                }
                apply(world, Action::Answer(flight));
            }
            (Some(_), None) => apply(world, Action::Timeout(at)),
            (None, _) => apply(world, Action::Read(at, 0)),
        }
    }
    world.fault("each call ends");
}

fn told(actions: &[Action]) -> String {
    let from = actions.len().saturating_sub(40);
    actions[from..].iter().map(|action| format!("  {action:?}\n")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a person may want a longer run than the test's")]
fn runs() -> u64 {
    std::env::var("ZETA_MODEL_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

#[test]
fn no_random_run_breaks_a_claim() {
    for trouble in [Trouble::Nothing, Trouble::Loss, Trouble::Clock] {
        let (mut grants, mut writes) = (0, 0);
        for seed in 0..runs() {
            let (mut world, mut done) = run(seed, trouble, None, 1_500);
            if world.faults.is_empty() {
                settle(&mut world);
                done.clear();
            }
            grants += world.grants;
            writes += world.log.len();
            assert!(
                world.faults.is_empty(),
                "{trouble:?}, seed {seed}: not true: {:?}\n{}",
                world.faults,
                told(&done)
            );
        }
        println!("{trouble:?}: {} runs, {grants} grants and renewals, {writes} writes", runs());
        assert!(grants > 10 * runs(), "too little happens for the claims to mean anything");
    }
}

#[test]
fn each_rule_of_a_cluster_that_is_dropped_is_missed() {
    let mut unnoticed = Vec::new();
    // The margin is so small a part of the TTL that a search finds it, and chance does not.
    for mutant in Mutant::ALL.into_iter().filter(|mutant| *mutant != Mutant::NoMargin) {
        let trouble = match mutant {
            Mutant::TokenIsRevision | Mutant::ReadingGrants | Mutant::NoQuarantine => Trouble::Loss,
            _ => Trouble::Nothing,
        };
        let found = (0..2_000).find_map(|seed| {
            let (world, done) = run(seed, trouble, Some(mutant), 1_500);
            world.faults.first().map(|claim| (seed, done.len(), *claim))
        });
        match found {
            Some((seed, steps, claim)) => {
                println!("{:<20} seed {seed}, {steps} steps: {claim}", format!("{mutant:?}"));
            }
            None => unnoticed.push(mutant),
        }
    }
    assert!(unnoticed.is_empty(), "nothing is missed without {unnoticed:?}");
}
