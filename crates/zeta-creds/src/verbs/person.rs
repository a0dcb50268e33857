//! What a person is asked while picking. Giving up (Ctrl-C, Ctrl-D) is an error that is none of the
//! call's.

use zeroize::Zeroizing;
use zeta_core::creds::bundle::Secret;

use crate::prompt;
use zeta_os::error::{Error, Kind, Result};

/// Can anybody be asked?
pub fn is_here() -> bool {
    prompt::has_terminal()
}

/// A line.
///
/// # Errors
/// The input has ended.
pub fn line(prompt: &str) -> Result<String> {
    prompt::line(prompt)?.ok_or_else(|| Error::new(Kind::Refused, "the input has ended"))
}

/// A value that is not shown; `None` if nothing was typed.
///
/// # Errors
/// Given up.
pub fn hidden(prompt: &str) -> Result<Option<Secret>> {
    let typed = prompt::passphrase(prompt)?;
    let bytes = Zeroizing::new(typed.expose().to_vec());
    Ok((!bytes.is_empty()).then(|| Secret::new(bytes.to_vec())))
}

/// Says something at the terminal.
pub fn tell(text: &str) {
    prompt::tell(text);
}
