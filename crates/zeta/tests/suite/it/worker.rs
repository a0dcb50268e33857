//! The crowd: this test binary started again, doing one job in a loop through the library.
//!
//! A job comes in the variable `ZETA_IT_JOB`; without it the test below has nothing to do.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use zeta_core::evidence::Processes;
use zeta_core::lease::{AcquireRequest, Policy};
use zeta_core::name::{Label, RecordName};
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions};

use super::oracle::monotonic_ns;
use crate::support::Sandbox;

/// What a worker is to do.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    /// Take one lease again and again, waiting in line: `rounds` grants.
    Loop { rounds: u64 },
    /// The same until killed, with a pause inside, so that kills hit at any point.
    Forever,
    /// As `Loop`, with no lock at all: the harness must notice.
    Unlocked { rounds: u64 },
    /// Try to take lease number k at the moment `start + k * every`, once.
    Volley { rounds: u64, start_ns: u64, every_ns: u64 },
}

impl Job {
    fn words(self) -> String {
        match self {
            Job::Loop { rounds } => format!("loop {rounds}"),
            Job::Forever => "forever".to_owned(),
            Job::Unlocked { rounds } => format!("unlocked {rounds}"),
            Job::Volley { rounds, start_ns, every_ns } => {
                format!("volley {rounds} {start_ns} {every_ns}")
            }
        }
    }
}

/// Starts a worker; its name is its process id.
pub fn start(sandbox: &Sandbox, job: Job) -> Child {
    let mut command: Command =
        sandbox.other(std::env::current_exe().unwrap().to_str().unwrap(), &[]);
    command.args(["--exact", "it::worker::works", "--nocapture", "--test-threads=1"]);
    command.env("ZETA_IT_JOB", job.words()).env("ZETA_IT_LOG", log(sandbox));
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Where the workers of a sandbox write.
pub fn log(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir.join("log")
}

#[test]
fn works() {
    let Ok(job) = std::env::var("ZETA_IT_JOB") else { return };
    let log = PathBuf::from(std::env::var_os("ZETA_IT_LOG").unwrap());
    let words: Vec<&str> = job.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    match words[0] {
        "loop" => holds(&log, Some(number(1)), 0),
        "forever" => holds(&log, None, 50),
        "unlocked" => unlocked(&log, number(1)),
        "volley" => volley(&log, number(1), number(2), number(3)),
        other => panic!("no such job: {other}"),
    }
}

/// The library's caller for one process on the tree of the environment.
pub fn context(state: &Path) -> Context {
    Context {
        state_dir: state.to_owned(),
        node: None,
        agent: Label::new("agent", "worker").unwrap(),
        agent_named: true,
        session: None,
        fenced: None,
        lasting_dir: None,
        bus_dir: state.with_extension("bus"),
        lease_ended: |_, _| (),
        cluster: None,
        host: host::host().unwrap(),
    }
}

pub fn ask(lease: &str) -> AcquireRequest {
    let own = Some(process::identify_self());
    AcquireRequest {
        lease: RecordName::new("lease", lease).unwrap(),
        lease_id: host::random_hex().unwrap(),
        agent: Label::new("agent", "worker").unwrap(),
        session: None,
        processes: Processes { own, child: None, pid_ns: None },
        pr: None,
        uid: 0,
        ttl_ms: 300_000,
        grace_ms: None,
        policy: Policy::Reclaim,
        purpose: None,
        joint: None,
        in_cluster: false,
    }
}

fn own_context() -> Context {
    context(Path::new(&std::env::var_os("ZETA_STATE_DIR").unwrap()))
}

fn open_log(log: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap()
}

fn say(log: &mut std::fs::File, what: &str, token: u64) {
    let line = format!("{what} {token} {} {}\n", monotonic_ns(), std::process::id());
    log.write_all(line.as_bytes()).unwrap();
}

fn holds(log: &Path, rounds: Option<u64>, pause_us: u64) {
    let ctx = own_context();
    let handle = ctx.open().unwrap();
    let mut log = open_log(log);
    let mut round = 0;
    // Half of a crowd keeps guard and ticket from the wait to the release, the others nothing.
    let keeps = std::process::id().is_multiple_of(2);
    let lease = ask("shared").lease;
    let mut stand = LeaseHandle::new(&handle, &lease);
    while rounds.is_none_or(|rounds| round < rounds) {
        round += 1;
        let ask = ask("shared");
        let mut patience = WaitOptions { limit_ms: Some(60_000), on_wait: &mut |_, _| {} };
        let mut commit = |_: &mut _| Ok(());
        let outcome = match keeps {
            true => stand.acquire(&ask, &mut patience, &mut commit),
            false => LeaseHandle::new(&handle, &lease).acquire(&ask, &mut patience, &mut commit),
        };
        let outcome = outcome.unwrap();
        let Outcome::Granted { record, .. } = outcome else {
            panic!("waited in vain: {outcome:?}")
        };
        say(&mut log, "enter", record.fencing_token.get());
        if pause_us > 0 {
            std::thread::sleep(std::time::Duration::from_micros(pause_us * (round % 20)));
        }
        say(&mut log, "leave", record.fencing_token.get());
        let released = match keeps {
            true => stand.release(record.fencing_token),
            false => ctx.as_holder(&lease, |node| node.release(&lease, record.fencing_token)),
        };
        assert!(released.unwrap().is_ok());
    }
}

fn unlocked(log: &Path, rounds: u64) {
    let mut log = open_log(log);
    for _ in 0..rounds {
        let token = monotonic_ns();
        say(&mut log, "enter", token);
        std::thread::yield_now();
        say(&mut log, "leave", token);
    }
}

fn volley(log: &Path, rounds: u64, start_ns: u64, every_ns: u64) {
    let ctx = own_context();
    let handle = ctx.open().unwrap();
    let mut log = open_log(log);
    for round in 0..rounds {
        let at = start_ns + round * every_ns;
        while monotonic_ns() < at {
            std::thread::sleep(std::time::Duration::from_nanos(
                at.saturating_sub(monotonic_ns()).saturating_sub(20_000),
            ));
        }
        let mut ask = ask(&format!("volley-{round}"));
        // A session's lease: it outlives this process, however late the last of the crowd comes.
        ask.processes = Processes::default();
        let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
        let mut stand = LeaseHandle::new(&handle, &ask.lease);
        match stand.acquire(&ask, &mut patience, &mut |_| Ok(())).unwrap() {
            Outcome::Granted { record, .. } => {
                let line = format!("won {round} {}\n", record.fencing_token);
                log.write_all(line.as_bytes()).unwrap();
            }
            Outcome::Refused(_) => log.write_all(format!("lost {round} 0\n").as_bytes()).unwrap(),
        }
    }
}
