//! `zeta hook`: what agent tools call, and how it gets into their files.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use zeta_core::hook::Tool;
use zeta_core::json::Object;
use zeta_core::record::quote;

use super::{Call, Noun, Verb};
use crate::hooks::install::{Change, Status};
use crate::hooks::settings::Scope;
use crate::hooks::{self, diff};
use zeta_os::error::{Error, Result};

pub(super) const NOUN: Noun = Noun {
    name: "hook",
    about: "Let agent tools see each other's claims: Claude Code, Codex, Gemini CLI and others",
    build: |noun| super::needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, NOUN.verbs),
};

const EXAMPLES: &str = "\
Examples:
  zeta hook install claude --dry-run   # show what would be added to Claude Code's settings
  zeta hook install claude
  zeta hook status
  zeta hook uninstall claude";

const VERBS: &[Verb] = &[
    Verb {
        name: "install",
        about: "Put zeta's hooks into the file of an agent tool; all else in it stays",
        args: InstallArgs::augment_args,
        run: install,
    },
    Verb {
        name: "uninstall",
        about: "Take zeta's hooks out of the file of an agent tool",
        args: UninstallArgs::augment_args,
        run: uninstall,
    },
    Verb {
        name: "status",
        about: "Show which agent tools have zeta's hooks",
        args: StatusArgs::augment_args,
        run: status,
    },
    Verb {
        name: "run",
        about: "Answer one event of an agent tool; the tool's own file of hooks calls this",
        args: RunArgs::augment_args,
        run,
    },
];

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
struct Target {
    /// Agent tool: claude, codex, gemini, copilot, opencode or cursor
    #[arg(value_name = "TOOL")]
    tool: String,
    /// Change the file of the project around the current directory, not the user's
    #[arg(long)]
    project: bool,
    /// Write nothing, and print the difference
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Refused (3): a file that the tool itself would not read, that belongs to another user, that is
read-only, or that is a hard link. A second install changes nothing. See docs/use/hooks.md for what
each tool can do.

Examples:
  zeta hook install claude --dry-run
  zeta hook install codex")]
struct InstallArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What other programs put into the file stays, byte for byte. A hook of zeta's that was changed by
hand stays, too, and is named.

Example:
  zeta hook uninstall claude --dry-run")]
struct UninstallArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta hook status --json")]
struct StatusArgs {
    /// Look at the files of the project around the current directory
    #[arg(long)]
    project: bool,
}

fn tool_of(word: &str) -> Result<Tool> {
    word.parse().map_err(|rule| Error::usage(format!("{word:?} is not known: {rule}")))
}

fn scope_of(project: bool) -> Scope {
    if project { Scope::Project } else { Scope::User }
}

/// Returns where the journals are kept.
fn lasting(call: &Call) -> Result<PathBuf> {
    call.context()?.lasting_dir.ok_or_else(|| {
        Error::usage("HOME is not set: there is no place to remember what is installed")
    })
}

fn install(call: &Call) -> Result<u8> {
    let InstallArgs { target } = call.args()?;
    let (tool, scope) = (tool_of(&target.tool)?, scope_of(target.project));
    let change = hooks::install::install(tool, scope, &lasting(call)?, target.dry_run)?;
    let outcome = match change.before == change.after {
        true => "unchanged",
        false if target.dry_run => "would_install",
        false => "installed",
    };
    print_change(call, (tool, scope), outcome, &change, target.dry_run)
}

fn uninstall(call: &Call) -> Result<u8> {
    let UninstallArgs { target } = call.args()?;
    let (tool, scope) = (tool_of(&target.tool)?, scope_of(target.project));
    let change = hooks::install::uninstall(tool, scope, &lasting(call)?, target.dry_run)?;
    let outcome = match change.before == change.after {
        true => "unchanged",
        false if target.dry_run => "would_uninstall",
        false => "uninstalled",
    };
    print_change(call, (tool, scope), outcome, &change, target.dry_run)
}

fn print_change(
    call: &Call,
    (tool, scope): (Tool, Scope),
    outcome: &str,
    change: &Change,
    dry: bool,
) -> Result<u8> {
    let Change { file, before, after, notes } = change;
    let path = file.display().to_string();
    let difference = || diff::unified(&path, before.as_deref(), after.as_deref());
    let object = || {
        let mut object = Object::new();
        object.text("tool", tool.word()).text("scope", scope.word()).text("file", &path);
        object.text("outcome", outcome);
        if dry {
            object.text("diff", &difference());
        }
        object.list("notes", notes.iter().map(|note| quote(note))).clone()
    };
    let text = || match dry && before != after {
        true => difference().trim_end_matches('\n').to_owned(),
        false => format!("{outcome}: {path}"),
    };
    call.out.either(object, text)?;
    if !call.out.json {
        notes.iter().for_each(|note| call.out.note(note));
    }
    Ok(0)
}

fn status(call: &Call) -> Result<u8> {
    let StatusArgs { project } = call.args()?;
    let lasting = lasting(call)?;
    let one = |tool| hooks::install::status(tool, scope_of(project), &lasting);
    let all = Tool::ALL.into_iter().map(one).collect::<Result<Vec<Status>>>()?;
    let object = || {
        Object::new()
            .objects("hooks", &all, |object, status| {
                object.text("tool", status.tool.word()).text("scope", scope_of(project).word());
                object.text("file", &status.file.display().to_string());
                object.text("state", status.state.word());
                object.flag("tool_found", status.found);
                object.list("notes", status.notes.iter().map(|note| quote(note)));
            })
            .clone()
    };
    let line = |status: &Status| {
        let found = if status.found { "" } else { "  (the tool is not in PATH)" };
        let mut line = format!(
            "{:<9} {:<9} {}{found}",
            status.tool.word(),
            status.state.word(),
            status.file.display()
        );
        for note in &status.notes {
            line.push_str(&format!("\n  -> {note}"));
        }
        line
    };
    call.out.either(object, || all.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    Ok(0)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads one event as JSON from standard input, in the form of that tool, and prints the answer in its
form, or nothing. The exit status is 0 in every case, so that no tool is blocked by a fault of zeta;
a fault is one line on standard error. No call takes longer than 2 s.

Example:
  echo '{\"session_id\":\"s1\",\"cwd\":\"/tmp\"}' | zeta hook run claude session-start")]
struct RunArgs {
    /// Agent tool: claude, codex, gemini, copilot, opencode or cursor
    #[arg(value_name = "TOOL")]
    tool: String,
    /// Event: session-start, prompt, before-tool, after-tool, stop, waiting or session-end
    #[arg(value_name = "EVENT")]
    event: String,
    /// Process of the tool, if a shell stands between; otherwise it is the parent
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
}

/// Returns the arguments of `hook run`, if that is called. It is answered before the command line
/// is built: a wrong call must not end with the status that blocks a tool.
pub(super) fn run_args(args: &[OsString]) -> Option<&[OsString]> {
    let [_, hook, run, rest @ ..] = args else { return None };
    let asks_help = rest.iter().any(|word| word == "--help" || word == "-h");
    (hook == "hook" && run == "run" && !asks_help).then_some(rest)
}

fn run(call: &Call) -> Result<u8> {
    // Global flags stand before the noun.
    let RunArgs { tool, event, process } = call.args()?;
    let process = process.map(|pid| [hooks::PROCESS.into(), pid.to_string().into()]);
    let args = [tool.into(), event.into()].into_iter().chain(process.into_iter().flatten());
    Ok(hooks::run(&args.collect::<Vec<_>>()))
}
