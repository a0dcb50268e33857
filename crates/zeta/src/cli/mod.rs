//! The command line: one table of nouns, each built only when it is called.
//!
//! Start-up is what a short verb costs, and building the arguments of thirty verbs is most of it.
//! So when a call begins with a noun and a verb, only these two are built (`command_for`); global
//! flags may stand before either. Any other call (help, a typing error) is parsed by the whole
//! command line.

use std::cell::{OnceCell, RefCell};
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::config::Config;
use crate::environment::bus_shape;
use crate::environment::{self, Overrides};
use crate::hooks;
use crate::output::{Output, print};
use zeta_bus::report::Shape;
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;
use zeta_state::lease::exec::OnLost;

mod bus;
mod claim;
mod clean;
mod cluster;
mod complete;
mod creds;
mod demo;
mod docs;
mod doctor;
mod flash;
mod guide;
mod heartbeat;
mod hook;
mod init;
mod install;
mod lease;
mod log;
mod mcp;
mod node;
mod post;
mod record;
mod repair;
mod run;
mod schema;
mod signature;
mod status;
mod unit;
mod usage;
mod watch;
mod web;

/// Options that every verb takes.
#[derive(Debug, Args)]
struct Globals {
    /// State directory [default: /tmp/zeta-cluster-state]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    state_dir: Option<PathBuf>,
    /// Node to read or change [default: this machine's own]
    #[arg(long, global = true, value_name = "NODE", help_heading = "Global options")]
    node: Option<String>,
    /// Your agent name [default: your user name]
    #[arg(long = "as", global = true, value_name = "AGENT", help_heading = "Global options")]
    agent: Option<String>,
    /// Print one JSON object
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Print only data and faults, no notes and no refusals
    #[arg(long, short, global = true, help_heading = "Global options")]
    quiet: bool,
}

/// One noun (or a verb that needs none) of the command line.
struct Noun {
    name: &'static str,
    about: &'static str,
    build: fn(Command) -> Command,
    verbs: &'static [Verb],
    run: fn(&Call) -> Result<u8>,
}

/// A verb under a noun.
struct Verb {
    name: &'static str,
    about: &'static str,
    args: fn(Command) -> Command,
    run: fn(&Call) -> Result<u8>,
}

/// Makes the noun require a verb.
fn needs_verb(noun: Command) -> Command {
    noun.subcommand_required(true).arg_required_else_help(true)
}

/// Makes the noun require a verb, except with `ZETA_BUS_IDS=original`: without a verb the
/// original's tools print their verbs and end with 0.
fn needs_verb_unless_original(noun: Command) -> Command {
    match bus_shape() {
        Shape::Zeta => needs_verb(noun),
        Shape::Original => noun,
    }
}

fn run_verb_or_help(call: &Call, noun: &Noun) -> Result<u8> {
    if !call.verb().is_empty() {
        return run_verb(call, noun.verbs);
    }
    let mut whole = command();
    let help = whole.find_subcommand_mut(noun.name).map(|noun| noun.render_help().to_string());
    print(&help.unwrap_or_default())?;
    Ok(0)
}

fn run_verb(call: &Call, verbs: &[Verb]) -> Result<u8> {
    match verbs.iter().find(|verb| verb.name == call.verb()) {
        Some(verb) => (verb.run)(call),
        None => Err(Error::usage(format!("no such verb: {:?}", call.verb()))),
    }
}

/// A parsed call: the arguments of its verb, and how to print.
pub(crate) struct Call {
    /// The arguments of the verb; reading takes them out, which spares a copy of all of them.
    leaf: RefCell<ArgMatches>,
    verb: String,
    out: Output,
    config: OnceCell<Config>,
}

const NOUNS: &[Noun] = &[
    demo::NOUN,
    init::NOUN,
    run::NOUN,
    status::NOUN,
    log::NOUN,
    watch::NOUN,
    heartbeat::NOUN,
    lease::NOUN,
    claim::NOUN,
    bus::NOUN,
    hook::NOUN,
    mcp::NOUN,
    web::NOUN,
    record::MARKER,
    record::PERSONA,
    node::NOUN,
    cluster::NOUN,
    post::NOUN,
    install::NOUN,
    repair::NOUN,
    signature::NOUN,
    unit::NOUN,
    creds::NOUN,
    flash::NOUN,
    clean::NOUN,
    doctor::NOUN,
    schema::NOUN,
    guide::NOUN,
    docs::COMPLETIONS,
    docs::MAN,
];

