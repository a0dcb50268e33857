//! The opening of a blob: the file, or its backup if the file is no blob; and its bundle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeta_core::creds::bundle::Bundle;
use zeta_core::creds::frame::{Format, Frame};
use zeta_core::creds::passphrase::BadPassphrase;

use super::{
    AFTERWARDS, ARGUMENTS, BUNDLE, Exit, FRAME, INPUT, NO_MATCH, Outcome, POLICY, WithExitNumber,
    rollback,
};
use crate::blob;
use crate::blob::Found;
use crate::cipher;
use crate::cipher::OpenError;
use crate::secret::Secret;
use crate::verbs::factor::{Binding, Factors, Tried};
use zeta_os::error::{Error, Kind};

/// The longest time that a restore waits to remember what it saw.
const PATIENCE: Duration = Duration::from_secs(10);

/// A blob that was opened.
pub struct Opened {
    /// The bundle in it.
    pub bundle: Bundle,
    /// The path of the one of the two files that was opened.
    pub path: PathBuf,
    /// The reason why it was not the first one.
    pub instead: Option<String>,
    /// Its format.
    pub format: Format,
    /// The number of the save on its stick.
    pub generation: Option<u64>,
    /// What it is bound to.
    pub binding: Binding,
}

/// The bytes of a blob and where they lie.
pub struct Candidate {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file.
    pub path: PathBuf,
    /// The reason why it is the backup, if it is.
    pub instead: Option<String>,
}

/// The file, or its backup if the file cannot be read or is no blob.
///
/// # Errors
/// 3: neither is there, or can be read. 4: what is there is no blob.
pub fn candidate(path: &Path) -> Outcome<Candidate> {
    let loaded = blob::load(path).number(INPUT)?;
    let why = match loaded.current {
        Found::Bytes(bytes) => match Frame::parse(&bytes) {
            Ok(_) => return Ok(Candidate { bytes, path: path.to_owned(), instead: None }),
            Err(bad) => {
                let text = format!("{}: {}", path.display(), OpenError::from(bad));
                let hint = "was it cut off? a blob of a later version needs a later zeta";
                Exit { number: FRAME, error: Error::new(Kind::Unsafe, text).hint(hint) }
            }
        },
        Found::Nothing => {
            let text = format!("{}: there is no such file", path.display());
            let hint = "make one: zeta creds pick, or zeta creds persist";
            Exit { number: INPUT, error: Error::new(Kind::NotFound, text).hint(hint) }
        }
        Found::Unreadable(error) => Exit { number: INPUT, error },
    };
    match loaded.backup {
        Found::Bytes(bytes) if Frame::parse(&bytes).is_ok() => {
            Ok(Candidate { bytes, path: loaded.backup_path, instead: Some(why.error.text) })
        }
        _ => Err(why),
    }
}

/// Returns true if there is neither the file nor its backup.
///
/// # Errors
/// Those of [`candidate`], but that neither is there.
pub fn is_missing(path: &Path) -> Outcome<bool> {
    match candidate(path) {
        Ok(_) => Ok(false),
        Err(Exit { number: INPUT, error }) if error.kind == Kind::NotFound => Ok(true),
        Err(failed) => Err(failed),
    }
}

/// A passphrase as text, which it was checked to be when it was found.
///
/// # Errors
/// 2: it is no text.
pub fn passphrase(secret: &Secret) -> Outcome<&str> {
    std::str::from_utf8(secret.expose())
        .map_err(|_| Error::usage(BadPassphrase::NotText.to_string()))
        .number(ARGUMENTS)
}

