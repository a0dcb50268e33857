//! Everything that a change must pass, in one command; CI runs only this command.

use std::time::Instant;

use anyhow::Result;

use crate::suite::{self, Outcome};
use crate::{needs, run, tidy};

/// `cargo xtask ci`: runs all steps, also after a failed one; prints a line for each and the
/// counts.
pub fn run() -> Result<bool> {
    needs::provide()?;
    let mut steps = Steps::default();
    let mut tests = Outcome::default();
    steps.take("fmt", || run::succeeds(run::cargo(&["fmt", "--all", "--check"])))?;
    steps.take("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run::succeeds(run::cargo(&args))
    })?;
    steps.take("tests", || keep(&mut tests, suite::run_tests()?))?;
    steps.take("doc tests", || keep(&mut tests, suite::run_doc_tests()?))?;
    steps.take("costs", || keep(&mut tests, suite::run_costs()?))?;
    steps.take("cuts", || keep(&mut tests, suite::run_cuts()?))?;
    steps.take("cluster", || keep(&mut tests, suite::run_cluster()))?;
    steps.take("agents", || keep(&mut tests, suite::run_agents()))?;
    steps.take("mutants", || keep(&mut tests, suite::run_mutants()))?;
    steps.take("book", || keep(&mut tests, suite::run_book()?))?;
    steps.take("docs", || {
        let mut doc = run::cargo(&["doc", "--no-deps", "--workspace"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        run::succeeds(doc)
    })?;
    steps.take("tidy", tidy::run)?;
    steps.print();
    tests.print();
    Ok(steps.good())
}

fn keep(tests: &mut Outcome, outcome: Outcome) -> Result<bool> {
    let good = outcome.good();
    tests.add(outcome);
    Ok(good)
}

/// The steps that were run.
#[derive(Default)]
struct Steps(Vec<(&'static str, bool, f64)>);

impl Steps {
    fn take(&mut self, name: &'static str, step: impl FnOnce() -> Result<bool>) -> Result<()> {
        println!("\n=== {name}");
        let start = Instant::now();
        let good = step()?;
        self.0.push((name, good, start.elapsed().as_secs_f64()));
        Ok(())
    }

    fn good(&self) -> bool {
        self.0.iter().all(|(_, good, _)| *good)
    }

    fn print(&self) {
        println!();
        for (name, good, seconds) in &self.0 {
            let verdict = if *good { "ok    " } else { "FAILED" };
            println!("{verdict}  {name:<10} {seconds:>7.1} s");
        }
    }
}
