//! A fresh private place for one test, and the one way in which tests start programs: with a limit.

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No call may last longer: what hangs is a failure, not a slow test.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A directory of its own below `/tmp`, removed at the end.
pub struct Stage {
    /// The place.
    pub dir: PathBuf,
    /// Where the tree is or will be.
    pub state: PathBuf,
}

/// What a program said.
#[derive(Debug, Clone)]
pub struct Out {
    pub status: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Stage {
    pub fn new() -> Stage {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/zeta-it-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        Stage { state: dir.join("state"), dir }
    }

    /// A call of `zeta` on this stage's tree, in a clean environment.
    pub fn cmd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.args(args);
        self.clean(&mut command);
        command
    }

    /// Any program, in the same environment.
    pub fn other(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        self.clean(&mut command);
        command
    }

    fn clean(&self, command: &mut Command) {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env("ZETA_STATE_DIR", &self.state).stdin(Stdio::null());
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(&mut self.cmd(args))
    }

    /// A call that must succeed; its data.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }

    /// A call that must end with `status` and explain itself.
    pub fn refused(&self, args: &[&str], status: i32) -> Out {
        let out = self.zeta(args);
        assert_eq!(out.status, status, "zeta {args:?}: {out:?}");
        assert!(!out.err.is_empty(), "zeta {args:?} ended with {status} and said nothing");
        out
    }

    /// Takes a lease and returns its token.
    pub fn acquire(&self, args: &[&str]) -> u64 {
        let all: Vec<&str> = ["lease", "acquire"].iter().chain(args).copied().collect();
        self.ok(&all).parse().unwrap()
    }

    /// The directory of the tree's only node.
    pub fn node(&self) -> PathBuf {
        let name = std::fs::read_to_string(self.state.join("local-node")).unwrap();
        self.state.join("nodes").join(name.trim_end())
    }

    pub fn lock(&self, lease: &str) -> PathBuf {
        self.node().join(format!("{lease}.lock"))
    }

    pub fn guard(&self, lease: &str) -> PathBuf {
        self.node().join(".guard").join(format!("{lease}.lock"))
    }

    /// Changes the text of a lease's record behind everybody's back.
    pub fn forge(&self, lease: &str, change: impl Fn(&str) -> Option<String>) {
        let path = self.lock(lease);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<String> = text.lines().filter_map(change).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    /// Sets keys of a lease's record to raw values, or removes them with `None`.
    pub fn forge_keys(&self, lease: &str, keys: &[(&str, Option<&str>)]) {
        self.forge(lease, |line| {
            let (key, _) = line.split_once(": ").unwrap();
            match keys.iter().find(|(name, _)| *name == key) {
                Some((_, Some(value))) => Some(format!("{key}: {value}")),
                Some((_, None)) => None,
                None => Some(line.to_owned()),
            }
        });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("left behind: {}: {error}", self.dir.display());
        }
    }
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

fn text_of(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit status of a child (128 + n for a signal), which is ended after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        }
        if Instant::now() >= until {
            child.kill().unwrap();
            child.wait().unwrap();
            return -9;
        }
        std::thread::sleep(Duration::from_millis(2));
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

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Does a command succeed here? For what a test needs from its machine.
pub fn can(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Says loudly that a test did not run.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    // Past the test harness, which swallows what a passing test prints.
    let _ = std::fs::write("/dev/stderr", &line)
        .or_else(|_| std::io::stderr().write_all(line.as_bytes()));
    if let Some(log) = std::env::var_os("ZETA_SKIPPED_LOG") {
        append(Path::new(&log), &line);
    }
}

/// Appends a line with one write.
pub fn append(path: &Path, line: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.append(true).create(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
