//! strace in both of its roles: it records the calls of a clean run, and it makes one of them fail.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::sandbox::{Sandbox, run};
use crate::support::{LIMIT, Out, until};

/// The first call of our own code. All before it belongs to the loader and to Rust's runtime, which
/// end the process if they fail, and neither of them knows of a state directory.
const START: &str = "/etc/zeta/config.toml";

/// Killed at, but never made to fail. Memory, and the end of the runtime: where memory is refused
/// Rust aborts the process, which is a kill; and what comes after the last word of the program can
/// change nothing any more. And what the kernel cannot refuse: the ids of user and thread, and the
/// umask.
const NO_ERROR: [&str; 10] = [
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "sigaltstack",
    "getuid",
    "geteuid",
    "gettid",
    "umask",
];
/// Nor random numbers for a hash table, which std asks for so.
const NEVER_REFUSED: &str = "GRND_INSECURE";

/// Left out for every fault: exit_group has no way to fail, and is an end by itself; fcntl with
/// F_GETFD is how a debug build looks at a descriptor right before it closes it; and reading a
/// clock is a system call only where the kernel's page of clocks is missing, and cannot fail.
const LEFT_OUT: [&str; 3] = ["exit_group", "fcntl", "clock_gettime"];

/// The k-th call of a name, as it was in the clean run.
#[derive(Debug, Clone)]
pub struct Point {
    pub call: String,
    pub k: usize,
    /// The line of the trace.
    pub line: String,
    /// It is one of the calls that add an entry to the history, which no verb depends on.
    pub of_history: bool,
}

impl Point {
    /// Reports whether this fault can be injected here.
    pub fn takes(&self, fault: Fault) -> bool {
        let refused = !NO_ERROR.contains(&self.call.as_str()) && !self.line.contains(NEVER_REFUSED);
        fault == Fault::Kill || refused
    }
}

/// Reports whether this machine can trace at all.
pub fn works(sandbox: &Sandbox) -> bool {
    let log = sandbox.dir.join("probe");
    let mut command = sandbox.cmd("strace");
    command.arg("-f").arg("-o").arg(&log).arg("true");
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a verb and returns its calls.
pub fn record(sandbox: &Sandbox, args: &[&str]) -> (Out, Vec<Point>) {
    let (out, trace) = traced(sandbox, &[], args);
    (out, points_of(&trace))
}

/// The calls in the trace of a clean run, from the first one of our own code on.
pub fn points_of(trace: &str) -> Vec<Point> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut started = false;
    let mut points = Vec::new();
    for line in trace.lines() {
        let Some((call, _)) = call_of(line) else { continue };
        let count = counts.entry(call).or_default();
        *count += 1;
        started |= line.contains(START);
        if started && !LEFT_OUT.contains(&call) {
            let (call, line) = (call.to_owned(), line.to_owned());
            points.push(Point { call, k: *count, line, of_history: false });
        }
    }
    mark_history(&mut points);
    points
}

/// Marks the calls from the first one that names the log of the history to the last one of these;
/// if that opens the log, to the one that closes it.
fn mark_history(points: &mut [Point]) {
    let names = |point: &Point| point.line.contains("\"history.log\"");
    let (first, last) = (points.iter().position(names), points.iter().rposition(names));
    let (Some(first), Some(last)) = (first, last) else { return };
    let opens = points[last].call.starts_with("open");
    let closed = points[last..].iter().position(|point| opens && point.call == "close");
    let end = last + closed.unwrap_or(0);
    points[first..=end].iter_mut().for_each(|point| point.of_history = true);
}

/// Runs a verb with a fault at one of its calls. False if it did not strike there, because the
/// program took another way.
pub fn inject(sandbox: &Sandbox, point: &Point, fault: Fault, args: &[&str]) -> (Out, bool) {
    let (out, trace) = tampered(sandbox, point, &fault.expression(), args);
    let started = trace.find(START).and_then(|at| trace.get(at..)).unwrap_or_default();
    let struck = match fault {
        Fault::Error { .. } => {
            let lines = || trace.lines().skip_while(|line| !line.contains(START));
            let line = lines().find(|line| line.ends_with("(INJECTED)"));
            line.is_some_and(|line| head(line) == head(&point.line))
        }
        Fault::Kill => started.contains("killed by SIGKILL"),
    };
    (out, struck)
}

/// Runs a verb in which one write says that it wrote a single byte, as on a disk that became full.
pub fn shorten(sandbox: &Sandbox, point: &Point, args: &[&str]) -> Out {
    tampered(sandbox, point, "retval=1", args).0
}

fn tampered(sandbox: &Sandbox, point: &Point, how: &str, args: &[&str]) -> (Out, String) {
    let trace = format!("trace={},openat", point.call);
    let inject = format!("inject={}:{how}:when={}", point.call, point.k);
    traced(sandbox, &["-e", &trace, "-e", &inject], args)
}

/// The name of the call and its first argument, which is the same in each run but for random bytes.
fn head(line: &str) -> Option<&str> {
    let (call, rest) = call_of(line)?;
    let first = rest.split([',', ')']).next()?;
    Some(if first.starts_with('"') || first.starts_with("0x") { call } else { first })
}

/// Runs a verb that pauses before one of its calls; returns what it answered, and what `during` did
/// in that pause.
pub fn pause<T>(
    sandbox: &Sandbox,
    point: &Point,
    args: &[&str],
    during: impl FnOnce() -> T,
) -> (Out, T) {
    let trace = format!("trace={}", point.call);
    let inject = format!("inject={}:delay_enter=1000000:when={}", point.call, point.k);
    let log = sandbox.dir.join("trace");
    let _ = std::fs::remove_file(&log);
    let of_it = format!(" {}(", point.call);
    let made = || {
        let trace = std::fs::read_to_string(&log).unwrap_or_default();
        trace.lines().filter(|line| line.contains(&of_it)).count()
    };
    std::thread::scope(|scope| {
        let call = scope.spawn(|| traced(sandbox, &["-e", &trace, "-e", &inject], args).0);
        until(LIMIT, || made() + 1 >= point.k || call.is_finished());
        let done = during();
        (call.join().unwrap(), done)
    })
}

fn traced(sandbox: &Sandbox, options: &[&str], args: &[&str]) -> (Out, String) {
    let log = sandbox.dir.join("trace");
    let mut command = sandbox.cmd("strace");
    command.arg("-f").arg("-o").arg(&log).args(options);
    command.arg(env!("CARGO_BIN_EXE_zeta")).args(args);
    let out = run(&mut command);
    let trace = std::fs::read(&log).unwrap_or_default();
    (out, String::from_utf8_lossy(&trace).into_owned())
}

/// The name and the rest of `PID  name(…`.
fn call_of(line: &str) -> Option<(&str, &str)> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(plain).then_some((name, rest))
}
