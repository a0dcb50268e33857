//! The demo's sandbox: a directory of its own, a clean environment for every program, bounded
//! waits, and complete removal at the end.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Stop;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::{Watch, poll_readable};
use zeta_os::signal::Signals;
use zeta_os::spawn::{Child, ExitOutcome, Group, Setup, fork_gated};
use zeta_os::{host, process};

/// The time limit of one call of a program, and of one step of the scenario.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// The longest sleep between two checks, for changes that cause no event.
const POLL: Duration = Duration::from_millis(25);
/// The variable that marks every process of a demo, whatever its parent is now.
const MARK: &str = "ZETA_DEMO";
/// The variable that marks the processes of one agent.
const MARK_AGENT: &str = "DEMO_WORK";
/// The variables that are passed on from the caller: the places of programs, and nothing else, so
/// that neither the caller's session nor its git repository or settings have an effect.
const PASSED_ON: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "GIT_EXEC_PATH"];
/// Enters a directory, redirects and becomes the command.
const PRELUDE: &str = r#"cd "$1" && exec >"$2" 2>"$3" </dev/null && shift 3 && exec "$@""#;

/// The directory and the processes of one demo.
pub(super) struct Sandbox {
    /// The directory of the demo.
    pub(super) root: PathBuf,
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// This program.
    pub(super) zeta: PathBuf,
    signals: Signals,
    watch: Watch,
    started: Instant,
    keep: bool,
    calls: u32,
}

