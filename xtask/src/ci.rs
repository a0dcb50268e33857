//! Everything that a change must pass, in one command.

use anyhow::Result;

use crate::stage::Stages;
use crate::suite::{self, Outcome};
use crate::{run, tidy};

/// `cargo xtask ci`: runs all stages, also after a failed one; prints a line for each and the
/// counts.
pub fn run() -> Result<bool> {
    let (mut stages, mut tests) = (Stages::default(), Outcome::default());
    stages.take("fmt", || run::succeeds(run::cargo(&["fmt", "--all", "--check"])))?;
    stages.take("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run::succeeds(run::cargo(&args))
    })?;
    suite::run_all(&mut stages, &mut tests)?;
    stages.take("docs", || {
        let mut doc = run::cargo(&["doc", "--no-deps", "--workspace"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        run::succeeds(doc)
    })?;
    stages.take("tidy", tidy::run)?;
    stages.print();
    tests.print();
    Ok(stages.good())
}
