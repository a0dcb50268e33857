//! `cargo xtask torture`: builds the tormented and the tormentor, and lets them loose.
//!
//! All of it is the example `torture` of the crate `zeta`, which has the library at hand. Both are
//! built as a release is, but with a wall clock that can be shifted, and in another directory.

use anyhow::Result;

use crate::run;

/// Builds both and passes the arguments on.
pub fn run(args: &[&str]) -> Result<bool> {
    let mut build = run::cargo(&["build", "--profile", "torture", "--features", "clock-seam"]);
    build.args(["--package", "zeta", "--bin", "zeta", "--example", "torture"]);
    if !run::succeeds(build)? {
        return Ok(false);
    }
    let torture = run::target_dir().join("torture/examples/torture");
    run::succeeds(run::program(&torture.to_string_lossy(), args))
}
