//! Starting a child that waits at a gate until its lease or its presence is on disk.
//!
//! The record must name the child before the child does anything: otherwise a wrapper that is
//! killed between the two leaves a child at work under a lease that looks free. So the child is
//! forked first, waits for one byte, and only then becomes the command. If the wrapper dies
//! before, the pipe closes and the child ends without having done anything.
//!
//! A child on a terminal of its own is in another session, and has a leader beside it
//! ([`leader`]).

mod leader;

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, waitpid,
};

use crate::error::{Error, Kind, Result};
use crate::process::other_processes;
use crate::signal;
use crate::signal::Signals;
use leader::Leader;

/// How long the processes of a session that was signalled have for their end.
const SESSION_ENDS: Duration = Duration::from_secs(1);

/// The way a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitOutcome {
    /// An exit with this status.
    Exited(u8),
    /// An end by this signal.
    Signaled(i32),
}

impl ExitOutcome {
    /// The status that a shell would give: 128 + n for a signal.
    pub fn status(self) -> u8 {
        match self {
            ExitOutcome::Exited(status) => status,
            ExitOutcome::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// A child at its gate.
#[derive(Debug)]
pub struct Gated {
    child: Child,
    gate: OwnedFd,
    failure: OwnedFd,
    command: OsString,
}

/// A child at work.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Ends with this.
    _leader: Option<Leader>,
}

/// The command, the environment and the process group of a child.
#[derive(Debug, Default, Clone)]
pub struct Setup<'a> {
    /// Command and arguments.
    pub argv: &'a [OsString],
    /// Variables added to this process's own environment.
    pub env: Vec<(&'static str, String)>,
    /// The process group that it runs in.
    pub group: Group,
    /// A terminal that no session has yet: the child gets a session, a group and its standard
    /// streams there.
    pub terminal: Option<BorrowedFd<'a>>,
}

/// The process group of a child.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// That of this process.
    #[default]
    Same,
    /// One of its own, which can be ended as a whole.
    Own,
    /// One of its own in a session of its own: no key of the terminal sends it a signal. It may
    /// read from and write to the terminal as before.
    OwnSession,
}

/// Forks a child that waits at its gate. `signals` are the ones that this process took over.
pub fn fork_gated(setup: &Setup<'_>, signals: &Signals) -> Result<Gated> {
    let cannot = |errno| Error::io("cannot start", Path::new("a child process"), errno);
    let command = setup.argv.first().cloned().unwrap_or_default();
    let argv = c_strings(setup.argv.iter().map(OsString::as_os_str))?;
    let env = environment(&setup.env)?;
    let (gate_out, gate) = pipe_with(PipeFlags::CLOEXEC).map_err(cannot)?;
    let (failure, failure_in) = pipe_with(PipeFlags::CLOEXEC).map_err(cannot)?;
    let script = script_argv(&command, &argv)?;
    let script_pointers = pointers(&script);
    let argv_pointers = pointers(&argv);
    let env_pointers = pointers(&env);
    let plan = ChildPlan {
        argv: &argv_pointers,
        script: &script_pointers,
        env: &env_pointers,
        gate_out: gate_out.as_raw_fd(),
        gate_in: gate.as_raw_fd(),
        failure_in: failure_in.as_raw_fd(),
        mask: signals.inherited_mask(),
        group: setup.group,
    };
    let (pid, leader) = match setup.terminal {
        Some(terminal) => {
            let (pid, leader) = leader::fork_child(&plan, terminal).map_err(cannot_fork)?;
            (pid, Some(leader))
        }
        None => {
            // SAFETY: between fork and exec the child calls only async-signal-safe functions and
            // touches only memory that was prepared before; it never returns from `child_main`.
            match unsafe { libc::fork() } {
                -1 => return Err(cannot_fork(last_errno())),
                0 => child_main(&plan),
                raw => (Pid::from_raw(raw).ok_or_else(|| cannot(Errno::CHILD))?, None),
            }
        }
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(cannot)?;
    Ok(Gated { child: Child { pid, pidfd, _leader: leader }, gate, failure, command })
}

struct ChildPlan<'a> {
    argv: &'a [*const libc::c_char],
    /// The same through `/bin/sh`.
    script: &'a [*const libc::c_char],
    env: &'a [*const libc::c_char],
    gate_out: RawFd,
    gate_in: RawFd,
    failure_in: RawFd,
    mask: &'a libc::sigset_t,
    group: Group,
}

fn child_main(plan: &ChildPlan<'_>) -> ! {
    // SAFETY: async-signal-safe calls only, on descriptors and memory of this process.
    unsafe {
        // With the child's own copy of the writing end open, the gate would never close.
        libc::close(plan.gate_in);
        if plan.group == Group::OwnSession {
            libc::setsid();
        }
        if plan.group == Group::Own {
            let in_front = libc::tcgetpgrp(0) == libc::getpgrp();
            libc::setpgid(0, 0);
            if in_front {
                // A prompt for a passphrase must reach the terminal. From the background this call
                // asks for SIGTTOU, which is ignored for as long as it takes.
                let old = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
                libc::tcsetpgrp(0, libc::getpid());
                libc::signal(libc::SIGTTOU, old);
            }
        }
        let mut byte = 0u8;
        let got = loop {
            let got = libc::read(plan.gate_out, (&raw mut byte).cast(), 1);
            if got >= 0 || *libc::__errno_location() != libc::EINTR {
                break got;
            }
        };
        if got != 1 {
            libc::_exit(0);
        }
        signal::restore_inherited(plan.mask);
        if let Some(&command) = plan.argv.first() {
            libc::execvpe(command, plan.argv.as_ptr(), plan.env.as_ptr());
        }
        // A script without a first line that names its shell; not every libc runs it by itself.
        if *libc::__errno_location() == libc::ENOEXEC
            && let Some(&shell) = plan.script.first()
        {
            libc::execve(shell, plan.script.as_ptr(), plan.env.as_ptr());
        }
        let errno = *libc::__errno_location();
        libc::write(plan.failure_in, (&raw const errno).cast(), size_of::<i32>());
        libc::_exit(if errno == libc::ENOENT { 127 } else { 126 })
    }
}

impl Gated {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Opens the gate. Fails if the command cannot be started, as a shell would: 127 or 126.
    pub fn open(self) -> Result<std::result::Result<Child, (u8, Error)>> {
        let cannot = |errno| Error::io("cannot start", Path::new(&self.command), errno);
        match rustix::io::write(&self.gate, b"g") {
            // Another process killed it at its gate: the wait for it returns the signal.
            Ok(_) | Err(Errno::PIPE) => {}
            Err(errno) => return Err(cannot(errno)),
        }
        let Gated { child, gate, failure, command } = self;
        drop(gate);
        let mut raw = [0u8; 4];
        let len = loop {
            match rustix::io::read(&failure, &mut raw) {
                Err(Errno::INTR) => {}
                len => break len.unwrap_or(0),
            }
        };
        if len == 0 {
            return Ok(Ok(child));
        }
        let (mut status, mut errno) =
            (child.wait()?.status(), Errno::from_raw_os_error(i32::from_ne_bytes(raw)));
        // The search says EACCES, too, if one directory of PATH was closed and no other had it.
        if errno == Errno::ACCESS && !is_anywhere(&command) {
            (status, errno) = (127, Errno::NOENT);
        }
        Ok(Err((status, Error::fault("cannot run", Path::new(&command), errno))))
    }

