//! The tools of all benches: ratios of the same round, a scratch tree, child processes, one table.

#![expect(dead_code, reason = "each bench uses the part that it needs")]

pub mod server;
pub mod turns;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zeta_core::lease::{AcquireRequest, FencingToken, Observed};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::Host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions, new_request};

/// The result of a bench; a bench that cannot measure fails with the reason.
pub type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

/// The bounds of a row: the gate must hold, the stretch is a goal.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The bound that must hold.
    pub gate: f64,
    /// The bound that is the goal.
    pub stretch: Option<f64>,
    /// Whether larger is better.
    pub at_least: bool,
}

/// Makes upper bounds: `gate` must hold, `stretch` is the goal.
pub fn at_most(gate: f64, stretch: impl Into<Option<f64>>) -> Bounds {
    Bounds { gate, stretch: stretch.into(), at_least: false }
}

/// Makes lower bounds: `gate` must hold, `stretch` is the goal.
pub fn at_least(gate: f64, stretch: f64) -> Bounds {
    Bounds { gate, stretch: Some(stretch), at_least: true }
}

impl Bounds {
    fn verdict(self, value: f64) -> &'static str {
        let holds = |bound: f64| if self.at_least { value >= bound } else { value <= bound };
        match (holds(self.gate), self.stretch) {
            (false, _) => "MISSED",
            (true, Some(stretch)) if holds(stretch) => "stretch",
            (true, _) => "gate",
        }
    }
}

/// Prints the head of a table.
pub fn head(title: &str) {
    println!("\n{title}");
    println!(
        "{:<44} {:>12} {:>12} {:>9} {:>7} {:>8}  met",
        "what", "zeta", "anchor", "value", "gate", "stretch"
    );
    keep(&["#", title]);
}

/// Prints a row; the bounds apply to `value`.
pub fn row(what: &str, ours: &str, anchor: &str, value: f64, bounds: Bounds) {
    let sign = if bounds.at_least { ">=" } else { "<=" };
    let stretch = bounds.stretch.map_or("-".to_owned(), short);
    let (gate, met) = (format!("{sign}{:>5}", short(bounds.gate)), bounds.verdict(value));
    let value = short(value);
    println!("{what:<44} {ours:>12} {anchor:>12} {value:>9} {gate} {stretch:>8}  {met}");
    keep(&["", what, ours, anchor, &value, &gate, &stretch, met]);
}

/// Prints a row with a ratio that has no gate.
pub fn shown(what: &str, ours: &str, anchor: &str, value: f64) {
    let value = short(value);
    println!("{what:<44} {ours:>12} {anchor:>12} {value:>9}");
    keep(&["", what, ours, anchor, &value, "", "", ""]);
}

/// Prints a row that has no gate.
pub fn note(what: &str, ours: &str, anchor: &str) {
    println!("{what:<44} {ours:>12} {anchor:>12}");
    keep(&["", what, ours, anchor, "", "", "", ""]);
}

/// Prints a row for a missing anchor, so that its absence is not mistaken for a result.
pub fn missing(what: &str) {
    println!("{what:<44} not here");
    keep(&["", what, "", "not here", "", "", "", ""]);
}

/// Passes a line to `cargo xtask bench`, which makes the page from them.
fn keep(fields: &[&str]) {
    let Some(path) = std::env::var_os("ZETA_BENCH_TABLE") else { return };
    let line = format!("{}\n", fields.join("\t"));
    let file = fs::File::options().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("cannot keep a row: {error}");
    }
}

fn short(value: f64) -> String {
    match value {
        v if v.fract() == 0.0 => format!("{v:.0}"),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.3}"),
    }
}

/// Formats a time.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e6 => format!("{:.2} us", ns / 1e3),
        ns => format!("{:.3} ms", ns / 1e6),
    }
}

/// Returns the value below which `part` of all values are.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Returns the median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the median of the ratios of the same round.
pub fn median_ratio(ours: &[f64], anchor: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(anchor).map(|(ours, anchor)| ours / anchor).collect();
    median(&ratios)
}

/// Measures the median time of one call of `op` in ns, over `count` calls that are timed singly.
pub fn block(count: usize, mut op: impl FnMut() -> Outcomes<()>) -> Outcomes<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        op()?;
        times.push(start.elapsed().as_nanos() as f64);
    }
    Ok(median(&times))
}

/// A directory for one bench; dropping it removes the directory.
pub struct Scratch {
    /// The path of the directory.
    pub path: PathBuf,
}