/// Builds the whole command line.
pub fn command() -> Command {
    NOUNS.iter().fold(root(), |root, noun| {
        let built = (noun.build)(Command::new(noun.name).about(noun.about));
        let verbs =
            noun.verbs.iter().map(|verb| (verb.args)(Command::new(verb.name).about(verb.about)));
        root.subcommand(built.subcommands(verbs))
    })
}

/// Builds the command line of one call: only its noun and verb, if the call begins with them.
fn command_for(args: &[OsString]) -> Command {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str());
    if args.len() == 2 && matches!(word(1), Some("--version" | "-V")) {
        return root();
    }
    let noun_at = past_globals(args, 1);
    let noun = NOUNS.iter().find(|noun| Some(noun.name) == word(noun_at));
    let Some(noun) = noun else { return command() };
    let built = (noun.build)(Command::new(noun.name).about(noun.about));
    let verb_at = past_globals(args, noun_at + 1);
    let built = match noun.verbs.iter().find(|verb| Some(verb.name) == word(verb_at)) {
        Some(verb) => built
            .subcommand((verb.args)(Command::new(verb.name).about(verb.about)))
            .disable_help_subcommand(true),
        None if noun.verbs.is_empty() => built,
        // It answers its client after two milliseconds; all verbs would take longer to build.
        None if noun.name == mcp::NOUN.name && verb_at == args.len() => built,
        None => return command(),
    };
    root().subcommand(built).disable_help_subcommand(true)
}

/// Returns where the first argument from `at` on stands that is no flag of [`Globals`] and no value
/// of one. A flag with a wrong value is an error that does not depend on what follows.
fn past_globals(args: &[OsString], mut at: usize) -> usize {
    while let Some(word) = args.get(at).and_then(|word| word.to_str()) {
        at += match word.split_once('=').map_or((word, false), |(flag, _)| (flag, true)) {
            ("--json" | "--quiet" | "-q", false) | ("--state-dir" | "--node" | "--as", true) => 1,
            ("--state-dir" | "--node" | "--as", false) => 2,
            _ => break,
        };
    }
    at
}

fn root() -> Command {
    let root = Command::new("zeta")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(EXIT_TABLE);
    // Set after the globals, whose own description would replace this one.
    Globals::augment_args(root).about(ABOUT)
}

const ABOUT: &str = "Coordination of AI agents that share a machine";

const EXIT_TABLE: &str = "\
Exit status:
  0 done                 3 refused: held by another    6 busy: waited as long as asked
  1 fault                4 not found, or free          7 state directory or configuration
  2 usage                5 lost: stop working now        unsafe or broken

Examples:
  zeta demo                                # see it work, with real processes
  zeta run --as otto-cli -- claude         # run an agent, and show that it is here
  zeta status                              # which agents are here, what they do and hold
  zeta watch                               # the same, live: who waits for you, what is stuck
  zeta lease acquire deploy --ttl 10m      # exactly one caller gets the lease
  zeta lease exec deploy -- ./deploy.sh    # hold a lease while a command runs
  zeta claim acquire --path 'src/**'       # no other agent edits these files
  zeta hook install claude --dry-run       # Claude Code would see all of this by itself";

