//! The processes of one tick: how they begin, and that none is left at the end.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zeta_core::evidence::Process;
use zeta_core::schedule::outage::STDERR_MAX;
use zeta_os::cgroup::{Delegated, Group, Limits};
use zeta_os::descent;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::process::{self, Listed};
use zeta_os::signal::Signals;

use crate::store::Cut;

/// The group of a tick.
const GROUP: &str = "tick";
/// How long the end of killed processes is waited for.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long the rest of stderr is waited for when all processes have ended.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// Variables of the supervisor's own service and session, which are not those of the agent.
const NOT_PASSED_ON: [&str; 11] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "ZETA_AGENT",
    "ZETA_SESSION",
    "ZETA_LEASE",
    "ZETA_FENCING_TOKEN",
    "ZETA_FENCED",
];

/// What all ticks of a post have in common.
pub(super) struct Workshop {
    part: Option<Delegated>,
    /// The variable by which the processes of a tick are known.
    mark: (&'static str, OsString),
}

impl Workshop {
    /// Ends what an earlier supervisor of this post left running.
    pub(super) fn open(part: Option<Delegated>, mark: (&'static str, OsString)) -> Workshop {
        let workshop = Workshop { part, mark };
        let group = workshop.part.as_ref().map(|part| part.make(GROUP, &Limits::default()));
        if let Some(Ok(group)) = group {
            let _ = group.remove();
        }
        workshop.end_all();
        workshop
    }

    /// Starts the processes of a tick.
    ///
    /// # Errors
    /// The first of them cannot be started; nothing runs then.
    pub(super) fn begin(
        &self,
        argv: &[OsString],
        dir: &Path,
        limits: &Limits,
        signals: &Signals,
    ) -> Result<Running> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(Error::usage("a tick needs a command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(dir).process_group(0);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        NOT_PASSED_ON.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env(self.mark.0, &self.mark.1);
        signals.pass_on_inherited(&mut command);
        let group = self.part.as_ref().map(|part| part.make(GROUP, limits)).transpose();
        let group = group.map_err(|error| {
            Error::new(Kind::Fault, format!("cannot make a control group for a tick: {error}"))
        })?;
        if let Some(group) = &group {
            group.join(&mut command);
        }
        let mut child = command.spawn().map_err(|error| {
            let program = Path::new(program).display();
            Error::new(Kind::Fault, format!("cannot start {program} in {}: {error}", dir.display()))
        })?;
        let process = process::identify(child.id());
        let (fd, tail) = (process::watch(&process), Tail::follow(child.stderr.take()));
        Ok(Running { child, process, fd, tail, group })
    }

    /// Ends all processes of a tick; returns its status, and those that would not end. Where this
    /// process does not hold the post, what only carries the mark may be the tick of a successor.
    pub(super) fn end(&self, running: Running, holds_post: bool) -> Ended {
        let Running { mut child, tail, group, .. } = running;
        let mut is_empty = true;
        let mut memory_kills = 0;
        if let Some(group) = &group {
            is_empty = group.end(END_LIMIT);
            memory_kills = group.memory_kills();
        } else {
            // It is no child of this process any more when its status is known.
            let _ = child.kill();
        }
        let status = child.wait().ok();
        let left = if holds_post { self.end_all() } else { descent::end_below(END_LIMIT) };
        if is_empty && let Some(group) = group {
            let _ = group.remove();
        }
        let status = status.and_then(|status| {
            let signalled = status.signal().map(|signal| 128 + signal);
            u8::try_from(status.code().or(signalled)?).ok()
        });
        Ended { status: status.unwrap_or(255), memory_kills, stderr: tail.take(), left }
    }

    /// Ends all processes below this one, and those of a tick that are elsewhere.
    fn end_all(&self) -> Vec<Listed> {
        let (name, value) = &self.mark;
        descent::end_all(&format!("{name}={}", value.to_string_lossy()), END_LIMIT)
    }
}

/// A tick that runs.
pub(super) struct Running {
    child: Child,
    process: Process,
    /// Becomes readable when it ends; `None` if it has ended at once.
    fd: Option<OwnedFd>,
    tail: Tail,
    group: Option<Group>,
}

impl Running {
    /// The process id of its first process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that becomes readable when its first process ends; `None` if it has ended.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(|fd| fd.as_fd())
    }

    /// The limits that the kernel does not keep.
    pub(super) fn unheld(&self) -> &[&'static str] {
        self.group.as_ref().map_or(&[], |group| &group.unheld)
    }

    /// Asks its first process to end, which passes that on.
    pub(super) fn ask_to_end(&self) {
        // One that has ended is not there.
        let _ = process::ask_to_end(&self.process);
    }
}

/// How a tick ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit status of its first process; 128 + n for a signal.
    pub(super) status: u8,
    /// How many of its processes were killed because they had too much memory.
    pub(super) memory_kills: u64,
    /// The end of what it said on stderr.
    pub(super) stderr: Vec<u8>,
    /// The processes that would not end.
    pub(super) left: Vec<Listed>,
}

/// How a tick went.
pub(super) enum Went {
    /// It came to an end: how, how long it took, and the session of the tool.
    Ended(Ended, Option<Cut>, u64, Option<String>),
    /// Another process has the lease of the persona.
    Busy,
    /// It could not begin.
    NotBegun,
    /// A signal asked this process to end.
    Asked,
}

/// The end of a stream that is passed on. A thread copies it: a reader of this process's stderr
/// that does not read holds up the agent, and what the supervisor says, on another thread.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

impl Tail {
    fn follow(stream: Option<ChildStderr>) -> Tail {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (ends, done) = channel::<()>();
        let into = Arc::clone(&kept);
        std::thread::spawn(move || {
            let _ends = ends;
            let Some(mut stream) = stream else { return };
            let mut part = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut part) {
                let part = part.get(..len).unwrap_or_default();
                // Before it is passed on, which may take for ever.
                if let Ok(mut kept) = into.lock() {
                    kept.extend_from_slice(part);
                    let over = kept.len().saturating_sub(STDERR_MAX);
                    kept.drain(..over);
                }
                let _ = std::io::stderr().write_all(part);
            }
        });
        Tail { kept, done }
    }

    /// Takes what was kept, when the stream has ended or no more comes.
    fn take(self) -> Vec<u8> {
        let _ = self.done.recv_timeout(REST_LIMIT);
        self.kept.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
    }
}
