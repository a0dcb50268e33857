//! Sealing a bundle and saving it on the stick.

use std::path::Path;

use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame};

use super::{ARGUMENTS, FRAME, Outcome, WithExitNumber, open, rollback};
use crate::blob;
use crate::blob::{Found, Saved};
use crate::cipher;
use crate::cipher::{KeyMaterial, Nonces, SealError};
use crate::secret::Secret;
use crate::verbs::factor::Factor;
use zeta_os::error::{Error, Kind};

/// The result of a save.
#[derive(Debug)]
pub struct SaveOutcome {
    /// The result for the file.
    pub saved: Saved,
    /// The number of the save on the stick; the original's format does not count them.
    pub generation: Option<u64>,
    /// Bytes of the blob.
    pub len: usize,
}

/// Seals a bundle and saves it.
///
/// # Errors
/// 2: the factor or the passphrase. 4: it could not be written.
pub fn keep(
    bundle: &Bundle,
    path: &Path,
    factor: &Factor,
    secret: &Secret,
    format: Format,
) -> Outcome<SaveOutcome> {
    let binding = factor.material().number(ARGUMENTS)?;
    let lock = KeyMaterial { binding: &binding, passphrase: open::passphrase(secret)? };
    let generation = next(path, &binding)?;
    let fresh = Nonces::draw().map_err(|errno| {
        Error::new(Kind::Fault, format!("the kernel gives no random numbers: {errno}"))
    });
    let content = bundle.render();
    let blob = cipher::seal(format, &content, &lock, generation, &fresh.number(FRAME)?);
    let blob = blob.map_err(|why: SealError| Error::new(Kind::Fault, why.to_string()));
    let blob = blob.number(FRAME)?;
    // Only what could be opened again is worth to be a backup.
    let saved = blob::save(path, &blob, &|old| Frame::parse(old).is_ok()).number(FRAME)?;
    factor.write_note(path).number(FRAME)?;
    let generation = (format == Format::Zcv2).then_some(generation);
    rollback::remember(&binding, open::save_of(generation)).number(FRAME)?;
    Ok(SaveOutcome { saved, generation, len: blob.len() })
}

/// Saves that may have been made on other machines since this one saw the stick.
const AHEAD: u64 = 1 << 32;

/// The next number: one more than any that lies there or was seen. A blob shows its number without
/// a passphrase, so another user may have raised it, but never so far that the numbers run out.
fn next(path: &Path, binding: &str) -> Outcome<u64> {
    let there = blob::load(path).number(FRAME)?;
    let of = |found: &Found| match found {
        Found::Bytes(bytes) => match Frame::parse(bytes) {
            Ok(Frame::V2(frame)) => Some(frame.header.generation),
            _ => None,
        },
        _ => None,
    };
    let seen = rollback::last(binding).number(FRAME)?.unwrap_or(0);
    let said = of(&there.current).max(of(&there.backup)).unwrap_or(0);
    Ok(seen.max(said.min(seen.saturating_add(AHEAD))).saturating_add(1))
}
