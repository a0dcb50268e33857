//! `zeta hook`: what agent tools call, and how it gets into their files.

use std::ffi::OsString;

use clap::Args;

use super::{Call, Noun, Verb};
use crate::hooks;
use zeta_os::error::Result;

pub(super) const NOUN: Noun = Noun {
    name: "hook",
    about: "Let agent tools see each other's claims: Claude Code, Codex, Gemini CLI and others",
    build: |noun| super::needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, NOUN.verbs),
};

const EXAMPLES: &str = "\
Examples:
  zeta hook run claude before-tool < event.json    # what a hook answers";

const VERBS: &[Verb] = &[Verb {
    name: "run",
    about: "Answer one event of an agent tool; the tool's own file of hooks calls this",
    args: RunArgs::augment_args,
    run,
}];

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
    let RunArgs { tool, event } = call.args()?;
    Ok(hooks::run(&[tool.into(), event.into()]))
}
