//! The save of each stick that was seen last on this machine, so that an older one is noticed.
//!
//! The numbers lie in a file of this machine: one that was installed a moment ago has seen nothing.

use std::path::{Path, PathBuf};

use crate::{blob, cipher};
use zeta_os::error::Result;

/// Sticks that are remembered; the oldest is forgotten first.
const STICKS: usize = 64;
/// The file is not longer, in bytes.
const FILE_MAX: usize = 64 << 10;

/// The path of the file: in `$STATE_DIRECTORY` for a service, in `/var/lib/zeta-creds` for root,
/// else below the home.
fn place() -> Option<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
    let dir = match set("STATE_DIRECTORY") {
        Some(dir) => PathBuf::from(dir),
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/zeta-creds"),
        None => PathBuf::from(set("HOME")?).join(".local/state/zeta"),
    };
    Some(dir.join("creds-seen"))
}

/// The lines of the file, `<generation> <stick>`, where a stick is the hash of what it is bound to:
/// that may be a key. What is no such line is passed over.
fn lines(path: &Path) -> Result<Vec<(u64, String)>> {
    let bytes = blob::get(path, FILE_MAX).map_err(|error| {
        error.hint("it says which save of a stick was seen last; move it away to forget that")
    })?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
    let line = |line: &str| {
        let (generation, binding) = line.split_once(' ')?;
        Some((generation.parse().ok()?, binding.to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The last generation that was seen of a stick.
///
/// # Errors
/// The file is there and cannot be read.
pub fn last(binding: &str) -> Result<Option<u64>> {
    let Some(path) = place() else { return Ok(None) };
    let wanted = cipher::name_of(binding);
    Ok(lines(&path)?.into_iter().filter(|(_, b)| *b == wanted).map(|(g, _)| g).max())
}

/// Remembers a generation; a lower one than before only if it was accepted.
///
/// # Errors
/// The file cannot be written.
pub fn remember(binding: &str, generation: u64) -> Result<()> {
    let Some(path) = place() else { return Ok(()) };
    let wanted = cipher::name_of(binding);
    let mut known = lines(&path)?;
    let before = known.iter().find(|(_, binding)| *binding == wanted).map_or(0, |(last, _)| *last);
    if before == generation {
        return Ok(());
    }
    known.retain(|(_, binding)| *binding != wanted);
    known.push((generation, wanted));
    let known = known.get(known.len().saturating_sub(STICKS)..).unwrap_or_default();
    let text: String = known.iter().map(|(g, b)| format!("{g} {b}\n")).collect();
    blob::put_private(&path, text.as_bytes())
}
