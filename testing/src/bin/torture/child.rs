//! Children that die with their parent, and children in time namespaces; all unsafe code is here.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Asks the kernel to end this process with its parent.
pub fn die_with_parent() {
    // SAFETY: the call only sets the signal that the kernel sends when the parent ends.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Makes a command start in a time namespace of its own with another boot clock.
///
/// Whether that is permitted is known only when the command starts.
pub fn warp(command: &mut Command, shift_ms: i64) {
    const NEW_TIME: libc::c_int = 0x80;
    let (s, ns) = (shift_ms.div_euclid(1000), shift_ms.rem_euclid(1000) * 1_000_000);
    let offsets = format!("boottime {s} {ns}\nmonotonic {s} {ns}\n");
    let enter = move || {
        let check = |came: isize| if came < 0 { Err(io::Error::last_os_error()) } else { Ok(came) };
        let path = c"/proc/self/timens_offsets".as_ptr();
        // SAFETY: system calls only, on memory that outlives them. The exec that follows enters.
        unsafe {
            check(libc::unshare(NEW_TIME) as isize)?;
            let fd = check(libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC) as isize)? as i32;
            check(libc::write(fd, offsets.as_ptr().cast(), offsets.len()))?;
            libc::close(fd);
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// Starts a command that dies with this process; only its stderr is passed on.
pub fn start(command: &mut Command) -> io::Result<Child> {
    let parent = std::process::id();
    command.stdin(Stdio::null());
    let guarded = move || {
        die_with_parent();
        // The parent may have ended before the call.
        match std::os::unix::process::parent_id() == parent {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(guarded) };
    command.spawn()
}
