//! A line on the terminal that says how far a write is.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use zeta_core::flash::progress::Progress;
use zeta_flash::writer::Phase;

use crate::output::Output;

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(250);

/// The line. It is shown only to a person at a terminal, and ends with the meter.
pub(super) struct Meter {
    is_shown: bool,
    begun: Instant,
    last: Option<Instant>,
}

impl Meter {
    /// Starts to measure.
    pub(super) fn new(out: Output) -> Meter {
        let is_shown = !out.quiet && !out.json && std::io::stderr().is_terminal();
        Meter { is_shown, begun: Instant::now(), last: None }
    }

    /// Shows how far something is that began with the meter.
    pub(super) fn show(&mut self, doing: &str, done: u64, all: u64) {
        self.print(doing, &Progress { done, all, took: self.begun.elapsed() });
    }

    /// Shows how far a phase of a write is.
    pub(super) fn of_phase(&mut self, phase: Phase, progress: Progress) {
        let doing = match phase {
            Phase::Writing => "writing",
            Phase::Comparing => "reading back",
        };
        self.print(doing, &progress);
    }

    fn print(&mut self, doing: &str, progress: &Progress) {
        let is_early = self.last.is_some_and(|last| last.elapsed() < EVERY);
        if !self.is_shown || is_early && progress.done < progress.all {
            return;
        }
        self.last = Some(Instant::now());
        // To the beginning of the line, and the rest of it away.
        let line = format!("\r{}\x1b[K", progress.line(doing));
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = std::io::stderr().lock().write_all(b"\n");
        }
    }
}