/// The result of a program.
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Sandbox {
    /// Creates the sandbox below the directory for temporary files.
    pub(super) fn create(state_dir: Option<&Path>, keep: bool) -> Result<Sandbox> {
        let io = |what: &str, path: &Path, error: &std::io::Error| {
            Error::new(Kind::Unsafe, format!("{what} {}: {error}", path.display()))
                .hint("set TMPDIR to a directory of your own on a local disk")
        };
        let temp = std::env::temp_dir();
        let temp = temp.canonicalize().map_err(|e| io("cannot use", &temp, &e))?;
        let random = host::random_hex()?;
        let root = temp.join(format!("zeta-demo-{}", random.get(..12).unwrap_or(&random)));
        let zeta = std::env::current_exe().map_err(|e| io("cannot find", Path::new("zeta"), &e))?;
        let signals = Signals::take_over()?;
        process::adopt_orphans().map_err(|e| Error::io("cannot adopt", Path::new("orphans"), e))?;
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        make(&root).map_err(|e| io("cannot create", &root, &e))?;
        let state_dir = state_dir.map_or_else(|| root.join("state"), Path::to_owned);
        let (watch, started) = (Watch::new(), Instant::now());
        let sandbox = Sandbox { root, state_dir, zeta, signals, watch, started, keep, calls: 0 };
        for dir in ["home", "calls"] {
            let dir = sandbox.root.join(dir);
            make(&dir).map_err(|e| io("cannot create", &dir, &e))?;
        }
        Ok(sandbox)
    }

    /// Returns the time since the start, in milliseconds.
    pub(super) fn at_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Wakes [`Sandbox::sleep`] when something changes in the directory.
    pub(super) fn watch(&self, dir: &Path) {
        if let Ok(dir) = File::open(dir) {
            self.watch.changes_in(dir.as_fd());
        }
    }

    /// Sleeps until something happens, for a short time at most. A signal stops the demo.
    pub(super) fn sleep(&self, fds: &[BorrowedFd<'_>]) -> std::result::Result<(), Stop> {
        let mut all = vec![self.signals.fd()];
        all.extend(self.watch.fd());
        all.extend(fds);
        poll_readable(&all, POLL);
        self.watch.drain(|_| false);
        self.heed_signals()
    }

    fn heed_signals(&self) -> std::result::Result<(), Stop> {
        match self.signals.next() {
            Some(signal) => Err(Stop::Signal(signal.number)),
            None => Ok(()),
        }
    }

    /// Starts a program in `dir` with a clean environment, its output in files called `log`.
    pub(super) fn start<A: AsRef<OsStr>>(
        &self,
        argv: &[A],
        env: &[(&str, &OsStr)],
        dir: &Path,
        log: &Path,
    ) -> Result<Child> {
        let mut all: Vec<OsString> = vec!["env".into(), "-i".into()];
        let mut set = |key: &str, value: &OsStr| {
            let mut entry = OsString::from(key);
            entry.push("=");
            entry.push(value);
            all.push(entry);
        };
        for key in PASSED_ON {
            if let Some(value) = std::env::var_os(key) {
                set(key, &value);
            }
        }
        set(MARK, self.root.as_os_str());
        set("HOME", self.root.join("home").as_os_str());
        for (key, value) in [
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            // Repositories that live for seconds need no maintenance.
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "maintenance.auto"),
            ("GIT_CONFIG_VALUE_0", "false"),
            ("GIT_AUTHOR_NAME", "zeta demo"),
            ("GIT_AUTHOR_EMAIL", "demo@zeta.invalid"),
            ("GIT_COMMITTER_NAME", "zeta demo"),
            ("GIT_COMMITTER_EMAIL", "demo@zeta.invalid"),
        ] {
            set(key, OsStr::new(value));
        }
        for (key, value) in env {
            set(key, value);
        }
        all.extend(["sh", "-c", PRELUDE, "sh"].map(OsString::from));
        all.push(dir.into());
        all.extend(["out", "err"].map(|end| log.with_extension(end).into_os_string()));
        all.extend(argv.iter().map(|arg| arg.as_ref().to_owned()));
        let setup = Setup { argv: &all, env: Vec::new(), group: Group::Own, terminal: None };
        match fork_gated(&setup, &self.signals)?.open()? {
            Ok(child) => Ok(child),
            Err((_, error)) => Err(error),
        }
    }

    /// Runs a program to its end.
    pub(super) fn call<A: AsRef<OsStr>>(
        &mut self,
        argv: &[A],
    ) -> std::result::Result<Answer, Stop> {
        self.calls += 1;
        let log = self.root.join("calls").join(format!("call-{}", self.calls));
        let child = self.start(argv, &[], &self.root, &log)?;
        let until = Instant::now() + LIMIT;
        while !has_ended(&child) {
            if let Err(stop) = self.sleep(&[child.fd()]) {
                child.kill_group(Signal::KILL);
                return Err(stop);
            }
            if Instant::now() >= until {
                child.kill_group(Signal::KILL);
                let text = format!("{} did not end within {} s", words(argv), LIMIT.as_secs());
                return Err(Error::new(Kind::Fault, text).into());
            }
        }
        let status = child.wait()?.status();
        let read = |end| std::fs::read_to_string(log.with_extension(end)).unwrap_or_default();
        Ok(Answer { status, stdout: read("out"), stderr: read("err") })
    }

    /// Runs a program that must succeed; its output without the last newline.
    pub(super) fn must<A: AsRef<OsStr>>(
        &mut self,
        argv: &[A],
    ) -> std::result::Result<String, Stop> {
        let answer = self.call(argv)?;
        match answer.status {
            0 => Ok(answer.stdout.trim_end().to_owned()),
            status => {
                let text = format!("{} exits {status}: {}", words(argv), last_line(&answer.stderr));
                Err(Error::new(Kind::Fault, text).into())
            }
        }
    }

    /// Lists all running processes that this demo started.
    pub(super) fn all_processes(&self) -> Vec<process::Listed> {
        process::with_environment(&format!("{MARK}={}", self.root.display()))
    }

    /// Lists the running processes of an agent: wrapper, command, and all that they started.
    pub(super) fn processes_of(&self, work: &Path) -> Vec<process::Listed> {
        process::with_environment(&format!("{MARK_AGENT}={}", work.display()))
    }

    /// Ends all running processes and removes the directory; returns what failed.
    pub(super) fn remove(&self) -> Option<String> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.all_processes();
            if left.is_empty() {
                break;
            }
            if Instant::now() >= until {
                return Some(format!("{} of its processes could not be ended", left.len()));
            }
            let ends: Vec<_> = left.iter().filter_map(|l| process::watch(&l.process)).collect();
            for listed in &left {
                // A process that has ended meanwhile needs no signal.
                let _ = process::kill(&listed.process);
            }
            for end in &ends {
                poll_readable(&[end.as_fd()], Duration::from_secs(1));
            }
        }
        process::reap_ended();
        if self.keep {
            return None;
        }
        let removed = std::fs::remove_dir_all(&self.root);
        removed.err().map(|error| format!("cannot remove {}: {error}", self.root.display()))
    }
}

/// Reports whether a child has ended; it is not reaped by this.
pub(super) fn has_ended(child: &Child) -> bool {
    poll_readable(&[child.fd()], Duration::ZERO).first() == Some(&true)
}

/// Describes the end of a process.
pub(super) fn how(ended: ExitOutcome) -> String {
    match ended {
        ExitOutcome::Exited(status) => format!("exited with status {status}"),
        ExitOutcome::Signaled(signal) => format!("was ended by signal {signal}"),
    }
}

/// Returns the last line that is not empty.
pub(super) fn last_line(text: &str) -> &str {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("(it printed nothing)")
}

fn words<A: AsRef<OsStr>>(argv: &[A]) -> String {
    let words: Vec<_> = argv.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    format!("'{}'", words.join(" "))
}
