//! The scheduler as tables, and as a year of ticks with random outages.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::assign::{Change, Ticked, Why, tick};
use super::choice::{Choice, Step, Usable, Verdict, choose, is_allowed};
use super::health::Health;
use super::policy::{
    Dimension, Failover, Line, Offer, Order, Persona, Policy, Problem, Program, Rotation, Tier,
};
use super::state::{Assignments, Damage, KIND, Moment, Outcome, Report, SCHEMA, State};
use crate::name::Label;

const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;

pub(super) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn labels(texts: &[&str]) -> Vec<Label> {
    texts.iter().map(|text| label(text)).collect()
}

fn persona(name: &str, lines: &[&str], harnesses: &[&str], min_tier: Tier) -> Persona {
    Persona { name: label(name), lines: labels(lines), harnesses: labels(harnesses), min_tier }
}

fn offer(program: &str) -> Offer {
    let program = Program { program: program.to_owned(), ..Program::default() };
    Offer { program: Some(program), by_harness: BTreeMap::new() }
}

/// Three lines with all tiers.
fn catalogue() -> BTreeMap<Label, Line> {
    let line = |program: &str| Line {
        tiers: Tier::ALL.into_iter().map(|tier| (tier, offer(program))).collect(),
        ..Line::default()
    };
    [("anthropic", "claude"), ("openai", "codex"), ("google", "gemini")]
        .into_iter()
        .map(|(name, program)| (label(name), line(program)))
        .collect()
}

pub(super) fn policy(personas: Vec<Persona>, posts: u32) -> Policy {
    Policy {
        personas,
        lines: catalogue(),
        compatible: BTreeMap::new(),
        posts,
        floor: posts.min(3),
        rotation: Rotation {
            every_ms: Some(DAY_MS),
            dimensions: BTreeSet::from([Dimension::Persona]),
            order: Order::RoundRobin,
            seed: 1,
        },
        failover: Failover {
            failures: 3,
            down_ms: 10 * MINUTE_MS,
            down_max_ms: 6 * 60 * MINUTE_MS,
        },
    }
}

/// Personas that work with any line.
pub(super) fn many(count: usize) -> Vec<Persona> {
    let lines = ["anthropic", "openai", "google"];
    let name = |at: usize| format!("p{at:03}");
    (0..count).map(|at| persona(&name(at), &lines, &["cli"], Tier::Medium)).collect()
}

fn report(persona: &str, line: &str, outcome: Outcome) -> Report {
    Report { persona: Some(label(persona)), line: label(line), outcome }
}

/// What a post reports of a tick in which its vendor could not be used.
pub(super) fn outage_of(persona: &str, line: &str) -> Report {
    report(persona, line, Outcome::Outage)
}

fn names(state: &State) -> Vec<&str> {
    state.posts.values().map(|post| post.persona.as_str()).collect()
}

fn lines(state: &State) -> Vec<&str> {
    state.posts.values().map(|post| post.choice.line.as_str()).collect()
}

#[test]
fn the_order_is_line_tier_harness_and_each_candidate_has_a_reason() {
    let otto =
        persona("otto", &["none", "openai", "anthropic"], &["claude-code", "codex"], Tier::High);
    let mut policy = policy(vec![otto], 1);
    policy.compatible.insert((label("otto"), label("openai")), labels(&["codex"]));
    let mut steps = Vec::new();
    let otto = &policy.personas[0];
    let chosen = choose(&policy, otto, 0, &|_| Usable::Yes, &mut |step| steps.push(step)).unwrap();
    assert_eq!((chosen.line.as_str(), chosen.tier), ("openai", Tier::High));
    assert_eq!(chosen.harness.as_str(), "codex");
    let (openai, code, codex) = (label("openai"), label("claude-code"), label("codex"));
    assert_eq!(
        steps,
        [
            Step::Line(&label("none"), Verdict::NotInCatalogue),
            Step::Tier(&openai, Tier::Fast, Verdict::TooWeak(Tier::High)),
            Step::Tier(&openai, Tier::Medium, Verdict::TooWeak(Tier::High)),
            Step::Harness(&openai, Tier::High, &code, Verdict::NotCompatible),
            Step::Harness(&openai, Tier::High, &codex, Verdict::Chosen),
            Step::Tier(&openai, Tier::High, Verdict::Chosen),
            Step::Line(&openai, Verdict::Chosen),
        ]
    );
    let down = |line: &Label| match line.as_str() {
        "openai" => Usable::Down(5),
        _ => Usable::Yes,
    };
    let chosen = choose(&policy, otto, 0, &down, &mut |_| {}).unwrap();
    assert_eq!((chosen.line.as_str(), chosen.harness.as_str()), ("anthropic", "claude-code"));
}

