//! What is on a disk that is not open: the signatures of file systems and of parts of something
//! larger, read from the disk itself. What udev knows may be old, or nothing.

use std::process::Command;

use zeta_core::disk::wipefs;

use super::{LIMIT, MAX, not_run};
use crate::command;

/// The kinds of all signatures on a device, or why it could not be read.
pub type Content = Result<Vec<String>, String>;

/// Returns what is on each device, also what lies behind something else. Nothing is changed.
pub fn of(paths: &[String]) -> Vec<Content> {
    match (ask(paths), paths) {
        (Ok(all), _) => all.into_iter().map(Ok).collect(),
        (Err(why), [_]) => vec![Err(why)],
        // One that cannot be read says nothing of the others.
        (Err(_), _) => paths.iter().flat_map(|path| of(std::slice::from_ref(path))).collect(),
    }
}

/// Asks about all devices at once.
fn ask(paths: &[String]) -> Result<Vec<Vec<String>>, String> {
    let mut call = Command::new("wipefs");
    call.args(["--no-act", "--json", "--"]).args(paths).env("LC_ALL", "C");
    let failed = |why: String| format!("wipefs --no-act {why}");
    let run = command::run(&mut call, b"", LIMIT, MAX);
    let finished = run.map_err(|failure| failed(not_run(failure)))?;
    if !finished.status.success() || finished.is_cut {
        let said = String::from_utf8_lossy(&finished.errors).trim().to_owned();
        return Err(failed(format!("failed ({}): {said}", finished.status)));
    }
    let signatures = wipefs::parse(&finished.output)
        .map_err(|error| failed(format!("printed what cannot be read: {error}")))?;
    wipefs::kinds(&signatures, paths)
        .ok_or_else(|| failed("named a device that it was not asked about".to_owned()))
}
