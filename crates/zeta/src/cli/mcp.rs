//! `zeta mcp`: the server for agent tools, and how each tool is told of it.

use std::path::PathBuf;
use std::process::Command as Program;
use std::time::Duration;

use clap::Args;
use zeta_core::hook::Tool;
use zeta_core::json::Object;
use zeta_core::lease::TTL_SESSION_MS;
use zeta_core::record::{printable, quote};
use zeta_core::shell::quote_word;
use zeta_mcp::{Setting, serve};

use super::{Call, Noun, Verb};
use crate::config::Scope;
use crate::hooks::settings::own_program;
use zeta_os::command;
use zeta_os::error::{Error, Kind, Result};

pub(super) const NOUN: Noun = Noun {
    name: "mcp",
    about: "Serve agent tools by the Model Context Protocol, on standard input and output",
    build: |noun| noun.after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| if call.verb().is_empty() { run(call) } else { super::run_verb(call, VERBS) },
};

const EXAMPLES: &str = "\
An agent tool starts this, and gives its model eight tools: status, acquire, release, check, claim,
unclaim, send and inbox. What the model holds is renewed meanwhile, and is free when the tool ends.

Examples:
  zeta mcp install claude            # tell Claude Code of it
  zeta mcp install codex --dry-run   # only print the command that would do it
  zeta mcp </dev/null                # the server itself: it ends with its client";

