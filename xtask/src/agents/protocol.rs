//! `zeta mcp`, spoken to by the clients of the protocol in Python and in TypeScript, at pinned
//! versions. The scripts are in `testing/agents`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::npm::{self, Pinned};
use super::{Scratch, Tried, world};
use crate::run;

/// The word by which these are chosen.
pub const NAME: &str = "mcp";
const PYTHON: &str = "mcp==2.3.0";
/// How long one script may take, in seconds.
const SECONDS: usize = 120;

/// Plays the conversations of both clients.
pub fn play() -> Result<Vec<Tried>> {
    let python = provide_python()?;
    let node = npm::provide(&npm::PROTOCOL)?;
    ensure!(run::build_programs()?, "zeta cannot be built");
    let package = npm::modules(&npm::PROTOCOL).join("@modelcontextprotocol/client");
    let mut tried = talk("python", &python, "mcp_python.py", None)?;
    tried.extend(talk("typescript", &PathBuf::from(node), "mcp_typescript.mjs", Some(package))?);
    Ok(tried)
}

/// Brings both clients.
pub fn provide() -> Result<&'static Pinned> {
    provide_python()?;
    npm::provide(&npm::PROTOCOL)?;
    Ok(&npm::PROTOCOL)
}

/// Brings the Python client into a directory of its own; returns its Python.
fn provide_python() -> Result<PathBuf> {
    let dir = run::target_dir().join("agents/mcp-python");
    let (python, stamp) = (dir.join("bin/python"), dir.join("package"));
    if fs::read_to_string(&stamp).is_ok_and(|there| there == PYTHON) {
        return Ok(python);
    }
    println!("agents: BRINGING {PYTHON}");
    let mut venv = run::program("python3", &["-m", "venv", "--clear"]);
    venv.arg(&dir);
    ensure!(run::succeeds(venv)?, "python3 makes no environment (Debian package python3-venv)");
    let mut pip = run::program("timeout", &["120"]);
    pip.arg(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg(PYTHON);
    ensure!(run::succeeds(pip)?, "pip could not bring {PYTHON}; is there a network?");
    fs::write(&stamp, PYTHON)?;
    Ok(python)
}

/// Runs a script, which prints a line for each check.
fn talk(
    language: &str,
    program: &PathBuf,
    script: &str,
    package: Option<PathBuf>,
) -> Result<Vec<Tried>> {
    let dir = Scratch::make(language)?;
    let zeta = run::target_dir().join("debug/zeta");
    let mut talk = world(&dir.0, SECONDS);
    talk.arg(program).arg(run::root().join("testing/agents").join(script)).arg(zeta).arg("/tmp");
    let output = talk.args(package).output().context("cannot start timeout(1)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    let one = |line: &str| {
        let (word, rest) = line.split_once(' ')?;
        let what = rest.split("  ").next().unwrap_or(rest).to_owned();
        Some(Tried { tool: format!("{NAME} by {language}"), what, works: word == "ok" })
    };
    let mut tried: Vec<Tried> = text.lines().filter_map(one).collect();
    if !output.status.success() && tried.iter().all(|tried| tried.works) {
        print!("{}", String::from_utf8_lossy(&output.stderr));
        let (tool, what) = (format!("{NAME} by {language}"), format!("it ends: {}", output.status));
        tried.push(Tried { tool, what, works: false });
    }
    Ok(tried)
}
