//! Runs every test of the workspace; prints the skipped tests with reasons, the failed ones, and
//! the counts.
//!
//! A test that cannot run here prints `SKIPPED: <test>: <why>` to stderr and returns. Runners hide
//! what a passing test prints, so it also appends that line to the file that `ZETA_SKIPPED_LOG`
//! names, and this file takes the test out of the passed ones.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use crate::beside::Beside;
use crate::counts::{Counts, Reader, Runner};
use crate::stage::Stages;
use crate::{
    agents, book, boot, cluster, costs, cuts, dist, litter, mutants, nats_server, needs, npm_file,
    run,
};

/// The variable with the file to which skipped tests append a line.
const SKIPPED_LOG: &str = "ZETA_SKIPPED_LOG";
const SKIPPED_PREFIX: &str = "SKIPPED: ";

/// The results of the tests.
#[derive(Debug, Default)]
pub struct Outcome {
    counts: Counts,
    skips: BTreeSet<String>,
    /// The names of the tests that failed.
    failed: BTreeSet<String>,
}

impl Outcome {
    /// Reports whether nothing failed.
    pub fn good(&self) -> bool {
        self.counts.failed == 0
    }

    /// Joins two runs.
    pub fn add(&mut self, other: Outcome) {
        self.counts += other.counts;
        self.skips.extend(other.skips);
        self.failed.extend(other.failed);
    }

    /// Counts something as one failed test.
    fn fail(&mut self, name: &str) {
        self.counts.failed += 1;
        self.failed.insert(name.to_owned());
    }

    /// Prints every skip, then the name of each failed test, and as the last line the counts.
    pub fn print(&self) {
        if !self.skips.is_empty() {
            println!(
                "\n========== SKIPPED ({}): these were NOT tested ==========",
                self.skips.len()
            );
        }
        for skip in &self.skips {
            println!("{SKIPPED_PREFIX}{skip}");
        }
        println!();
        for name in &self.failed {
            println!("FAILED: {name}");
        }
        println!("tests: {}", self.counts);
    }
}

/// `cargo xtask test`: provides what is needed, runs all tests, prints the times and the counts.
pub fn run() -> Result<bool> {
    let (mut stages, mut outcome) = (Stages::default(), Outcome::default());
    run_all(&mut stages, &mut outcome)?;
    println!("\n('cargo xtask ci' also checks fmt, clippy, the docs and tidy)");
    stages.print();
    outcome.print();
    Ok(outcome.good())
}

/// Provides what is needed and runs all tests, in stages.
pub fn run_all(stages: &mut Stages, tests: &mut Outcome) -> Result<()> {
    let mut keep = |outcome: Outcome| {
        let good = outcome.good();
        tests.add(outcome);
        Ok(good)
    };
    stages.take("needs", || needs::provide().map(|()| true))?;
    // The tests wait for half of their time. It is ended if they cannot be started.
    let release = Beside::chore(&["dist"]);
    stages.take("build", run::build_programs)?;
    stages.take("tests", || keep(run_tests()?))?;
    stages.take("doc tests", || keep(run_doc_tests()?))?;
    // A build that failed says so when the costs ask for it.
    stages.take("release", || {
        let _ = release.and_then(Beside::wait);
        Ok(true)
    })?;
    stages.take("costs", || keep(run_costs()?))?;
    // What follows waits for machines, servers and agents.
    let sample = Beside::chore(&["mutants", "--sample"]);
    stages.take("cuts", || keep(run_cuts()?))?;
    stages.take("cluster", || keep(run_cluster()))?;
    stages.take("agents", || keep(run_agents()))?;
    stages.take("mutants", || keep(run_mutants(sample)))?;
    stages.take("book", || keep(run_book()?))
}

/// Runs all tests but doc tests: with nextest where it is installed, which gives each test its own
/// process and a time limit; else with cargo's own runner, so that a fresh machine needs no more.
/// What they leave among the temporary files is a failure.
fn run_tests() -> Result<Outcome> {
    let nextest = run::answer(run::cargo(&["nextest", "--version"])).is_some();
    let before = litter::look();
    // A test takes a processor for three to five tenths of its time.
    let threads = (2 * thread::available_parallelism().map_or(1, NonZero::get)).to_string();
    let run = ["nextest", "run", "--workspace", "--no-fail-fast", "--test-threads", &threads];
    let mut outcome = match nextest {
        true => counted(Runner::Nextest, &run),
        false => counted(Runner::Libtest, &["test", "--workspace", "--tests", "--no-fail-fast"]),
    }?;
    for path in before.left() {
        outcome.fail(&format!("the tests left {} behind", path.display()));
    }
    Ok(outcome)
}

/// Runs the examples in the documentation.
fn run_doc_tests() -> Result<Outcome> {
    counted(Runner::Libtest, &["test", "--workspace", "--doc", "--no-fail-fast"])
}

/// Counts what each verb costs, as one test more.
fn run_costs() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if let Err(error) = dist::run() {
        // The table can be compared only with the static binary.
        outcome.counts.skipped = 1;
        outcome.skips.insert(format!("costs: {error:#}"));
        return Ok(outcome);
    }
    match costs::run(false)? {
        true => outcome.counts.passed = 1,
        false => outcome.fail("costs"),
    }
    outcome.skips.extend(costs::missing());
    Ok(outcome)
}

