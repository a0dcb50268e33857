//! The agents: real processes under `zeta run`, and what the demo does to them.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::demo::remote::{Remote, hold_cue};
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

/// An agent.
pub(super) struct Agent {
    /// Its name.
    pub(super) name: &'static str,
    /// Where it works.
    pub(super) work: PathBuf,
    child: Child,
    cue: File,
    /// How it ended, once it has.
    pub(super) ended: Option<ExitOutcome>,
    /// Its end is part of the play by now.
    pub(super) may_end: bool,
}

impl Agent {
    /// Starts it under `zeta run`.
    pub(super) fn start(stage: &Sandbox, remote: &Remote, name: &'static str) -> Result<Agent> {
        let work = stage.root.join(name);
        let cannot = |error: std::io::Error| {
            Error::new(Kind::Fault, format!("cannot prepare {}: {error}", work.display()))
        };
        DirBuilder::new().mode(0o700).create(&work).map_err(cannot)?;
        let script = work.join("agent.sh");
        std::fs::write(&script, SCRIPT).map_err(cannot)?;
        let cue = hold_cue(&work.join("cue"))?;
        stage.watch(&work);
        let mut argv = vec![stage.zeta.clone().into_os_string()];
        argv.extend(["run", "--as", name, "--state-dir"].map(OsString::from));
        argv.push(stage.state_dir.clone().into_os_string());
        argv.extend(["--", "sh"].map(OsString::from));
        argv.push(script.into_os_string());
        let env = [
            ("ZETA_BIN", stage.zeta.as_os_str()),
            ("DEMO_WORK", work.as_os_str()),
            ("DEMO_REMOTE", remote.path.as_os_str()),
            ("DEMO_TTL", OsStr::new(TTL.0)),
            ("DEMO_GRACE", OsStr::new(GRACE.0)),
            ("GIT_AUTHOR_NAME", OsStr::new(name)),
            ("GIT_COMMITTER_NAME", OsStr::new(name)),
        ];
        let child = stage.start(&argv, &env, &work, &work.join("log"))?;
        Ok(Agent { name, work, child, cue, ended: None, may_end: false })
    }

    /// The process id of its wrapper.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its descriptor, as long as it runs.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.ended.is_none().then(|| self.child.fd())
    }

    /// Takes note of its end; an error if that comes before its time.
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
                let said = std::fs::read_to_string(self.work.join("log.err"));
                let said = said.unwrap_or_default();
                Err(Error::new(Kind::Fault, text).hint(format!("it said: {}", last_line(&said))))
            }
            _ => Ok(()),
        }
    }

    /// Has it come as far as its push.
    pub(super) fn is_ready(&self) -> bool {
        self.work.join("ready").exists()
    }

    /// Gives it its cue: push.
    pub(super) fn give_cue(&mut self) -> Result<()> {
        self.cue.unlock().map_err(|error| {
            Error::new(Kind::Fault, format!("cannot give {} its cue: {error}", self.name))
        })
    }

    /// All its processes.
    pub(super) fn processes(&self, stage: &Sandbox) -> Vec<Listed> {
        stage.processes_of(&self.work)
    }

    /// Sends a signal to all its processes, the wrapper first; those that there were.
    pub(super) fn signal(&self, stage: &Sandbox, signal: Signal) -> Vec<Listed> {
        let processes = self.processes(stage);
        send(&processes, signal);
        processes
    }

    /// Kills all its processes and waits until they are gone; those that there were, and the boot
    /// clock right before.
    pub(super) fn kill(&mut self, stage: &Sandbox) -> (Vec<Listed>, u64) {
        self.may_end = true;
        let until = Instant::now() + Duration::from_secs(5);
        let mut left = self.processes(stage);
        let before_ns = host::reading().boot_ns;
        let mut killed = Vec::new();
        // One of them may have started another one after they were listed.
        while !left.is_empty() && Instant::now() < until {
            let ends: Vec<_> = left.iter().filter_map(|l| process::watch(&l.process)).collect();
            send(&left, Signal::KILL);
            for end in &ends {
                poll_readable(&[end.as_fd()], until.saturating_duration_since(Instant::now()));
            }
            killed.append(&mut left);
            left = self.processes(stage);
        }
        (killed, before_ns)
    }
}

fn send(processes: &[Listed], signal: Signal) {
    for listed in processes {
        // One that ended by itself meanwhile needs no signal.
        let _ = process::signal(&listed.process, signal);
    }
}

/// Process names and ids, for people.
pub(super) fn names(processes: &[Listed]) -> String {
    let names: Vec<String> =
        processes.iter().map(|l| format!("{} {}", l.name, l.process.pid)).collect();
    names.join(", ")
}
