//! Single files of npm packages that tests read: downloaded once, so that tests need no network.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::run;

/// A file of a package.
pub struct NpmFile {
    /// The variable that gives tests the path of the file.
    pub variable: &'static str,
    /// The pinned version, so that a new publication cannot break the tests.
    package: &'static str,
    /// Where it is in the package.
    inside: &'static str,
    /// What it is, for people.
    what: &'static str,
}

/// All of them.
pub const ALL: [NpmFile; 2] = [
    NpmFile {
        variable: "ZETA_GITHUB_OPENAPI",
        package: "@octokit/openapi@23.0.2",
        inside: "package/generated/api.github.com.json",
        what: "which describes GitHub's API",
    },
    NpmFile {
        variable: "ZETA_AXE",
        package: "axe-core@4.14.1",
        inside: "package/axe.min.js",
        what: "which checks that everybody can use a page",
    },
];

impl NpmFile {
    /// Returns the path of the file, if it was downloaded.
    pub fn place(&self) -> PathBuf {
        let name = self.inside.rsplit('/').next().unwrap_or(self.inside);
        run::target_dir().join("npm").join(name)
    }

    /// Downloads the one file of the package that is used, if npm is here.
    fn provide(&self) -> Result<()> {
        let NpmFile { package, inside, what, .. } = self;
        let place = self.place();
        let dir = place.parent().map(PathBuf::from).unwrap_or_default();
        let stamp = place.with_extension("package");
        if place.is_file() && fs::read_to_string(&stamp).is_ok_and(|brought| brought == *package) {
            return Ok(());
        }
        println!("needs: BRINGING {package}, {what}");
        fs::create_dir_all(&dir)?;
        let mut pack = run::program("npm", &["pack", package, "--silent", "--pack-destination"]);
        pack.arg(&dir);
        let Some(name) = run::answer(pack) else {
            println!("needs: npm could not bring {package}; is there a network?");
            return Ok(());
        };
        let archive = dir.join(name.trim());
        let depth = inside.matches('/').count();
        let mut unpack = run::program("tar", &["-xz", "-f"]);
        // The directory comes first: tar applies it only to the names after it.
        unpack.arg(&archive).arg("-C").arg(&dir).arg(format!("--strip-components={depth}"));
        unpack.arg(inside);
        let unpacked = run::succeeds(unpack)?;
        fs::remove_file(&archive)?;
        ensure!(unpacked && place.is_file(), "{package} holds no {inside}");
        fs::write(&stamp, package)?;
        Ok(())
    }
}

/// Downloads those that are missing, if npm is here; the list of needs says if it is not.
pub fn provide() -> Result<()> {
    match run::answer(run::program("npm", &["--version"])) {
        Some(_) => ALL.iter().try_for_each(NpmFile::provide),
        None => Ok(()),
    }
}
