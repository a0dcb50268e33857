//! The one way in which tests start programs and wait: always with a limit.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// No call may last longer: what hangs is a failure, not a slow test.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a program did.
#[derive(Debug, Clone)]
pub struct Out {
    /// The exit status; 128 + n for a signal, -9 if the program was ended after its limit.
    pub status: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

/// Runs a program to its end, or ends it after [`LIMIT`] with the status -9.
pub fn run(command: &mut Command) -> Out {
    run_within(command, LIMIT)
}

pub fn run_within(command: &mut Command, limit: Duration) -> Out {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    finish(child, started, limit)
}

/// Waits for a program whose stdout and stderr are piped.
pub fn finish(mut child: Child, started: Instant, limit: Duration) -> Out {
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let out = std::thread::spawn(move || text_of(&mut out));
    let err = std::thread::spawn(move || text_of(&mut err));
    let status = wait(&mut child, limit);
    let took = started.elapsed();
    Out { status, out: out.join().unwrap(), err: err.join().unwrap(), took }
}

/// Checks that the fastest of some rounds takes less than `limit`. A busy machine makes some of
/// them late; a fault makes all of them late.
#[track_caller]
pub fn one_is_faster(limit: Duration, mut round: impl FnMut() -> Duration) {
    let mut best = Duration::MAX;
    for _ in 0..8 {
        best = best.min(round());
        if best < limit {
            return;
        }
    }
    panic!("the fastest of 8 took {best:?}, and not less than {limit:?}");
}

fn text_of(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit status of a child (128 + n for a signal), which is ended after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> i32 {
    let number = |status: ExitStatus| status.code().or(status.signal().map(|n| 128 + n)).unwrap();
    if let Some(status) = child.try_wait().unwrap() {
        return number(status);
    }
    if ends_within(child, limit) {
        return number(child.wait().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    -9
}

/// Sleeps until a child that was not waited for has ended; false after `limit`.
fn ends_within(child: &Child, limit: Duration) -> bool {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let end = Instant::now() + limit;
    loop {
        let rest = end.saturating_duration_since(Instant::now()).try_into().unwrap();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&rest)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Polls until something is so; false after `limit`.
pub fn until(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until something is so; fails the test after [`LIMIT`].
#[track_caller]
pub fn wait_for(what: &str, so: impl FnMut() -> bool) {
    assert!(until(LIMIT, so), "{LIMIT:?} are over, and not yet: {what}");
}

/// Gives a program the usual dispositions of the signals by which a person ends it. A shell without
/// job control ignores SIGINT in all that it starts in the background, and so did the tests there.
pub fn with_usual_signals(command: &mut Command) -> &mut Command {
    let reset = || {
        for number in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            // SAFETY: it takes no lock and no memory, as must be between fork and exec.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: what runs in the child makes these system calls and nothing else.
    unsafe { command.pre_exec(reset) }
}

/// Gives a program dispositions and a mask that a careful parent would not leave to it.
pub fn with_unusual_signals(command: &mut Command) -> &mut Command {
    let set = || {
        // SAFETY: async-signal-safe calls; the set is written before it is read.
        unsafe {
            for number in [libc::SIGCHLD, libc::SIGPIPE, libc::SIGHUP, libc::SIGXFSZ] {
                libc::signal(number, libc::SIG_IGN);
            }
            let mut blocked = std::mem::zeroed();
            libc::sigemptyset(&raw mut blocked);
            libc::sigaddset(&raw mut blocked, libc::SIGUSR2);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: what runs in the child makes these system calls and nothing else.
    unsafe { command.pre_exec(set) }
}

/// Sends a signal to a process that this test started.
/// Sends a signal. After SIGSTOP this returns when all threads have stopped: until then one that
/// runs on another core may still answer.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
    if signal == Signal::STOP {
        assert!(until(LIMIT, || has_stopped(pid)), "process {pid} stops");
    }
}

/// Reports whether no thread of a process runs.
fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        state.is_none_or(|state| "TtZX".contains(state))
    })
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reports whether a command succeeds, to check what a test needs from its machine.
pub fn can(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Where a program is on the path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