#[test]
fn a_choice_is_allowed_by_the_policy_of_now_alone() {
    let otto = persona("otto", &["openai", "google"], &["cli", "codex"], Tier::Fast);
    let fine = policy(vec![otto], 1);
    let choice = Choice { line: label("openai"), tier: Tier::Medium, harness: label("codex") };
    let is_allowed = |policy: &Policy| is_allowed(policy, &policy.personas[0], &choice);
    // Each preference that fits, not the first one alone.
    assert!(is_allowed(&fine));
    let changes: [fn(&mut Policy); 6] = [
        |policy| policy.personas[0].min_tier = Tier::High,
        |policy| policy.personas[0].lines = labels(&["google"]),
        |policy| policy.personas[0].harnesses = labels(&["cli"]),
        |policy| {
            policy.compatible.insert((label("otto"), label("openai")), labels(&["cli"]));
        },
        |policy| policy.lines.clear(),
        |policy| {
            let openai = policy.lines.get_mut(&label("openai")).unwrap();
            openai.tiers.remove(&Tier::Medium);
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut changed = fine.clone();
        change(&mut changed);
        assert!(!is_allowed(&changed), "change {at}");
    }
}

#[test]
fn a_tier_that_is_not_there_gives_way_to_a_stronger_one_and_never_to_a_weaker_one() {
    let mut policy = policy(vec![persona("a", &["openai"], &["cli"], Tier::Medium)], 1);
    let tiers = &mut policy.lines.get_mut(&label("openai")).unwrap().tiers;
    tiers.remove(&Tier::Medium);
    assert_eq!(tick(&policy, &State::default(), &[], 0).state.posts[&1].choice.tier, Tier::High);
    policy.lines.get_mut(&label("openai")).unwrap().tiers.remove(&Tier::High);
    let ticked = tick(&policy, &State::default(), &[], 0);
    assert!(ticked.state.posts.is_empty() && !ticked.has_floor);
    assert_eq!(policy.problems(), [Problem::NothingFits(label("a"))]);
    assert!(!policy.problems()[0].is_fatal());
}

#[test]
fn an_outage_moves_all_of_its_line_within_one_tick_and_they_return_after_a_trial() {
    let policy = policy(many(3), 3);
    let mut state = tick(&policy, &State::default(), &[], 0).state;
    assert_eq!(lines(&state), ["anthropic"; 3]);
    let ticked = tick(&policy, &state, &[report("p000", "anthropic", Outcome::Outage)], 1000);
    assert_eq!(lines(&ticked.state), ["openai"; 3]);
    assert_eq!(names(&ticked.state), ["p000", "p001", "p002"]);
    let why = Why::LineDown { line: label("anthropic") };
    assert!(matches!(&ticked.changes[1], Change::Switched { why: got, .. } if *got == why));
    // Ten minutes later one tries it, and the others stay.
    state = tick(&policy, &ticked.state, &[], 10 * MINUTE_MS - 1).state;
    assert_eq!(lines(&state), ["openai"; 3]);
    state = tick(&policy, &state, &[], 1).state;
    assert_eq!(lines(&state), ["openai", "anthropic", "openai"], "not who took it down");
    let again = tick(&policy, &state, &[], MINUTE_MS);
    assert_eq!(again.state.posts, state.posts);
    assert_eq!(again.changes, []);
    // A failed trial is twice as long.
    let failed = tick(&policy, &state, &[report("p001", "anthropic", Outcome::Failed)], 0).state;
    assert_eq!(lines(&failed), ["openai"; 3]);
    assert_eq!(failed.lines[&label("anthropic")].down_ms, 20 * MINUTE_MS);
    let good = tick(&policy, &state, &[report("p001", "anthropic", Outcome::Ok)], 0);
    assert_eq!(lines(&good.state), ["anthropic"; 3]);
    assert!(good.changes.contains(&Change::Up { line: label("anthropic") }));
}

#[test]
fn a_probe_brings_a_line_back_or_leaves_it_down() {
    let policy = policy(many(3), 3);
    let state = tick(&policy, &State::default(), &[], 0).state;
    let state = tick(&policy, &state, &[report("p000", "anthropic", Outcome::Outage)], 0).state;
    let state = tick(&policy, &state, &[], 10 * MINUTE_MS).state;
    let probe = |outcome| [Report { persona: None, line: label("anthropic"), outcome }];
    assert_eq!(lines(&tick(&policy, &state, &probe(Outcome::Ok), 0).state), ["anthropic"; 3]);
    assert_eq!(lines(&tick(&policy, &state, &probe(Outcome::Failed), 0).state), ["openai"; 3]);
}

#[test]
fn one_persona_that_fails_takes_no_line_from_the_others() {
    let policy = policy(many(4), 3);
    let mut state = tick(&policy, &State::default(), &[], 0).state;
    for line in ["anthropic", "openai", "google"] {
        for _ in 0..3 {
            assert!(names(&state).contains(&"p001"));
            state = tick(&policy, &state, &[report("p001", line, Outcome::Failed)], 1).state;
        }
        assert!(state.lines.is_empty(), "{:?}", state.lines);
    }
    assert_eq!(names(&state), ["p000", "p003", "p002"], "another persona takes its post");
    assert_eq!(lines(&state), ["anthropic"; 3]);
    // A second one that fails on the same line takes it down for all.
    let fails = [(); 3].map(|()| report("p000", "anthropic", Outcome::Failed));
    let state = tick(&policy, &state, &fails, 1).state;
    assert_eq!(lines(&state), ["openai"; 3]);
}

#[test]
fn one_persona_that_says_outage_of_each_line_takes_down_the_first_alone() {
    let policy = policy(many(3), 3);
    let says = |state: &State, persona: &str, line: &str, outcome| {
        tick(&policy, state, &[report(persona, line, outcome)], MINUTE_MS).state
    };
    let state = tick(&policy, &State::default(), &[], 0).state;
    let state = says(&state, "p000", "anthropic", Outcome::Outage);
    assert_eq!(lines(&state), ["openai"; 3]);
    let state = says(&state, "p000", "openai", Outcome::Outage);
    assert_eq!(lines(&state), ["google", "openai", "openai"]);
    let state = says(&state, "p000", "google", Outcome::Outage);
    assert_eq!((names(&state), lines(&state)), (vec!["p001", "p002"], vec!["openai"; 2]));
    // The word of another one counts, and so does a second one.
    assert!(says(&state, "p001", "google", Outcome::Outage).lines[&label("google")].down_ms > 0);
    let all = says(&state, "p001", "openai", Outcome::Outage);
    assert_eq!(lines(&all), ["google"; 2]);
    // Another one tries the first line, finds it well, and it stays so whatever the first one says.
    let state = tick(&policy, &state, &[], 10 * MINUTE_MS).state;
    assert_eq!(state.lines[&label("anthropic")].tried_by, Some(label("p001")));
    let state = says(&state, "p001", "anthropic", Outcome::Ok);
    assert_eq!(lines(&state), ["anthropic"; 3]);
    let state = says(&state, "p000", "anthropic", Outcome::Outage);
    assert_eq!(lines(&state).iter().filter(|line| **line == "anthropic").count(), 2);
    // It is long ago in the end, and its word counts again.
    let state = tick(&policy, &state, &[], policy.failover.down_max_ms).state;
    let state = says(&state, "p000", "anthropic", Outcome::Outage);
    assert!(!lines(&state).contains(&"anthropic"), "{:?}", lines(&state));
}

#[test]
fn without_a_line_the_floor_is_missed_honestly_and_the_first_one_back_is_tried_on_a_free_post() {
    let personas = vec![
        persona("a", &["anthropic"], &["cli"], Tier::High),
        persona("b", &["openai"], &["cli"], Tier::High),
        persona("c", &["anthropic"], &["cli"], Tier::High),
    ];
    let policy = policy(personas, 3);
    let state = tick(&policy, &State::default(), &[], 0).state;
    let ticked = tick(&policy, &state, &[report("a", "anthropic", Outcome::Outage)], 0);
    assert_eq!(names(&ticked.state), ["b"]);
    assert!(!ticked.has_floor);
    assert_eq!(ticked.next_ms, Some(10 * MINUTE_MS));
    let back = tick(&policy, &ticked.state, &[], 10 * MINUTE_MS).state;
    assert_eq!(names(&back), ["c", "b"], "one tries it: not who took it down");
    let all = tick(&policy, &back, &[report("c", "anthropic", Outcome::Ok)], 0);
    assert_eq!(names(&all.state), ["c", "b", "a"]);
    assert!(all.has_floor);
}

#[test]
fn a_turn_ends_once_however_long_nothing_ran_and_those_who_stay_keep_their_post() {
    let policy = policy(many(4), 3);
    let first = tick(&policy, &State::default(), &[], 0).state;
    assert_eq!((first.turn, names(&first)), (1, vec!["p000", "p001", "p002"]));
    let early = tick(&policy, &first, &[], DAY_MS - 1);
    assert_eq!((early.state.turn, early.changes.len()), (1, 0));
    let second = tick(&policy, &first, &[], 40 * DAY_MS).state;
    assert_eq!((second.turn, second.turn_left_ms), (2, DAY_MS));
    assert_eq!(names(&second), ["p000", "p001", "p003"]);
    let moment =
        |boot: &str, boot_ms, wall_us| Moment { boot_id: boot.to_owned(), boot_ms, wall_us };
    let at = moment("a", 1000, 0);
    assert_eq!(at.elapsed_ms(&moment("a", 4000, 86_400_000_000)), 3000, "the wall clock jumped");
    assert_eq!(at.elapsed_ms(&moment("a", 500, 0)), 0);
    assert_eq!(at.elapsed_ms(&moment("b", 700, 9_000_000)), 9000);
    assert_eq!(at.elapsed_ms(&moment("b", 700, -9_000_000)), 700, "it was set back at the boot");
}

#[test]
fn a_model_that_rotates_changes_at_the_post_and_a_policy_that_changes_is_followed() {
    let mut policy = policy(many(3), 3);
    policy.rotation.dimensions = BTreeSet::from([Dimension::Model]);
    let mut state = tick(&policy, &State::default(), &[], 0).state;
    for line in ["openai", "google", "anthropic"] {
        state = tick(&policy, &state, &[], DAY_MS).state;
        assert_eq!((names(&state), lines(&state)), (vec!["p000", "p001", "p002"], vec![line; 3]));
    }
    policy.personas.remove(0);
    policy.posts = 1;
    let ticked = tick(&policy, &state, &[], 1);
    assert_eq!(names(&ticked.state), ["p001"]);
    assert!(!ticked.state.served.contains_key(&label("p000")));
}

#[test]
fn a_post_that_the_policy_has_no_more_is_left_for_that_reason() {
    let policy = policy(many(3), 3);
    let before = tick(&policy, &State::default(), &[], 0).state;
    let left = |posts| {
        let after = tick(&Policy { posts, ..policy.clone() }, &before, &[], MINUTE_MS);
        let left = after.changes.into_iter().filter_map(|change| match change {
            Change::Left { post, why, .. } => Some((post, why)),
            _ => None,
        });
        left.collect::<Vec<_>>()
    };
    assert_eq!(left(2), [(3, Why::Policy)]);
    assert_eq!(left(3), []);
}

#[test]
fn what_is_wrong_with_a_policy_is_named() {
    let mut bad = policy(many(2), 3);
    bad.floor = 4;
    bad.personas[1].name = label("p000");
    bad.personas[0].lines.push(label("openai"));
    bad.personas[1].harnesses.clear();
    bad.compatible.insert((label("ghost"), label("openai")), labels(&["cli"]));
    let tiers = BTreeMap::from([(Tier::High, Offer::default())]);
    bad.lines.insert(label("empty"), Line { tiers, ..Line::default() });
    bad.failover.down_ms = 0;
    let texts: Vec<String> = bad.problems().iter().map(ToString::to_string).collect();
    for part in [
        "3 posts with a floor of 4",
        "the persona p000 is there twice",
        "p000 names openai twice",
        "has no harnesses",
        "compatibility of ghost",
        "the tier high of the line empty has no program",
        "the time for which a line is down",
    ] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
    }
    assert_eq!(policy(many(3), 3).problems(), []);
    let mut named = policy(many(3), 10);
    let long = "a".repeat(57);
    let names = [long.as_str(), "otto", "otto-post2"];
    names.iter().zip(&mut named.personas).for_each(|(name, one)| one.name = label(name));
    let texts: Vec<String> = named.problems().iter().map(ToString::to_string).collect();
    let [too_long, of_agent] = &texts[..] else { panic!("{texts:#?}") };
    assert!(too_long.ends_with(&format!("{long}-post10 is longer than the 63 letters of a name")));
    assert_eq!(of_agent, "the persona otto-post2 has the name of the agent of otto at post 2");
    assert!(named.problems().iter().all(Problem::is_fatal));
    named.posts = 9;
    named.personas[2].name = label("otto-post02");
    assert_eq!(named.problems(), []);
}

