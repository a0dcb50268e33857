//! `zeta status`: the agents, the evidence that they live, what they do and hold, what is wrong.

use clap::{Args, Command};

use super::{Call, Noun};
use crate::output::{Terminal, print};
use zeta_os::error::{Kind, Result};
use zeta_state::presence::status;
use zeta_state::presence::status::json;
use zeta_state::presence::status::text::Screen;
use zeta_state::presence::status::waiting::WaitingAgent;

pub(super) const NOUN: Noun = Noun {
    name: "status",
    about: "Show which agents are here, how we know they are alive, what they hold, what is wrong",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
struct StatusArgs {
    /// Show every node of the state directory, and agents that have ended
    #[arg(long)]
    all: bool,
    /// Show only agents that wait for a person: 0 if there is one, 4 if there is none
    #[arg(long)]
    waiting: bool,
    /// Keep showing it, live: the same as 'zeta watch'
    #[arg(long, conflicts_with = "waiting")]
    watch: bool,
}

const HELP: &str = "\
Liveness of an agent:
  live    the last beat came in time        hung    4 beats are missing, the process runs
  late    2 beats are missing               silent  4 beats are missing, nothing else is known
  gone    the agent or its processes ended

An agent waits for a person when its tool says so by a hook (zeta hook install), until the next one.

The exit status is 0 even if something is wrong; --json lists the problems in \"findings\".

Examples:
  zeta status
  zeta status --all
  zeta status --watch             # live, until q
  zeta status --waiting || true   # 4 if no agent waits for a person
  zeta status --all --json";

fn build(noun: Command) -> Command {
    StatusArgs::augment_args(noun).after_help(HELP)
}

fn run(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    if args.watch {
        return super::watch::watch(call, args.all);
    }
    let ctx = call.context()?;
    let mut view = status::open(&ctx, args.all)?;
    if args.waiting {
        return waiting(call, &status::waiting::find(&view, &ctx)?);
    }
    view.unread = zeta_bus::messages::inbox::counts(&ctx.bus_dir);
    let (signed, signed_text) = super::signature::of_status(&call.config()?.signature).unzip();
    view.signed = signed;
    let mut printed = Ok(());
    let emit = |piece: &str| {
        if printed.is_ok() {
            printed = print(piece);
        }
    };
    match call.out.json {
        true => json::write(&view, &ctx, emit),
        false => screen(args.all).write(&view, &ctx, emit),
    }
    printed?;
    match signed_text.filter(|_| !call.out.json) {
        Some(text) => print(&text).map(|()| 0),
        None => Ok(0),
    }
}

/// Prints the agents that wait for a person. That there is none is an answer, too.
fn waiting(call: &Call, agents: &[WaitingAgent]) -> Result<u8> {
    match (call.out.json, agents.is_empty()) {
        (true, _) => print(&json::waiting(agents))?,
        (false, true) => call.out.note("no agent waits for a person"),
        (false, false) => print(&screen(false).waiting(agents))?,
    }
    Ok(if agents.is_empty() { Kind::NotFound.status() } else { 0 })
}

/// Returns the layout: plain and of any width, unless stdout is a terminal.
fn screen(all: bool) -> Screen {
    let Terminal { width, colour } = Terminal::of_stdout();
    Screen { width, colour, all }
}
