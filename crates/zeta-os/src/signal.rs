//! Signals: the ones that a wrapper takes over to pass them on, and what was inherited about them.
//!
//! A wrapper must be invisible to its command: the command inherits the mask and the dispositions
//! that this process was started with, and a signal that was ignored then stays ignored.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// The signals that ask a process to do something, and that end it by default.
const PASSED_ON: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Of these, the signals by which a service or a person asks a process to end.
pub(crate) const END: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// The number of the signal that says that a child has ended.
pub const CHILD_ENDED: i32 = libc::SIGCHLD;
/// The number of the signal that says that the terminal is gone.
pub const HANGUP: i32 = libc::SIGHUP;
/// The signal that ends what no other one does, as a key of the terminal.
pub(crate) const QUIT: i32 = libc::SIGQUIT;

/// The number of the signal that says that the terminal has another size.
pub const RESIZED: i32 = libc::SIGWINCH;
/// The number of the signal that asks a process to stop, as a key of the terminal does.
pub const STOP: i32 = libc::SIGTSTP;
/// The number of the signal that a stopped process goes on after.
pub const CONTINUED: i32 = libc::SIGCONT;

/// Whether SIGPIPE and SIGCHLD were ignored when this process was started.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
static CHILD_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`: there Rust has replaced the disposition of SIGPIPE already.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    // SAFETY: plain system calls, before this process has a second thread.
    unsafe {
        let pipe = libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        PIPE_WAS_IGNORED.store(pipe == libc::SIG_IGN, Ordering::Relaxed);
        // While SIGCHLD is ignored, the kernel keeps no status of a child for its parent.
        let child = libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        CHILD_WAS_IGNORED.store(child == libc::SIG_IGN, Ordering::Relaxed);
        // A write beyond the limit of file sizes then fails with EFBIG, and the call can say so. A
        // handler and not SIG_IGN: an exec sets it back, so that each program that this process
        // starts has the disposition that this process had.
        let handler: extern "C" fn(i32) = go_on;
        if libc::signal(libc::SIGXFSZ, handler as libc::sighandler_t) == libc::SIG_IGN {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
}

extern "C" fn go_on(_number: i32) {}

/// Gives this process, a child before its exec, the mask and the dispositions that its parent was
/// started with.
///
/// # Safety It is async-signal-safe, and nothing but an exec or an end may follow: other code of
/// this program expects SIGPIPE to be ignored.
pub(crate) unsafe fn restore_inherited(mask: &libc::sigset_t) {
    let disposition = |ignored: &AtomicBool| match ignored.load(Ordering::Relaxed) {
        true => libc::SIG_IGN,
        false => libc::SIG_DFL,
    };
    // SAFETY: async-signal-safe calls on memory of this process.
    unsafe {
        libc::signal(libc::SIGPIPE, disposition(&PIPE_WAS_IGNORED));
        libc::signal(libc::SIGCHLD, disposition(&CHILD_WAS_IGNORED));
        libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
    }
}

/// Gives a program of the caller's the dispositions that this process was started with. Without it
/// Rust gives it the default one of SIGPIPE.
pub fn pass_on_inherited(command: &mut Command) -> &mut Command {
    let ignored = [(libc::SIGPIPE, &PIPE_WAS_IGNORED), (libc::SIGCHLD, &CHILD_WAS_IGNORED)]
        .map(|(number, ignored)| ignored.load(Ordering::Relaxed).then_some(number));
    if ignored == [None, None] {
        return command;
    }
    let ignore = move || {
        for number in ignored.into_iter().flatten() {
            // SAFETY: an async-signal-safe call.
            unsafe { libc::signal(number, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: what runs in the child is async-signal-safe and takes no memory.
    unsafe { command.pre_exec(ignore) }
}

/// Makes a program keep every signal that can be kept pending, from its first instruction on.
pub(crate) fn keep_all_pending(command: &mut Command) {
    let block = || {
        // SAFETY: async-signal-safe calls; the set is written before it is read. Descriptors that
        // this process inherited are closed by the exec: a lock or a pipe of the caller's must not
        // be kept open by this program.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    };
    // SAFETY: what runs in the child is async-signal-safe and takes no memory.
    unsafe { command.pre_exec(block) };
}

/// Makes signals end this process also if it is process 1 of its pid namespace: the kernel drops
/// what has the default disposition there.
pub fn end_by_signals_as_init() {
    if std::process::id() != 1 {
        return;
    }
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        if !is_ignored(number) {
            let handler: extern "C" fn(i32) = end_at_once;
            // SAFETY: the handler makes one async-signal-safe call.
            unsafe { libc::signal(number, handler as libc::sighandler_t) };
        }
    }
}

extern "C" fn end_at_once(number: i32) {
    // SAFETY: async-signal-safe; nothing of this process runs after it.
    unsafe { libc::_exit(128 + number) }
}

/// Returns whether this process leads its session, which is what the kernel tells of the end of the
/// terminal.
pub(crate) fn leads_session() -> bool {
    // SAFETY: plain system calls that return numbers; 0 is a session outside of the pid namespace.
    unsafe { libc::getsid(0) == libc::getpid() }
}

fn is_ignored(number: i32) -> bool {
    // SAFETY: the structure is plain numbers, and the kernel fills it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(number, std::ptr::null(), &raw mut action);
        asked == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// The signals that a wrapper reads instead of dying from them, until this is dropped.
pub struct Signals {
    fd: OwnedFd,
    old_mask: libc::sigset_t,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// The kernel sent it: a key of the terminal, or the end of the terminal.
    pub from_kernel: bool,
}

impl Received {
    /// Reports whether it asks a process to end.
    pub fn is_to_end(self) -> bool {
        END.contains(&self.number) || self.number == QUIT
    }
}

impl Signals {
    /// Takes the signals over from their default actions. What this process ignores stays ignored,
    /// as with `nohup`.
    pub fn take_over() -> Result<Signals> {
        Signals::take(&[])
    }

    /// As [`Signals::take_over`], and reads [`CHILD_ENDED`] as well.
    pub fn take_over_with_children() -> Result<Signals> {
        Signals::take(&[CHILD_ENDED])
    }

    /// As [`Signals::take_over_with_children`], and reads what a terminal says: [`RESIZED`],
    /// [`STOP`], [`CONTINUED`].
    pub fn take_over_with_terminal() -> Result<Signals> {
        Signals::take(&[CHILD_ENDED, RESIZED, STOP, CONTINUED])
    }

    /// Stops this process and its group, as a key of the terminal would, and returns when another
    /// process lets them go on. Where no shell could do that, the kernel stops nothing.
    pub fn stop_group(&self) {
        // SAFETY: plain system calls; the set is written before it is read. The signal is pending
        // until it is not blocked any more, and comes in that call.
        unsafe {
            let mut stop = std::mem::zeroed();
            libc::sigemptyset(&raw mut stop);
            libc::sigaddset(&raw mut stop, STOP);
            libc::kill(0, STOP);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const stop, std::ptr::null_mut());
            libc::sigprocmask(libc::SIG_BLOCK, &raw const stop, std::ptr::null_mut());
        }
    }

    fn take(more: &[i32]) -> Result<Signals> {
        let cannot = |errno| Error::io("cannot take over", Path::new("signals"), errno);
        let heeded = PASSED_ON.iter().copied().filter(|number| !is_ignored(*number));
        // SAFETY: the sets are written by sigemptyset and sigprocmask before they are read.
        unsafe {
            let mut set = std::mem::zeroed();
            let mut old_mask = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for number in heeded.chain(more.iter().copied()) {
                libc::sigaddset(&raw mut set, number);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut old_mask) != 0 {
                return Err(cannot(last_errno()));
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(cannot(last_errno()));
            }
            Ok(Signals { fd: OwnedFd::from_raw_fd(fd), old_mask })
        }
    }

    /// A descriptor that is readable when one arrived.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the next one that arrived.
    pub fn next(&self) -> Option<Received> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let len = rustix::io::read(&self.fd, &mut info).ok()?;
        if len != info.len() {
            return None;
        }
        // SAFETY: the kernel filled the whole structure, which is plain numbers.
        let info: libc::signalfd_siginfo =
            unsafe { std::ptr::read_unaligned(info.as_ptr().cast()) };
        let number = i32::try_from(info.ssi_signo).ok()?;
        Some(Received { number, from_kernel: info.ssi_code == libc::SI_KERNEL })
    }

    /// Gives a program of the caller's the mask and the dispositions that this process was started
    /// with.
    pub fn pass_on_inherited<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let mask = self.old_mask;
        let restore = move || {
            // SAFETY: this is the child before its exec.
            unsafe { restore_inherited(&mask) };
            Ok(())
        };
        // SAFETY: what runs in the child is async-signal-safe and takes no memory.
        unsafe { command.pre_exec(restore) }
    }

    /// The mask that this process was started with.
    pub(crate) fn inherited_mask(&self) -> &libc::sigset_t {
        &self.old_mask
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the mask was filled by sigprocmask in `take`.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.old_mask, std::ptr::null_mut());
        }
    }
}

fn last_errno() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(raw.unwrap_or(libc::EIO))
}