/// Runs one call and returns its exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.iter().skip(1).map(OsString::as_os_str).eq(["creds", "plant-as"]) {
        // A child process of `creds restore`, which becomes another user before anything else.
        return creds::plant_as();
    }
    if let Some(args) = hook::run_args(&args) {
        return hooks::run(args);
    }
    if args.get(1).is_some_and(|word| word == complete::WORD) {
        return complete::run(args.get(3..).unwrap_or_default());
    }
    // Never dropped: that would cost more than an acquire.
    let command = Box::leak(Box::new(command_for(&args)));
    // What follows `--` belongs to another command.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let is_creds = creds::is_called(&args);
    let wraps = usage::is_of_wrapper(&args);
    let call_with_name = usage::call_with_name(&args);
    let mut matches = match command.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are answers; everything else is a wrong call.
            let wrong = error.use_stderr();
            let error = usage::with_tip(error, call_with_name);
            // The list of verbs that answers a call without a verb repeats no argument.
            let is_help =
                error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if wrong && is_creds && !is_help {
                // An argument in a wrong place may be a secret, so it is not repeated.
                print_error(Output { json, quiet: false }, wraps, &creds::usage_error(&error));
                return Kind::Usage.status();
            }
            match json && wrong {
                true => print_error(Output { json, quiet: false }, wraps, &usage::error(&error)),
                false if wrong => {
                    let _ = error.print();
                }
                false => return exit(Output::default(), false, print(&error.render().to_string())),
            }
            return Kind::Usage.status();
        }
    };
    let Some((name, mut leaf)) = matches.remove_subcommand() else { return Kind::Usage.status() };
    let mut verb = String::new();
    while let Some((name, inner)) = leaf.remove_subcommand() {
        (verb, leaf) = (name, inner);
    }
    let out = Output { json: leaf.get_flag("json"), quiet: leaf.get_flag("quiet") };
    let Some(noun) = NOUNS.iter().find(|noun| noun.name == name) else {
        return Kind::Usage.status();
    };
    zeta_os::signal::end_by_signals_as_init();
    let leaf = RefCell::new(leaf);
    match (noun.run)(&Call { leaf, verb, out, config: OnceCell::new() }) {
        Ok(status) => status,
        Err(error) => exit(out, wraps, Err(error)),
    }
}

fn exit(out: Output, wraps: bool, done: Result<()>) -> u8 {
    let Err(error) = done else { return 0 };
    print_error(out, wraps, &error);
    error.kind.status()
}

/// Prints an error that ends the call. The stdout of a wrapper belongs to its command.
fn print_error(out: Output, wraps: bool, error: &Error) {
    match wraps {
        true => out.error_on_stderr(error, error.kind.status(), None),
        false => out.error(error, None),
    }
}

/// Reads `--on-lost`.
fn on_lost(word: &str) -> Result<OnLost> {
    match word {
        "warn" => Ok(OnLost::Warn),
        "term" => Ok(OnLost::Term),
        "kill" => Ok(OnLost::Kill),
        other => {
            Err(Error::usage(format!("--on-lost {other:?} is not valid: give warn, term or kill")))
        }
    }
}

impl Call {
    /// Reads the arguments of the verb.
    pub(crate) fn args<T: FromArgMatches>(&self) -> Result<T> {
        T::from_arg_matches_mut(&mut self.leaf.borrow_mut())
            .map_err(|error| Error::usage(error.to_string()))
    }

    /// The name of the verb under the noun.
    pub(crate) fn verb(&self) -> &str {
        &self.verb
    }

    /// Returns the value of a global option, if the call gave it; [`Call::context`] takes it away.
    pub(crate) fn given(&self, id: &str) -> Option<String> {
        let leaf = self.leaf.borrow();
        let raw = leaf.get_raw(id)?.next()?;
        raw.to_str().map(str::to_owned)
    }

    /// Returns the content of the configuration files, which are read on first use.
    pub(crate) fn config(&self) -> Result<&Config> {
        match self.config.get() {
            Some(config) => Ok(config),
            None => {
                let config = Config::load()?;
                Ok(self.config.get_or_init(|| config))
            }
        }
    }

