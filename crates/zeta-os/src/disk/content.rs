//! What is on a disk that is not open: the signatures of file systems and of parts of something
//! larger, read from the disk itself. What udev knows may be old, or nothing.

use std::process::Command;

use zeta_core::disk::wipefs;

use super::{LIMIT, MAX, not_run};
use crate::command;

/// Returns the kinds of all signatures on a device, also of those that lie behind another one.
/// Nothing is changed.
///
/// # Errors
/// It cannot be read, in words.
pub fn of(path: &str) -> Result<Vec<String>, String> {
    let mut call = Command::new("wipefs");
    call.args(["--no-act", "--json", "--", path]).env("LC_ALL", "C");
    let failed = |why: String| format!("wipefs --no-act {why}");
    let run = command::run(&mut call, b"", LIMIT, MAX);
    let finished = run.map_err(|failure| failed(not_run(failure)))?;
    if !finished.status.success() || finished.is_cut {
        let said = String::from_utf8_lossy(&finished.errors).trim().to_owned();
        return Err(failed(format!("failed ({}): {said}", finished.status)));
    }
    wipefs::parse(&finished.output)
        .map_err(|error| failed(format!("printed what cannot be read: {error}")))
}
