//! `zeta persona`: what an agent is doing, in its own words.

use clap::Args;
use zeta_core::name::Label;

use super::document;
use super::{Noun, Verb};
use zeta_os::error::Result;
use zeta_state::presence::records::RecordKey;

pub(super) const NOUN: Noun = Noun {
    name: "persona",
    about: "What an agent is doing, in its own words",
    build: super::needs_verb,
    verbs: VERBS,
    run: |call| super::run_verb(call, VERBS),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "set",
        about: "Say what a persona is doing",
        args: SetArgs::augment_args,
        run: |call| {
            let args: SetArgs = call.args()?;
            let said = [
                ("status", args.status),
                ("task", args.task),
                ("branch", args.branch),
                ("worktree", args.worktree),
            ];
            let said = said.into_iter().filter_map(|(key, value)| Some((key, value?)));
            document::set(call, &name(&args.name)?, said.collect(), &args.fields)
        },
    },
    Verb {
        name: "get",
        about: "Print what a persona said, or one field of it; exit 4 if it is not there",
        args: GetArgs::augment_args,
        run: |call| {
            let args: GetArgs = call.args()?;
            document::get(call, &name(&args.name)?, args.key.as_deref())
        },
    },
    Verb {
        name: "list",
        about: "All personas of the node",
        args: |verb| verb.after_help("Example:\n  zeta persona list --json"),
        run: |call| document::list(call, false),
    },
    Verb {
        name: "clear",
        about: "Remove what a persona said; exit 4 if it is not there",
        args: ClearArgs::augment_args,
        run: |call| {
            let args: ClearArgs = call.args()?;
            document::clear(call, &name(&args.name)?)
        },
    },
];

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  zeta persona set otto-cli --status working --task B-0856 --branch otto/B-0856

It is a beat of the persona only if you are it: by --as, by ZETA_AGENT or under 'zeta run'.")]
struct SetArgs {
    /// Name of the persona, or persona and surface, as in otto-cli
    name: String,
    /// What it does: working, idle, waiting, ...
    #[arg(long, value_name = "TEXT")]
    status: Option<String>,
    /// On what
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// On which branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// In which worktree
    #[arg(long, value_name = "DIR")]
    worktree: Option<String>,
    /// Further fields to set; the others are kept
    #[arg(value_name = "K=V")]
    fields: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta persona get otto-cli
  zeta persona get otto-cli task")]
struct GetArgs {
    /// Name of the persona
    name: String,
    /// Only this field
    key: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta persona clear otto-cli")]
struct ClearArgs {
    /// Name of the persona
    name: String,
}

fn name(text: &str) -> Result<RecordKey> {
    Ok(RecordKey::Persona(Label::new("persona", text)?))
}
