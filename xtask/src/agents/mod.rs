//! `cargo xtask agents`: real agent tools, at pinned versions, with zeta's hooks, against a
//! stand-in of their models, in a network that has loopback only.
//!
//! Beside them, the server of zeta is spoken to by other programs' clients of its protocol.
//!
//! The program `agents` of `testing` has the stand-in and the scenes. What worked is in
//! `docs/agents.tsv`, from which the table in `docs/use/hooks.md` is made.

mod npm;
mod protocol;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::npm::{Pinned, TOOLS};
pub use self::table::check;
use crate::run;

/// What CI tries; the other tools have no room in its time.
const IN_CI: [&str; 2] = ["claude", "codex"];

/// A page that is replayed, with the tools that are in it.
const GUIDE: &str = "docs/use/ten-minutes.md";
const IN_GUIDE: [&str; 2] = ["claude", "codex"];

/// How long the scenes of a tool of CI may take, in seconds, and those of another one: OpenCode
/// alone needs 20 s for each start.
const SECONDS: [usize; 2] = [120, 240];

/// What a run showed.
#[derive(Default)]
pub struct Shown {
    /// How many capabilities were tried and work.
    pub passed: u64,
    /// The others: tool and capability.
    pub failed: BTreeSet<String>,
}

/// One line of the results of the program `agents`.
struct Tried {
    tool: String,
    what: String,
    works: bool,
}

/// `cargo xtask agents [TOOL…] [--install] [--write] [--mail=COUNT]`; true if all that was tried
/// works.
pub fn run(args: &[&str]) -> Result<bool> {
    let mail = args.iter().find_map(|arg| arg.strip_prefix("--mail="));
    let mail = mail.map(str::parse::<usize>).transpose().context("--mail takes a number")?;
    let args: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--mail=")).collect();
    let names: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--")).collect();
    let has = |option: &str| args.contains(&option);
    if let Some(odd) = args.iter().find(|a| a.starts_with("--") && !OPTIONS.contains(a)) {
        bail!("there is no option '{odd}'; there are {}", OPTIONS.join(" and "));
    }
    let with_clients = names.is_empty() || names.contains(&protocol::NAME);
    let only_clients = names == [protocol::NAME];
    let names: Vec<&str> = names.into_iter().filter(|name| *name != protocol::NAME).collect();
    let tools = if only_clients { Vec::new() } else { chosen(&names)? };
    for tool in &tools {
        println!("{}: {}", tool.name, npm::provide(tool)?);
    }
    if with_clients {
        println!("{}: {}", protocol::NAME, protocol::provide()?.title);
    }
    if has("--install") {
        return Ok(true);
    }
    if let Some(count) = mail {
        return play_mail(&tools, count);
    }
    let mut tried = if only_clients { Vec::new() } else { play(&tools)? };
    if has("--write") {
        table::write(&tried)?;
    }
    if with_clients {
        tried.extend(protocol::play()?);
    }
    let shown = shown(&tried, expected(&tools)?);
    for name in &shown.failed {
        println!("FAILED: {name}");
    }
    println!("agents: {} capabilities work, {} do not", shown.passed, shown.failed.len());
    Ok(shown.failed.is_empty())
}

const OPTIONS: [&str; 2] = ["--install", "--write"];

/// Plays what CI plays.
///
/// # Errors
/// The tools or a network of their own cannot be had: nothing was tried.
pub fn run_some() -> Result<Result<Shown>> {
    let tools = chosen(&IN_CI)?;
    namespace_works()?;
    for tool in &tools {
        npm::provide(tool)?;
    }
    Ok(play(&tools).and_then(|tried| Ok(shown(&tried, expected(&tools)?))))
}

/// Lets the clients of the protocol speak to the server.
///
/// # Errors
/// They cannot be had: nothing was tried.
pub fn run_clients() -> Result<Result<Shown>> {
    namespace_works()?;
    protocol::provide()?;
    Ok(protocol::play().map(|tried| shown(&tried, BTreeSet::new())))
}

/// Finds the tools by their names; without any, all that npm has.
fn chosen(names: &[&str]) -> Result<Vec<&'static Pinned>> {
    let can = |tool: &&Pinned| !tool.packages.is_empty();
    if names.is_empty() {
        return Ok(TOOLS.iter().filter(can).collect());
    }
    let find = |name: &&str| {
        let found = TOOLS.iter().filter(can).find(|tool| tool.name == *name);
        found.with_context(|| format!("no tool that npm has is called '{name}'"))
    };
    names.iter().map(find).collect()
}

/// What must work with these tools, as names of tests.
fn expected(tools: &[&Pinned]) -> Result<BTreeSet<String>> {
    let mut expected = table::expected(tools)?;
    if guided(tools) {
        expected.insert("agents: guide: page".to_owned());
    }
    Ok(expected)
}

/// Reports whether the page can be replayed with these tools.
fn guided(tools: &[&Pinned]) -> bool {
    IN_GUIDE.iter().all(|name| tools.iter().any(|tool| tool.name == *name))
}

