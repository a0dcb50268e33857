//! The leader of the session of a child that has a terminal of its own.
//!
//! The child cannot lead the session itself: the kernel drops the stop signals of a process group
//! in which no process has a parent in the same session and outside of the group. Ctrl-Z would do
//! nothing, and tools that stop themselves would go on. So a leader stands between, and a keeper,
//! which is the leader's child, stands in the group of the child. The child itself is made with
//! CLONE_PARENT and is a child of this process, which waits for it as for any other.
//!
//! Leader and keeper run no program. They keep every signal pending and read from a pipe whose
//! other end this process has: when it ends, they end, and with the leader ends the session. The
//! kernel sends SIGHUP to the group in front then, as at the end of any terminal.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{ChildPlan, child_main, last_errno};

/// The leader of a session. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    life: Option<OwnedFd>,
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.life = None;
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// The descriptors that leader, keeper and child share.
struct Shared {
    terminal: RawFd,
    /// The reading end of the pipe that lives as long as this process.
    life: RawFd,
    life_in: RawFd,
    /// Where the child says that it has its group.
    ready: RawFd,
    ready_in: RawFd,
    /// Where the leader says the number of the child.
    report_in: RawFd,
}

/// Forks a leader with a session on `terminal`, and by it the child of the plan.
pub(super) fn fork_child(
    plan: &ChildPlan<'_>,
    terminal: BorrowedFd<'_>,
) -> std::result::Result<(Pid, Leader), Errno> {
    let (life_out, life) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready, ready_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (report, report_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let shared = Shared {
        terminal: terminal.as_raw_fd(),
        life: life_out.as_raw_fd(),
        life_in: life.as_raw_fd(),
        ready: ready.as_raw_fd(),
        ready_in: ready_in.as_raw_fd(),
        report_in: report_in.as_raw_fd(),
    };
    // SAFETY: leader, keeper and child call only async-signal-safe functions and touch only memory
    // that was prepared before; they never return from `leader_main`.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(last_errno()),
        0 => leader_main(plan, &shared),
        raw => Pid::from_raw(raw).ok_or(Errno::CHILD)?,
    };
    let leader = Leader { pid, life: Some(life) };
    drop((life_out, ready, ready_in, report_in));
    let mut raw = [0u8; 4];
    let len = rustix::io::retry_on_intr(|| rustix::io::read(&report, &mut raw))?;
    match Pid::from_raw(i32::from_ne_bytes(raw)) {
        Some(child) if len == raw.len() => Ok((child, leader)),
        // The leader could fork no more, which it says with a negative number.
        _ if len == raw.len() => Err(Errno::from_raw_os_error(-i32::from_ne_bytes(raw))),
        _ => Err(Errno::CHILD),
    }
}

fn leader_main(plan: &ChildPlan<'_>, shared: &Shared) -> ! {
    // SAFETY: async-signal-safe calls only, on descriptors and memory of this process.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        // With the leader's copies, gate and pipe would never close.
        libc::close(plan.gate_in);
        libc::close(shared.life_in);
        libc::setsid();
        libc::ioctl(shared.terminal, libc::TIOCSCTTY, 0);
        let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
        let child = match libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) {
            -1 => fail(shared),
            0 => terminal_child(plan, shared),
            raw => i32::try_from(raw).unwrap_or(0),
        };
        // A child that ended already has no group; its end is reported as that of any other.
        libc::close(shared.ready_in);
        let mut byte = 0u8;
        libc::read(shared.ready, (&raw mut byte).cast(), 1);
        let keeper = libc::fork();
        if keeper == 0 {
            libc::setpgid(0, child);
            hold(shared);
            libc::_exit(0);
        }
        if keeper > 0 {
            libc::setpgid(keeper, child);
        }
        libc::write(shared.report_in, (&raw const child).cast(), size_of::<i32>());
        hold(shared);
        if keeper > 0 {
            // It may be stopped, as the group in which it stands.
            libc::kill(keeper, libc::SIGKILL);
            libc::waitpid(keeper, std::ptr::null_mut(), 0);
        }
        libc::_exit(0)
    }
}

/// Becomes the child: a group of its own, in front of the terminal.
///
/// # Safety
/// As for `leader_main`.
unsafe fn terminal_child(plan: &ChildPlan<'_>, shared: &Shared) -> ! {
    // SAFETY: async-signal-safe calls. The number is asked from the kernel, because the library
    // knows nothing of this clone. SIGTTOU is blocked here, so that a group in the background may
    // bring itself to the front.
    unsafe {
        libc::setpgid(0, 0);
        let own = i32::try_from(libc::syscall(libc::SYS_getpid)).unwrap_or(0);
        libc::tcsetpgrp(shared.terminal, own);
        for stream in 0..3 {
            libc::dup2(shared.terminal, stream);
        }
        libc::write(shared.ready_in, [b'r'].as_ptr().cast(), 1);
    }
    child_main(plan)
}

/// Says that a fork failed, and ends.
///
/// # Safety
/// As for `leader_main`.
unsafe fn fail(shared: &Shared) -> ! {
    // SAFETY: async-signal-safe calls.
    unsafe {
        let errno = -*libc::__errno_location();
        libc::write(shared.report_in, (&raw const errno).cast(), size_of::<i32>());
        libc::_exit(0)
    }
}

/// Waits for the end of the process that has the other end of the pipe, with no other descriptor.
///
/// # Safety
/// As for `leader_main`.
unsafe fn hold(shared: &Shared) {
    // SAFETY: async-signal-safe calls.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"zeta-terminal".as_ptr());
        libc::dup2(shared.life, 0);
        // A kernel before 5.9 has no call for all of them.
        libc::close(shared.terminal);
        libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0);
        let mut byte = 0u8;
        loop {
            let got = libc::read(0, (&raw mut byte).cast(), 1);
            if got == 0 || (got < 0 && *libc::__errno_location() != libc::EINTR) {
                return;
            }
        }
    }
}
