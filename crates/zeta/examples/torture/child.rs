//! Children that die with their parent; all that is unsafe here.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Asks the kernel to end this process with its parent.
pub fn die_with_parent() {
    // SAFETY: it only tells the kernel which signal to send when the parent ends.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Starts a command that dies with this process, in silence but for its stderr.
pub fn start(command: &mut Command) -> io::Result<Child> {
    let parent = std::process::id();
    command.stdin(Stdio::null());
    let guarded = move || {
        die_with_parent();
        // It may have ended before we asked.
        match std::os::unix::process::parent_id() == parent {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(guarded) };
    command.spawn()
}
