//! A process with a secret in its memory: no core dump, and no look into it by other processes of
//! its user.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps this process from being dumped, and its memory from other processes of its user. What the
/// kernel refuses is left as it is. A program that this process starts can be looked into again,
/// but it writes no core dump either.
pub fn harden() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
