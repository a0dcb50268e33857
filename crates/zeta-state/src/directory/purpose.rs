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
    /// The mode of one that `zeta init --group` creates, and that several users share.
    pub group_mode: u32,
    /// Another program creates one too, with the mode that its umask leaves.
    pub made_with_umask: bool,
}

/// The state directory.
pub const STATE: Purpose = Purpose {
    noun: "state directory",
    flag: "--state-dir",
    variable: "ZETA_STATE_DIR",
    default: layout::DEFAULT_STATE_DIR,
    group_mode: 0o2750,
    made_with_umask: false,
};

/// The bus directory. Its messages lie in the directory itself, so that members write into it.
pub const BUS: Purpose = Purpose {
    noun: "bus directory",
    flag: "--bus-dir",
    variable: "ZETA_BUS_DIR",
    default: layout::DEFAULT_BUS_DIR,
    group_mode: 0o2770,
    // The original creates it too, in some versions with the mode that the umask leaves.
    made_with_umask: true,
};

impl Purpose {
    /// Adds how to use a private directory.
    pub(super) fn hint_own(&self, error: Error) -> Error {
        error.hint(format!("to use your own directory: {} DIR, or {}", self.flag, self.variable))
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