impl Scratch {
    /// Creates a directory below `parent`.
    pub fn new(parent: &Path, name: &str) -> Outcomes<Scratch> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(format!("zeta-bench-{}-{name}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch { path })
    }

    /// Creates a directory in memory.
    pub fn in_memory(name: &str) -> Outcomes<Scratch> {
        Scratch::new(Path::new("/dev/shm"), name)
    }

    /// Creates a directory beside the build output, which is on a disk most often.
    pub fn on_disk(name: &str) -> Outcomes<Scratch> {
        Scratch::new(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Returns the name of the file system that `path` is on.
pub fn file_system(path: &Path) -> Outcomes<String> {
    let dir = fs::File::open(path)?;
    let magic = rustix::fs::fstatfs(dir.as_fd())?.f_type as u64 & 0xffff_ffff;
    Ok(match magic {
        0x0102_1994 => "tmpfs".to_owned(),
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        other => format!("{other:#x}"),
    })
}

/// Returns the released binary: `ZETA_STATIC`, or the one of the release build.
pub fn static_binary() -> Option<PathBuf> {
    let given = std::env::var_os("ZETA_STATIC").map(PathBuf::from);
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = Path::new(env!("CARGO_BIN_EXE_zeta")).parent()?.parent()?;
    let built = built.join(target).join("release/zeta");
    given.or(Some(built)).filter(|path| path.is_file())
}

/// Makes the context of the agent `agent` with the state directory `state_dir`.
pub fn caller(state_dir: &Path, agent: &str) -> Outcomes<Context> {
    let ctx = Context {
        state_dir: state_dir.to_owned(),
        node: None,
        agent: Label::new("agent", agent)?,
        agent_named: false,
        session: None,
        fenced: None,
        lasting_dir: None,
        bus_dir: state_dir.with_extension("bus"),
        lease_ended: |_, _| (),
        cluster: None,
        host: Host::default(),
    };
    Ok(ctx.on_this_host()?)
}

/// Makes a request with a TTL of a minute.
pub fn ask(ctx: &Context, lease: &str) -> Outcomes<AcquireRequest> {
    Ok(new_request(ctx, RecordName::new("lease", lease)?, 60_000)?)
}

/// Takes a lease that must be free, and returns its token.
pub fn take(ctx: &Context, lease: &str) -> Outcomes<FencingToken> {
    take_on(&ctx.open()?, &ask(ctx, lease)?)
}

fn take_on(handle: &NodeHandle<'_>, ask: &AcquireRequest) -> Outcomes<FencingToken> {
    let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    let mut at_lease = LeaseHandle::new(handle, &ask.lease);
    match at_lease.acquire(ask, &mut patience, &mut |_| Ok(()))? {
        Outcome::Granted { record, .. } => Ok(record.fencing_token),
        Outcome::Refused(refusal) => Err(format!("{} is held: {refusal:?}", ask.lease).into()),
    }
}

/// Releases a lease with the token of its record.
pub fn free(ctx: &Context, lease: &str) -> Outcomes<()> {
    let lease = RecordName::new("lease", lease)?;
    let Some(handle) = ctx.find()? else { return Ok(()) };
    if let Some(look) = handle.view(&lease)?
        && let Observed::Ours(record, ..) = look.observed
        && handle.release(&lease, record.fencing_token)?.is_err()
    {
        return Err("another process changed the tree of this bench".into());
    }
    Ok(())
}

/// An open tree and the values that a loop needs.
pub struct Ours {
    /// The node, opened for the life of this process.
    pub handle: NodeHandle<'static>,
    /// The request of the loop.
    pub ask: AcquireRequest,
}

impl Ours {
    /// Opens or creates the tree.
    pub fn open(state: &Path) -> Outcomes<Ours> {
        let ctx: &Context = Box::leak(Box::new(caller(state, "bench")?));
        Ok(Ours { handle: ctx.open()?, ask: self::ask(ctx, "loop")? })
    }

    /// Takes the lease, which must be free.
    pub fn take(&self) -> Outcomes<FencingToken> {
        take_on(&self.handle, &self.ask)
    }

    /// Acquires and releases the lease.
    pub fn cycle(&self) -> Outcomes<()> {
        let token = self.take()?;
        match self.handle.release(&self.ask.lease, token)? {
            Ok(true) => Ok(()),
            other => Err(format!("not released: {other:?}").into()),
        }
    }
}

/// The resources that an ended process had used.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// The time from before the start to after the reap.
    pub wall: Duration,
    /// Page faults that needed no disk.
    pub faults: f64,
    /// The CPU time, of its own code and of the kernel.
    pub cpu: Duration,
}

/// Makes a command with only the variables that the benches need.
pub fn command(argv: &[OsString], state_dir: &Path) -> Command {
    let empty = OsString::new();
    let mut command = Command::new(argv.first().unwrap_or(&empty));
    command.args(argv.get(1..).unwrap_or_default()).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("USER", "bench");
    command.env("ZETA_STATE_DIR", state_dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a whole process and reaps it; its exit status must be 0.
pub fn run(command: &mut Command) -> Outcomes<Used> {
    let start = Instant::now();
    let child = command.spawn()?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: both are local variables, and the kernel fills them before they are read.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let reaped = libc::wait4(pid, &raw mut status, 0, &raw mut usage);
        (reaped, usage)
    };
    let wall = start.elapsed();
    if reaped != pid || status != 0 {
        return Err(format!("{command:?} ended with wait status {status}").into());
    }
    let part = |time: libc::timeval| {
        let us = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_usec);
        Duration::from_micros(u64::try_from(us).unwrap_or(0))
    };
    let cpu = part(usage.ru_utime) + part(usage.ru_stime);
    Ok(Used { wall, faults: usage.ru_minflt as f64, cpu })
}
