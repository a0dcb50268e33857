//! `zeta status`: who is here, alive by what evidence, doing what, holding what, and what is wrong.

use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, Command};

use super::{Call, Noun};
use crate::output::print;
use zeta_core::json::Object;
use zeta_os::error::Result;
use zeta_state::presence::status;
use zeta_state::presence::status::{NodeStatus, StatusView};

mod json;
mod screen;
mod table;

use self::screen::Screen;

pub(super) const NOUN: Noun = Noun {
    name: "status",
    about: "Show who is here, alive by what evidence, holding what, and what is wrong",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
struct StatusArgs {
    /// Every node of the tree, not only this machine's own
    #[arg(long)]
    all: bool,
}

const HELP: &str = "\
Liveness of an agent:
  live    its last beat came in time        hung    4 beats missing, its process runs
  late    2 beats missing                   silent  4 beats missing, nobody can say
  gone    it ended, or its processes did

The exit status is 0 with findings too; --json has them in \"findings\".

Examples:
  zeta status
  zeta status --all
  zeta status --all --json";

fn build(noun: Command) -> Command {
    StatusArgs::augment_args(noun).after_help(HELP)
}

fn run(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    let ctx = call.context()?;
    let place = status::open(&ctx, args.all)?;
    match call.out.json {
        true => print_json(&ctx, &place)?,
        false => print_text(&ctx, &place, args.all)?,
    }
    Ok(0)
}

/// Prints what comes until that fails: the whole of ten thousand nodes is never in memory.
fn print_on(so_far: &mut Result<()>, text: &str) {
    if so_far.is_ok() {
        *so_far = print(text);
    }
}

fn print_json(ctx: &zeta_state::context::Context, place: &StatusView) -> Result<()> {
    let mut head = Object::new();
    json::head(&mut head, place);
    // The object stays open: the nodes follow as they are seen, the findings of the tree last.
    let head = head.done();
    let mut printed = print(head.strip_suffix('}').unwrap_or(&head));
    print_on(&mut printed, ",\"nodes\":[");
    let render = |number: usize, status: &NodeStatus<'_>, text: &mut String| {
        text.push_str(if number == 0 { "\n" } else { ",\n" });
        let mut object = Object::after(std::mem::take(text));
        json::node(&mut object, status);
        *text = object.into_text();
    };
    place.each(ctx, render, |text| print_on(&mut printed, text));
    printed?;
    let mut tail = Object::new();
    json::findings(&mut tail, &place.findings);
    let tail = tail.done();
    print(&format!("],{}\n", tail.strip_prefix('{').unwrap_or(&tail)))
}

fn print_text(ctx: &zeta_state::context::Context, place: &StatusView, all: bool) -> Result<()> {
    let screen = Screen::of_stdout();
    let mut printed = print(&screen.head(place, ctx));
    let wrong = AtomicUsize::new(place.findings.len());
    let render = |_: usize, status: &NodeStatus<'_>, text: &mut String| {
        wrong.fetch_add(status.findings.len(), Ordering::Relaxed);
        screen.node(text, status);
    };
    place.each(ctx, render, |text| print_on(&mut printed, text));
    printed?;
    print(&screen.findings(&place.findings))?;
    if all && !place.is_empty() {
        let wrong = wrong.load(Ordering::Relaxed);
        print(&format!("\n{} nodes, {} findings\n", place.len(), wrong))?;
    }
    Ok(())
}
