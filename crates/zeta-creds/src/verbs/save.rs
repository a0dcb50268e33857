//! Sealing a bundle and saving it on the stick.
//!
//! One lock holds from the look at the blob that is there until the new one is checked. So an
//! update never loses what another one put in, and no number of a save is given twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame};

use super::open::{Opened, is_missing, not_remembered, save_of};
use super::{
    AFTERWARDS, ARGUMENTS, Exit, FRAME, NO_MATCH, Outcome, WithExitNumber, open, rollback,
};
use crate::blob;
use crate::blob::{Found, Saved};
use crate::cipher;
use crate::cipher::{KeyMaterial, Nonces, SealError};
use crate::secret::Secret;
use crate::verbs::factor::{Binding, Factors, write_note};
use zeta_os::error::{Error, Kind};

/// The longest time that a call waits for the saves of others. One takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a save is to be like.
pub struct Wish<'a> {
    /// The blob.
    pub path: &'a Path,
    /// The factors that the call names.
    pub factors: &'a Factors,
    /// The passphrase.
    pub secret: &'a Secret,
    /// The format of the new blob.
    pub format: Format,
    /// True to keep what the blob holds already.
    pub update: bool,
    /// True to begin an update with a blob that is older than one that was seen here.
    pub accept_older: bool,
    /// True to open the new blob again and compare it.
    pub verify: bool,
}

/// The result of a save.
#[derive(Debug)]
pub struct SaveOutcome {
    /// The result for the file.
    pub saved: Saved,
    /// The number of the save on the stick; the original's format does not count them.
    pub generation: Option<u64>,
    /// Bytes of the blob.
    pub len: usize,
    /// The backup that an update began with, and the reason.
    pub instead: Option<(PathBuf, String)>,
    /// What could not be done after the blob was saved; it is number 9.
    pub failed_afterwards: Option<Exit>,
}

/// Puts what was baked into a new blob, or into the one that is there, and saves it.
///
/// # Errors
/// 2: the factor or the passphrase. 4: it could not be written. 5: no memory, or what was saved
/// does not open. Of an update, also those of [`open::open`].
pub fn keep(baked: Bundle, wish: &Wish<'_>) -> Outcome<SaveOutcome> {
    let mut baked = Some(baked);
    let mut merge = |bundle: &mut Bundle| {
        baked.take().into_iter().for_each(|baked| bundle.merge(baked));
        Ok(true)
    };
    let kept = keep_if(&mut merge, wish)?;
    let nothing = || Error::new(Kind::Fault, "nothing was saved");
    kept.ok_or_else(nothing).number(FRAME)
}

/// As [`keep`], with what `change` makes of the bundle that is there; `None` if it makes nothing of
/// it, and nothing is saved. No other save comes between.
///
/// # Errors
/// Those of [`keep`] and of `change`.
pub fn keep_if(
    change: &mut dyn FnMut(&mut Bundle) -> Outcome<bool>,
    wish: &Wish<'_>,
) -> Outcome<Option<SaveOutcome>> {
    let passphrase = open::passphrase(wish.secret)?;
    let held = blob::hold(wish.path, PATIENCE).number(FRAME)?;
    let before = match wish.update && !is_missing(wish.path)? {
        true => Some(open::open(wish.path, wish.factors, wish.secret, wish.accept_older)?),
        false => None,
    };
    let Start { mut bundle, binding, instead } = Start::of(before, wish)?;
    if !change(&mut bundle)? {
        return Ok(None);
    }
    let seen = rollback::open(PATIENCE).number(FRAME)?;
    let stick = cipher::name_of(&binding.text);
    let generation = next(wish.path, seen.last(&stick).number(FRAME)?)?;
    let lock = KeyMaterial { binding: &binding.text, passphrase };
    let sealed = cipher::seal(wish.format, &bundle.render(), &lock, generation, &fresh()?);
    let blob = sealed.map_err(not_sealed)?;
    // Only what could be opened again is worth to be a backup.
    let saved = held.save(&blob, &|old| Frame::parse(old).is_ok()).number(FRAME)?;
    if wish.verify {
        compare(&bundle, &lock, wish.path)?;
    }
    let generation = (wish.format == Format::Zcv2).then_some(generation);
    let noted = write_note(wish.path, binding.word)
        .and_then(|()| seen.remember(&stick, save_of(generation), true));
    let failed = noted.err().map(not_remembered);
    let failed_afterwards = failed.map(|error| Exit { number: AFTERWARDS, error });
    Ok(Some(SaveOutcome { saved, generation, len: blob.len(), instead, failed_afterwards }))
}