const VERBS: &[Verb] = &[
    Verb {
        name: "install",
        about: "Tell an agent tool of this server, by the tool's own command",
        args: InstallArgs::augment_args,
        run: install,
    },
    Verb {
        name: "uninstall",
        about: "Take this server out of an agent tool, by the tool's own command",
        args: UninstallArgs::augment_args,
        run: uninstall,
    },
];

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
struct Target {
    /// Agent tool: claude, codex, gemini, copilot or opencode
    #[arg(value_name = "TOOL")]
    tool: String,
    /// Print the command, and do not run it
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The tool's own command writes the tool's file; zeta does not touch it. --state-dir, --node and --as
are passed on to the server. If the tool does not add it, a server of the name zeta that it knows is
taken out first.

Example:
  zeta mcp install claude --dry-run")]
struct InstallArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta mcp uninstall claude --dry-run")]
struct UninstallArgs {
    #[command(flatten)]
    target: Target,
}

fn run(call: &Call) -> Result<u8> {
    let name_given = call.given("agent").is_some();
    let ctx = call.context()?;
    let config = call.config()?;
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let setting = Setting {
        ctx,
        name_given,
        ttl_ms: config.ttl_ms.unwrap_or(TTL_SESSION_MS),
        leases_in_cluster: config.lease_scope == Some(Scope::Cluster),
        claims_in_cluster: config.claim_scope == Some(Scope::Cluster),
        cwd,
    };
    serve(setting).map(|()| 0)
}

/// The name of the server in the files of all tools.
const NAME: &str = "zeta";
/// How long a command of a tool may take: some of them are slow to start.
const LIMIT: Duration = Duration::from_secs(60);
/// How much of what it says is kept.
const SAID_MAX: usize = 64 * 1024;

/// The command of a tool that adds the server.
fn add(tool: Tool, server: &[String]) -> Result<Vec<String>> {
    let words: &[&str] = match tool {
        Tool::Claude => &["claude", "mcp", "add", "--scope", "user", NAME, "--"],
        Tool::Codex => &["codex", "mcp", "add", NAME, "--"],
        Tool::Copilot => &["copilot", "mcp", "add", NAME, "--"],
        Tool::OpenCode => &["opencode", "mcp", "add", NAME, "--"],
        Tool::Gemini => {
            // What follows the program is an argument of it only behind its own `--`.
            let words = ["gemini", "mcp", "add", "--scope", "user", NAME];
            let (program, args) = server.split_first().map_or(("", [].as_slice()), |(p, a)| (p, a));
            let words = words.into_iter().chain([program, "--"]).map(str::to_owned);
            return Ok(words.chain(args.iter().cloned()).collect());
        }
        Tool::Cursor => {
            let server: Vec<String> = server.iter().map(|word| quote(word)).collect();
            let (program, args) = server.split_first().map_or(("", [].as_slice()), |(p, a)| (p, a));
            let entry = format!(
                "{{\"mcpServers\":{{\"{NAME}\":{{\"command\":{program},\"args\":[{}]}}}}}}",
                args.join(",")
            );
            return Err(Error::usage("cursor has no command that adds a server")
                .hint(format!("put this into ~/.cursor/mcp.json: {entry}")));
        }
    };
    Ok(words.iter().map(|word| (*word).to_owned()).chain(server.iter().cloned()).collect())
}

/// The command of a tool that takes the server out.
fn remove(tool: Tool) -> Result<Vec<String>> {
    let words: &[&str] = match tool {
        Tool::Claude => &["claude", "mcp", "remove", "--scope", "user", NAME],
        Tool::Codex => &["codex", "mcp", "remove", NAME],
        Tool::Copilot => &["copilot", "mcp", "remove", NAME],
        Tool::Gemini => &["gemini", "mcp", "remove", "--scope", "user", NAME],
        Tool::OpenCode | Tool::Cursor => {
            let file = match tool {
                Tool::Cursor => "~/.cursor/mcp.json",
                _ => "~/.config/opencode/opencode.jsonc",
            };
            let text = format!("{} has no command that takes a server out", tool.word());
            return Err(Error::usage(text)
                .hint(format!("take the entry {NAME:?} out of {file} with an editor")));
        }
    };
    Ok(words.iter().map(|word| (*word).to_owned()).collect())
}

/// The command that starts the server.
fn server(call: &Call) -> Result<Vec<String>> {
    let [state_dir, node, agent] = ["state_dir", "node", "agent"].map(|id| call.given(id));
    // The names are checked here, and the directory is that of this call wherever the server
    // starts.
    let ctx = call.context()?;
    let state_dir = state_dir.map(|given| ctx.state_dir.to_str().map_or(given, str::to_owned));
    let mut words = vec![own_program()?];
    for (flag, value) in [("--state-dir", state_dir), ("--node", node), ("--as", agent)] {
        words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    words.push("mcp".to_owned());
    Ok(words)
}

fn tool_of(word: &str) -> Result<Tool> {
    word.parse().map_err(|rule| Error::usage(format!("{word:?} is not known: {rule}")))
}

fn install(call: &Call) -> Result<u8> {
    let server = server(call)?;
    let InstallArgs { target } = call.args()?;
    let tool = tool_of(&target.tool)?;
    let words = add(tool, &server)?;
    if target.dry_run {
        return answer(call, tool, "would_install", &words, "");
    }
    let said = match run_words(&words)? {
        Ok(said) => said,
        Err(error) => replace(tool, &words, error)?,
    };
    answer(call, tool, "installed", &words, &said)
}

/// Adds the server after taking out the one of this name, which the tool may know, as from another
/// place of this program; `error` is why it was not added before.
fn replace(tool: Tool, words: &[String], error: Error) -> Result<String> {
    let Ok(Ok(Ok(_))) = remove(tool).map(|words| run_words(&words)) else { return Err(error) };
    run_words(words).and_then(|ended| ended).map_err(|error| {
        let text = format!("the server {NAME} of before was taken out; {}", error.text);
        Error { text, ..error }.hint(format!("mend that, and add it: {}", line(words)))
    })
}

fn uninstall(call: &Call) -> Result<u8> {
    let UninstallArgs { target } = call.args()?;
    let tool = tool_of(&target.tool)?;
    let words = remove(tool)?;
    if target.dry_run {
        return answer(call, tool, "would_uninstall", &words, "");
    }
    let said = run_words(&words)??;
    answer(call, tool, "uninstalled", &words, &said)
}

fn line(words: &[String]) -> String {
    words.iter().map(|word| quote_word(word)).collect::<Vec<_>>().join(" ")
}

fn answer(call: &Call, tool: Tool, outcome: &str, words: &[String], said: &str) -> Result<u8> {
    let command = line(words);
    let object = || {
        let mut object = Object::new();
        object.text("tool", tool.word()).text("outcome", outcome).text("command", &command);
        object.text("said", said).clone()
    };
    let text = || match said.is_empty() {
        true => command.clone(),
        false => format!("{command}\n{said}"),
    };
    call.out.either(object, text).map(|()| 0)
}

/// Runs a command of a tool; returns what it said, or that it failed.
///
/// # Errors
/// It did not come to its end.
fn run_words(words: &[String]) -> Result<Result<String>> {
    let (program, args) = words.split_first().map_or(("", [].as_slice()), |(p, a)| (p.as_str(), a));
    let command_line = line(words);
    let fault = |text: String| Error::new(Kind::Fault, text);
    let finished = command::run(Program::new(program).args(args), b"", LIMIT, SAID_MAX);
    let finished = match finished {
        Ok(finished) => finished,
        Err(command::Failure::NotStarted(error)) => {
            return Err(fault(format!("{program} cannot be started: {error}"))
                .hint(format!("where {program} is found, call: {command_line}")));
        }
        Err(command::Failure::TimedOut) => {
            return Err(fault(format!("{command_line}: it did not end in 60 s")));
        }
        // What it left running, as an update, has the pipe: what it said has no end.
        Err(command::Failure::OutputOpen(status)) if status.success() => {
            return Ok(Ok(String::new()));
        }
        Err(command::Failure::OutputOpen(status)) => {
            return Ok(Err(fault(format!("{command_line}: {status}"))));
        }
    };
    let lines = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<_> = text.trim().lines().map(printable).collect();
        lines.join("\n")
    };
    match finished.status.success() {
        true => Ok(Ok(lines(&finished.output))),
        false => {
            let said = [lines(&finished.errors), lines(&finished.output)].join(" ");
            Ok(Err(fault(format!("{command_line}: {}", said.trim()))))
        }
    }
}
