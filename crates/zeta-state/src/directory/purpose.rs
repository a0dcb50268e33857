//! What a trusted directory is for: the words that its errors use.
//!
//! The rules for such a directory are the same for the state directory and for the bus. The caller
//! that opens one hands its [`Purpose`] down, so that an error names the right option and gives
//! the right advice.

use std::path::Path;

use zeta_core::layout;
use zeta_os::error::Error;

/// The words of one kind of trusted directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose {
    /// Its name: "state directory".
    pub noun: &'static str,
    /// The option that selects another one.
    pub flag: &'static str,
    /// The environment variable that selects another one.
    pub variable: &'static str,
    /// Where it is by default.
    pub default: &'static str,
    /// `zeta init --group` creates one that several users share.
    pub shared_by_init: bool,
    /// Another program creates one too, with the mode that its umask leaves.
    pub made_with_umask: bool,
}

/// The state directory.
pub const STATE: Purpose = Purpose {
    noun: "state directory",
    flag: "--state-dir",
    variable: "ZETA_STATE_DIR",
    default: layout::DEFAULT_STATE_DIR,
    shared_by_init: true,
    made_with_umask: false,
};

impl Purpose {
    /// Adds how to use a private directory.
    pub(super) fn hint_own(&self, error: Error) -> Error {
        error.hint(format!("to use your own directory: {} DIR, or {}", self.flag, self.variable))
    }

    /// Adds a hint that names `zeta init`, if that command creates such a directory.
    pub(super) fn hint_init(&self, error: Error, hint: &str) -> Error {
        if self.shared_by_init { error.hint(hint) } else { error }
    }

    /// Adds how to correct a wrong mode, if the user's own umask may be the reason for it.
    pub(super) fn hint_mode(&self, error: Error, path: &Path) -> Error {
        if self.made_with_umask {
            let path = path.display();
            error.hint(format!("if only you use it: chmod 700 {path}"))
        } else {
            error
        }
    }
}
