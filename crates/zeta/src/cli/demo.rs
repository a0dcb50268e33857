//! `zeta demo`: shows the play while it goes on, and its account at the end.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use zeta_core::record::printable;

use super::{Call, Noun};
use crate::demo::{Event, Observer, Options, Outcome, Stop, run as play};
use crate::output::Output;
use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

pub(super) const NOUN: Noun = Noun {
    name: "demo",
    about: "See it work: three agents, a kill, a stop, a fenced push; real processes, real git",
    build: DemoArgs::augment_args,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta demo
  zeta demo --keep            # leave its directory, to look into it
  zeta demo --json

Three agents want to register one node in a git repository. The first is killed half-way through
its push, the second is stopped past the end of its lease, the third finishes, and the second's
late push is refused by the repository's own hook. It takes a few seconds, needs git, and plays in
a temporary directory (TMPDIR) with a state directory of its own: never in the one that your
agents use. With --state-dir the state is left there, in a directory that must not exist yet.
Exit status: 0 if everything that it says was checked and is so; 1 if not; 7 without git.")]
struct DemoArgs {
    /// Leave the temporary directory and say where it is
    #[arg(long)]
    keep: bool,
}

/// Only what the caller says here and now: the demo never plays in the tree of `ZETA_STATE_DIR`.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

fn run(call: &Call) -> Result<u8> {
    let args: DemoArgs = call.args()?;
    let place: PlaceArgs = call.args()?;
    let absolute = |dir: PathBuf| std::path::absolute(&dir).unwrap_or(dir);
    let options = Options { state_dir: place.state_dir.map(absolute), keep: args.keep };
    let mut progress = Progress::new(call.out);
    let outcome = play(&options, &mut progress)?;
    progress.clear();
    tell(call.out, &outcome)
}

fn tell(out: Output, outcome: &Outcome) -> Result<u8> {
    let report = &outcome.report;
    let (checked, all) = (report.checked(), report.claims.len());
    let error = match &outcome.stop {
        Some(Stop::Fault(error)) => Some(error.clone()),
        Some(Stop::Signal(number)) => {
            Some(Error::new(Kind::Fault, format!("signal {number} ended the demo")))
        }
        None if !report.holds() => Some(
            Error::new(Kind::Fault, format!("{} of {all} checks failed", all - checked))
                .hint("run it again; if a check fails twice, report it with this output"),
        ),
        None => None,
    };
    if !out.json {
        if all > 0 {
            out.data(&format!("\n{}", report.table()))?;
        }
        if error.is_none() {
            let seconds = outcome.elapsed_ms as f64 / 1000.0;
            out.data(&format!("All {all} claims were checked; it took {seconds:.1} s."))?;
        }
    }
    if let Some(kept) = &outcome.kept {
        out.note(&format!("left for you to look into: {}", kept.display()));
    }
    let object = describe(outcome);
    match &error {
        Some(error) => out.error(error, Some(object)),
        None if out.json => out.data(&object.done())?,
        None => {}
    }
    Ok(match (&outcome.stop, error) {
        (Some(Stop::Signal(number)), _) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        (_, Some(error)) => error.kind.status(),
        (_, None) => 0,
    })
}

fn describe(outcome: &Outcome) -> Object {
    let report = &outcome.report;
    let mut object = Object::new();
    let shown = outcome.stop.is_none() && report.holds();
    object.text("outcome", if shown { "shown" } else { "not_shown" });
    object.number("elapsed_ms", outcome.elapsed_ms);
    object.number("claims_checked", report.checked() as u64);
    object.number("claims_all", report.claims.len() as u64);
    if let Some(kept) = &outcome.kept {
        object.text("kept", &kept.display().to_string());
    }
    report.describe(&mut object);
    object
}

/// Those who watch: lines on stdout, and on a terminal one line that says what is waited for.
struct Progress {
    out: Output,
    progress: bool,
    shown_ms: Option<u64>,
}

impl Progress {
    fn new(out: Output) -> Progress {
        let progress = !out.quiet && std::io::stderr().is_terminal();
        Progress { out, progress, shown_ms: None }
    }

    fn clear(&mut self) {
        if self.shown_ms.take().is_some() {
            let _ = std::io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event) {
        if self.out.json || self.out.quiet {
            return;
        }
        self.clear();
        let mut text = format!("{:>6} ms  {}", event.at_ms, printable(&event.text));
        for line in &event.lines {
            text += &format!("\n{:13}{}", "", printable(line));
        }
        // The last lines tell whether anybody could be told.
        let _ = self.out.data(&text);
    }

    fn waiting(&mut self, at_ms: u64, step: &str) {
        let recent = self.shown_ms.is_some_and(|shown| at_ms.saturating_sub(shown) < 100);
        if !self.progress || recent {
            return;
        }
        self.shown_ms = Some(at_ms);
        let seconds = at_ms as f64 / 1000.0;
        let short: String = step.chars().take(66).collect();
        let line = format!("\r\x1b[K{seconds:6.1} s  {short} ...");
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}
