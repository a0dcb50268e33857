//! The crates that the program is linked with, and their licences, which a copy must come with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run;

/// How the names of files begin that have the terms of a crate, in small letters.
const NAMES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// Returns a line for each crate, and behind them each text of a licence once, with the crates that
/// have it.
pub fn list(target: &str) -> Result<String> {
    let crates = crates(target)?;
    let sources = sources()?;
    let mut texts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for line in &crates {
        let (name, _) = line.split_once(" | ").unwrap_or((line, ""));
        for text in licences(&sources, &name.replacen(" v", "-", 1))? {
            texts.entry(text).or_default().insert(name);
        }
    }
    let lines = crates.iter().map(|line| format!("{line}\n"));
    let mut list = "The program is linked with these crates of crates.io: version, licence, \
                    source. The texts of the licences stand below.\n\n"
        .to_owned();
    list.extend(lines);
    for (text, names) in texts {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        list += &format!("\n{}\n{names}\n\n{}\n", "-".repeat(72), text.trim());
    }
    Ok(list)
}

fn crates(target: &str) -> Result<Vec<String>> {
    let format = "{p} | {l} | {r}";
    let mut tree = run::cargo(&["tree", "--locked", "--package", "zeta", "--edges", "normal"]);
    tree.args(["--target", target, "--prefix", "none", "--no-dedupe", "--format", format]);
    let all = run::answer(tree).context("'cargo tree' failed")?;
    // The packages of the project have the path of the checkout in their lines.
    let is_foreign = |line: &&str| !line.contains(" (/") && !line.is_empty();
    // A crate of macros is marked as one.
    let line = |line: &str| line.trim_end().replace(" (proc-macro)", "");
    let lines: BTreeSet<String> = all.lines().filter(is_foreign).map(line).collect();
    Ok(lines.into_iter().collect())
}

/// Returns the directories in which cargo keeps the sources of crates, one for each registry.
fn sources() -> Result<Vec<PathBuf>> {
    let place = crate::dist::cargo_home().unwrap_or_default().join("registry/src");
    let entries = fs::read_dir(&place);
    let entries = entries.with_context(|| format!("cannot read {}", place.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Returns the texts of a crate's licences, in the order of their files.
fn licences(sources: &[PathBuf], name: &str) -> Result<Vec<String>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in sources.iter().map(|dir| dir.join(name)).filter(|dir| dir.is_dir()) {
        for entry in fs::read_dir(&dir)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let is_licence = |path: &&PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let name = name.unwrap_or_default();
        path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
    };
    let read = |path: &PathBuf| Ok(String::from_utf8_lossy(&read(path)?).replace('\r', ""));
    files.iter().filter(is_licence).map(read).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
