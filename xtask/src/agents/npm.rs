//! The agent tools at pinned versions, from npm, into directories below `target/`.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::run;

/// A tool at the version that is tried. They change weekly, so a new version is a new run.
pub struct Pinned {
    /// Its word in zeta.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The version; empty for a tool that npm does not have.
    pub version: &'static str,
    /// The packages; `{v}` stands for the version, `{a}` for the processor in npm's words.
    pub packages: &'static [&'static str],
    /// The program and what goes before its arguments, below `node_modules`; `{c}` stands for the
    /// processor in Rust's words.
    program: &'static [&'static str],
}

/// The tools. Claude Code, Codex, Copilot CLI and OpenCode have a program of their own in a package
/// per kind of machine, and need no Node.js; for Gemini CLI, npm brings it.
pub const TOOLS: [Pinned; 6] = [
    Pinned {
        name: "claude",
        title: "Claude Code",
        version: "2.1.332",
        packages: &["@anthropic-ai/claude-code-linux-{a}@{v}"],
        program: &["@anthropic-ai/claude-code-linux-{a}/claude"],
    },
    Pinned {
        name: "codex",
        title: "Codex",
        version: "0.171.0",
        packages: &["@openai/codex@{v}-linux-{a}"],
        program: &["@openai/codex/vendor/{c}-unknown-linux-musl/bin/codex"],
    },
    Pinned {
        name: "gemini",
        title: "Gemini CLI",
        version: "0.61.0",
        packages: &["@google/gemini-cli@{v}", "node-linux-{a}@22.23.5"],
        program: &["node-linux-{a}/bin/node", "@google/gemini-cli/bundle/gemini.js"],
    },
    Pinned {
        name: "copilot",
        title: "Copilot CLI",
        version: "1.0.102",
        packages: &["@github/copilot-linux-{a}@{v}"],
        program: &["@github/copilot-linux-{a}/copilot"],
    },
    Pinned {
        name: "opencode",
        title: "OpenCode",
        version: "1.18.33",
        packages: &["opencode-linux-{a}@{v}"],
        program: &["opencode-linux-{a}/bin/opencode"],
    },
    Pinned { name: "cursor", title: "Cursor", version: "", packages: &[], program: &[] },
];

/// The TypeScript client of the Model Context Protocol, and a Node.js that runs it.
pub const PROTOCOL: Pinned = Pinned {
    name: "mcp-typescript",
    title: "TypeScript client",
    version: "2.4.0",
    packages: &["@modelcontextprotocol/client@{v}", "node-linux-{a}@22.23.5"],
    program: &["node-linux-{a}/bin/node"],
};

/// Reports whether there is npm.
fn is_here() -> bool {
    run::answer(run::program("npm", &["--version"])).is_some()
}

/// Brings a tool, unless exactly these packages are there; returns its command.
pub fn provide(tool: &Pinned) -> Result<String> {
    let packages: Vec<String> = tool.packages.iter().map(|name| filled(tool, name)).collect();
    let wanted = packages.join(" ");
    let dir = place(tool);
    let stamp = dir.join("packages");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(command(tool));
    }
    ensure!(is_here(), "npm is missing (Debian package npm)");
    println!("agents: BRINGING {wanted}");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    // Without a network, npm tries for minutes.
    let mut npm = run::program("timeout", &["240", "npm", "install", "--prefix"]);
    npm.arg(&dir).args(["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]);
    npm.args(["--loglevel=error", "--fetch-retries=1", "--fetch-timeout=60000"]).args(&packages);
    ensure!(run::succeeds(npm)?, "npm could not bring {wanted}; is there a network?");
    for part in command(tool).split(' ') {
        ensure!(PathBuf::from(part).is_file(), "{wanted} holds no {part}");
    }
    fs::write(&stamp, wanted)?;
    Ok(command(tool))
}

/// Returns the program of a tool, with blanks between it and what goes before its arguments.
pub fn command(tool: &Pinned) -> String {
    let modules = modules(tool);
    let part = |part: &&str| modules.join(filled(tool, part)).display().to_string();
    tool.program.iter().map(part).collect::<Vec<_>>().join(" ")
}

/// Returns where the packages of a tool are.
pub fn modules(tool: &Pinned) -> PathBuf {
    place(tool).join("node_modules")
}

/// Finds a tool by its word.
pub fn pinned(name: &str) -> Result<&'static Pinned> {
    match TOOLS.iter().find(|tool| tool.name == name) {
        Some(tool) => Ok(tool),
        None => bail!("no tool is called '{name}'"),
    }
}

fn place(tool: &Pinned) -> PathBuf {
    run::target_dir().join("agents").join(tool.name)
}

fn filled(tool: &Pinned, text: &str) -> String {
    let npm = if ARCH == "x86_64" { "x64" } else { "arm64" };
    text.replace("{v}", tool.version).replace("{a}", npm).replace("{c}", ARCH)
}
