//! `cargo xtask torture`: builds `zeta` and the torture, and starts the torture.
//!
//! The torture is a program of `testing`. Both are built as a release is, but with a clock that can
//! be shifted, and in another directory.

use anyhow::Result;

use crate::run;

/// Builds both and passes the arguments on.
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
