//! Puts known bugs into a copy of the project, one at a time, and checks that the tests fail: a
//! suite that never failed has proven nothing.

mod bugs;
mod bus;
mod cluster;
mod core;
mod flash;
mod history;
mod hooks;
mod identity;
mod install;
mod joint;
mod mail;
mod mcp;
mod post_run;
mod posts;
mod signature;
mod trust;
mod units;
mod view;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use self::bugs::Bug;
use crate::run;

/// Every bug.
pub fn bugs() -> impl Iterator<Item = &'static Bug> {
    let core = core::BUGS.iter().chain(&hooks::BUGS).chain(&joint::BUGS);
    bugs::BUGS
        .iter()
        .chain(&bus::BUGS)
        .chain(&cluster::BUGS)
        .chain(&flash::BUGS)
        .chain(&mail::BUGS)
        .chain(&identity::BUGS)
        .chain(&install::BUGS)
        .chain(core)
        .chain(&trust::BUGS)
        .chain(&view::BUGS)
        .chain(&history::BUGS)
        .chain(&mcp::BUGS)
        .chain(&posts::BUGS)
        .chain(&signature::BUGS)
        .chain(&units::BUGS)
        .chain(&post_run::BUGS)
        .chain(&web::BUGS)
}

/// `cargo xtask seeded-bugs`: true if each bug was caught.
pub fn run(only: Option<&str>) -> Result<bool> {
    let place = run::target_dir().join("seeded");
    let copy = place.join("zeta");
    copy_tree(&copy)?;
    let is_meant = |only: &str, bug: &Bug| bug.name.contains(only) || bug.file.contains(only);
    let bugs: Vec<&Bug> =
        bugs().filter(|bug| only.is_none_or(|only| is_meant(only, bug))).collect();
    ensure!(!bugs.is_empty(), "no bug has {only:?} in its name or in the path of its file");
    println!("seeded-bugs: first without a bug, which must pass");
    for bug in &bugs {
        ensure!(passes(&copy, bug.tests)?, "{:?} fails without a bug", bug.tests);
    }
    let mut caught = 0;
    for bug in &bugs {
        let started = Instant::now();
        let file = copy.join(bug.file);
        let good = fs::read_to_string(&file)?;
        fs::write(&file, seed(&good, bug)?)?;
        let builds = passes(&copy, &[bug.tests, &["--no-run"]].concat());
        let verdict = match builds {
            Ok(true) => passes(&copy, bug.tests).map(|passed| !passed),
            Ok(false) => Err(anyhow::anyhow!("{}: it does not compile with this bug", bug.name)),
            Err(error) => Err(error),
        };
        fs::write(&file, good)?;
        let verdict = verdict?;
        caught += usize::from(verdict);
        let word = if verdict { "caught" } else { "MISSED" };
        println!("{word}  {:<48} {:>5.1} s", bug.name, started.elapsed().as_secs_f64());
    }
    println!("seeded-bugs: {caught} of {} caught", bugs.len());
    Ok(caught == bugs.len())
}

fn seed(good: &str, bug: &Bug) -> Result<String> {
    let count = good.matches(bug.from).count();
    ensure!(count == 1, "{}: its text stands {count} times in {}", bug.name, bug.file);
    Ok(good.replacen(bug.from, bug.to, 1))
}

/// The files that git knows, as they are now.
fn copy_tree(to: &Path) -> Result<()> {
    let files = run::answer(run::program("git", &["ls-files", "-z"])).context("git ls-files")?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (run::root().join(file), to.join(file));
        fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
        let text = fs::read(&from).with_context(|| format!("cannot read {file}"))?;
        // An unchanged file keeps its time, so that it is not built again.
        if fs::read(&to).ok().as_ref() != Some(&text) {
            fs::write(&to, text)?;
        }
    }
    Ok(())
}

fn passes(copy: &Path, tests: &[&str]) -> Result<bool> {
    let target: PathBuf = copy.with_file_name("target");
    // The arguments after the first filter go to the test program, which takes more than one.
    let at = tests.iter().position(|word| word.contains("::")).unwrap_or(tests.len());
    let (cargo, filters) = tests.split_at(at);
    let (flags, filters): (Vec<&str>, Vec<&str>) =
        filters.iter().partition(|word| word.starts_with("--"));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.arg("test").args(cargo).args(flags).arg("--").args(filters);
    command.current_dir(copy).env("CARGO_TARGET_DIR", target);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().context("cargo does not run")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_has_its_place_in_the_code_of_today() {
        let wrong = bugs().filter_map(|bug| {
            let text = fs::read_to_string(run::root().join(bug.file)).unwrap();
            match seed(&text, bug) {
                Ok(seeded) if seeded != text => None,
                Ok(_) => Some(format!("{} changes nothing", bug.name)),
                Err(error) => Some(error.to_string()),
            }
        });
        assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
    }
}
