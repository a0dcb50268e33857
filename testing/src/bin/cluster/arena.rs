//! The options and the directory of a run, and the variables that give each process its role.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::Outcomes;

const ROLE: &str = "ZETA_CLUSTER_ROLE";
const DIR: &str = "ZETA_CLUSTER_ARENA";
/// The seam of zeta that shifts its wall clock.
const CLOCK: &str = "ZETA_TEST_CLOCK";
/// The file with what holds for the whole run.
const SETTING: &str = "setting.json";

/// The number of nodes; each has as many clients.
pub const NODES: usize = 3;
/// The number of clients of a node.
pub const CLIENTS: usize = 3;
/// The number of leases.
pub const LEASES: usize = 6;
/// How long nothing is disturbed at the end, so that all calls can be resolved.
const REST: Duration = Duration::from_secs(20);

/// What the judge must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing wrong.
    Safe,
    /// Two holders at once.
    Double,
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The duration of the run.
    pub length: Duration,
    /// The seed of all random choices.
    pub seed: u64,
    /// The server under test.
    pub server: PathBuf,
    /// How many servers keep each stream; as many servers are started.
    pub replicas: usize,
    /// What the judge must find.
    pub expect: Expect,
    /// Clients take leases as the verbs do, with a tree and a bridge for each node.
    pub verbs: bool,
    /// Servers come back with older copies of their stores.
    pub loss: bool,
    /// Servers, which flush each write, lose their power.
    pub power: bool,
    /// Nothing is disturbed.
    pub calm: bool,
    /// The directory in which the run's directory is created.
    pub parent: PathBuf,
    /// Keep the logs.
    pub keep: bool,
}

/// One minute.
impl Default for Options {
    fn default() -> Options {
        Options {
            length: Duration::from_secs(60),
            seed: fastrand::u64(..1_000_000_000),
            server: std::env::var_os("ZETA_NATS_SERVER").unwrap_or_default().into(),
            replicas: 3,
            expect: Expect::Safe,
            verbs: false,
            loss: false,
            power: false,
            calm: false,
            parent: std::env::temp_dir(),
            keep: false,
        }
    }
}

/// What all processes of a run know.
#[derive(Debug, Clone)]
pub struct Arena {
    /// The directory of the run.
    pub dir: PathBuf,
    /// The time at which clients stop, by the boot clock.
    pub end_ns: u64,
    /// The duration of the run, in seconds.
    pub seconds: f64,
    /// The seed.
    pub seed: u64,
    /// The server under test.
    pub server: PathBuf,
    /// How many servers there are.
    pub replicas: usize,
    /// The judge must find two holders at once.
    pub expects_double: bool,
    /// Clients take leases as the verbs do, with a tree and a bridge for each node.
    pub verbs: bool,
    /// Servers come back with older copies of their stores.
    pub loss: bool,
    /// Servers, which flush each write, lose their power.
    pub power: bool,
    /// Nothing is disturbed.
    pub calm: bool,
}

impl Arena {
    /// Creates the directory of a new run.
    pub fn new(options: &Options) -> Outcomes<Arena> {
        let name = format!("zeta-cluster-{}-{}", options.seed, std::process::id());
        let dir = options.parent.canonicalize()?.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let length_ns = u64::try_from(options.length.as_nanos())?;
        let setting = json!({
            "end_ns": now_ns() + length_ns,
            "seconds": options.length.as_secs_f64(),
            "seed": options.seed,
            "server": options.server.canonicalize()?.to_string_lossy(),
            "replicas": options.replicas,
            "expects_double": options.expect == Expect::Double,
            "verbs": options.verbs,
            "loss": options.loss,
            "power": options.power,
            "calm": options.calm,
        });
        std::fs::write(dir.join(SETTING), setting.to_string())?;
        for node in 0..NODES {
            std::fs::write(dir.join(clock_name(node)), 0_i64.to_ne_bytes())?;
        }
        Arena::read(&dir)
    }

    fn read(dir: &Path) -> Outcomes<Arena> {
        let setting: Value = serde_json::from_slice(&std::fs::read(dir.join(SETTING))?)?;
        let number = |key: &str| setting[key].as_u64().ok_or(format!("no {key} in {SETTING}"));
        let text = |key: &str| setting[key].as_str().unwrap_or_default();
        let flag = |key: &str| setting[key].as_bool().unwrap_or(false);
        Ok(Arena {
            dir: dir.to_owned(),
            end_ns: number("end_ns")?,
            seconds: setting["seconds"].as_f64().unwrap_or(0.0),
            seed: number("seed")?,
            server: text("server").into(),
            replicas: number("replicas")?.try_into()?,
            expects_double: flag("expects_double"),
            verbs: flag("verbs"),
            loss: flag("loss"),
            power: flag("power"),
            calm: flag("calm"),
        })
    }

    /// Returns the run and the role of this process, if it has one.
    pub fn of_this_process() -> Outcomes<Option<(Arena, String)>> {
        let Ok(role) = std::env::var(ROLE) else { return Ok(None) };
        let dir = std::env::var(DIR).map_err(|error| format!("{DIR}: {error}"))?;
        Ok(Some((Arena::read(dir.as_ref())?, role)))
    }

    /// Makes a command of this program in `role`.
    pub fn part(&self, role: &str) -> Outcomes<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env(ROLE, role).env(DIR, &self.dir);
        Ok(command)
    }

    /// As [`Arena::part`], with the wall clock of a node.
    pub fn part_on(&self, node: usize, role: &str) -> Outcomes<Command> {
        let mut command = self.part(role)?;
        command.env(CLOCK, self.clock(node));
        Ok(command)
    }

    /// Returns the file that shifts the wall clock of a node.
    pub fn clock(&self, node: usize) -> PathBuf {
        self.dir.join(clock_name(node))
    }

    /// Reports whether the run is over.
    pub fn over(&self) -> bool {
        now_ns() >= self.end_ns
    }

    /// The time from which on nothing is disturbed, by the boot clock.
    pub fn rest_ns(&self) -> u64 {
        self.end_ns.saturating_sub(u64::try_from(REST.as_nanos()).unwrap_or(0))
    }
}

fn clock_name(node: usize) -> String {
    format!("clock-{node}")
}

/// The name of a lease, which is also the name of its log.
pub fn lease_name(at: usize) -> String {
    format!("lease-{at}")
}

/// Reads CLOCK_BOOTTIME, the clock of the TTLs: one for all processes of a run.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
