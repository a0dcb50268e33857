//! What a trusted directory is for: the words that its errors use.
//!
//! The rules for such a directory are the same for the state directory and for the bus. The caller
//! that opens one hands its [`Purpose`] down, so that an error names the right option and gives
//! the right advice.

use std::path::Path;

use zeta_core::layout;
use zeta_os::error::Error;

/// Most entries that are looked at to know what a directory is.
const LOOKED_AT: usize = 1_000;

/// The words of one kind of trusted directory.
#[derive(Debug, Clone, Copy)]
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
    /// Returns whether an entry of such a directory can have this name.
    pub is_own_name: fn(&str) -> bool,
}

/// The state directory.
pub const STATE: Purpose = Purpose {
    noun: "state directory",
    flag: "--state-dir",
    variable: "ZETA_STATE_DIR",
    default: layout::DEFAULT_STATE_DIR,
    group_mode: 0o2750,
    is_own_name: is_name_of_tree,
};

/// The bus directory. Its messages lie in the directory itself, so that members write into it.
pub const BUS: Purpose = Purpose {
    noun: "bus directory",
    flag: "--bus-dir",
    variable: "ZETA_BUS_DIR",
    default: layout::DEFAULT_BUS_DIR,
    group_mode: 0o2770,
    is_own_name: |name| name == ".zeta" || name.ends_with(".json"),
};

impl Purpose {
    /// Adds how to use a private directory.
    pub(super) fn hint_own(&self, error: Error) -> Error {
        error.hint(format!("to use your own directory: {} DIR, or {}", self.flag, self.variable))
    }

    /// Returns whether a directory has nothing in it but what zeta, or another program that follows
    /// the standard, makes there. Only such a directory is zeta's to give advice about.
    pub(super) fn is_made_here(&self, path: &Path) -> bool {
        let Ok(entries) = std::fs::read_dir(path) else { return false };
        let mut entries = entries.flatten().take(LOOKED_AT).peekable();
        entries.peek().is_some()
            && entries.all(|entry| entry.file_name().to_str().is_some_and(self.is_own_name))
    }
}

fn is_name_of_tree(name: &str) -> bool {
    [layout::NODES, layout::LOCAL_NODE, layout::README].contains(&name)
}
