//! `zeta persona`: the state that an agent publishes: its task, branch and worktree.

use clap::Args;
use zeta_core::name::Label;

use super::document;
use super::{Noun, Verb};
use zeta_os::error::Result;
use zeta_state::presence::records::RecordKey;

pub(super) const NOUN: Noun = Noun {
    name: "persona",
    about: "Publish what an agent is doing",
    build: |noun| super::needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
Examples:
  zeta persona set otto-cli --task B-0856
  zeta persona list";

const VERBS: &[Verb] = &[
    Verb {
        name: "set",
        about: "Publish what a persona is doing",
        args: SetArgs::augment_args,
        run: |call| {
            let args: SetArgs = call.args()?;
            let options = [
                ("status", args.status),
                ("task", args.task),
                ("branch", args.branch),
                ("worktree", args.worktree),
            ];
            let options = options.into_iter().filter_map(|(key, value)| Some((key, value?)));
            document::set(call, &name(&args.name)?, options.collect(), &args.fields)
        },
    },
    Verb {
        name: "get",
        about: "Print what a persona published, or one field; exit 4 if there is nothing",
        args: GetArgs::augment_args,
        run: |call| {
            let args: GetArgs = call.args()?;
            document::get(call, &name(&args.name)?, args.key.as_deref())
        },
    },
    Verb {
        name: "list",
        about: "List all personas of the node",
        args: |verb| verb.after_help("Example:\n  zeta persona list --json"),
        run: |call| document::list(call, false),
    },
    Verb {
        name: "clear",
        about: "Remove what a persona published; exit 4 if there is nothing",
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

This is also a heartbeat if the persona is your own: by --as, ZETA_AGENT or 'zeta run'.")]
struct SetArgs {
    /// Name of the persona, or persona and surface, as in otto-cli
    name: String,
    /// Status: working, idle, waiting, ...
    #[arg(long, value_name = "TEXT")]
    status: Option<String>,
    /// Task
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// Branch of the work
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Worktree of the work
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