#[test]
fn the_file_comes_back_as_it_was_and_damage_is_named() {
    let policy = policy(many(4), 3);
    let first = tick(&policy, &State::default(), &[], 0);
    let outage = report("p000", "anthropic", Outcome::Outage);
    let Ticked { state, changes, .. } = tick(&policy, &first.state, &[outage], 5);
    let written = Moment { boot_id: "b".to_owned(), boot_ms: 7, wall_us: 8 };
    let (kind, floor) = (KIND.to_owned(), 3);
    let mut file = Assignments {
        schema: SCHEMA,
        kind,
        fencing_token: 9,
        written,
        floor,
        state,
        seen: BTreeMap::from([(1, 7)]),
        changes: Vec::new(),
    };
    file.remember(10, changes);
    let text = file.render();
    assert_eq!(Assignments::read(text.as_bytes()), Ok(file.clone()));
    assert_eq!((file.ahead_of(9), file.ahead_of(8)), (None, Some(Damage::Ahead(9, 8))));
    (0..200).for_each(|_| file.remember(11, first.changes.clone()));
    assert_eq!(file.changes.len(), super::state::CHANGES_MAX);
    let half = &text.as_bytes()[..text.len() / 2];
    assert!(matches!(Assignments::read(half), Err(Damage::NotOne(_))));
    let other = text.replace(KIND, "another");
    assert!(matches!(Assignments::read(other.as_bytes()), Err(Damage::NotOne(_))));
    let newer = text.replace("\"schema\": 1", "\"schema\": 2");
    assert_eq!(Assignments::read(newer.as_bytes()), Err(Damage::Newer(2)));
    let twice = text.replace("\"persona\": \"p001\"", "\"persona\": \"p000\"");
    assert_eq!(Assignments::read(twice.as_bytes()), Err(Damage::Twice(label("p000"))));
}