/// Cuts the power a few times, as one test more.
fn run_cuts() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let machine = match cuts::Machine::prepare() {
        Ok(machine) => machine,
        Err(error) if needs::can_cut() => {
            println!("cuts: {error:#}");
            outcome.fail("cuts");
            return Ok(outcome);
        }
        Err(error) => {
            outcome.counts.skipped = 1;
            outcome.skips.insert(format!("cuts: {error:#}"));
            return Ok(outcome);
        }
    };
    match cuts::run_few(&machine) {
        Ok(true) => outcome.counts.passed = 1,
        Ok(false) => outcome.fail("cuts"),
        Err(error) => {
            println!("cuts: {error:#}");
            outcome.fail("cuts");
        }
    }
    Ok(outcome)
}

/// Disturbs a cluster for a while, as two tests more.
fn run_cluster() -> Outcome {
    let mut outcome = Outcome::default();
    let runs = cluster::run_short().unwrap_or_else(|error| {
        println!("cluster: {error:#}");
        vec![("cluster", Some(false))]
    });
    for (name, came) in runs {
        match came {
            Some(true) => outcome.counts.passed += 1,
            Some(false) => outcome.fail(name),
            None => {
                outcome.counts.skipped += 1;
                outcome.skips.insert(format!("{name}: there is no server, or no namespaces"));
            }
        }
    }
    outcome
}

/// Plays the scenes of two real agent tools, and the conversations of two clients with the server;
/// each capability is a test.
fn run_agents() -> Outcome {
    let mut outcome = Outcome::default();
    for (name, tried) in [("agents", agents::run_some()), ("agents mcp", agents::run_clients())] {
        match tried {
            Err(error) => {
                outcome.counts.skipped += 1;
                outcome.skips.insert(format!("{name}: {error:#}"));
            }
            Ok(Ok(shown)) => {
                outcome.counts.passed += shown.passed;
                shown.failed.iter().for_each(|name| outcome.fail(name));
            }
            Ok(Err(error)) => {
                println!("{name}: {error:#}");
                outcome.fail(name);
            }
        }
    }
    outcome
}

/// Waits for the sample of mutants, others for each commit, which is one test more.
fn run_mutants(sample: io::Result<Beside>) -> Outcome {
    let mut outcome = Outcome::default();
    match sample.and_then(Beside::wait) {
        Ok((status, text)) => {
            print!("{text}");
            if status.success() {
                outcome.counts.passed = 1;
                return outcome;
            }
        }
        Err(error) => println!("mutants: {error}"),
    }
    match mutants::provide() {
        Ok(()) => outcome.fail("mutants"),
        Err(error) => {
            outcome.counts.skipped = 1;
            outcome.skips.insert(format!("mutants: {error:#}"));
        }
    }
    outcome
}

/// Builds the book of the documentation, as one test more.
fn run_book() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if let Err(error) = book::prepare() {
        outcome.counts.skipped = 1;
        outcome.skips.insert(format!("book: {error:#}"));
        return Ok(outcome);
    }
    match book::build()? {
        true => outcome.counts.passed = 1,
        false => outcome.counts.failed = 1,
    }
    Ok(outcome)
}

fn counted(runner: Runner, args: &[&str]) -> Result<Outcome> {
    let log = skipped_log()?;
    let mut command = run::cargo(args);
    command.env(SKIPPED_LOG, &log);
    command.envs(npm_file::ALL.iter().map(|file| (file.variable, file.place())));
    command.env(nats_server::VARIABLE, nats_server::place());
    if let Some(tree) = boot::place() {
        command.env(boot::VARIABLE, tree);
    }
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut reader = Reader::new(runner);
    let status = run::watched(command, |line| reader.read(line))?;
    let skips = read_skips(&log)?;
    let counts = set_apart(reader.counts, skips.len());
    let mut outcome = Outcome { counts, skips, failed: reader.failed };
    if !status.success() && counts.failed == 0 {
        outcome.fail(&format!("cargo {}: it did not get to its end ({status})", args.join(" ")));
    }
    Ok(outcome)
}

/// A test that skipped itself looks passed to its runner.
fn set_apart(counts: Counts, skips: usize) -> Counts {
    let skips = skips as u64;
    Counts {
        passed: counts.passed.saturating_sub(skips),
        skipped: counts.skipped + skips,
        ..counts
    }
}

fn skipped_log() -> Result<PathBuf> {
    let dir = run::target_dir();
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let log = dir.join("skipped-tests.log");
    fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
    Ok(log)
}

fn read_skips(log: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let lines = text.lines().map(|line| line.strip_prefix(SKIPPED_PREFIX).unwrap_or(line).trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_test_does_not_count_as_passed() {
        let counts = Counts { passed: 10, failed: 1, skipped: 2 };
        assert_eq!(set_apart(counts, 3), Counts { passed: 7, failed: 1, skipped: 5 });
    }

    #[test]
    fn skips_are_read_with_and_without_their_prefix_and_once() {
        let log = std::env::temp_dir().join(format!("xtask-skips-{}", std::process::id()));
        fs::write(&log, "SKIPPED: a: not root\nb: no strace\n\nSKIPPED: a: not root\n").unwrap();
        let skips = read_skips(&log).unwrap();
        fs::remove_file(&log).unwrap();
        assert_eq!(skips.into_iter().collect::<Vec<_>>(), ["a: not root", "b: no strace"]);
    }
}
