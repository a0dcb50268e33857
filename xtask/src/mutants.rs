//! Changes the code of decisions and of publishing in small ways, one at a time (`cargo-mutants`),
//! and checks that the tests fail. A change that no test notices is a *survivor*: it gets a test,
//! or a line with its reason in `xtask/mutants.tsv`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::run;

/// The version that is installed if there is none: another one may make other mutants.
const VERSION: &str = "27.1.0";

/// How many mutants a sample has: what takes less than two minutes on two cores.
const SAMPLE: usize = 10;

/// Percent of the mutants that must be caught, those with a reason left out.
const REQUIRED: usize = 95;

/// Files that are changed, and the tests that must notice.
struct Part {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// Arguments of `cargo nextest run`.
    tests: &'static [&'static str],
}

/// The unit tests alone: the model searches for the better part of a minute, and a rule that only
/// it knows has no row that says what the rule is. Two long searches of what no part has are left
/// out.
const CORE_TESTS: &[&str] = &[
    "-p",
    "zeta-core",
    "--lib",
    "--",
    "--skip",
    "install::tests::after_every_cut",
    "--skip",
    "fat::tests::files_are_added",
];

/// What is changed: what the core decides of leases, records, messages, registration, credentials
/// and disks, and where the subjects publish what was decided.
const PARTS: [Part; 13] = [
    Part {
        name: "core-lease",
        package: "zeta-core",
        files: &["lease/*.rs", "evidence.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-trust",
        package: "zeta-core",
        files: &["trust.rs", "signal.rs", "machine.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-creds",
        package: "zeta-core",
        files: &["creds/bake.rs", "creds/manifest.rs", "creds/pl*.rs", "creds/wifi.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-blob",
        package: "zeta-core",
        files: &["creds/bundle.rs", "creds/frame/*.rs", "creds/passphrase.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-presence",
        package: "zeta-core",
        files: &["presence.rs", "clean.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-text",
        package: "zeta-core",
        files: &[
            "record.rs",
            "record/*.rs",
            "json.rs",
            "layout.rs",
            "name.rs",
            "shell.rs",
            "time.rs",
        ],
        tests: CORE_TESTS,
    },
    Part { name: "core-bus", package: "zeta-core", files: &["bus/*.rs"], tests: CORE_TESTS },
    Part {
        name: "core-registration",
        package: "zeta-core",
        files: &["registration/*.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "core-disks",
        package: "zeta-core",
        files: &["disk/*.rs", "flash/*.rs"],
        tests: CORE_TESTS,
    },
    Part {
        name: "guard",
        package: "zeta-state",
        files: &["directory/guard.rs", "lease/acquire/mod.rs"],
        tests: &["-p", "zeta", "--test", "suite", "-E", "test(/^(it|faults|ops)::/)"],
    },
    Part {
        name: "claims",
        package: "zeta-bus",
        files: &["claim/acquire.rs", "claim/release.rs"],
        tests: &["-p", "zeta", "--test", "suite", "-E", "test(/^(bus::|faults::.*(bus|claim))/)"],
    },
    Part {
        name: "registration",
        package: "zeta-registration",
        files: &["node/proposal.rs", "node/register.rs", "git/mod.rs"],
        tests: &["-p", "zeta", "--test", "suite", "-E", "test(/^node::/)"],
    },
    Part {
        name: "credentials",
        package: "zeta-creds",
        files: &["blob.rs", "verbs/save.rs"],
        tests: &["-p", "zeta", "--test", "suite", "-E", "test(/^creds::/)"],
    },
];

/// What became of the mutants of a run.
#[derive(Debug, Default)]
pub struct Verdict {
    caught: usize,
    /// Survivors with a reason in the table.
    excused: usize,
    survivors: BTreeSet<String>,
}

impl Verdict {
    /// Reports whether enough was caught.
    pub fn good(&self) -> bool {
        let tried = self.caught + self.survivors.len();
        self.caught * 100 >= REQUIRED * tried
    }

    fn print(&self) {
        for survivor in &self.survivors {
            println!("SURVIVED  {survivor}");
        }
        let (caught, tried) = (self.caught, self.caught + self.survivors.len());
        println!(
            "mutants: {caught} of {tried} caught; {} more survive for a reason of the table",
            self.excused
        );
    }
}

/// `cargo xtask mutants [PART]`: every mutant of the parts with that in their name.
pub fn run(only: Option<&str>) -> Result<bool> {
    provide()?;
    let parts: Vec<&Part> =
        PARTS.iter().filter(|part| only.is_none_or(|only| part.name.contains(only))).collect();
    ensure!(!parts.is_empty(), "no part has {only:?} in its name");
    let mut good = true;
    for part in parts {
        println!("mutants: {}", part.name);
        let verdict = judge(part, None)?;
        verdict.print();
        good &= verdict.good();
    }
    Ok(good)
}

/// `cargo xtask mutants --sample SEED`: a few mutants of the core, and none may survive without a
/// reason. The seed is hexadecimal; without one it is the commit, so each commit has others.
pub fn sample(seed: Option<&str>) -> Result<bool> {
    provide()?;
    let commit = || run::answer(run::program("git", &["rev-parse", "HEAD"]));
    let given = seed.map(str::to_owned).or_else(commit).context("git rev-parse")?;
    let digits = given.trim().get(..12).unwrap_or(given.trim());
    let seed = u64::from_str_radix(digits, 16)
        .with_context(|| format!("{digits:?} is no hexadecimal number"))?;
    let parts: Vec<&Part> = PARTS.iter().filter(|part| part.package == "zeta-core").collect();
    let part = parts[usize::try_from(seed % parts.len() as u64)?];
    let count = list(part)?.len();
    let shards = (count / SAMPLE).max(1);
    let shard = usize::try_from((seed / 7) % shards as u64)?;
    println!(
        "mutants: shard {shard} of {shards} of {}; again: cargo xtask mutants --sample {digits}",
        part.name
    );
    let verdict = judge(part, Some((shard, shards)))?;
    verdict.print();
    Ok(verdict.survivors.is_empty())
}

/// Runs the mutants of a part, or one of so many equal shares of them.
fn judge(part: &Part, shard: Option<(usize, usize)>) -> Result<Verdict> {
    let place = run::target_dir().join("mutants").join(part.name);
    fs::create_dir_all(&place)?;
    let mut command = tool(part);
    command.arg("--output").arg(&place).args(["--no-shuffle", "--colors", "never"]);
    command.args(["--minimum-test-timeout", "120", "--build-timeout", "600"]);
    if let Some((shard, shards)) = shard {
        command.args(["--shard", &format!("{shard}/{shards}")]);
    }
    // cargo's own runner stops at the first test binary that fails, as it is.
    match run::answer(run::cargo(&["nextest", "--version"])) {
        Some(_) => command.args(["--test-tool", "nextest", "--", "--fail-fast"]),
        None if part.tests.contains(&"-E") => bail!("{}: needs cargo-nextest", part.name),
        None => command.arg("--"),
    };
    command.args(part.tests).env("CARGO_PROFILE_DEV_DEBUG", "0");
    let status = run::watched(command, |_| ())?;
    // 2: some survived, 3: some ran out of time; anything else is no judgement.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("{}: cargo mutants ended with {status}", part.name);
    }
    let lines = |file: &str| -> Result<Vec<String>> {
        let text = fs::read_to_string(place.join("mutants.out").join(file))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let caught = lines("caught.txt")?.len() + lines("timeout.txt")?.len();
    Ok(weigh(caught, lines("missed.txt")?, &reasons()?))
}

fn weigh(caught: usize, missed: Vec<String>, reasons: &BTreeMap<String, String>) -> Verdict {
    let is_excused = |name: &String| reasons.contains_key(&without_line(name));
    let (excused, survivors): (BTreeSet<_>, BTreeSet<_>) = missed.into_iter().partition(is_excused);
    Verdict { caught, excused: excused.len(), survivors }
}

fn list(part: &Part) -> Result<Vec<String>> {
    let mut command = tool(part);
    command.arg("--list");
    let text = run::answer(command).context("cargo mutants --list")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn tool(part: &Part) -> std::process::Command {
    let mut command = run::cargo(&["mutants", "--package", part.package]);
    for file in part.files {
        command.args(["--file", &format!("crates/{}/src/{file}", part.package)]);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(dirs) {
        command.env("PATH", path);
    }
    command
}

fn tools() -> PathBuf {
    run::target_dir().join("tools")
}

/// Installs the tool beside what is built here, not among the user's programs.
pub fn provide() -> Result<()> {
    if tools().join("bin/cargo-mutants").is_file() {
        return Ok(());
    }
    // Not optimized: it waits for cargo, and this takes a third of the time.
    let mut install = run::cargo(&["install", "--quiet", "--debug", "--locked", "cargo-mutants"]);
    install.args(["--version", VERSION, "--root"]).arg(tools());
    ensure!(run::succeeds(install)?, "cargo-mutants cannot be installed");
    Ok(())
}

/// The survivors that are right to survive, and why: `name<TAB>reason`, the name without its line.
fn reasons() -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(run::root().join("xtask/mutants.tsv"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, reason) =
                line.split_once('\t').with_context(|| format!("no tab: {line}"))?;
            Ok((name.to_owned(), reason.to_owned()))
        })
        .collect()
}

/// `crates/…/decide.rs:12:5: replace …` without the line and the column, which every edit moves.
fn without_line(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(change)) => format!("{file}:{change}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_files() {
        for part in &PARTS {
            for file in part.files {
                let path = run::root().join(format!("crates/{}/src/{file}", part.package));
                let dir = path.parent().unwrap();
                let here = if file.contains('*') { dir } else { &path };
                assert!(here.exists(), "{}", here.display());
            }
        }
    }

    #[test]
    fn a_survivor_is_counted_and_a_reason_excuses_it_on_any_line() {
        let missed = ["a.rs:1:2: replace x", "a.rs:9:9: replace y"].map(str::to_owned).into();
        let reasons = [("a.rs: replace y".to_owned(), "the same either way".to_owned())].into();
        let verdict = weigh(1, missed, &reasons);
        assert_eq!((verdict.caught, verdict.excused), (1, 1));
        assert_eq!(verdict.survivors.into_iter().collect::<Vec<_>>(), ["a.rs:1:2: replace x"]);
    }
}
