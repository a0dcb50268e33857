//! Guard posts: what the scheduler costs with a thousand personas at a hundred posts, and what a
//! call costs that finds nothing to do.
//!
//! The decisions are measured alone, in this process. Whole calls are measured beside `cat` of the
//! same files, and beside `flock`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use zeta_core::name::Label;
use zeta_core::schedule::policy::{
    Dimension, Failover, Line, Offer, Order, Persona, Policy, Program, Rotation, Tier,
};
use zeta_core::schedule::state::Outcome;
use zeta_core::schedule::{Report, State, tick};

mod measure;

use measure::{Outcomes, Scratch, at_most, median, row, shown, time};

const PERSONAS: usize = 1000;
const POSTS: u32 = 100;
const LINES: [&str; 4] = ["anthropic", "google-gemini", "openai", "xai-grok"];
const DAY_MS: u64 = 86_400_000;
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/guard-posts");

fn main() -> Outcomes<()> {
    let timed = std::env::args().any(|arg| arg == "--bench");
    let rounds = if timed { 40 } else { 1 };
    measure::head(&format!("guard posts: {PERSONAS} personas, {POSTS} posts, decisions alone"));
    decisions(rounds)?;
    let zeta = measure::static_binary().ok_or("no static binary: cargo xtask dist")?;
    measure::head(&format!("whole calls of zeta post, {rounds} rounds, files on tmpfs"));
    calls(&zeta, rounds)
}

fn decisions(rounds: usize) -> Outcomes<()> {
    let policy = policy()?;
    let first = tick(&policy, &State::default(), &[], 0);
    let stands = first.state.posts.get(&1).ok_or("nobody stands")?;
    let report = |outcome| Report {
        persona: Some(stands.persona.clone()),
        line: stands.choice.line.clone(),
        outcome,
    };
    let well: Vec<Report> = (0..POSTS).map(|_| report(Outcome::Ok)).collect();
    let outage = [report(Outcome::Outage)];
    let empty = State::default();
    for (what, before, reports, elapsed_ms) in [
        ("the first plan", &empty, &[][..], 0),
        ("a tick with nothing to do", &first.state, &well[..], 1000),
        ("a line goes down", &first.state, &outage[..], 1000),
        ("a turn ends", &first.state, &well[..], DAY_MS),
    ] {
        let once = || {
            let begun = Instant::now();
            black_box(tick(black_box(&policy), black_box(before), reports, elapsed_ms));
            begun.elapsed().as_nanos() as f64
        };
        let took: Vec<f64> = (0..rounds.max(2) * 5).map(|_| once()).collect();
        let took = median(&took);
        row(&format!("{what}, in ms"), &time(took), "-", took / 1e6, at_most(10.0, 1.0));
    }
    Ok(())
}

/// Personas with all orders of the lines, and rules for half of the pairs.
fn policy() -> Outcomes<Policy> {
    let program = || Program { program: "agent".to_owned(), ..Program::default() };
    let label = |text: &str| text.parse::<Label>();
    let offer = || Offer { program: Some(program()), by_harness: BTreeMap::new() };
    let tiers = || Tier::ALL.into_iter().map(|tier| (tier, offer())).collect();
    let mut lines = BTreeMap::new();
    for name in LINES {
        lines.insert(label(name)?, Line { tiers: tiers(), ..Line::default() });
    }
    let harnesses = [label("claude-code")?, label("codex")?, label("gemini-cli")?];
    let mut personas = Vec::new();
    let mut compatible = BTreeMap::new();
    for at in 0..PERSONAS {
        let name = label(&format!("persona-{at}"))?;
        let mut own: Vec<Label> = lines.keys().cloned().collect();
        own.rotate_left(at % LINES.len());
        for line in own.iter().skip(at % 2).step_by(2) {
            compatible.insert((name.clone(), line.clone()), vec![harnesses[at % 3].clone()]);
        }
        let harnesses = harnesses.to_vec();
        personas.push(Persona { name, lines: own, harnesses, min_tier: Tier::High });
    }
    Ok(Policy {
        personas,
        lines,
        compatible,
        posts: POSTS,
        floor: POSTS,
        rotation: Rotation {
            every_ms: Some(DAY_MS),
            dimensions: BTreeSet::from([Dimension::Persona]),
            order: Order::LeastRecentlyUsed,
            seed: 1,
        },
        failover: Failover { failures: 3, down_ms: 600_000, down_max_ms: 21_600_000 },
    })
}

/// The files of such a policy.
fn write_files(dir: &Path) -> Outcomes<()> {
    fs::create_dir_all(dir.join("personas.d"))?;
    let mut posts = format!("[posts]\ncount = {POSTS}\nfloor = {POSTS}\n");
    for line in LINES {
        write!(posts, "[lines.{line}.tiers.high]\nprogram = \"agent\"\n")?;
    }
    fs::write(dir.join("posts.toml"), posts)?;
    for at in 0..PERSONAS {
        let mut lines = LINES.map(|line| format!("\"{line}\""));
        lines.rotate_left(at % LINES.len());
        let text = format!(
            "lines = [{}]\nharnesses = [\"claude-code\", \"codex\"]\nmin_tier = \"high\"\n",
            lines.join(", ")
        );
        fs::write(dir.join(format!("personas.d/persona-{at}.toml")), text)?;
    }
    Ok(())
}

fn calls(zeta: &Path, rounds: usize) -> Outcomes<()> {
    let scratch = Scratch::in_memory("zeta-bench-posts")?;
    let many = scratch.path.join("many");
    write_files(&many)?;
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let cat = format!("cat {0}/posts.toml {0}/personas.d/*", many.display());
    let file = scratch.path.join("lock").display().to_string();
    let cat = words(&["sh", "-c", &cat]);
    let flock = words(&["flock", "-n", &file, "true"]);
    let many = many.display().to_string();
    for (what, verb, config, anchor) in [
        ("post plan, 1,000 personas", "plan", &*many, ("cat of its files", &cat)),
        ("post tick, 1,000 personas, nothing to do", "tick", &many, ("cat of its files", &cat)),
        ("post tick, the registry of the docs, nothing to do", "tick", REGISTRY, ("flock", &flock)),
    ] {
        let store = scratch.path.join(if config == REGISTRY { "few.d" } else { "many.d" });
        fs::create_dir_all(&store)?;
        let store = store.display().to_string();
        let args = ["post", verb, "--config", config, "--dir", &store];
        let argv: Vec<OsString> = std::iter::once(zeta.as_os_str().to_owned())
            .chain(args.iter().map(OsString::from))
            .collect();
        let state = scratch.path.join("state");
        let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        measure::run(&mut measure::command(&argv, &state))?;
        for _ in 0..rounds {
            let used = measure::run(&mut measure::command(&argv, &state))?;
            ours.push(used.wall.as_nanos() as f64);
            cpu.push(used.cpu.as_nanos() as f64);
            let anchor = measure::run(&mut measure::command(anchor.1, &state))?;
            theirs.push(anchor.wall.as_nanos() as f64);
        }
        let beside = format!("{} ({})", time(median(&theirs)), anchor.0);
        let cpu = median(&cpu);
        shown(what, &time(median(&ours)), &beside, measure::median_ratio(&ours, &theirs));
        let bounds = at_most(if config == REGISTRY { 5.0 } else { 20.0 }, 2.0);
        row("  its CPU time, in ms", &time(cpu), "-", cpu / 1e6, bounds);
    }
    Ok(())
}
