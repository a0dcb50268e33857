//! `zeta demo`: prints the events while they happen, and the report at the end.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use zeta_core::record::printable;

use super::{Call, Noun};
use crate::demo::{Event, Observer, Options, Outcome, Report, run as run_demo};
use crate::output::Output;
use zeta_os::error::Result;

pub(super) const NOUN: Noun = Noun {
    name: "demo",
    about: "Show zeta at work: a kill, a stop, a refused push; real processes and git",
    build: DemoArgs::augment_args,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta demo
  zeta demo --keep            # keep its directory, to look at it
  zeta demo --web             # and follow it on a page, in your browser
  zeta demo --json

Three agents want to register one node in a git repository. The first is killed in the middle of
its push, the second is stopped past the end of its lease, the third finishes, and the second's
late push is refused by the repository's own hook. The demo takes a few seconds, needs git, and
runs in a temporary directory (TMPDIR) with a state directory of its own: never in the one that
your agents use. With --state-dir the state is left there; that directory must not exist yet.
With --web it prints the address of a page first, begins when your browser shows the page, goes on
slowly, and leaves the page there until you press Ctrl-C.

Exit status: 0 all checks succeeded; 1 a check failed; 7 git is missing.")]
struct DemoArgs {
    /// Keep the temporary directory and print where it is
    #[arg(long)]
    keep: bool,
    /// Show it on a page in the browser, too, slowly enough to follow
    #[arg(long)]
    web: bool,
}

// Only the flag counts: the demo never runs in the directory of `ZETA_STATE_DIR`.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

fn run(call: &Call) -> Result<u8> {
    let args: DemoArgs = call.args()?;
    let place: PlaceArgs = call.args()?;
    let absolute = |dir: PathBuf| std::path::absolute(&dir).unwrap_or(dir);
    let options =
        Options { state_dir: place.state_dir.map(absolute), keep: args.keep, web: args.web };
    let mut progress = Progress::new(call.out);
    let outcome = run_demo(&options, &mut progress)?;
    progress.clear();
    if progress.is_reported && outcome.failure().is_none() && !call.out.json {
        return Ok(0);
    }
    print_outcome(call.out, &outcome)
}

fn print_outcome(out: Output, outcome: &Outcome) -> Result<u8> {
    let failure = outcome.failure();
    if !out.json {
        if !outcome.report.claims.is_empty() {
            out.data(&format!("\n{}", outcome.report.table()))?;
        }
        if failure.is_none() {
            out.data(&outcome.text())?;
        }
    }
    if let Some(kept) = &outcome.kept {
        out.note(&format!("its directory was kept: {}", kept.display()));
    }
    match failure {
        Some((error, status)) => {
            out.error_with(&error, status, Some(outcome.object()));
            Ok(status)
        }
        None if out.json => out.data(&outcome.object().done()).map(|()| 0),
        None => Ok(0),
    }
}

/// Prints events as lines on stdout, and on a terminal one line with the current wait.
struct Progress {
    out: Output,
    progress: bool,
    shown_ms: Option<u64>,
    /// The report was printed when the steps were done.
    is_reported: bool,
}

impl Progress {
    fn new(out: Output) -> Progress {
        let progress = !out.quiet && std::io::stderr().is_terminal();
        Progress { out, progress, shown_ms: None, is_reported: false }
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
        // If printing fails, printing the last lines fails too, and that is reported.
        let _ = self.out.data(&text);
    }

    fn page(&mut self, url: &str) {
        // With --json, stdout has the report alone.
        if self.out.json {
            self.out.note(&format!("the page: {url}"));
        } else {
            let _ = self.out.data(&format!("{url}\n"));
            self.out.note("open this page in your browser: then the demo begins, slowly");
        }
    }

    fn stays(&mut self, report: &Report, elapsed_ms: u64, url: &str) {
        self.clear();
        if !self.out.json && report.holds() {
            let done = Outcome::all_checked(report, elapsed_ms);
            self.is_reported = self.out.data(&format!("\n{}\n{done}", report.table())).is_ok();
        }
        self.out.note(&format!("the page stays until you press Ctrl-C: {url}"));
    }

    fn waiting(&mut self, at_ms: u64, step: &str) {
        let recent = self.shown_ms.is_some_and(|shown| at_ms.saturating_sub(shown) < 100);
        if !self.progress || recent {
            return;
        }
        self.shown_ms = Some(at_ms);
        let seconds = at_ms as f64 / 1000.0;
        let stderr = std::io::stderr();
        let size = rustix::termios::tcgetwinsize(&stderr).ok();
        // A terminal that does not know its size says 0.
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns };
        let line = wait_line(seconds, step, columns);
        let _ = stderr.lock().write_all(format!("\r\x1b[K{line}").as_bytes());
    }
}

/// Makes the line with the current wait. It is shorter than the terminal is wide: a line that wraps
/// would not be replaced by the next one.
fn wait_line(seconds: f64, step: &str, columns: usize) -> String {
    let start = format!("{seconds:6.1} s  ");
    let room = columns.min(80).saturating_sub(start.len() + " ...".len() + 1);
    let short: String = step.chars().take(room).collect();
    format!("{start}{short} ...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_wait_never_wraps() {
        let step = "the TTL (2s) and the grace (500ms) of otto-desktop run out, and more";
        for columns in [20, 60, 80, 200] {
            let line = wait_line(11.3, step, columns);
            assert!(line.len() < columns, "{columns}: {line:?}");
            assert!(line.starts_with("  11.3 s  the") && line.ends_with(" ..."), "{line:?}");
        }
    }
}
