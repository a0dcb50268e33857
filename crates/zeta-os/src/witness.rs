//! A process that shows which signals were sent to all: to the whole process group, or to every
//! process of the service.
//!
//! The kernel does not say whether a signal was sent to one process or to its group. A wrapper that
//! passes on what its command has got already ends an agent that takes a second SIGTERM for an
//! order to stop without cleaning up. So a second child stands in the same group. It keeps every
//! signal pending, and its `/proc/PID/status` shows what has arrived; it need not run for that. It
//! is `cat`, and not a copy of this program: a signal that was sent to each process named `zeta`
//! must not look like one that the command has got, too.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};

use crate::inotify::poll_readable;
use crate::signal::keep_all_pending;

/// The second child. It ends with this process, or when this is dropped.
pub(crate) struct Witness {
    pid: Pid,
    pidfd: OwnedFd,
    /// At the end of its input, `cat` ends.
    _life: ChildStdin,
}

impl Witness {
    /// Starts it; `None` if that is not possible here.
    pub(crate) fn start() -> Option<Witness> {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        keep_all_pending(&mut command);
        let mut child = command.spawn().ok()?;
        let life = child.stdin.take()?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Witness { pid, pidfd, _life: life })
    }

    /// The signals that it got, as a set of bits; `None` if that cannot be read, or if it ended: a
    /// signal that comes before it keeps them pending ends it.
    pub(crate) fn pending(&self) -> Option<u64> {
        if poll_readable(&[self.pidfd.as_fd()], Duration::ZERO).first() == Some(&true) {
            return None;
        }
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    /// Returns whether it got a signal; `None` if that cannot be known.
    pub(crate) fn has(&self, number: i32) -> Option<bool> {
        let bit = u32::try_from(number).ok()?.checked_sub(1)?;
        Some(self.pending()? & 1u64.checked_shl(bit)? != 0)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}
