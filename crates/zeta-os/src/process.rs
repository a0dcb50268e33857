//! Evidence from the kernel: the identity of a process, whether it lives, and a descriptor that is
//! readable once it has ended.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use zeta_core::evidence::{Found, Process, ProcessState, Processes, join, judge_process};
use zeta_core::time::Host;

/// `f_type` of the file system whose inode numbers identify processes (Linux 6.9 and later).
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// Most processes between one and an ancestor of it.
const LINE_MAX: usize = 4096;

/// Describes a process that runs now, well enough to know it again.
pub fn identify(pid: u32) -> Process {
    let pidfs_ino = open(pid).ok().and_then(|fd| pidfs_ino(&fd));
    Process { pid, start_ticks: start_ticks(pid), pidfs_ino }
}

/// Describes the calling process.
pub fn identify_self() -> Process {
    identify(std::process::id())
}

/// Judges whether any of the recorded processes is alive, or all of them have ended.
pub fn life(recorded: &Processes, host: &Host) -> ProcessState {
    session(recorded, host).0
}

/// Judges as [`life`] does, and finds a command that runs on while its `zeta run` has ended.
pub fn session(recorded: &Processes, host: &Host) -> (ProcessState, Option<Survivor>) {
    // Where either namespace is hidden, the numbers may be of another one.
    if recorded.pid_ns.is_none() || recorded.pid_ns != host.pid_ns {
        return (ProcessState::Unknown, None);
    }
    let judged = |process: Option<Process>| process.map(|p| (p.pid, judge_process(&p, find(&p))));
    let (own, child) = (judged(recorded.own), judged(recorded.child));
    let survivor = match (own, child) {
        (Some((wrapper, ProcessState::Dead)), Some((command, ProcessState::Alive))) => {
            Some(Survivor { wrapper, command })
        }
        _ => None,
    };
    (join(own.into_iter().chain(child).map(|(_, life)| life)), survivor)
}

/// A command that runs on without its `zeta run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    /// The process id of the `zeta run` that has ended.
    pub wrapper: u32,
    /// The process id of the command.
    pub command: u32,
}

/// A descriptor that becomes readable when the recorded process ends; `None` if it is not there.
pub fn watch(recorded: &Process) -> Option<OwnedFd> {
    let fd = open(recorded.pid).ok()?;
    (judge_process(recorded, examine(recorded, &fd)) == ProcessState::Alive).then_some(fd)
}

/// Looks at the recorded process: its state, and a descriptor that is readable once it has ended.
///
/// # Errors
/// The kernel gives no descriptor.
pub(crate) fn look_at(recorded: &Process) -> Result<(ProcessState, Option<OwnedFd>), Errno> {
    match open(recorded.pid) {
        Ok(fd) => Ok((judge_process(recorded, examine(recorded, &fd)), Some(fd))),
        Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => Ok((ProcessState::Dead, None)),
        Err(errno) => Err(errno),
    }
}

/// Returns whether a process is stopped by a signal; one of another pid namespace is not looked at.
pub fn is_stopped(pid: u32) -> bool {
    describe(pid).is_some_and(|(_, state)| state == 'T')
}

/// Sends SIGKILL to the recorded process if it is provably that process.
pub fn kill(recorded: &Process) -> Result<(), Errno> {
    signal(recorded, Signal::KILL)
}

/// Sends a signal to the recorded process if it is provably that process.
pub fn signal(recorded: &Process, signal: Signal) -> Result<(), Errno> {
    match watch(recorded) {
        Some(fd) => pidfd_send_signal(&fd, signal),
        None => Err(Errno::SRCH),
    }
}

/// Sends SIGTERM to the recorded process if it is provably that process.
pub fn ask_to_end(recorded: &Process) -> Result<(), Errno> {
    signal(recorded, Signal::TERM)
}

fn open(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

fn find(recorded: &Process) -> Found {
    match open(recorded.pid) {
        Ok(fd) => examine(recorded, &fd),
        // A thread's id is refused with ENOENT, by older kernels with EINVAL.
        Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => Found::Nothing,
        Err(_) => Found::Unreadable,
    }
}

fn examine(recorded: &Process, fd: &OwnedFd) -> Found {
    let ended = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&Timespec::default()));
    let Ok(ready) = ended else { return Found::Unreadable };
    let pidfs_ino = recorded.pidfs_ino.and_then(|_| pidfs_ino(fd));
    let start_ticks = match pidfs_ino {
        Some(_) => None,
        None => recorded.start_ticks.and_then(|_| start_ticks(recorded.pid)),
    };
    Found::Something { ended: ready > 0, pidfs_ino, start_ticks }
}