/// Opens a blob that is bound to one of these factors; the passphrase is stretched once.
///
/// # Errors
/// 2: the text of no factor can be had. 3, 4: see [`candidate`]. 5: it does not open. 6: it holds
/// no bundle. 8: it is older than one that was seen here.
pub fn open(path: &Path, factors: &Factors, secret: &Secret, older: bool) -> Outcome<Opened> {
    let Tried { mut bindings, lacking } = factors.to_open(path).number(ARGUMENTS)?;
    let found = candidate(path)?;
    let shown = found.path.display();
    let tried: Vec<&str> = bindings.iter().map(|binding| binding.text.as_str()).collect();
    let opened = cipher::open_any(&found.bytes, &tried, passphrase(secret)?);
    let (opened, at) = opened.map_err(|why| {
        if let (OpenError::NoMatch(_), Some(error)) = (why, lacking) {
            let error =
                error.hint("the note beside the blob names it, and no other factor opens it");
            return Exit { number: ARGUMENTS, error };
        }
        let number = match why {
            OpenError::Frame(_) | OpenError::TooCostly(_) => FRAME,
            OpenError::NoMatch(_) | OpenError::Damaged | OpenError::NoMemory(_) => NO_MATCH,
        };
        let error = Error::new(Kind::Unsafe, format!("{shown}: {why}"));
        let other = factors.other(path).filter(|_| matches!(why, OpenError::NoMatch(_)));
        let error = error.hint(other.unwrap_or_else(|| next_step(&why).to_owned()));
        Exit { number, error: found.explain(error) }
    })?;
    let binding = bindings.swap_remove(at);
    let stick = cipher::name_of(&binding.text);
    let last = rollback::last(&stick).number(POLICY)?;
    if let Some(last) = last.filter(|last| save_of(opened.generation) < *last && !older) {
        return Err(Exit { number: POLICY, error: found.explain(too_old(&found, &opened, last)) });
    }
    let bundle = Bundle::parse(&opened.content)
        .map_err(|bad| {
            Error::new(Kind::Unsafe, format!("{shown}: {bad}")).hint(
                "it opened, but holds no bundle of this schema; make it anew: zeta creds pick",
            )
        })
        .number(BUNDLE)?;
    Ok(Opened {
        bundle,
        format: opened.format,
        generation: opened.generation,
        instead: found.instead,
        path: found.path,
        binding,
    })
}

fn too_old(found: &Candidate, opened: &cipher::Opened, last: u64) -> Error {
    let which = match opened.generation {
        Some(generation) => format!("it is save {generation}"),
        None => "it is of the original's format, which counts no saves".to_owned(),
    };
    let shown = found.path.display();
    let error =
        Error::new(Kind::Unsafe, format!("{shown}: {which}, and save {last} was seen here"));
    error.hint(match found.instead {
        Some(_) => "to take the save before the lost one: --accept-older",
        None => "another person may have put an old one back; if it was you: --accept-older",
    })
}

impl Candidate {
    /// Adds to an error why the backup was tried.
    fn explain(&self, error: Error) -> Error {
        match &self.instead {
            Some(why) => error.hint(format!("it is the backup, which was tried because {why}")),
            None => error,
        }
    }
}

/// Remembers that this save of the stick was seen; an older one only if that was accepted.
///
/// # Errors
/// 9: it cannot be remembered.
pub fn remember(opened: &Opened, accepted: bool) -> Outcome<()> {
    let stick = cipher::name_of(&opened.binding.text);
    let remembered = rollback::open(PATIENCE)
        .and_then(|seen| seen.remember(&stick, save_of(opened.generation), accepted));
    remembered.map_err(not_remembered).number(AFTERWARDS)
}

/// What is said of a call that did its work, and could not remember it.
pub(super) fn not_remembered(error: Error) -> Error {
    let text = format!("done, but this machine does not remember it: {}", error.text);
    let error = Error { text, ..error };
    error.hint("all else is done; an older blob would not be noticed here as older")
}

/// The number of a save: a blob of the original is older than any that is counted.
pub(super) fn save_of(generation: Option<u64>) -> u64 {
    generation.unwrap_or(0)
}

fn next_step(why: &OpenError) -> &'static str {
    match why {
        OpenError::NoMatch(_) => "blkid -s UUID -o value DEVICE tells a stick's UUID",
        OpenError::Damaged => {
            "its backup, the .bak beside it, is the save before; or make it anew: zeta creds pick"
        }
        OpenError::NoMemory(_) => {
            "see 'free -m' and 'ulimit -v'; end what needs memory, and repeat"
        }
        OpenError::Frame(_) | OpenError::TooCostly(_) => {
            "was it cut off? a blob of a later version needs a later zeta"
        }
    }
}
