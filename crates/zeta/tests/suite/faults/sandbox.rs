//! A private place for one scene, and the one way in which programs are started: with a limit.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No call may last longer: what hangs is a failure, not a slow test.
const LIMIT: Duration = Duration::from_secs(10);

/// A directory of its own, in memory where there is such a place.
pub struct Stage {
    /// The place.
    pub dir: PathBuf,
    /// What is in it is wiped between two faults; nothing of ours lies there.
    pub world: PathBuf,
    /// As in a hardened unit, where a path is walked one component at a time.
    no_openat2: bool,
}

/// What a program said.
#[derive(Debug)]
pub struct Out {
    /// Its exit status; 128 + n for a signal, -9 if it was ended after [`LIMIT`].
    pub status: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Stage {
    pub fn new(no_openat2: bool) -> Stage {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zeta-faults-{}-{number}", std::process::id());
        let make = |dir: &Path| std::fs::DirBuilder::new().mode(0o700).create(dir);
        let asked = std::env::var_os("ZETA_FAULTS_DIR");
        let first = Path::new(asked.as_deref().unwrap_or("/dev/shm".as_ref())).join(&name);
        let dir = match make(&first) {
            Err(_) if asked.is_none() => {
                let dir = Path::new("/tmp").join(&name);
                make(&dir).unwrap();
                dir
            }
            made => made.map(|()| first).unwrap(),
        };
        let world = dir.join("world");
        make(&world).unwrap();
        Stage { dir, world, no_openat2 }
    }

    /// A program on this stage's tree, in an environment that no machine or user adds to.
    pub fn cmd(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", &self.dir).env("LC_ALL", "C");
        command.env("ZETA_STATE_DIR", self.world.join("state")).env("ZETA_SESSION", "s-1");
        command.env("ZETA_BUS_DIR", self.world.join("bus"));
        if self.no_openat2 {
            command.env("ZETA_NO_OPENAT2", "1");
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(self.cmd(env!("CARGO_BIN_EXE_zeta")).args(args))
    }

    /// A call that must succeed; its data.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("left behind: {}: {error}", self.dir.display());
        }
    }
}

/// Runs a program to its end, or ends it after [`LIMIT`].
pub fn run(command: &mut Command) -> Out {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = end.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        late
    });
    let done = child.wait_with_output().unwrap();
    let took = started.elapsed();
    drop(ended);
    let status = match watchdog.join().unwrap() {
        true => -9,
        false => done.status.code().unwrap_or_else(|| 128 + done.status.signal().unwrap()),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Out { status, out: text(done.stdout), err: text(done.stderr), took }
}

/// Says loudly that a test did not run.
pub fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    let line = format!("SKIPPED: {test}: {why}\n");
    // Past the test harness, which swallows what a passing test prints.
    let _ = std::fs::write("/dev/stderr", &line)
        .or_else(|_| std::io::stderr().write_all(line.as_bytes()));
    if let Some(log) = std::env::var_os("ZETA_SKIPPED_LOG") {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(log).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