/// Says what must hold after each tick.
fn check(policy: &Policy, before: &State, after: &Ticked) {
    let state = &after.state;
    let mut seen = BTreeSet::new();
    for (number, post) in &state.posts {
        assert!((1..=policy.posts).contains(number));
        assert!(seen.insert(&post.persona), "{} stands twice", post.persona);
        let persona = policy.persona(&post.persona).unwrap();
        let choice = &post.choice;
        assert!(choice.tier >= persona.min_tier && persona.lines.contains(&choice.line));
        assert!(policy.program(&choice.line, choice.tier, &choice.harness).is_some());
        let key = (persona.name.clone(), choice.line.clone());
        let compatible = policy.compatible.get(&key).unwrap_or(&persona.harnesses);
        assert!(compatible.contains(&choice.harness));
        let health = state.lines.get(&choice.line);
        assert!(health.is_none_or(|health| health.down_ms == 0), "a line that is down");
        let is_tried = health.is_some_and(|health| health.on_trial);
        assert!(!is_tried || health.unwrap().tried_by.as_ref() == Some(&persona.name));
    }
    // As many stand as can.
    let able = policy.personas.iter().filter(|persona| {
        persona.lines.iter().any(|line| {
            let is_well = state.lines.get(line).is_none_or(Health::is_plain_or_well);
            let pair = state.failed.get(&persona.name).and_then(|pairs| pairs.get(line));
            is_well && pair.is_none_or(|pair| pair.down_ms == 0)
        })
    });
    let able = able.count().min(policy.posts as usize);
    assert!(state.posts.len() >= able, "{} stand, {able} can", state.posts.len());
    // Those who stay keep their post.
    for (number, post) in &before.posts {
        let now = state.posts.iter().find(|(_, now)| now.persona == post.persona);
        assert!(now.is_none_or(|(now, _)| now == number));
    }
    assert_eq!(after.has_floor, state.posts.len() >= policy.floor as usize);
}

