//! Writes the packages of a release: for Debian, for pip and for npm.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use zeta_packaging::{Release, deb, npm, wheel};

use crate::{credits, run};

/// The ends of the names of packages.
const KINDS: [&str; 3] = ["deb", "tgz", "whl"];

/// Packs a program into `dist`; returns the names of the files. Those of earlier versions are
/// removed, so that `dist/*.whl` is one file.
pub fn write(program: &Path, target: &str, dist: &Path) -> Result<Vec<String>> {
    let version = env!("CARGO_PKG_VERSION");
    let scratch = run::target_dir().join(format!("pages-{}", std::process::id()));
    let credits = credits::list(target)?;
    let release = Release::gather(program, &run::root(), version, time()?, &credits, &scratch)?;
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known)) {
            fs::remove_file(path)?;
        }
    }
    let packages = [
        (deb::file_name(&release)?, deb::pack(&release)?),
        (npm::file_name(&release)?, npm::pack(&release)?),
        (wheel::file_name(&release)?, wheel::pack(&release)?),
    ];
    let mut names = Vec::new();
    for (name, bytes) in packages {
        let path = dist.join(&name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        names.push(name);
    }
    Ok(names)
}

/// Returns the time of the release: what `SOURCE_DATE_EPOCH` says, as for any reproducible build,
/// or that of the last commit. Sources without git are of the first day of 1980, as in a zip file.
fn time() -> Result<u64> {
    const FIRST: &str = "315532800";
    let given = env::var("SOURCE_DATE_EPOCH").ok();
    let commit = || run::answer(run::program("git", &["log", "-1", "--format=%ct"]));
    let time = given.or_else(commit).unwrap_or_else(|| FIRST.to_owned());
    let time = time.trim();
    time.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {time:?}, and not seconds"))
}
