//! `zeta marker`: facts that agents record for each other.

use clap::Args;
use zeta_core::name::RecordName;

use super::document;
use super::{Noun, Verb};
use zeta_os::error::Result;
use zeta_state::presence::records::RecordKey;

pub(super) const NOUN: Noun = Noun {
    name: "marker",
    about: "Record facts for other agents",
    build: |noun| super::needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
Examples:
  zeta marker set self-registered branch=register-node
  zeta marker list";

const VERBS: &[Verb] = &[
    Verb {
        name: "set",
        about: "Write a marker, or change some of its fields",
        args: SetArgs::augment_args,
        run: |call| {
            let args: SetArgs = call.args()?;
            document::set(call, &name(&args.name)?, Vec::new(), &args.fields)
        },
    },
    Verb {
        name: "get",
        about: "Print a marker, or one of its fields; exit 4 if there is none",
        args: GetArgs::augment_args,
        run: |call| {
            let args: GetArgs = call.args()?;
            document::get(call, &name(&args.name)?, args.key.as_deref())
        },
    },
    Verb {
        name: "list",
        about: "List all markers of the node",
        args: |verb| verb.after_help("Example:\n  zeta marker list --json"),
        run: |call| document::list(call, true),
    },
    Verb {
        name: "clear",
        about: "Remove a marker; exit 4 if there is none",
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
  zeta marker set self-registered pr_url=https://example.org/pull/7 branch=register-node")]
struct SetArgs {
    /// Name of the marker
    name: String,
    /// Fields to set; the others are kept
    #[arg(value_name = "K=V")]
    fields: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta marker get self-registered
  zeta marker get self-registered branch")]
struct GetArgs {
    /// Name of the marker
    name: String,
    /// Only this field
    key: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta marker clear self-registered")]
struct ClearArgs {
    /// Name of the marker
    name: String,
}

fn name(text: &str) -> Result<RecordKey> {
    Ok(RecordKey::Marker(RecordName::new("marker", text)?))
}
