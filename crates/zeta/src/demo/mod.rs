//! `zeta demo`: the main job on this machine, with real processes and a real git remote.
//!
//! Three agents want to register one node. The first is killed in the middle of its push, the
//! second is stopped past the end of its lease, the third finishes, and the second's late push is
//! refused by the repository itself. Nothing is believed because an agent said so: what is claimed
//! is read from the state directory, from the repository, and from the kernel.

mod agents;
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

/// Where to play it.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Where the state directory shall be; it is left there. Otherwise it is a temporary one.
    pub state_dir: Option<PathBuf>,
    /// Leave the temporary directory.
    pub keep: bool,
}

/// How the scenario ended.
#[derive(Debug)]
pub struct Outcome {
    /// What happened and what was checked, as far as it went.
    pub report: Report,
    /// What ended it early.
    pub stop: Option<Stop>,
    /// How long it took.
    pub elapsed_ms: u64,
    /// The directory that was left, if it was to be.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    /// Why the demo did not succeed, and the exit status; `None` if all checks succeeded.
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
                    .hint("run it again; if a check fails twice, report it with this output");
                Some((error, Kind::Fault.status()))
            }
            None => None,
        }
    }

    /// The whole report as JSON.
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

    /// The last line of a demo that succeeded.
    pub fn text(&self) -> String {
        let (all, seconds) = (self.report.claims.len(), self.elapsed_ms as f64 / 1000.0);
        format!("All {all} claims were checked; it took {seconds:.1} s.")
    }
}

/// What ends the scenario early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Something did not happen, or failed.
    Fault(Error),
    /// A signal asked for it.
    Signal(i32),
}

/// The outcome of a step of the play.
type Step<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fault(error)
    }
}

/// Plays it, and leaves nothing behind. For a process that has no other children.
pub fn run(ask: &Options, observer: &mut dyn Observer) -> Result<Outcome> {
    if let Some(dir) = &ask.state_dir {
        refuse_used(dir)?;
    }
    let sandbox = sandbox::Sandbox::set(ask.state_dir.as_deref(), ask.keep)?;
    let (sandbox, report, stop) = script::play(sandbox, observer);
    let elapsed_ms = sandbox.at_ms();
    let kept = ask.keep.then(|| sandbox.root.clone());
    let left = sandbox.strike();
    let stop = match (stop, left) {
        (None, Some(left)) => {
            let error = Error::new(Kind::Fault, format!("the demo ended, but {left}"));
            Some(Stop::Fault(error))
        }
        (stop, _) => stop,
    };
    Ok(Outcome { report, stop, elapsed_ms, kept })
}

/// A directory that agents use already is no place for a play in which they are killed.
fn refuse_used(dir: &Path) -> Result<()> {
    let empty = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match empty {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "the demo wants a state directory of its own, and {} is in use",
            dir.display()
        ))
        .hint("name one that does not exist yet, or leave --state-dir out")),
    }
}
