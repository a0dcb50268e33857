//! `cargo xtask torture`: builds `zeta` and the torture test, and starts the test.
//!
//! The test is a program of `testing`. Both are built like a release, but with a clock that can be
//! shifted, and in another directory.

use anyhow::Result;

use crate::run;

/// Builds both programs and passes the arguments on.
pub fn run(args: &[&str]) -> Result<bool> {
    let mut build = run::cargo(&["build", "--profile", "torture", "--features", "zeta/clock-seam"]);
    build.args(["--features", "zeta-testing/clock-seam", "--package", "zeta", "--bin", "zeta"]);
    build.args(["--package", "zeta-testing", "--bin", "torture"]);
    if !run::succeeds(build)? {
        return Ok(false);
    }
    let torture = run::target_dir().join("torture/torture");
    run::succeeds(run::program(&torture.to_string_lossy(), args))
}
