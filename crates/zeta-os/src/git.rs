//! The user's own git, started in a directory: what of the caller's environment would lead it to
//! another repository is left out.

use std::path::Path;
use std::process::Command;

/// Variables of a caller inside of a repository or a hook, which lead git to that one.
pub const LEADING: [&str; 18] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_QUARANTINE_PATH",
    "GIT_DEFAULT_HASH",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_CURL_VERBOSE",
];

/// A call of git in a directory, which asks no person for anything.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    LEADING.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.arg("-C").arg(dir).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    command
}
