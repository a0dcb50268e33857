//! `zeta marker` and `zeta persona`: records that agents write for each other. Both nouns have the
//! same verbs; their help texts differ, and a persona has options for its usual fields.

use clap::{Args, Command};
use zeta_core::name::{Label, RecordName};
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;
use zeta_state::presence::records as ops;
use zeta_state::presence::records::RecordKey;
use zeta_state::presence::report;
use zeta_state::presence::report::Records;

use super::{Call, Noun, Verb};

/// `zeta marker`.
pub(super) const MARKER: Noun = Marker::NOUN;
/// `zeta persona`.
pub(super) const PERSONA: Noun = Persona::NOUN;

/// A noun for one kind of record.
trait RecordNoun: Sized {
    /// The name and the description of the noun.
    const ABOUT: (&'static str, &'static str);
    /// The examples of the noun.
    const EXAMPLES: &'static str;
    /// The description of a verb, and the text below its help.
    const SET: (&'static str, &'static str);
    const GET: (&'static str, &'static str);
    const LIST: (&'static str, &'static str);
    const CLEAR: (&'static str, &'static str);
    /// The help of the arguments `NAME` and `K=V` of `set`.
    const SET_ARGS: (&'static str, &'static str);
    /// The help of the argument `NAME` of the other verbs.
    const NAME: &'static str;
    const IS_MARKER: bool;

    /// Returns the key of the record with this name.
    fn key(name: &str) -> Result<RecordKey>;

    /// Returns the key of the caller's own record, for a call of `set` without a name.
    fn own_key(ctx: &Context) -> Result<RecordKey>;

    /// Adds the options of `set`.
    fn add_options(verb: Command) -> Command {
        verb
    }

    /// Returns the fields that options give.
    fn fields_of_options(_: &Call) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// The verbs, the same for each kind of record.
    const VERBS: &'static [Verb] = &[
        Verb { name: "set", about: Self::SET.0, args: set_args::<Self>, run: set::<Self> },
        Verb { name: "get", about: Self::GET.0, args: get_args::<Self>, run: get::<Self> },
        Verb { name: "list", about: Self::LIST.0, args: list_args::<Self>, run: list::<Self> },
        Verb { name: "clear", about: Self::CLEAR.0, args: clear_args::<Self>, run: clear::<Self> },
    ];

    const NOUN: Noun = Noun {
        name: Self::ABOUT.0,
        about: Self::ABOUT.1,
        build: |noun| super::needs_verb(noun).after_help(Self::EXAMPLES),
        verbs: Self::VERBS,
        run: |call| super::run_verb(call, Self::VERBS),
    };
}

struct Marker;

impl RecordNoun for Marker {
    const ABOUT: (&'static str, &'static str) = ("marker", "Record facts for other agents");
    const EXAMPLES: &'static str = "\
Examples:
  zeta marker set self-registered branch=register-node
  zeta marker list";
    const SET: (&'static str, &'static str) = (
        "Write a marker, or change some of its fields",
        "\
Example:
  zeta marker set self-registered pr_url=https://example.org/pull/7 branch=register-node",
    );
    const GET: (&'static str, &'static str) = (
        "Print a marker, or one of its fields; exit 4 if there is none",
        "\
Examples:
  zeta marker get self-registered
  zeta marker get self-registered branch",
    );
    const LIST: (&'static str, &'static str) =
        ("List all markers of the node", "Example:\n  zeta marker list --json");
    const CLEAR: (&'static str, &'static str) = (
        "Remove a marker; exit 4 if there is none",
        "Example:\n  zeta marker clear self-registered",
    );
    const SET_ARGS: (&'static str, &'static str) =
        ("Name of the marker", "Fields to set; the others are kept");
    const NAME: &'static str = "Name of the marker";
    const IS_MARKER: bool = true;

    fn key(name: &str) -> Result<RecordKey> {
        Ok(RecordKey::Marker(RecordName::new("marker", name)?))
    }

    fn own_key(_: &Context) -> Result<RecordKey> {
        Err(Error::usage("the name of the marker is missing"))
    }
}

struct Persona;

impl RecordNoun for Persona {
    const ABOUT: (&'static str, &'static str) = ("persona", "Publish what an agent is doing");
    const EXAMPLES: &'static str = "\
Examples:
  zeta persona set otto-cli --task B-0856
  zeta persona list";
    const SET: (&'static str, &'static str) = (
        "Publish what a persona is doing",
        "\
Examples:
  zeta persona set otto-cli --status working --task B-0856 --branch otto/B-0856
  zeta --as otto-cli persona set --task B-0857   # your own; inside of 'zeta run' without --as

This is also a heartbeat if the persona is your own: by --as, ZETA_AGENT or 'zeta run'.",
    );
    const GET: (&'static str, &'static str) = (
        "Print what a persona published, or one field; exit 4 if there is nothing",
        "\
Examples:
  zeta persona get otto-cli
  zeta persona get otto-cli task",
    );
    const LIST: (&'static str, &'static str) =
        ("List all personas of the node", "Example:\n  zeta persona list --json");
    const CLEAR: (&'static str, &'static str) = (
        "Remove what a persona published; exit 4 if there is nothing",
        "Example:\n  zeta persona clear otto-cli",
    );
    const SET_ARGS: (&'static str, &'static str) = (
        "Name of the persona, or persona and surface, as in otto-cli [default: your own]",
        "Further fields to set; the others are kept",
    );
    const NAME: &'static str = "Name of the persona";
    const IS_MARKER: bool = false;