/// Seals a bundle for a stick that has none yet, in memory, and opens it again.
///
/// # Errors
/// 2: the passphrase. 4: the bundle is too long. 5: no memory, or it does not open.
pub fn seal_new(
    bundle: &Bundle,
    binding: &str,
    secret: &Secret,
    format: Format,
) -> Outcome<Vec<u8>> {
    let lock = KeyMaterial { binding, passphrase: open::passphrase(secret)? };
    let sealed = cipher::seal(format, &bundle.render(), &lock, 1, &fresh()?).map_err(not_sealed)?;
    let opens = cipher::open(&sealed, &lock).map(|opened| *opened.content == *bundle.render());
    match opens {
        Ok(true) => Ok(sealed),
        _ => Err(Error::new(Kind::Fault, "the sealed blob does not hold the credentials")),
    }
    .number(NO_MATCH)
}

fn fresh() -> Outcome<Nonces> {
    let none =
        |errno| Error::new(Kind::Fault, format!("the kernel gives no random numbers: {errno}"));
    Nonces::draw().map_err(none).number(FRAME)
}

/// What a save begins with.
struct Start {
    bundle: Bundle,
    binding: Binding,
    instead: Option<(PathBuf, String)>,
}

impl Start {
    /// An update keeps what it found, and what that is bound to.
    fn of(before: Option<Opened>, wish: &Wish<'_>) -> Outcome<Start> {
        Ok(match before {
            Some(Opened { bundle, binding, path, instead, .. }) => {
                let instead = instead.map(|why| (path, why));
                Start { bundle, binding, instead }
            }
            None => {
                let binding = wish.factors.to_seal().number(ARGUMENTS)?;
                Start { bundle: Bundle::default(), binding, instead: None }
            }
        })
    }
}

fn not_sealed(why: SealError) -> Exit {
    let error = Error::new(Kind::Fault, why.to_string());
    match why {
        SealError::TooLong => Exit { number: FRAME, error },
        SealError::NoMemory(_) => {
            let error =
                error.hint("see 'free -m' and 'ulimit -v'; end what needs memory, and repeat");
            Exit { number: NO_MATCH, error }
        }
    }
}

/// Opens what was saved, and compares it.
fn compare(bundle: &Bundle, lock: &KeyMaterial<'_>, path: &Path) -> Outcome<()> {
    let found = open::candidate(path)?;
    let same = cipher::open(&found.bytes, lock).map(|opened| *opened.content == *bundle.render());
    let wrong = match same {
        Ok(true) if found.instead.is_none() => return Ok(()),
        Ok(_) => "the saved blob does not hold the given credentials".to_owned(),
        Err(why) => format!("{}: {why}", found.path.display()),
    };
    Err(Exit { number: NO_MATCH, error: Error::new(Kind::Fault, wrong) })
}

/// Saves that may have been made on other machines since this one saw the stick.
const AHEAD: u64 = 1 << 32;

/// The next number: one more than any that lies there or was seen. A blob shows its number without
/// a passphrase, so another user may have raised it, but never so far that the numbers run out.
fn next(path: &Path, seen: Option<u64>) -> Outcome<u64> {
    let there = blob::load(path).number(FRAME)?;
    let of = |found: &Found| match found {
        Found::Bytes(bytes) => match Frame::parse(bytes) {
            Ok(Frame::V2(frame)) => Some(frame.header.generation),
            _ => None,
        },
        _ => None,
    };
    let seen = seen.unwrap_or(0);
    let said = of(&there.current).max(of(&there.backup)).unwrap_or(0);
    Ok(seen.max(said.min(seen.saturating_add(AHEAD))).saturating_add(1))
}