    /// Returns the context: the agent that calls, and the directories that the call is about.
    pub(crate) fn context(&self) -> Result<Context> {
        let Globals { state_dir, node, agent, .. } = self.args()?;
        let given = agent.clone();
        let overrides = Overrides { state_dir, node, agent };
        let mut ctx = environment::context(overrides, self.config()?)?;
        environment::join_tool_session(&mut ctx, given.as_deref());
        Ok(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_comment_of_the_source_takes_the_place_of_a_description() {
        for noun in NOUNS {
            let built = (noun.build)(Command::new(noun.name).about(noun.about));
            let shown = built.get_about().map(ToString::to_string);
            assert_eq!(shown.as_deref(), Some(noun.about), "{}", noun.name);
            for verb in noun.verbs {
                let built = (verb.args)(Command::new(verb.name).about(verb.about));
                let shown = built.get_about().map(ToString::to_string);
                assert_eq!(shown.as_deref(), Some(verb.about), "{} {}", noun.name, verb.name);
                assert_eq!(built.get_long_about(), None, "{} {}", noun.name, verb.name);
            }
        }
    }

    #[test]
    fn no_two_verbs_of_a_noun_are_described_alike() {
        for noun in NOUNS {
            let mut seen = std::collections::BTreeSet::from([noun.about]);
            for verb in noun.verbs {
                assert!(seen.insert(verb.about), "{} {}: {}", noun.name, verb.name, verb.about);
            }
        }
    }

    #[test]
    fn a_call_meets_the_same_command_line_whole_or_in_part() {
        for noun in NOUNS {
            let none: &[&str] = &[""];
            let verbs: Vec<&str> = noun.verbs.iter().map(|verb| verb.name).collect();
            for verb in if verbs.is_empty() { none } else { &verbs } {
                let words = ["zeta", noun.name, verb, "--help"];
                let args: Vec<OsString> =
                    words.iter().filter(|word| !word.is_empty()).map(OsString::from).collect();
                let whole = command().try_get_matches_from(&args).unwrap_err().to_string();
                let part = command_for(&args).try_get_matches_from(&args).unwrap_err().to_string();
                assert_eq!(part, whole, "{args:?}");
            }
        }
    }

    /// Lists what a parse found: each word of the command with its arguments.
    fn found(parsed: std::result::Result<ArgMatches, clap::Error>) -> String {
        let mut matches = match parsed {
            Ok(matches) => matches,
            Err(error) => return format!("{:?}: {error}", error.kind()),
        };
        let mut text = String::new();
        loop {
            for id in matches.ids().map(|id| id.as_str()) {
                let source = matches.value_source(id);
                let raw = matches.try_get_raw(id).map(|raw| raw.map(Vec::from_iter));
                text += &format!("{id} {source:?} {raw:?}\n");
            }
            let Some((name, inner)) = matches.remove_subcommand() else { return text };
            text += &format!("{name}:\n");
            matches = inner;
        }
    }

    #[test]
    fn global_flags_before_noun_and_verb_change_nothing_that_a_call_means() {
        let flags = "|--json|-q|--quiet|--as a|--as=a|--node n|--node=|--as lease|--state-dir /x\
            |--state-dir=/x|--state-dir /x --json -q|--json --json|--as a --as b|--as|--as --json\
            |--as -q|--as --|--node -1|--node -|--state-dir --as a|--json=1|--json=|-qq|-q=1|-qh\
            |-h|--help|--version|-V|--js|--state|--no-such|--|-|--ttl 1m|=|--as=-q";
        let calls = "|lease|lease acquire x|lease acquire x --ttl 1m|lease acquire|leas\
            |lease acquir x|lease acquire x --frob|lease acquire -- -x|lease help\
            |lease acquire --help|lease acquire x --as b|lease acquire help|help lease\
            |lease check x --token 1|bus publish|bus|status|status x|heartbeat|heartbeat x\
            |run -- lease acquire x|run|creds verify|x lease acquire y";
        let every = command();
        let same = |line: String| {
            let words = std::iter::once("zeta").chain(line.split_whitespace());
            let args: Vec<OsString> = words.map(OsString::from).collect();
            let whole = found(every.clone().try_get_matches_from(&args));
            assert_eq!(found(command_for(&args).try_get_matches_from(&args)), whole, "{args:?}");
        };
        for flag in flags.split('|') {
            for call in calls.split('|') {
                same(format!("{flag} {call}"));
                let (noun, verb) = call.split_once(' ').unwrap_or((call, ""));
                same(format!("--json {noun} {flag} {verb}"));
            }
        }
    }

    #[test]
    fn a_call_with_global_flags_first_builds_its_noun_and_verb_only() {
        let built = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            command_for(&args).get_subcommands().count()
        };
        for line in [
            "zeta lease check x",
            "zeta --json lease check x",
            "zeta -q --as status --node=n lease --state-dir /x check x",
            "zeta --quiet heartbeat",
        ] {
            assert_eq!(built(line), 1, "{line}");
        }
        for line in ["zeta --json", "zeta --as lease check", "zeta --json lease chec", "zeta -qq x"]
        {
            assert_eq!(built(line), NOUNS.len(), "{line}");
        }
    }
}
