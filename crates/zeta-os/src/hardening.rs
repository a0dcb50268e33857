//! A process with a secret in its memory: no core dump, no look into it by other processes of its
//! user, and no file that its owner cannot use.

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};

/// Keeps this process from being dumped, and its memory from other processes of its user. What the
/// kernel refuses is left as it is. A program that this process starts can be looked into again,
/// but it writes no core dump either.
///
/// A umask that takes rights from the owner no longer does: the directories on the way to a file
/// (`~/.config`) are made here, and stay.
pub fn harden() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let callers = umask(Mode::RWXG | Mode::RWXO);
    umask(callers & (Mode::RWXG | Mode::RWXO));
}
