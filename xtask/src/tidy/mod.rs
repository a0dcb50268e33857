//! The rules of STYLE.md that neither the compiler nor clippy checks.
//!
//! The check reads all files of the checkout, tracked or not, so that it finds errors before a
//! commit.

pub mod evidence;
mod hints;
mod manifests;
mod pages;
mod rust;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{agents, run};

/// A text file of the checkout.
pub struct Page {
    /// The path from the root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl Page {
    /// Returns the file name without the directory.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    /// Makes a finding on a line, counted from 1.
    pub fn new(page: &Page, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: page.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// `cargo xtask tidy`: prints every finding; true if there is none.
pub fn run() -> Result<bool> {
    let findings = check_tree(&run::root())?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: nothing to say"),
        count => println!("tidy: {count} to mend; STYLE.md says why"),
    }
    Ok(findings.is_empty())
}

fn check_tree(root: &Path) -> Result<Vec<Finding>> {
    let pages = collect_pages(root)?;
    let mut findings = Vec::new();
    for page in &pages {
        if page.path.ends_with(".rs") {
            rust::check(page, &mut findings);
            hints::check(page, &mut findings);
        }
        if page.path.ends_with("/Cargo.toml") {
            manifests::check(page, &mut findings);
        }
        if page.path.ends_with(".md") {
            pages::check_headings(page, &mut findings);
            pages::check_links(page, &pages, &mut findings);
        }
    }
    manifests::check_picture(&pages, &mut findings);
    pages::check_map(&pages, &mut findings);
    pages::check_changelog(&pages, &mut findings);
    evidence::check(&pages, &mut findings);
    agents::check(&pages, &mut findings);
    Ok(findings)
}

/// Reads every text file of the checkout, in the order of the paths.
fn collect_pages(root: &Path) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    collect(root, "", &mut pages)?;
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pages)
}

/// Reads every text file below `dir`, except build output and git's own files.
fn collect(root: &Path, below: &str, pages: &mut Vec<Page>) -> Result<()> {
    let dir = root.join(below);
    let shown = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(&dir).with_context(shown)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let built = entry.path().join("CACHEDIR.TAG").exists() || path == "dist";
            if name != ".git" && name != "target" && !built {
                collect(root, &path, pages)?;
            }
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            pages.push(Page { path, text });
        }
    }
    Ok(())
}
