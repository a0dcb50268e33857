//! The place of one run, its leases, and how a process learns which part it plays.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use zeta::context::Context;
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Host;

use self::key::{DIR, END, ROLE, SELF, ZETA};

/// What can go wrong here ends the process with its story.
pub type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

/// The variables by which a process of a run knows its part.
mod key {
    pub const ROLE: &str = "ZETA_TORTURE_ROLE";
    pub const DIR: &str = "ZETA_TORTURE_DIR";
    pub const END: &str = "ZETA_TORTURE_END";
    pub const ZETA: &str = "ZETA_TORTURE_ZETA";
    pub const SELF: &str = "ZETA_TORTURE_SELF";
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
        // target/<profile>/examples/torture stands one below target/<profile>/zeta.
        let built = program.parent().and_then(Path::parent).ok_or("no place for zeta")?;
        Ok(Options {
            length: Duration::from_secs(60),
            seed: fastrand::u64(..1_000_000_000),
            workers: 12,
            leases: 4,
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
    /// As calm, and somebody outside removes its files. On a node of its own, which goes, too.
    Wild,
}

/// One of the leases of a run.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Its number.
    pub at: usize,
    /// What it has to endure.
    pub kind: Kind,
}

/// The node of the wild lease.
pub const WILD_NODE: &str = "wild";

impl Lease {
    /// The lease with this number.
    pub fn of(at: usize) -> Lease {
        let kind = match at {
            1 => Kind::Short,
            2 => Kind::Wild,
            at if at % 2 == 0 => Kind::Calm,
            3 => Kind::Calm,
            _ => Kind::Short,
        };
        Lease { at, kind }
    }

    /// Its name, and the name of its log.
    pub fn name(self) -> String {
        let kind = match self.kind {
            Kind::Calm => "calm",
            Kind::Short => "short",
            Kind::Wild => "wild",
        };
        format!("{kind}-{}", self.at)
    }

    /// Its name, checked.
    pub fn record(self) -> Outcomes<RecordName> {
        Ok(RecordName::new("lease", &self.name())?)
    }

    /// The node that it is not the machine's own.
    pub fn node(self) -> Option<&'static str> {
        (self.kind == Kind::Wild).then_some(WILD_NODE)
    }

    /// TTL of a grant that is bound to a process. The grace is the same again.
    pub fn ttl_ms(self) -> u64 {
        if self.kind == Kind::Short { 200 } else { 300_000 }
    }

    /// TTL of a grant that no process is bound to, so that only time ends it.
    pub fn loose_ttl_ms(self) -> u64 {
        if self.kind == Kind::Short { 300 } else { 2000 }
    }
}

/// The place of a run.
#[derive(Debug, Clone)]
pub struct Stage {
    /// All of it is below here.
    pub dir: PathBuf,
    /// When workers stop, on the boot clock.
    pub end_ns: u64,
    zeta: PathBuf,
    own_args: String,
}

impl Stage {
    /// Makes the place of a new run.
    pub fn new(options: &Options) -> Outcomes<Stage> {
        let name = format!("zeta-torture-{}-{}", options.seed, std::process::id());
        let dir = options.parent.canonicalize()?.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let length_ns = u64::try_from(options.length.as_nanos())?;
        Ok(Stage {
            dir,
            end_ns: now_ns() + length_ns,
            zeta: options.zeta.clone(),
            own_args: options.own_args.clone(),
        })
    }

    /// The place and the part of this process, if it was given one.
    pub fn of_this_process() -> Outcomes<Option<(Stage, String)>> {
        let Ok(role) = std::env::var(ROLE) else { return Ok(None) };
        let of = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
        let stage = Stage {
            dir: of(DIR)?.into(),
            end_ns: of(END)?.parse()?,
            zeta: of(ZETA)?.into(),
            own_args: of(SELF)?,
        };
        Ok(Some((stage, role)))
    }

    /// Where the tree is.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Is the run over?
    pub fn over(&self) -> bool {
        now_ns() >= self.end_ns
    }

    /// This program, to play `role`.
    pub fn part(&self, role: &str) -> Outcomes<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(self.own_args.split_whitespace());
        self.dress(&mut command, role);
        Ok(command)
    }

    /// The words of a command that plays the part that [`Stage::zeta`] is dressed for.
    pub fn own_words(&self) -> Outcomes<Vec<std::ffi::OsString>> {
        let mut words = vec![std::env::current_exe()?.into_os_string()];
        words.extend(self.own_args.split_whitespace().map(Into::into));
        Ok(words)
    }

    /// The command line. What it runs under a lease plays `role`.
    pub fn zeta(&self, lease: Option<Lease>, role: &str) -> Command {
        let mut command = Command::new(&self.zeta);
        self.dress(&mut command, role);
        if let Some(node) = lease.and_then(Lease::node) {
            command.env("ZETA_NODE", node);
        }
        command
    }

    fn dress(&self, command: &mut Command, role: &str) {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env("ZETA_STATE_DIR", self.state()).env(ROLE, role).env(DIR, &self.dir);
        command.env(END, self.end_ns.to_string()).env(ZETA, &self.zeta).env(SELF, &self.own_args);
    }

    /// The caller of the library.
    pub fn context(&self, lease: Lease) -> Outcomes<Context> {
        let node = lease.node().map(|node| Label::new("node", node)).transpose()?;
        let ctx = Context {
            state_dir: self.state(),
            node,
            agent: Label::new("agent", "worker")?,
            agent_named: true,
            session: None,
            fenced: None,
            host: Host::default(),
        };
        Ok(ctx.on_this_host()?)
    }
}

/// Plays a part until the run is over or somebody kills us.
pub fn play(stage: &Stage, role: &str) -> Outcomes<()> {
    super::child::die_with_parent();
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["worker", lease, how, seed] => {
            super::worker::work(stage, Lease::of(lease.parse()?), how, seed.parse()?)
        }
        ["inside", lease, how, asked_ns, worker, stay_us] => {
            let asked = super::command::Asked {
                lease: Lease::of(lease.parse()?),
                how,
                asked_ns: asked_ns.parse()?,
                worker,
            };
            super::command::inside(stage, &asked, Duration::from_micros(stay_us.parse()?))
        }
        ["reader", number] => super::reader::read_all(stage, number),
        _ => Err(format!("no such part: {role}").into()),
    }
}

/// CLOCK_BOOTTIME: monotonic, one for all processes, and the clock that TTLs are reckoned by.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
