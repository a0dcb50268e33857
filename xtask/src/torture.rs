//! `cargo xtask torture`: builds the tormented and the tormentor, and lets them loose.
//!
//! All of it is the example `torture` of the crate `zeta`, which has the library at hand.

use anyhow::Result;

use crate::run;

/// Builds both in release and passes the arguments on.
pub fn run(args: &[&str]) -> Result<bool> {
    let build = ["build", "--release", "-p", "zeta", "--bin", "zeta", "--example", "torture"];
    if !run::succeeds(run::cargo(&build))? {
        return Ok(false);
    }
    let torture = run::target_dir().join("release/examples/torture");
    run::succeeds(run::program(&torture.to_string_lossy(), args))
}
