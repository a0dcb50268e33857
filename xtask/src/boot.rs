//! A Debian with systemd that tests boot: made once, as root, out of Debian's own packages.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::run;

/// The variable that tells tests where it is.
pub const VARIABLE: &str = "ZETA_BOOT_TREE";

/// What is in it besides the least.
const PACKAGES: &str = "systemd,systemd-sysv,git";
const SUITE: &str = "bookworm";

/// Where it is, if it was made.
pub fn place() -> Option<PathBuf> {
    let place = run::target_dir().join("boot/tree");
    place.join("usr/lib/systemd/systemd").exists().then_some(place)
}

/// Makes it, if what makes it is here.
pub fn provide() -> Result<()> {
    let tools = ["mmdebstrap", "systemd-nspawn"];
    let here = |tool: &&str| run::answer(run::program(tool, &["--version"])).is_some();
    if place().is_some() || !tools.iter().all(here) {
        return Ok(()); // the list of needs says what is missing
    }
    let dir = run::target_dir().join("boot");
    fs::create_dir_all(&dir)?;
    // Under another name until it is whole.
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