/// Judges the results: what was expected and is missing has failed.
fn shown(tried: &[Tried], expected: BTreeSet<String>) -> Shown {
    let name = |tried: &Tried| format!("agents: {}: {}", tried.tool, tried.what);
    let mut failed: BTreeSet<String> = tried.iter().filter(|t| !t.works).map(name).collect();
    let works: BTreeSet<String> =
        tried.iter().map(name).filter(|name| !failed.contains(name)).collect();
    failed.extend(expected.difference(&works).cloned());
    Shown { passed: works.len() as u64, failed }
}

/// Goes into a world of its own: a network with loopback only, so that nothing leaves the machine;
/// processes that end with `unshare`, so that nothing is left running; and a directory in the place
/// of `/tmp`, so that no agent of this machine is disturbed. A checkout below `/tmp` stays there.
const WORLD: &str = r#"
set -e
ip link set lo up
tmp=$1
for kept in "$2" "$3"; do
    case $kept in
    /tmp/*) mkdir -p "$tmp${kept#/tmp}" && mount --bind "$kept" "$tmp${kept#/tmp}" ;;
    esac
done
mount --rbind "$tmp" /tmp
shift 3
exec "$@"
"#;

/// Makes a command that runs another one in a world of its own, for so many seconds.
fn world(tmp: &Path, seconds: usize) -> Command {
    let limit = seconds.to_string();
    let mut command = run::program("timeout", &["--kill-after=5", &limit, "unshare"]);
    command.args(["--net", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]);
    let root = run::answer(run::program("id", &["-u"])).is_some_and(|uid| uid.trim() == "0");
    if !root {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", WORLD, "sh"]).arg(tmp).arg(run::root()).arg(run::target_dir());
    command
}

fn namespace_works() -> Result<()> {
    let dir = Scratch::make("try")?;
    let mut try_it = world(&dir.0, 20);
    try_it.arg("true");
    ensure!(
        run::answer(try_it).is_some(),
        "namespaces cannot be made (unshare and ip, and root or user namespaces)"
    );
    Ok(())
}

fn build() -> Result<()> {
    namespace_works()?;
    ensure!(run::build_programs()?, "the programs cannot be built");
    println!();
    Ok(())
}

/// Builds the programs and plays the scenes of the tools, each in a world of its own.
fn play(tools: &[&Pinned]) -> Result<Vec<Tried>> {
    build()?;
    let mut tried = Vec::new();
    for tool in tools {
        let in_ci = IN_CI.contains(&tool.name);
        tried.extend(play_one(tool.name, &[tool], None, SECONDS[usize::from(!in_ci)])?);
    }
    if guided(tools) {
        let both: Vec<&Pinned> =
            tools.iter().copied().filter(|tool| IN_GUIDE.contains(&tool.name)).collect();
        let page = format!("guide={}", run::root().join(GUIDE).display());
        tried.extend(play_one("guide", &both, Some(page), SECONDS[0])?);
    }
    Ok(tried)
}

/// Sends so many messages of each kind to each tool.
fn play_mail(tools: &[&Pinned], count: usize) -> Result<bool> {
    build()?;
    let mut works = true;
    for tool in tools {
        // A turn takes some seconds at most.
        let seconds = SECONDS[1] + 8 * count;
        let tried = play_one(tool.name, &[tool], Some(format!("mail={count}")), seconds)?;
        works &= !tried.is_empty() && tried.iter().all(|tried| tried.works);
    }
    Ok(works)
}

fn play_one(
    name: &str,
    tools: &[&Pinned],
    more: Option<String>,
    seconds: usize,
) -> Result<Vec<Tried>> {
    let dir = Scratch::make(name)?;
    let built = run::target_dir().join("debug");
    let results = run::target_dir().join("agents").join(format!("{name}.tsv"));
    fs::write(&results, "")?;
    let mut scenes = world(&dir.0, seconds);
    scenes.args([built.join("agents"), built.join("zeta"), results.clone()]).args(more);
    for tool in tools {
        scenes.arg(format!("{}={}", tool.name, npm::command(tool)));
    }
    let status = scenes.status().context("cannot start timeout(1)")?;
    let text = fs::read_to_string(&results).unwrap_or_default();
    // 1 says that a capability does not work, which the results name.
    if text.is_empty() || !matches!(status.code(), Some(0 | 1)) {
        println!("agents: the scenes of {name} ended with {status}");
    }
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Tried> {
    let mut cells = line.split('\t').map(str::to_owned);
    let (tool, what, word) = (cells.next()?, cells.next()?, cells.next()?);
    Some(Tried { tool, what, works: word == "ok" })
}

/// A directory that takes the place of `/tmp`; it is removed at the end. Others reach it only
/// from inside.
struct Scratch(PathBuf);

impl Scratch {
    fn make(name: &str) -> Result<Scratch> {
        let dir = format!("zeta-agents-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        fs::DirBuilder::new().mode(0o700).create(&dir).context("cannot make a directory")?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("agents: {} stays: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_and_was_not_tried_has_failed() {
        let line = |line: &str| parse(line).unwrap();
        let tried = [line("codex\tedit\tok\tseen"), line("codex\tpush\tFAILED\tseen")];
        let expected = ["edit", "push", "end"].map(|what| format!("agents: codex: {what}"));
        let shown = shown(&tried, expected.into_iter().collect());
        assert_eq!(shown.passed, 1);
        assert_eq!(
            shown.failed.into_iter().collect::<Vec<_>>(),
            ["agents: codex: end", "agents: codex: push"]
        );
    }
}
