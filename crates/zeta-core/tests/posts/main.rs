//! A year of guard posts: vendors that are down for hours, personas that fail, clocks that stand
//! still or jump. After each tick an oracle that shares no code with the scheduler looks at who
//! stands where.
//!
//! `ZETA_POSTS_YEARS` is the number of years, of one seed each; without it, there are a few with
//! long ticks. `ZETA_POSTS_SEED` is the first seed.
#![expect(clippy::expect_used, reason = "a test stops where it fails")]

mod oracle;
mod world;

use self::oracle::Oracle;
use self::world::{MINUTE_MS, World};

const YEAR_MS: u64 = 365 * 24 * 60 * MINUTE_MS;

/// What a year had in it.
#[derive(Debug, Default)]
struct Counts {
    ticks: u64,
    outages: u64,
    changes: u64,
    turns: u64,
    missed_floors: u64,
}

/// Lives through a year, with ticks of this length.
fn year(seed: u64, tick_ms: u64) -> Counts {
    let mut world = World::new(seed);
    let mut oracle = Oracle::new(&world.policy);
    let mut counts = Counts::default();
    let mut state = zeta_core::schedule::State::default();
    while world.now_ms < YEAR_MS {
        let reports = world.work(&state);
        let elapsed_ms = world.pass(tick_ms);
        let ticked = zeta_core::schedule::tick(&world.policy, &state, &reports, elapsed_ms);
        let wrong = oracle.look(&state, &reports, elapsed_ms, &ticked);
        assert!(
            wrong.is_empty(),
            "seed {seed}, tick {} at {} ms: {wrong:#?}\nreports {reports:?}\nbefore {state:#?}\n\
             after {ticked:#?}",
            counts.ticks,
            world.now_ms,
        );
        counts.ticks += 1;
        counts.changes += ticked.changes.len() as u64;
        counts.missed_floors += u64::from(!ticked.has_floor);
        state = ticked.state;
    }
    counts.turns = state.turn;
    counts.outages = world.outages;
    oracle.judge_turns(seed);
    counts
}

#[expect(clippy::disallowed_methods, reason = "a person asks for a longer run")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn a_year_of_outages_breaks_no_rule_of_the_posts() {
    let clock = || {
        let since = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        since.as_nanos() as u64 >> 10
    };
    let first: u64 = variable("ZETA_POSTS_SEED").unwrap_or_else(clock);
    let (years, tick_ms) = match variable("ZETA_POSTS_YEARS") {
        Some(years) => (years, MINUTE_MS),
        None => (4, 20 * MINUTE_MS),
    };
    for seed in (first..).take(usize::try_from(years).expect("a number of years")) {
        println!("seed {seed}");
        let counts = year(seed, tick_ms);
        println!("{counts:?}");
        assert!(counts.turns > 100 && counts.outages > 50, "nothing happened: {counts:?}");
    }
}
