//! The place of one run, its leases, and how a process learns which part it plays.

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

/// The variables by which a process of a run knows its part.
mod key {
    pub const ROLE: &str = "ZETA_TORTURE_ROLE";
    pub const DIR: &str = "ZETA_TORTURE_DIR";
    pub const END: &str = "ZETA_TORTURE_END";
    pub const ZETA: &str = "ZETA_TORTURE_ZETA";
    pub const SELF: &str = "ZETA_TORTURE_SELF";
    /// How far the boot clock of its time namespace is ahead, in ms.
    pub const SHIFT: &str = "ZETA_TORTURE_SHIFT_MS";
    /// The seam of zeta by which its wall clock jumps.
    pub const CLOCK: &str = "ZETA_TEST_CLOCK";
}

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the torment lasts.
    pub length: Duration,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Processes that take leases at a time.
    pub workers: usize,
    /// Leases.
    pub leases: usize,
    /// Where its directory is made.
    pub parent: PathBuf,
    /// Workers skip the lease.
    pub broken: bool,
    /// The logs stay.
    pub keep: bool,
    /// The `zeta` that is tormented.
    pub zeta: PathBuf,
    /// Arguments that let this program play a part.
    pub own_args: String,
}

impl Options {
    /// One minute, as `cargo xtask torture` starts it.
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

/// What a lease has to endure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A long TTL: nobody is replaced but the dead.
    Calm,
    /// A TTL and a grace that stops go beyond: the stopped are replaced, and are fenced.
    Short,
    /// As calm, and somebody outside removes its files, its node, or its whole tree.
    Wild,
    /// As short, and the wall clock jumps for all who take it and for their cleaner.
    Jumpy,
    /// As short, and most of those who take it live in time namespaces of their own.
    Warped,
    /// As calm, and nobody rests: as many grants as the machine can do.
    Busy,
}

/// What the leases have to endure, one after the other.
const KINDS: [Kind; 7] =
    [Kind::Calm, Kind::Short, Kind::Wild, Kind::Jumpy, Kind::Warped, Kind::Busy, Kind::Busy];

/// One of the leases of a run.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Its number.
    pub at: usize,
    /// What it has to endure.
    pub kind: Kind,
}

const STATE: &str = "state";
const WILD_STATE: &str = "wild-state";
/// The node of the wild lease.
pub const WILD_NODE: &str = "wild";
/// The node of the jumpy lease. A cleaner whose wall clock jumps keeps to it: the age of a record
/// from another time namespace is reckoned by that clock (what is not promised, item 17).
const JUMPY_NODE: &str = "jumpy";

impl Lease {
    /// The lease with this number.
    pub fn of(at: usize) -> Lease {
        // Only one is robbed.
        let kind = match KINDS.get(at % KINDS.len()) {
            Some(Kind::Wild) if at >= KINDS.len() => Kind::Calm,
            kind => kind.copied().unwrap_or(Kind::Calm),
        };
        Lease { at, kind }
    }

    /// Its name, and the name of its log.
    pub fn name(self) -> String {
        let kind = match self.kind {
            Kind::Calm => "calm",
            Kind::Short => "short",
            Kind::Wild => "wild",
            Kind::Jumpy => "jumpy",
            Kind::Warped => "warped",
            Kind::Busy => "busy",
        };
        format!("{kind}-{}", self.at)
    }

    /// Its name, checked.
    pub fn record(self) -> Outcomes<RecordName> {
        Ok(RecordName::new("lease", &self.name())?)
    }

    /// The node that it is not the machine's own.
    pub fn node(self) -> Option<&'static str> {
        match self.kind {
            Kind::Wild => Some(WILD_NODE),
            Kind::Jumpy => Some(JUMPY_NODE),
            _ => None,
        }
    }

    /// Can a stop go beyond its TTL and grace?
    pub fn is_short(self) -> bool {
        matches!(self.kind, Kind::Short | Kind::Jumpy | Kind::Warped)
    }

    /// TTL of a grant that is bound to a process. The grace is the same again.
    pub fn ttl_ms(self) -> u64 {
        if self.is_short() { 200 } else { 300_000 }
    }

    /// TTL of a grant that no process is bound to, so that only time ends it.
    pub fn loose_ttl_ms(self) -> u64 {
        if self.is_short() { 300 } else { 2000 }
    }
}

