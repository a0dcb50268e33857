//! Builds the documentation as a book of web pages, and fails on a broken link. MkDocs builds the
//! pages.

use anyhow::Result;

use crate::python::Environment;
use crate::run;

/// MkDocs with exact versions, so that a new release of a package cannot break the build.
const MKDOCS: Environment =
    Environment { name: "book-environment", packages: "xtask/book/requirements.txt" };

/// `cargo xtask book`: installs MkDocs if necessary, then builds the book.
pub fn run() -> Result<bool> {
    prepare()?;
    build()
}

/// Installs MkDocs, unless exactly these versions are there already.
///
/// # Errors
/// There is no Python that can make an environment, or the packages cannot be fetched.
pub fn prepare() -> Result<()> {
    MKDOCS.prepare()
}

/// Builds the book into `target/book`; false if a page, a link or an anchor is wrong.
pub fn build() -> Result<bool> {
    let python = MKDOCS.program("python");
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
