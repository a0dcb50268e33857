//! Credentials that survive re-imaging: put into a sealed blob on the stick, and back in place.
//!
//! [`save`] writes a blob, [`open`] reads one, [`restore`] writes its files on the machine.
//! [`guard`] looks at a login that one of many processes refreshes, and renews its copy in a blob.
//! [`factor`] is what a blob is bound to; `rollback` remembers which save of it was seen last. The
//! numbers by which all of them end are the original's, so that scripts go on to work.

pub mod collect;
pub mod factor;
pub mod guard;
pub mod manifest;
pub mod open;
pub mod restore;
mod rollback;
pub mod save;

use zeroize::Zeroizing;
use zeta_core::creds::passphrase::{BadPassphrase, ENTROPY_BITS, RANDOM_BYTES, check_new, say};

use crate::passphrase::{self, Sources, Used};
use crate::prompt;
use crate::secret::Secret;
use zeta_os::error::{Error, Result as Plain};
use zeta_os::host;

/// The systemd credential that holds the passphrase, if this process was given one.
pub const CREDENTIAL: &str = "zeta-creds-passphrase";

/// The error that ended a call, and its exit number.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The number, which is that of the original's command.
    pub number: u8,
    /// The error.
    pub error: Error,
}

/// The result of these calls.
pub type Outcome<T> = Result<T, Exit>;

/// Gives an error its exit number.
pub trait WithExitNumber<T> {
    /// Ends with this number.
    fn number(self, number: u8) -> Outcome<T>;
}

impl<T> WithExitNumber<T> for Result<T, Error> {
    fn number(self, number: u8) -> Outcome<T> {
        self.map_err(|error| Exit { number, error })
    }
}

/// 2: the call itself is wrong.
pub const ARGUMENTS: u8 = 2;
/// 3 of `persist`: what was to be baked; 3 of all others: the blob cannot be read.
pub const INPUT: u8 = 3;
/// 4 of `persist`: the blob cannot be written; 4 of all others: it is none.
pub const FRAME: u8 = 4;
/// 5: wrong passphrase or stick, a damaged blob, or no memory.
pub const NO_MATCH: u8 = 5;
/// 6: what is in it is no bundle.
pub const BUNDLE: u8 = 6;
/// 5 of `guard`: the command did not renew the login.
pub const NOT_RENEWED: u8 = 5;
/// 6 of `guard`: another process refreshes the login for as long as the call waited.
pub const BUSY: u8 = 6;
/// 7 of `guard`: the state directory is not safe.
pub const STATE: u8 = 7;
/// 7: it holds something that the manifest does not know.
pub const UNKNOWN: u8 = 7;
/// 8: it is older than one that was seen here, or a place was refused.
pub const POLICY: u8 = 8;
/// 9: all that was asked for was done, and something after it failed: this machine could not
/// remember which save it saw, say, or the answer could not be printed.
pub const AFTERWARDS: u8 = 9;

/// Gets the passphrase and its source. A new one that a person types is typed twice, or made here.
///
/// # Errors
/// There is no passphrase, or it is not usable.
pub fn find(sources: &Sources<'_>, new: bool) -> Plain<(Secret, Used)> {
    let found = find_any(sources, new)?;
    if new {
        let refused = |bad: BadPassphrase| Error::usage(bad.to_string());
        check_new(found.0.expose()).map_err(refused)?;
    }
    Ok(found)
}

fn find_any(sources: &Sources<'_>, new: bool) -> Plain<(Secret, Used)> {
    let named = Sources { prompt: None, ..*sources };
    let asks = sources.prompt.is_some() && prompt::has_terminal();
    if !new || !asks || sources.fd.is_some() || sources.file.is_some() || sources.variable.is_some()
    {
        return passphrase::passphrase(sources);
    }
    match passphrase::passphrase(&named) {
        Ok(found) => Ok(found),
        Err(_) => ask_new().map(|secret| (secret, Used::Prompt)),
    }
}

/// Asks for a new passphrase until it was typed twice the same.
fn ask_new() -> Plain<Secret> {
    loop {
        let first = prompt::passphrase("New passphrase (Enter alone makes one for you): ")?;
        if first.is_empty() {
            let made = new_passphrase()?;
            let words = format!(
                "\n\nIt has {ENTROPY_BITS} bits. Write it down: without it the blob is lost.\n"
            );
            for part in ["\n    ", made.as_str(), &words] {
                prompt::tell(part);
            }
            prompt::line("Enter when you have it: ")?;
            let mut secret = Secret::with_room(made.len())?;
            secret.push(made.as_bytes())?;
            return Ok(secret);
        }
        let again = prompt::passphrase("Once more: ")?;
        if first.expose() == again.expose() {
            return Ok(first);
        }
        prompt::tell("They differ.\n");
    }
}

/// A passphrase of six syllable groups.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn new_passphrase() -> Plain<Zeroizing<String>> {
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    let drawn = Zeroizing::new(host::random()?.to_le_bytes());
    random.iter_mut().zip(drawn.iter()).for_each(|(place, byte)| *place = *byte);
    Ok(say(&random))
}
