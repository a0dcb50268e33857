//! A Debian system with systemd that tests boot: created once, as root, from Debian's own packages.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::run;

/// The variable that gives tests the path of the system.
pub const VARIABLE: &str = "ZETA_BOOT_TREE";

/// The packages besides those of a minimal system.
const PACKAGES: &str = "systemd,systemd-sysv,git";
const SUITE: &str = "bookworm";

/// Returns the path of the system, if it was created.
pub fn place() -> Option<PathBuf> {
    let place = run::target_dir().join("boot/tree");
    place.join("usr/lib/systemd/systemd").exists().then_some(place)
}

/// Creates the system, if the programs for that are installed.
pub fn provide() -> Result<()> {
    let tools = ["mmdebstrap", "systemd-nspawn"];
    let here = |tool: &&str| run::answer(run::program(tool, &["--version"])).is_some();
    if place().is_some() || !tools.iter().all(here) {
        return Ok(()); // the list of needs says what is missing
    }
    let dir = run::target_dir().join("boot");
    fs::create_dir_all(&dir)?;
    // It has another name until it is complete.
    let begun = dir.join("tree.new");
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    println!("needs: MAKING a small Debian ({SUITE}, with {PACKAGES}) that tests boot");
    let include = format!("--include={PACKAGES}");
    let mut make = run::program("mmdebstrap", &["--variant=minbase", "--quiet", &include, SUITE]);
    make.arg(&begun);
    match run::succeeds(make)? {
        true => fs::rename(&begun, dir.join("tree"))?,
        false => println!("needs: mmdebstrap could not make it; its reason stands above"),
    }
    Ok(())
}