impl Health {
    fn is_plain_or_well(&self) -> bool {
        self.down_ms == 0 && !self.on_trial
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn turns_are_fair_over_any_window(
        count in 1_usize..12, posts in 1_u32..6, order in 0..3, seed: u64, turns in 2_usize..40,
    ) {
        let mut policy = policy(many(count), posts);
        policy.rotation.order =
            [Order::RoundRobin, Order::Random, Order::LeastRecentlyUsed][order as usize];
        policy.rotation.seed = seed;
        let mut state = State::default();
        let mut stood: Vec<Vec<usize>> = Vec::new();
        for _ in 0..turns {
            let ticked = tick(&policy, &state, &[], DAY_MS);
            check(&policy, &state, &ticked);
            state = ticked.state;
            stood.push(state.posts.values().map(|post| {
                policy.personas.iter().position(|p| p.name == post.persona).unwrap()
            }).collect());
        }
        for begin in 0..turns {
            let mut counts = vec![0_usize; count];
            for turn in &stood[begin..] {
                turn.iter().for_each(|at| counts[*at] += 1);
                let (least, most) = (counts.iter().min(), counts.iter().max());
                prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?} of {:?}", counts, stood);
            }
        }
    }

    #[test]
    fn outages_never_break_what_must_hold(
        seed: u64, count in 1_usize..9, posts in 1_u32..6, order in 0..3,
    ) {
        let mut random = seed | 1;
        let mut next = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut policy = policy(many(count), posts);
        policy.rotation.order =
            [Order::RoundRobin, Order::Random, Order::LeastRecentlyUsed][order as usize];
        for persona in &mut policy.personas {
            let keep = 1 + next(3) as usize;
            let shift = next(3) as usize;
            persona.lines.rotate_left(shift);
            persona.lines.truncate(keep);
            persona.min_tier = Tier::ALL[next(3) as usize];
        }
        let names = ["anthropic", "openai", "google"];
        let mut is_down = [false; 3];
        let mut state = State::default();
        let mut moves = 0;
        for _ in 0..400 {
            if next(12) == 0 {
                let at = next(3) as usize;
                is_down[at] = !is_down[at];
            }
            let reports: Vec<Report> = state.posts.values().map(|post| {
                let at = names.iter().position(|name| *name == post.choice.line.as_str()).unwrap();
                let outcome = match (is_down[at], next(20)) {
                    (true, 0..=9) => Outcome::Outage,
                    (true, _) | (false, 0) => Outcome::Failed,
                    (false, _) => Outcome::Ok,
                };
                report(post.persona.as_str(), post.choice.line.as_str(), outcome)
            }).collect();
            let elapsed_ms = next(2 * MINUTE_MS);
            let ticked = tick(&policy, &state, &reports, elapsed_ms);
            check(&policy, &state, &ticked);
            prop_assert_eq!(&ticked, &tick(&policy, &state, &reports, elapsed_ms));
            moves += ticked.changes.len();
            state = ticked.state;
        }
        prop_assert!(moves < 400 * 12);
    }
}
