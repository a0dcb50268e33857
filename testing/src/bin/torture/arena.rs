//! The directory of one run, its leases, and the variables that give each process its role.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Host;
use zeta_state::context::Context;

use self::key::{CLOCK, DIR, END, ROLE, SELF, SHIFT, ZETA};
use super::Outcomes;

/// The variables that give a process its role in a run.
mod key {
    pub const ROLE: &str = "ZETA_TORTURE_ROLE";
    pub const DIR: &str = "ZETA_TORTURE_DIR";
    pub const END: &str = "ZETA_TORTURE_END";
    pub const ZETA: &str = "ZETA_TORTURE_ZETA";
    pub const SELF: &str = "ZETA_TORTURE_SELF";
    /// The offset of the boot clock in the process's time namespace, in ms.
    pub const SHIFT: &str = "ZETA_TORTURE_SHIFT_MS";
    /// The seam of zeta that shifts its wall clock.
    pub const CLOCK: &str = "ZETA_TEST_CLOCK";
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The duration of the run.
    pub length: Duration,
    /// The seed of all random choices.
    pub seed: u64,
    /// The number of workers at a time.
    pub workers: usize,
    /// The number of leases.
    pub leases: usize,
    /// The directory in which the run's directory is created.
    pub parent: PathBuf,
    /// Workers enter without a lease, so the judge must find violations.
    pub broken: bool,
    /// Keep the logs.
    pub keep: bool,
    /// The `zeta` binary under test.
    pub zeta: PathBuf,
    /// The arguments that make this program take a role.
    pub own_args: String,
}

impl Options {
    /// Returns the options of one minute, as `cargo xtask torture` uses them.
    pub fn new() -> Outcomes<Options> {
        let program = std::env::current_exe()?;
        // Both are in target/<profile>.
        let built = program.parent().ok_or("no place for zeta")?;
        Ok(Options {
            length: Duration::from_secs(60),
            seed: fastrand::u64(..1_000_000_000),
            workers: 16,
            leases: KINDS.len(),
            parent: std::env::temp_dir(),
            broken: false,
            keep: false,
            zeta: built.join("zeta"),
            own_args: String::new(),
        })
    }
}

/// The disturbances of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A long TTL: only dead holders are replaced.
    Calm,
    /// Stops last longer than TTL and grace: stopped holders are replaced and fenced.
    Short,
    /// Like calm, and an outsider removes its files, its node, or its whole tree.
    Wild,
    /// Like short, and the wall clock of its workers and of their cleaner jumps.
    Jumpy,
    /// Like short, and most of its workers are in time namespaces of their own.
    Warped,
    /// Like calm, and without pauses: as many grants as the machine can do.
    Busy,
    /// No lease but an item that is claimed, by `zeta` and by the rules of the original.
    Item,
}

/// The disturbances of the leases, in the order of their numbers.
const KINDS: [Kind; 8] = [
    Kind::Calm,
    Kind::Short,
    Kind::Wild,
    Kind::Jumpy,
    Kind::Warped,
    Kind::Busy,
    Kind::Busy,
    Kind::Item,
];

/// A lease of a run.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// The number of the lease.
    pub at: usize,
    /// The disturbances of the lease.
    pub kind: Kind,
}

const STATE: &str = "state";
const WILD_STATE: &str = "wild-state";
/// The node of the wild lease.
pub const WILD_NODE: &str = "wild";
/// The node of the jumpy lease. A cleaner whose wall clock jumps works on this node only, because
/// it computes the age of a record from another time namespace by that clock (not promised, item
/// 17).
const JUMPY_NODE: &str = "jumpy";

impl Lease {
    /// Returns the lease with this number.
    pub fn of(at: usize) -> Lease {
        // Only one lease loses files, and there is one item.
        let kind = match KINDS.get(at % KINDS.len()) {
            Some(Kind::Wild | Kind::Item) if at >= KINDS.len() => Kind::Calm,
            kind => kind.copied().unwrap_or(Kind::Calm),
        };
        Lease { at, kind }
    }

    /// Returns the name of the lease, which is also the name of its log.
    pub fn name(self) -> String {
        let kind = match self.kind {
            Kind::Calm => "calm",
            Kind::Short => "short",
            Kind::Wild => "wild",
            Kind::Jumpy => "jumpy",
            Kind::Warped => "warped",
            Kind::Busy => "busy",
            Kind::Item => "item",
        };
        format!("{kind}-{}", self.at)
    }

    /// Returns the name of the lease as a record name.
    pub fn record(self) -> Outcomes<RecordName> {
        Ok(RecordName::new("lease", &self.name())?)
    }

    /// Returns the node of the lease, if it is not the machine's own.
    pub fn node(self) -> Option<&'static str> {
        match self.kind {
            Kind::Wild => Some(WILD_NODE),
            Kind::Jumpy => Some(JUMPY_NODE),
            _ => None,
        }
    }

    /// Reports whether a stop can last longer than TTL and grace.
    pub fn is_short(self) -> bool {
        matches!(self.kind, Kind::Short | Kind::Jumpy | Kind::Warped)
    }

    /// Returns the TTL of a grant that is bound to a process. The grace is equally long.
    pub fn ttl_ms(self) -> u64 {
        if self.is_short() { 200 } else { 300_000 }
    }

    /// Returns the TTL of a grant that is bound to no process, so that only time ends it.
    pub fn loose_ttl_ms(self) -> u64 {
        if self.is_short() { 300 } else { 2000 }
    }
}