    fn key(name: &str) -> Result<RecordKey> {
        Ok(RecordKey::Persona(Label::new("persona", name)?))
    }

    fn own_key(ctx: &Context) -> Result<RecordKey> {
        if ctx.agent_named {
            return Ok(RecordKey::Persona(ctx.agent.clone()));
        }
        Err(Error::usage("the name of the persona is missing, and this call has no agent's name")
            .hint("inside of 'zeta run --as NAME', or with --as NAME, it is that name"))
    }

    fn add_options(verb: Command) -> Command {
        PersonaOptions::augment_args(verb)
    }

    fn fields_of_options(call: &Call) -> Result<Vec<(String, String)>> {
        let PersonaOptions { status, task, branch, worktree } = call.args()?;
        let all = [("status", status), ("task", task), ("branch", branch), ("worktree", worktree)];
        Ok(all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }
}

// No documentation comments on the parts: the help would print them as the verb's description.
#[derive(Debug, Args)]
struct NameArg {
    name: String,
}

#[derive(Debug, Args)]
struct OptionalNameArg {
    name: Option<String>,
}

#[derive(Debug, Args)]
struct FieldArgs {
    #[arg(value_name = "K=V")]
    fields: Vec<String>,
}

#[derive(Debug, Args)]
struct KeyArg {
    /// Only this field
    key: Option<String>,
}

#[derive(Debug, Args)]
struct PersonaOptions {
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
}

fn name_arg(verb: Command, help: &'static str) -> Command {
    NameArg::augment_args(verb).mut_arg("name", |arg| arg.help(help))
}

fn set_args<N: RecordNoun>(verb: Command) -> Command {
    let (name, fields) = N::SET_ARGS;
    let verb = OptionalNameArg::augment_args(verb);
    let verb = verb.mut_arg("name", |arg| arg.help(name).required(N::IS_MARKER));
    let verb = FieldArgs::augment_args(N::add_options(verb));
    verb.mut_arg("fields", |arg| arg.help(fields)).after_help(N::SET.1)
}

fn get_args<N: RecordNoun>(verb: Command) -> Command {
    KeyArg::augment_args(name_arg(verb, N::NAME)).after_help(N::GET.1)
}

fn list_args<N: RecordNoun>(verb: Command) -> Command {
    verb.after_help(N::LIST.1)
}

fn clear_args<N: RecordNoun>(verb: Command) -> Command {
    name_arg(verb, N::NAME).after_help(N::CLEAR.1)
}

fn named<N: RecordNoun>(call: &Call) -> Result<RecordKey> {
    let NameArg { name } = call.args()?;
    N::key(&name)
}

/// Sets the fields that the options and the `K=V` arguments give.
fn set<N: RecordNoun>(call: &Call) -> Result<u8> {
    let ctx = call.context()?;
    let OptionalNameArg { name } = call.args()?;
    let FieldArgs { mut fields } = call.args()?;
    let name = match name {
        Some(name) if N::IS_MARKER || !name.contains('=') => N::key(&name)?,
        // No name has this character: it is the first field.
        Some(field) => {
            fields.insert(0, field);
            N::own_key(&ctx)?
        }
        None => N::own_key(&ctx)?,
    };
    let mut pairs = N::fields_of_options(call)?;
    for word in &fields {
        pairs.push(ops::parse_pair(&name, word)?);
    }
    let fields = ops::set(&ctx, &name, &pairs)?;
    if call.out.json {
        call.out.data(&report::record_json(&fields).done())?;
    }
    Ok(0)
}

/// Prints a record, or one field of it.
fn get<N: RecordNoun>(call: &Call) -> Result<u8> {
    let (name, KeyArg { key }) = (named::<N>(call)?, call.args()?);
    let fields = report::fields_of(&name, ops::get(&call.context()?, &name)?)?;
    match &key {
        None => {
            call.out.either(|| report::record_json(&fields), || report::record_text(&fields))?;
        }
        Some(key) => {
            let (object, text) = report::field(&name, &fields, key)?;
            call.out.either(|| object, || text)?;
        }
    }
    Ok(0)
}

/// Lists the records of one kind.
fn list<N: RecordNoun>(call: &Call) -> Result<u8> {
    let records = Records::new(N::IS_MARKER, ops::list(&call.context()?, N::IS_MARKER)?);
    call.out.either(|| records.json(), || records.text())?;
    if !call.out.json {
        records.findings.iter().for_each(|finding| call.out.error(finding, None));
    }
    Ok(if records.findings.is_empty() { 0 } else { Kind::Unsafe.status() })
}

/// Removes a record.
fn clear<N: RecordNoun>(call: &Call) -> Result<u8> {
    let name = named::<N>(call)?;
    if !ops::clear(&call.context()?, &name)? {
        return Err(report::absent(&name));
    }
    if call.out.json {
        call.out.data(&report::cleared_json(&name).done())?;
    }
    Ok(0)
}
