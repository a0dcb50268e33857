//! `zeta watch`: a live view of agents, leases and messages.

use clap::{Args, Command};
use zeta_os::error::Result;
use zeta_tui::{Setting, Theme};

use super::{Call, Noun};

pub(super) const NOUN: Noun = Noun {
    name: "watch",
    about: "Watch live who works, who waits for you, who holds what, and what is stuck",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
struct WatchArgs {
    /// Show every node of the state directory, and agents that have ended (key a)
    #[arg(long)]
    all: bool,
}

const HELP: &str = "\
The first lines say what needs you: agents that wait for a person, work that is stuck, work that is
about to collide. Below are the agents, leases, messages, the history of leases, and findings.
Keys: arrows move, Enter shows details, Tab changes the pane, / filters, ? is the help, q ends.

Without a terminal, or with TERM=dumb, each change is a line of text; with --json it is the whole
overview, one object on a line. It only reads, and ends with the reader of its output.

Examples:
  zeta watch
  zeta watch --all
  zeta watch | grep 'waits for a person'   # a line as soon as an agent asks
  zeta watch --json | head -n 1            # the overview of this moment";

fn build(noun: Command) -> Command {
    WatchArgs::augment_args(noun).after_help(HELP)
}

fn run(call: &Call) -> Result<u8> {
    let args: WatchArgs = call.args()?;
    watch(call, args.all)
}

/// Shows the live view.
pub(super) fn watch(call: &Call, all: bool) -> Result<u8> {
    let ctx = call.context()?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let term = variable("TERM");
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    zeta_tui::watch(&Setting {
        ctx,
        all,
        json: call.out.json,
        can_draw: term.as_deref().is_some_and(|term| term != "dumb"),
        theme: Theme::of(term.as_deref(), no_colour, locale.as_deref()),
    })
}