/// The place of a run.
#[derive(Debug, Clone)]
pub struct Arena {
    /// All of it is below here.
    pub dir: PathBuf,
    /// When workers stop, on the boot clock.
    pub end_ns: u64,
    zeta: PathBuf,
    own_args: String,
}

impl Arena {
    /// Makes the place of a new run.
    pub fn new(options: &Options) -> Outcomes<Arena> {
        let name = format!("zeta-torture-{}-{}", options.seed, std::process::id());
        let dir = options.parent.canonicalize()?.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let length_ns = u64::try_from(options.length.as_nanos())?;
        Ok(Arena {
            dir,
            end_ns: now_ns() + length_ns,
            zeta: options.zeta.clone(),
            own_args: options.own_args.clone(),
        })
    }

    /// The place and the part of this process, if it was given one.
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

    /// Where the tree of a lease is. The wild one has another, which goes, too.
    pub fn state(&self, lease: Option<Lease>) -> PathBuf {
        let is_wild = lease.is_some_and(|lease| lease.kind == Kind::Wild);
        self.dir.join(if is_wild { WILD_STATE } else { STATE })
    }

    /// Where records are.
    pub fn nodes(&self) -> [PathBuf; 2] {
        [STATE, WILD_STATE].map(|state| self.dir.join(state).join("nodes"))
    }

    /// Is the run over?
    pub fn over(&self) -> bool {
        now_ns() >= self.end_ns
    }

    /// This program, to play `role`, perhaps at a lease.
    pub fn part(&self, lease: Option<Lease>, role: &str) -> Outcomes<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(self.own_args.split_whitespace());
        self.dress(&mut command, lease, role);
        Ok(command)
    }

    /// Lets a command start where the boot clock is ahead by so much.
    pub fn warp(&self, command: &mut Command, shift_ms: i64) {
        command.env(SHIFT, shift_ms.to_string());
        super::child::warp(command, shift_ms);
    }

    /// The file by which the wall clock of the jumpy lease is shifted.
    pub fn clock(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// Can the wall clock of this program and of the `zeta` that is tormented be shifted?
    pub fn has_seam(&self) -> Outcomes<bool> {
        let name = CLOCK.as_bytes();
        let zeta = std::fs::read(&self.zeta)?;
        let there = zeta.windows(name.len()).any(|window| window == name);
        Ok(there && zeta_os::clock::HAS_SEAM)
    }

    /// The words of a command that plays the part that [`Arena::zeta`] is dressed for.
    pub fn own_words(&self) -> Outcomes<Vec<std::ffi::OsString>> {
        let mut words = vec![std::env::current_exe()?.into_os_string()];
        words.extend(self.own_args.split_whitespace().map(Into::into));
        Ok(words)
    }

    /// The command line. What it runs under a lease plays `role`.
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
        command.env("ZETA_STATE_DIR", self.state(lease)).env(ROLE, role).env(DIR, &self.dir);
        command.env(END, self.end_ns.to_string()).env(ZETA, &self.zeta).env(SELF, &self.own_args);
        command.env(SHIFT, shift_ms().to_string());
        if lease.is_some_and(|lease| lease.kind == Kind::Jumpy) {
            command.env(CLOCK, self.clock());
        }
    }

    /// The caller of the library.
    pub fn context(&self, lease: Lease) -> Outcomes<Context> {
        let node = lease.node().map(|node| Label::new("node", node)).transpose()?;
        let ctx = Context {
            state_dir: self.state(Some(lease)),
            node,
            agent: Label::new("agent", "worker")?,
            agent_named: true,
            session: None,
            fenced: None,
            bus_dir: self.state(Some(lease)).with_extension("bus"),
            lease_ended: |_, _| (),
            host: Host::default(),
        };
        Ok(ctx.on_this_host()?)
    }
}

/// CLOCK_BOOTTIME outside of all time namespaces: monotonic, one for all processes, and the clock
/// that TTLs are reckoned by.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    outside_ns(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// A time of our boot clock, by that of those outside.
pub fn outside_ns(ns: u64) -> u64 {
    ns.saturating_add_signed(-shift_ms() * 1_000_000)
}

/// How far our boot clock is ahead of that of those outside.
fn shift_ms() -> i64 {
    static SHIFT_MS: OnceLock<i64> = OnceLock::new();
    let read = || std::env::var(SHIFT).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    *SHIFT_MS.get_or_init(read)
}