    /// Closes the gate: the child ends without having done anything.
    pub fn dismiss(self) {
        let Gated { child, gate, .. } = self;
        drop(gate);
        let _ = child.wait();
    }
}

/// Returns whether a command is there, as far as this user can see: at its path, or in `PATH`.
fn is_anywhere(command: &OsStr) -> bool {
    if command.as_bytes().contains(&b'/') {
        return true;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(command).symlink_metadata().is_ok())
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// A descriptor that becomes readable when it ends.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for its end.
    pub fn wait(&self) -> Result<ExitOutcome> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => {
                    if let Some(signal) = status.terminating_signal() {
                        return Ok(ExitOutcome::Signaled(signal));
                    }
                    let code = status.exit_status().unwrap_or(255);
                    return Ok(ExitOutcome::Exited(u8::try_from(code).unwrap_or(255)));
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::io("cannot wait for", Path::new("the child"), errno));
                }
            }
        }
    }

    /// Returns whether it is in the process group of this process.
    pub fn is_in_own_group(&self) -> bool {
        // In a pid namespace, a group of outside has the number 0, which rustix does not expect.
        // SAFETY: plain system calls that take and return numbers.
        unsafe { libc::getpgid(self.pid.as_raw_nonzero().get()) == libc::getpgid(0) }
    }

    /// Returns whether it was stopped since the last call, as by a key of its terminal.
    pub fn was_stopped(&self) -> bool {
        let pid = self.pid.as_raw_nonzero().get().unsigned_abs();
        // SAFETY: the kernel fills the structure, which is plain numbers.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let which = libc::WSTOPPED | libc::WNOHANG;
            libc::waitid(libc::P_PID, pid, &raw mut info, which) == 0 && info.si_pid() != 0
        }
    }

    /// Collects the other children of this process that have ended: orphans, if it is process 1,
    /// and those that it had before it became this program. The status of this child stays for
    /// [`Child::wait`].
    pub fn reap_others(&self) {
        reap_all_but(self.pid());
    }

    /// Passes a signal on.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the number came from the kernel or from this program; an invalid one is refused.
        let signal = unsafe { Signal::from_raw_unchecked(signal) };
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Passes a signal on to the whole process group of a child that got one of its own.
    pub fn signal_group(&self, signal: i32) {
        // SAFETY: the number came from the kernel; an invalid one is refused.
        let signal = unsafe { Signal::from_raw_unchecked(signal) };
        self.kill_group(signal);
    }

    /// Passes a signal on to the whole session of a child that got one of its own.
    pub fn signal_session(&self, signal: i32) {
        self.signal_group(signal);
        // SAFETY: as in `signal_group`.
        let signal = unsafe { Signal::from_raw_unchecked(signal) };
        let group = self.pid.as_raw_nonzero().get();
        // SAFETY: a plain system call that takes and returns numbers.
        let in_group = |pid: &Pid| unsafe { libc::getpgid(pid.as_raw_nonzero().get()) == group };
        for other in self.session().filter(|pid| !in_group(pid)) {
            let _ = kill_process(other, signal);
        }
    }

    /// Waits until the session of a child that got one of its own, and has ended, has no process
    /// left. What has not ended in [`SESSION_ENDS`] is killed.
    pub fn end_session(&self) {
        let start = Instant::now();
        loop {
            self.reap_others();
            let mut rest = self.session().peekable();
            if rest.peek().is_none() || start.elapsed() > SESSION_ENDS * 2 {
                return;
            }
            if start.elapsed() > SESSION_ENDS {
                for pid in rest {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The other processes of the session that it leads.
    fn session(&self) -> impl Iterator<Item = Pid> {
        let leader = self.pid.as_raw_nonzero().get();
        let others = other_processes().filter_map(|pid| i32::try_from(pid).ok());
        // A session of outside has the number 0, which rustix does not expect.
        // SAFETY: a plain system call that takes and returns numbers.
        let is_in = move |pid: &i32| *pid != leader && unsafe { libc::getsid(*pid) == leader };
        others.filter(is_in).filter_map(Pid::from_raw)
    }

    /// Ends the whole process group of a child that got one of its own.
    pub fn kill_group(&self, signal: Signal) {
        let _ = rustix::process::kill_process_group(self.pid, signal);
    }
}

/// Collects the children of this process that have ended, but one, whose status is waited for.
pub fn reap_all_but(keep: u32) {
    loop {
        // SAFETY: the kernel fills the structure, which is plain numbers.
        let found = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let which = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let done = libc::waitid(libc::P_ALL, 0, &raw mut info, which);
            if done == 0 { info.si_pid() } else { 0 }
        };
        match Pid::from_raw(found) {
            Some(pid) if pid.as_raw_nonzero().get().unsigned_abs() != keep => {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
            _ => return,
        }
    }
}

/// Brings this process's group back to the front of the terminal, if a child's group was there.
pub fn take_terminal_back() {
    // SAFETY: async-signal-safe calls on the standard input; all they can do is fail.
    unsafe {
        let here = libc::getpgrp();
        let front = libc::tcgetpgrp(0);
        if front > 0 && front != here {
            let old = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            libc::tcsetpgrp(0, here);
            libc::signal(libc::SIGTTOU, old);
        }
    }
}

fn last_errno() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(raw.unwrap_or(libc::EIO))
}

fn c_strings<'a>(texts: impl Iterator<Item = &'a OsStr>) -> Result<Vec<CString>> {
    texts
        .map(|text| {
            CString::new(text.as_bytes())
                .map_err(|_| Error::usage("an argument of the command contains a zero byte"))
        })
        .collect()
}

fn cannot_fork(errno: Errno) -> Error {
    match errno {
        Errno::AGAIN => Error::new(Kind::Fault, "cannot start a child process: too many processes")
            .hint("see 'ulimit -u', and TasksMax= if this is a systemd unit"),
        errno => Error::io("cannot start", Path::new("a child process"), errno),
    }
}

/// The shell and its arguments, should the command turn out to be a script that names none.
fn script_argv(command: &OsStr, argv: &[CString]) -> Result<Vec<CString>> {
    let path = find_command(command);
    let head = [OsStr::new("/bin/sh"), path.as_os_str()];
    let mut script = c_strings(head.into_iter())?;
    script.extend(argv.iter().skip(1).cloned());
    Ok(script)
}

/// The path at which `execvp` finds a command: its own, or in the first directory that can run it.
fn find_command(command: &OsStr) -> PathBuf {
    if command.as_bytes().contains(&b'/') {
        return PathBuf::from(command);
    }
    let dirs = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    let here = |dir: PathBuf| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    let mut paths = std::env::split_paths(&dirs).map(|dir| here(dir).join(command));
    let runs = |path: &PathBuf| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    paths.find(runs).unwrap_or_else(|| PathBuf::from(command))
}

/// This process's environment with some variables replaced.
fn environment(added: &[(&'static str, String)]) -> Result<Vec<CString>> {
    let kept = std::env::vars_os().filter(|(key, _)| !added.iter().any(|(name, _)| key == name));
    let mut lines: Vec<OsString> = Vec::new();
    for (mut key, value) in kept {
        key.push("=");
        key.push(value);
        lines.push(key);
    }
    lines.extend(added.iter().map(|(key, value)| OsString::from(format!("{key}={value}"))));
    c_strings(lines.iter().map(OsString::as_os_str))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let ends = std::iter::once(std::ptr::null());
    strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_that_finds_no_process_left_says_so() {
        let error = cannot_fork(Errno::AGAIN);
        assert_eq!(error.kind, Kind::Fault);
        assert!(
            error.text.contains("too many processes")
                && error.hints[0].as_str().contains("ulimit -u")
        );
    }
}
