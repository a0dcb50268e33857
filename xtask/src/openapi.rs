//! GitHub's published description of its API, downloaded once so that the tests need no network.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::run;

/// The variable that gives tests the path of the file.
pub const VARIABLE: &str = "ZETA_GITHUB_OPENAPI";

/// The pinned version, so that a new publication of GitHub cannot break the tests.
const PACKAGE: &str = "@octokit/openapi@23.0.2";
const INSIDE: &str = "package/generated/api.github.com.json";

/// Returns the path of the file, if it was downloaded.
pub fn place() -> PathBuf {
    run::target_dir().join("openapi/api.github.com.json")
}

/// Downloads the one file of the package that is used (all of them have 394 MB), if npm is here.
pub fn provide() -> Result<()> {
    let place = place();
    let dir = place.parent().map(PathBuf::from).unwrap_or_default();
    let stamp = dir.join("package");
    if place.is_file() && fs::read_to_string(&stamp).is_ok_and(|brought| brought == PACKAGE) {
        return Ok(());
    }
    if run::answer(run::program("npm", &["--version"])).is_none() {
        return Ok(()); // the list of needs says so
    }
    println!("needs: BRINGING {PACKAGE}, which describes GitHub's API");
    fs::create_dir_all(&dir)?;
    let mut pack = run::program("npm", &["pack", PACKAGE, "--silent", "--pack-destination"]);
    pack.arg(&dir);
    let Some(name) = run::answer(pack) else {
        println!("needs: npm could not bring {PACKAGE}; is there a network?");
        return Ok(());
    };
    let archive = dir.join(name.trim());
    let mut unpack = run::program("tar", &["-xz", "--strip-components=2", "-f"]);
    // The directory comes first: tar applies it only to the names after it.
    unpack.arg(&archive).arg("-C").arg(&dir).arg(INSIDE);
    let unpacked = run::succeeds(unpack)?;
    fs::remove_file(&archive)?;
    ensure!(unpacked && place.is_file(), "{PACKAGE} holds no {INSIDE}");
    fs::write(&stamp, PACKAGE)?;
    Ok(())
}