fn pidfs_ino(fd: &OwnedFd) -> Option<u64> {
    (fstatfs(fd).ok()?.f_type as u64 == PIDFS_MAGIC).then_some(())?;
    Some(fstat(fd).ok()?.st_ino)
}

/// Returns whether `/proc` numbers processes as this process's own pid namespace does. In a sandbox
/// that has a pid namespace of its own and the `/proc` of the machine, it does not.
pub fn proc_is_own() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| {
        let status = std::fs::read("/proc/self/status").unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        // One number for each namespace, from that of `/proc` down to this process's.
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().count() == 1)
    })
}

/// Field 22 of `/proc/PID/stat`; the second field may hold blanks and brackets of its own.
fn start_ticks(pid: u32) -> Option<u64> {
    if !proc_is_own() {
        return None;
    }
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// How long a process has run, in µs by the boot clock.
pub fn age_us(pid: u32) -> Option<i64> {
    let started_us = start_ticks(pid)?.checked_mul(1_000_000)? / clock_ticks_per_second();
    let now_us = crate::host::reading().boot_ns / 1000;
    i64::try_from(now_us.saturating_sub(started_us)).ok()
}

/// The name and the state letter of a process, for people.
pub fn describe(pid: u32) -> Option<(String, char)> {
    if !proc_is_own() {
        return None;
    }
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    Some((name, tail.trim_start().chars().next()?))
}

/// A process of this machine that can be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its identity, well enough to know it again.
    pub process: Process,
    /// Name of its program.
    pub name: String,
    /// State letter, as in `ps`.
    pub state: char,
}

impl Listed {
    /// Returns true if it is stopped, by a signal or by a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// The processes that were started with `line` (`KEY=value`) in their environment, by process id.
///
/// A process cannot leave this list by changing its parent, its group or its session. One that
/// has ended is not in it, nor is one between fork and exec.
pub fn with_environment(line: &str) -> Vec<Listed> {
    if !proc_is_own() {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.collect();
    pids.sort_unstable();
    let has_line = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == line.as_bytes())
    };
    let found = pids.into_iter().filter(has_line).filter_map(|pid| {
        let process = identify(pid);
        let (name, state) = describe(pid)?;
        Some(Listed { process, name, state })
    });
    found.filter(|listed| !matches!(listed.state, 'Z' | 'X')).collect()
}

/// The value of a variable that a process was started with.
pub fn variable(pid: u32, key: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let found = entries.find_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

/// The parent of a process: field 4 of `/proc/PID/stat`.
pub fn parent(pid: u32) -> Option<u32> {
    stat_number(pid, 1)
}

/// Returns whether a process is the child of another one, or of a child of that one, and so on.
pub fn is_below(pid: u32, above: u32) -> bool {
    let line = std::iter::successors(parent(pid), |pid| parent(*pid));
    line.take(LINE_MAX).any(|pid| pid == above)
}

/// Returns the process group of a process, as `/proc` shows it.
pub fn group(pid: u32) -> Option<u32> {
    stat_number(pid, 2)
}

/// A number of `/proc/PID/stat`, counted from 0 after the name, which may hold blanks and brackets.
fn stat_number(pid: u32, index: usize) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// The processes that `/proc` shows, without this one.
pub(crate) fn other_processes() -> impl Iterator<Item = u32> {
    let me = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| *pid != me)
}

/// Makes this process the parent of all orphans below it, so that it can find and end them.
pub fn adopt_orphans() -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Collects children of this process that have ended. No other code may wait for their status.
pub fn reap_ended() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_below_each_one_above_it_and_not_below_itself() {
        let me = std::process::id();
        let above = parent(me).unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let below = [is_below(child.id(), me), is_below(child.id(), above), is_below(me, above)];
        let not = [is_below(me, me), is_below(me, child.id()), is_below(above, me)];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((below, not), ([true; 3], [false; 3]));
    }
}
