//! Packages from PyPI at pinned versions, each list of them in a Python environment of its own
//! below `target/`, so that the machine's own Python does not change.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::run;

/// Debian's own Python; another one on the path may lack the module that makes environments.
const PYTHON: &str = "/usr/bin/python3";

/// An environment.
pub struct Environment {
    /// Its directory below `target/`.
    pub name: &'static str,
    /// The list of its packages, from the root.
    pub packages: &'static str,
}

impl Environment {
    /// Installs the packages, unless exactly these versions are there already.
    ///
    /// # Errors
    /// There is no Python that can make an environment, or the packages cannot be fetched.
    pub fn prepare(&self) -> Result<()> {
        let packages = run::root().join(self.packages);
        let mut wanted = fs::read_to_string(&packages)
            .with_context(|| format!("cannot read {}", packages.display()))?;
        // An environment belongs to the Python that made it.
        wanted += &run::answer(run::program(PYTHON, &["--version"])).unwrap_or_default();
        let stamp = self.dir().join("installed.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let shown = self.dir().display().to_string();
        // Each installation makes a new environment, because an incomplete one is useless.
        let mut make = run::program(PYTHON, &["-m", "venv", "--clear"]);
        make.arg(self.dir());
        if !run::succeeds(make).unwrap_or(false) {
            bail!("{PYTHON} cannot make {shown} (Debian package python3-venv)");
        }
        let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let mut install = run::program(&format!("{shown}/bin/python"), &options);
        install.args(["--timeout", "15", "--retries", "1", "--requirement", self.packages]);
        let why = format!("pip could not install {}; is there a network?", self.packages);
        ensure!(run::succeeds(install)?, why);
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Returns the path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir().join("bin").join(name)
    }

    fn dir(&self) -> PathBuf {
        run::target_dir().join(self.name)
    }
}
