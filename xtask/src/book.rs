//! Builds the documentation as a book of web pages, and fails on a broken link.
//!
//! MkDocs builds the pages. It is installed from PyPI at pinned versions into a Python environment
//! below `target/`, so that the machine's own Python does not change.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::run;

/// The packages with exact versions, so that a new release of one cannot break the build.
const PACKAGES: &str = "xtask/book/requirements.txt";
/// Debian's own Python; another one on the path may lack the module that makes environments.
const PYTHON: &str = "/usr/bin/python3";

/// `cargo xtask book`: installs MkDocs if necessary, then builds the book.
pub fn run() -> Result<bool> {
    prepare()?;
    build()
}

/// Installs MkDocs into its own environment, unless exactly these versions are in it already.
///
/// # Errors
/// There is no Python that can make an environment, or the packages cannot be fetched.
pub fn prepare() -> Result<()> {
    let environment = environment();
    let packages = run::root().join(PACKAGES);
    let mut wanted = fs::read_to_string(&packages)
        .with_context(|| format!("cannot read {}", packages.display()))?;
    // An environment belongs to the Python that made it.
    wanted += &run::answer(run::program(PYTHON, &["--version"])).unwrap_or_default();
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let shown = environment.display().to_string();
    // Each installation makes a new environment, because an incomplete one is useless.
    let mut make = run::program(PYTHON, &["-m", "venv", "--clear"]);
    make.arg(&environment);
    if !run::succeeds(make).unwrap_or(false) {
        bail!("{PYTHON} cannot make {shown} (Debian package python3-venv)");
    }
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let mut install = run::program(&format!("{shown}/bin/python"), &options);
    install.args(["--timeout", "15", "--retries", "1", "--requirement", PACKAGES]);
    ensure!(run::succeeds(install)?, "pip could not install {PACKAGES}; is there a network?");
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Builds the book into `target/book`; false if a page, a link or an anchor is wrong.
pub fn build() -> Result<bool> {
    let python = environment().join("bin/python");
    // Without '--quiet': it would hide the warnings that '--strict' turns into a failure.
    let options = ["-m", "mkdocs", "build", "--strict", "--site-dir"];
    let mut build = run::program(&python.display().to_string(), &options);
    let site = run::target_dir().join("book");
    build.arg(&site);
    let good = run::succeeds(build)?;
    if good {
        println!("book: {}", site.join("index.html").display());
    }
    Ok(good)
}

fn environment() -> PathBuf {
    run::target_dir().join("book-environment")
}
