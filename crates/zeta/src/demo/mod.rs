//! `zeta demo`: shows leases and fencing tokens with real processes and a real git remote.
//!
//! Three agents want to register one node. The first is killed in the middle of its push, the
//! second is stopped past the end of its lease, the third finishes, and the second's late push is
//! refused by the repository itself. No check relies on an agent's words: the evidence is read from
//! the state directory, the repository and the kernel.

mod agents;
mod pace;
mod page;
mod records;
mod remote;
mod report;
mod sandbox;
mod scenario;
mod script;

pub use report::{Claim, Event, Observer, Report};

use std::path::{Path, PathBuf};

use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

/// Where to run the demo.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// The state directory to create and keep; otherwise it is in the temporary directory.
    pub state_dir: Option<PathBuf>,
    /// Keep the temporary directory.
    pub keep: bool,
    /// Show it on a page, too, so slowly that a person can follow.
    pub web: bool,
}

/// The outcome of the demo.
#[derive(Debug)]
pub struct Outcome {
    /// The events and checks, up to the end or the stop.
    pub report: Report,
    /// What ended the demo early.
    pub stop: Option<Stop>,
    /// The duration in milliseconds.
    pub elapsed_ms: u64,
    /// The temporary directory, if it was kept.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    /// Returns why the demo failed and its exit status; `None` if all checks succeeded.
    pub fn failure(&self) -> Option<(Error, u8)> {
        let (checked, all) = (self.report.checked(), self.report.claims.len());
        match &self.stop {
            Some(Stop::Fault(error)) => Some((error.clone(), error.kind.status())),
            Some(Stop::Signal(number)) => {
                let error = Error::new(Kind::Fault, format!("signal {number} ended the demo"));
                Some((error, u8::try_from(128 + number).unwrap_or(u8::MAX)))
            }
            None if !self.report.holds() => {
                let text = format!("{} of {all} checks failed", all - checked);
                let error = Error::new(Kind::Fault, text)
                    .hint("is this machine busy? run it again")
                    .hint("if a check fails twice, report it with this output");
                Some((error, Kind::Fault.status()))
            }
            None => None,
        }
    }

    /// Makes the JSON object of the whole report.
    pub fn object(&self) -> Object {
        let mut object = Object::new();
        let shown = self.stop.is_none() && self.report.holds();
        object.text("outcome", if shown { "shown" } else { "not_shown" });
        object.number("elapsed_ms", self.elapsed_ms);
        object.number("claims_checked", self.report.checked() as u64);
        object.number("claims_all", self.report.claims.len() as u64);
        if let Some(kept) = &self.kept {
            object.text("kept", &kept.display().to_string());
        }
        self.report.describe(&mut object);
        object
    }

    /// Makes the last line of a demo that succeeded.
    pub fn text(&self) -> String {
        Outcome::all_checked(&self.report, self.elapsed_ms)
    }

    /// Makes that line of a report.
    pub fn all_checked(report: &Report, elapsed_ms: u64) -> String {
        let (all, seconds) = (report.claims.len(), elapsed_ms as f64 / 1000.0);
        format!("All {all} checks succeeded; they took {seconds:.1} s.")
    }
}

/// What ends the scenario early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A step failed or did not happen in time.
    Fault(Error),
    /// The demo received a signal.
    Signal(i32),
}

/// The result of a step of the scenario.
type Step<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fault(error)
    }
}

/// Runs the demo and removes everything that it created. The calling process must have no other
/// children.
pub fn run(options: &Options, observer: &mut dyn Observer) -> Result<Outcome> {
    if let Some(dir) = &options.state_dir {
        refuse_used(dir)?;
    }
    let sandbox = sandbox::Sandbox::create(options.state_dir.as_deref(), options.keep)?;
    let (sandbox, report, stop, elapsed_ms) = script::run(sandbox, options.web, observer);
    let kept = options.keep.then(|| sandbox.root.clone());
    let left = sandbox.remove();
    let stop = match (stop, left) {
        (None, Some(left)) => {
            let error = Error::new(Kind::Fault, format!("the demo ended, but {left}"));
            Some(Stop::Fault(error))
        }
        (stop, _) => stop,
    };
    Ok(Outcome { report, stop, elapsed_ms, kept })
}

/// Refuses a directory that agents may use already, because the demo kills agents.
fn refuse_used(dir: &Path) -> Result<()> {
    let empty = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match empty {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "the demo needs a state directory of its own, and {} is in use",
            dir.display()
        ))
        .hint("give one that does not exist yet, or omit --state-dir")),
    }
}
