//! `cargo xtask cluster`: builds the torture of the cluster, and starts it on a newer server than
//! Debian's.
//!
//! The test is a program of `testing`, built like a release, but with a clock that can be shifted.
//! The command for all tests has a short run of a debug build, and one on Debian's server with
//! three replicas, which lets several holders in: the judge must see that.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{nats_server, run};

/// The exit status of a run that could not be made here.
const SKIPPED: i32 = 77;
/// The server of Debian 12.
const DEBIAN: &str = "/usr/sbin/nats-server";
/// How long the runs on Debian's server may last until two are inside, in seconds.
const UNTIL_TWO: [&str; 4] = ["10", "40", "80", "160"];

/// Builds the program and passes the arguments on.
pub fn run(args: &[&str]) -> Result<bool> {
    nats_server::provide();
    let mut build = run::cargo(&["build", "--profile", "torture"]);
    build.args(["--features", "zeta-testing/clock-seam"]);
    build.args(["--package", "zeta-testing", "--bin", "cluster"]);
    Ok(run::succeeds(build)? && play("torture", args)? == Some(true))
}

/// The short runs; each is a test. `None` is one that could not be made here.
pub fn run_short() -> Result<Vec<(&'static str, Option<bool>)>> {
    nats_server::provide();
    if !run::build_programs()? {
        bail!("the torture of the cluster does not build");
    }
    let safe = match nats_server::place().is_file() {
        true => play("debug", &["--seconds", "75"])?,
        false => None,
    };
    let mut double = None;
    for seconds in UNTIL_TWO {
        if !Path::new(DEBIAN).is_file() || double == Some(true) {
            break;
        }
        let args = ["--calm", "--expect", "double", "--server", DEBIAN, "--seconds", seconds];
        double = play("debug", &args)?;
        if double.is_none() {
            break;
        }
    }
    Ok(vec![("cluster", safe), ("cluster on Debian's server", double)])
}

/// Runs the program; `None` if the run could not be made here.
fn play(profile: &str, args: &[&str]) -> Result<Option<bool>> {
    let program = run::target_dir().join(profile).join("cluster");
    let mut torture = run::program(&program.to_string_lossy(), args);
    torture.env(nats_server::VARIABLE, nats_server::place());
    let status = torture.status().context("the torture of the cluster does not run")?;
    Ok((status.code() != Some(SKIPPED)).then_some(status.success()))
}
