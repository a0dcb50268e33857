//! The agents: real processes under `zeta run`, and the signals that the demo sends them.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::demo::remote::{Remote, hold_barrier};
use crate::demo::sandbox::{Sandbox, has_ended, how, last_line};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::inotify::poll_readable;
use zeta_os::process;
use zeta_os::process::Listed;
use zeta_os::spawn::{Child, ExitOutcome};

const SCRIPT: &str = include_str!("agent.sh");
/// TTL and grace of the agents' leases: short, so that a stopped holder is soon replaced, and long
/// enough that a busy machine does not make a live one look stopped.
pub(super) const TTL: (&str, u64) = ("2s", 2000);
pub(super) const GRACE: (&str, u64) = ("500ms", 500);

/// An agent of the demo.
pub(super) struct Agent {
    /// The agent's name.
    pub(super) name: &'static str,
    /// The directory in which the agent works.
    pub(super) work: PathBuf,
    child: Child,
    barrier: File,
    /// How the agent ended, once it has ended.
    pub(super) ended: Option<ExitOutcome>,
    /// The scenario expects the agent's end from now on.
    pub(super) may_end: bool,
}

impl Agent {
    /// Starts an agent under `zeta run`.
    pub(super) fn start(sandbox: &Sandbox, remote: &Remote, name: &'static str) -> Result<Agent> {
        let work = sandbox.root.join(name);
        let cannot = |error: std::io::Error| {
            Error::new(Kind::Fault, format!("cannot prepare {}: {error}", work.display()))
        };
        DirBuilder::new().mode(0o700).create(&work).map_err(cannot)?;
        let script = work.join("agent.sh");
        std::fs::write(&script, SCRIPT).map_err(cannot)?;
        let barrier = hold_barrier(&work.join("barrier"))?;
        sandbox.watch(&work);
        let mut argv = vec![sandbox.zeta.clone().into_os_string()];
        argv.extend(["run", "--as", name, "--state-dir"].map(OsString::from));
        argv.push(sandbox.state_dir.clone().into_os_string());
        argv.extend(["--", "sh"].map(OsString::from));
        argv.push(script.into_os_string());
        let env = [
            ("ZETA_BIN", sandbox.zeta.as_os_str()),
            ("DEMO_WORK", work.as_os_str()),
            ("DEMO_REMOTE", remote.path.as_os_str()),
            ("DEMO_TTL", OsStr::new(TTL.0)),
            ("DEMO_GRACE", OsStr::new(GRACE.0)),
            ("GIT_AUTHOR_NAME", OsStr::new(name)),
            ("GIT_COMMITTER_NAME", OsStr::new(name)),
        ];
        let child = sandbox.start(&argv, &env, &work, &work.join("log"))?;
        Ok(Agent { name, work, child, barrier, ended: None, may_end: false })
    }

    /// Returns the process id of the wrapper.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Returns the descriptor of the wrapper's process, as long as it runs.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.ended.is_none().then(|| self.child.fd())
    }

    /// Records the agent's end; an unexpected end is an error.
    pub(super) fn notice_end(&mut self, step: &str) -> Result<()> {
        if self.ended.is_none() && has_ended(&self.child) {
            self.ended = Some(self.child.wait()?);
        }
        match self.ended {
            Some(ended) if !self.may_end => {
                let text = format!(
                    "{} {} before its time, while the demo waited for this: {step}",
                    self.name,
                    how(ended)
                );
                let output = std::fs::read_to_string(self.work.join("log.err"));
                let output = output.unwrap_or_default();
                Err(Error::new(Kind::Fault, text)
                    .hint(format!("its last line of output: {}", last_line(&output))))
            }
            _ => Ok(()),
        }
    }

    /// Reports whether the agent is about to push.
    pub(super) fn is_ready(&self) -> bool {
        self.work.join("ready").exists()
    }

    /// Lets the agent push.
    pub(super) fn open_barrier(&mut self) -> Result<()> {
        self.barrier.unlock().map_err(|error| {
            Error::new(Kind::Fault, format!("cannot open the barrier of {}: {error}", self.name))
        })
    }

    /// Lists the agent's processes.
    pub(super) fn processes(&self, sandbox: &Sandbox) -> Vec<Listed> {
        sandbox.processes_of(&self.work)
    }

    /// Sends a signal to all processes of the agent, the wrapper first; returns them.
    pub(super) fn signal(&self, sandbox: &Sandbox, signal: Signal) -> Vec<Listed> {
        let processes = self.processes(sandbox);
        send(&processes, signal);
        processes
    }

    /// Kills all processes of the agent and waits until they have ended; returns them, and the boot
    /// clock's time before.
    pub(super) fn kill(&mut self, sandbox: &Sandbox) -> (Vec<Listed>, u64) {
        self.may_end = true;
        let before_ns = host::reading().boot_ns;
        (kill_all(|| self.processes(sandbox), Duration::from_secs(5)), before_ns)
    }
}

/// Kills the processes that `list` returns until it returns none; waits for the end of each, for
/// `limit` at most. Returns the killed ones.
fn kill_all(list: impl Fn() -> Vec<Listed>, limit: Duration) -> Vec<Listed> {
    let until = Instant::now() + limit;
    let mut left = list();
    let mut killed = Vec::new();
    // A process may have started another one after the list was made.
    while !left.is_empty() && Instant::now() < until {
        let ends: Vec<_> = left.iter().filter_map(|l| process::watch(&l.process)).collect();
        send(&left, Signal::KILL);
        for end in &ends {
            poll_readable(&[end.as_fd()], until.saturating_duration_since(Instant::now()));
        }
        killed.append(&mut left);
        left = list();
    }
    killed
}

fn send(processes: &[Listed], signal: Signal) {
    for listed in processes {
        // A process that has ended meanwhile needs no signal.
        let _ = process::signal(&listed.process, signal);
    }
}

/// Formats process names and ids.
pub(super) fn names(processes: &[Listed]) -> String {
    let names: Vec<String> =
        processes.iter().map(|l| format!("{} {}", l.name, l.process.pid)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_killed_agent_has_ended_when_the_kill_returns() {
        let mark = format!("DEMO_KILL_TEST={}", std::process::id());
        let (key, value) = mark.split_once('=').unwrap();
        // Each of them starts another one at once: also those that no list had yet must end.
        let start = |_| {
            let mut child = Command::new("sh");
            child.args(["-c", "sleep 60 & exec sleep 60"]).env(key, value);
            child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        };
        let mut children: Vec<Child> = (0..30).map(start).collect();
        let killed = kill_all(|| process::with_environment(&mark), Duration::from_secs(60));
        let left = process::with_environment(&mark);
        for child in &mut children {
            child.wait().unwrap();
        }
        assert!(left.is_empty(), "{} of {} still run: {}", left.len(), killed.len(), names(&left));
        assert!(killed.len() >= 30, "{}", killed.len());
    }
}