/// The directory and the clock of a run.
#[derive(Debug, Clone)]
pub struct Arena {
    /// The directory of the run.
    pub dir: PathBuf,
    /// The time at which workers stop, by the boot clock.
    pub end_ns: u64,
    zeta: PathBuf,
    own_args: String,
}

impl Arena {
    /// Creates the directory of a new run.
    pub fn new(options: &Options) -> Outcomes<Arena> {
        let name = format!("zeta-torture-{}-{}", options.seed, std::process::id());
        let dir = options.parent.canonicalize()?.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        std::fs::DirBuilder::new().mode(0o700).create(dir.join("bus"))?;
        let length_ns = u64::try_from(options.length.as_nanos())?;
        Ok(Arena {
            dir,
            end_ns: now_ns() + length_ns,
            zeta: options.zeta.clone(),
            own_args: options.own_args.clone(),
        })
    }

    /// Returns the run and the role of this process, if it has one.
    pub fn of_this_process() -> Outcomes<Option<(Arena, String)>> {
        let Ok(role) = std::env::var(ROLE) else { return Ok(None) };
        let of = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
        let arena = Arena {
            dir: of(DIR)?.into(),
            end_ns: of(END)?.parse()?,
            zeta: of(ZETA)?.into(),
            own_args: of(SELF)?,
        };
        Ok(Some((arena, role)))
    }

    /// Returns the state directory of a lease. The wild lease has its own, which is removed at
    /// times.
    pub fn state(&self, lease: Option<Lease>) -> PathBuf {
        let is_wild = lease.is_some_and(|lease| lease.kind == Kind::Wild);
        self.dir.join(if is_wild { WILD_STATE } else { STATE })
    }

    /// Returns the bus.
    pub fn bus(&self) -> PathBuf {
        self.dir.join("bus")
    }

    /// Returns the directories with records.
    pub fn nodes(&self) -> [PathBuf; 2] {
        [STATE, WILD_STATE].map(|state| self.dir.join(state).join("nodes"))
    }

    /// Reports whether the run is over.
    pub fn over(&self) -> bool {
        now_ns() >= self.end_ns
    }

    /// Makes a command of this program in `role`, perhaps for a lease.
    pub fn part(&self, lease: Option<Lease>, role: &str) -> Outcomes<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(self.own_args.split_whitespace());
        self.dress(&mut command, lease, role);
        Ok(command)
    }

    /// Makes a command start in a time namespace with this offset of the boot clock.
    pub fn warp(&self, command: &mut Command, shift_ms: i64) {
        command.env(SHIFT, shift_ms.to_string());
        super::child::warp(command, shift_ms);
    }

    /// Returns the file that shifts the wall clock of the jumpy lease.
    pub fn clock(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// Reports whether the wall clock of this program and of the `zeta` under test can be shifted.
    pub fn has_seam(&self) -> Outcomes<bool> {
        let name = CLOCK.as_bytes();
        let zeta = std::fs::read(&self.zeta)?;
        let there = zeta.windows(name.len()).any(|window| window == name);
        Ok(there && zeta_os::clock::HAS_SEAM)
    }

    /// Returns the command for the role that [`Arena::zeta`] prepares.
    pub fn own_words(&self) -> Outcomes<Vec<std::ffi::OsString>> {
        let mut words = vec![std::env::current_exe()?.into_os_string()];
        words.extend(self.own_args.split_whitespace().map(Into::into));
        Ok(words)
    }

    /// Makes a call of the command line. The command under its lease has `role`.
    pub fn zeta(&self, lease: Option<Lease>, role: &str) -> Command {
        let mut command = Command::new(&self.zeta);
        self.dress(&mut command, lease, role);
        if let Some(node) = lease.and_then(Lease::node) {
            command.env("ZETA_NODE", node);
        }
        command
    }

    fn dress(&self, command: &mut Command, lease: Option<Lease>, role: &str) {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env("HOME", "/").env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
        command.env("ZETA_STATE_DIR", self.state(lease)).env(ROLE, role).env(DIR, &self.dir);
        command.env("ZETA_BUS_DIR", self.bus());
        command.env(END, self.end_ns.to_string()).env(ZETA, &self.zeta).env(SELF, &self.own_args);
        command.env(SHIFT, shift_ms().to_string());
        if lease.is_some_and(|lease| lease.kind == Kind::Jumpy) {
            command.env(CLOCK, self.clock());
        }
    }

    /// Returns the context for calls of the library.
    pub fn context(&self, lease: Lease) -> Outcomes<Context> {
        let node = lease.node().map(|node| Label::new("node", node)).transpose()?;
        let ctx = Context {
            state_dir: self.state(Some(lease)),
            node,
            agent: Label::new("agent", "worker")?,
            agent_named: true,
            session: None,
            fenced: None,
            lasting_dir: None,
            bus_dir: self.bus(),
            lease_ended: |_, _| (),
            cluster: None,
            host: Host::default(),
        };
        Ok(ctx.on_this_host()?)
    }
}

/// Reads CLOCK_BOOTTIME outside of all time namespaces: monotonic, the same for all processes, and
/// the clock of the TTLs.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    outside_ns(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Converts a time of this process's boot clock to the boot clock outside of time namespaces.
pub fn outside_ns(ns: u64) -> u64 {
    ns.saturating_add_signed(-shift_ms() * 1_000_000)
}

/// Returns the offset of this process's boot clock from the one outside of time namespaces.
fn shift_ms() -> i64 {
    static SHIFT_MS: OnceLock<i64> = OnceLock::new();
    let read = || std::env::var(SHIFT).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    *SHIFT_MS.get_or_init(read)
}
