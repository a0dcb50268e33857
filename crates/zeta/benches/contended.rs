//! Many processes and one lease: fairness, hand-off compared with flock, takeover from dead
//! holders.
//!
//! The workers are this program again, with a role in its environment. Exclusion is checked on a
//! shared page outside zeta.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};
use zeta_core::lease::{AcquireRequest, FencingToken};
use zeta_os::process::identify_self;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions};

mod measure;

use measure::server::{self, Redis, Server};
use measure::turns::{Turns, foreign, turns};
use measure::{
    Outcomes, Scratch, at_least, at_most, median, median_ratio, missing, note, quantile, row,
    shown, time,
};

const ROLE: &str = "ZETA_BENCH_ROLE";

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The shared page of all workers of a pass: which one is inside, when to go and to stop.
/// Workers in other languages read it as a file, at the offsets in `turns`.
#[repr(C)]
struct Page {
    inside: AtomicU64,
    violations: AtomicU64,
    go: AtomicU64,
    stop: AtomicU64,
}

fn shared_page(path: &Path) -> Outcomes<&'static Page> {
    let file =
        fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(4096)?;
    let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
    // SAFETY: a mapping of a file of this length; it is never unmapped.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, read | write, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED {
        return Err("no shared page".into());
    }
    // SAFETY: page-aligned, zeroed, and only ever used as these atomic numbers.
    Ok(unsafe { &*at.cast::<Page>() })
}

/// A kind of lock.
enum Lock {
    Zeta {
        stand: Box<LeaseHandle<'static>>,
        ask: Box<AcquireRequest>,
        token: Option<FencingToken>,
    },
    Flock(fs::File),
    /// One token in a list: the longest waiter gets it.
    Redis(Redis),
}

impl Lock {
    fn open(kind: &str, dir: &Path) -> Outcomes<Lock> {
        if kind == "flock" {
            return Ok(Lock::Flock(fs::File::create(dir.join("flock"))?));
        }
        if kind == "redis" {
            let socket = fs::canonicalize(dir)?.join("redis.sock").display().to_string();
            return Ok(Lock::Redis(Redis::connect(&socket)?));
        }
        // One connection for the life of this process.
        let ctx: &Context = Box::leak(Box::new(measure::caller(&dir.join("state"), "bench")?));
        let handle: &NodeHandle<'_> = Box::leak(Box::new(ctx.open()?));
        let mut ask = measure::ask(ctx, "lease")?;
        let stand = LeaseHandle::new(handle, Box::leak(Box::new(ask.lease.clone()))).into();
        ask.processes.own = Some(identify_self());
        ask.processes.pid_ns = ctx.host.pid_ns;
        Ok(Lock::Zeta { stand, ask: ask.into(), token: None })
    }

    fn enter(&mut self, on_wait: &mut dyn FnMut()) -> Outcomes<()> {
        match self {
            Lock::Flock(file) => Ok(flock(file, FlockOperation::LockExclusive)?),
            Lock::Redis(redis) => redis.ask(&["BLPOP", "token", "0"]).map(|_| ()),
            Lock::Zeta { stand, ask, token } => {
                ask.lease_id = zeta_os::host::random_hex()?;
                let mut tell = |_: &_, _: &_| on_wait();
                let mut patience = WaitOptions { limit_ms: Some(60_000), on_wait: &mut tell };
                match stand.acquire(ask, &mut patience, &mut |_| Ok(()))? {
                    Outcome::Granted { record, .. } => *token = Some(record.fencing_token),
                    Outcome::Refused(refusal) => return Err(format!("{refusal:?}").into()),
                }
                Ok(())
            }
        }
    }

    fn leave(&mut self) -> Outcomes<()> {
        match self {
            Lock::Flock(file) => Ok(flock(file, FlockOperation::Unlock)?),
            Lock::Redis(redis) => redis.ask(&["RPUSH", "token", "1"]).map(|_| ()),
            Lock::Zeta { stand, token, .. } => {
                let token = token.take().ok_or("leaving without a token")?;
                match stand.release(token)? {
                    Ok(_) => Ok(()),
                    Err(lost) => Err(format!("{lost:?}").into()),
                }
            }
        }
    }
}

fn spin(us: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(us) {
        std::hint::spin_loop();
    }
}

/// Returns the CPU time that this process used.
fn cpu_ns() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec.unsigned_abs() * 1_000_000_000 + used.tv_nsec.unsigned_abs()
}

/// Runs a worker (`KIND HOLD_US REST_US`): takes turns until the stop, then prints each (see
/// `turns`).
fn worker(dir: &Path, role: &[&str]) -> Outcomes<()> {
    let [kind, hold_us, rest_us] = role else { return Err("KIND HOLD REST".into()) };
    let (hold_us, rest_us) = (hold_us.parse()?, rest_us.parse()?);
    let page = shared_page(&dir.join("page"))?;
    let mut lock = Lock::open(kind, dir)?;
    let mut told = String::with_capacity(1 << 20);
    while page.go.load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let before_ns = cpu_ns();
    while page.stop.load(Ordering::Acquire) == 0 {
        let asked_ns = now_ns();
        lock.enter(&mut || {})?;
        let entered_ns = now_ns();
        if page.inside.swap(1, Ordering::SeqCst) != 0 {
            page.violations.fetch_add(1, Ordering::SeqCst);
        }
        spin(hold_us);
        page.inside.store(0, Ordering::SeqCst);
        let left_ns = now_ns();
        lock.leave()?;
        told.push_str(&format!(" {asked_ns},{entered_ns},{left_ns}"));
        std::thread::sleep(Duration::from_micros(rest_us));
    }
    println!("T {}{told}", cpu_ns() - before_ns);
    Ok(())
}

fn again(dir: &Path, role: &str) -> Outcomes<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).current_dir(dir).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// Starts a worker of any kind; `None` if what it needs is not here.
fn start(dir: &Path, role: &str) -> Outcomes<Option<Child>> {
    let words: Vec<&str> = role.split(' ').collect();
    let [kind @ ("node" | "python"), hold, rest] = words[..] else {
        return again(dir, role).map(Some);
    };
    let Some(argv) = foreign(kind, hold.parse()?, rest.parse()?) else { return Ok(None) };
    let mut command = measure::command(&argv, dir);
    Ok(Some(command.current_dir(dir).stdout(Stdio::piped()).spawn()?))
}

/// Lets `workers` take turns for `length`; `None` if what they need is not here.
fn pass(role: &str, workers: usize, length: Duration) -> Outcomes<Option<Turns>> {
    let scratch = Scratch::in_memory("contended")?;
    let dir = &scratch.path;
    let page = shared_page(&dir.join("page"))?;
    Lock::open("zeta", dir)?;
    fs::write(dir.join("proper"), "")?;
    let server = if role.starts_with("redis") { server::redis(dir)? } else { None };
    match &server {
        Some(server) => Redis::connect(&server.address)?.ask(&["RPUSH", "token", "1"])?,
        None if role.starts_with("redis") => return Ok(None),
        None => String::new(),
    };
    let children: Outcomes<Option<Vec<Child>>> = (0..workers).map(|_| start(dir, role)).collect();
    let Some(children) = children? else { return Ok(None) };
    let slow = role.starts_with("node") || role.starts_with("python");
    // Until all of them have started.
    std::thread::sleep(Duration::from_millis(200 + if slow { 60 * workers as u64 } else { 0 }));
    let before_ns = server.as_ref().map_or(0.0, Server::cpu_ns);
    page.go.store(1, Ordering::Release);
    std::thread::sleep(length);
    page.stop.store(1, Ordering::Release);
    let mut texts = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a worker failed: {}", output.status).into());
        }
        texts.push(String::from_utf8(output.stdout)?);
    }
    let mut turns = turns(&texts);
    turns.violations += page.violations.load(Ordering::SeqCst);
    turns.cpu_ns += server.as_ref().map_or(0.0, Server::cpu_ns) - before_ns;
    Ok(Some(turns))
}

const HOLD_US: u64 = 100;
const PASSES: usize = 3;

/// Picks the pass of zeta for the table: the median by turns.
fn middle(passes: &mut Vec<Turns>) -> Option<Turns> {
    passes.sort_by(|one, other| one.all().total_cmp(&other.all()));
    let at = passes.len() / 2;
    (at < passes.len()).then(|| passes.swap_remove(at))
}

fn compared(name: &str, ours: &Turns, theirs: &Turns, seconds: f64) {
    let each = |turns: &Turns| turns.all() / seconds;
    let (mine, other) = (each(ours), each(theirs));
    shown(
        &format!("{name}: turns per s"),
        &format!("{mine:.0}"),
        &format!("{other:.0}"),
        mine / other,
    );
    for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |turns: &Turns| quantile(&turns.hand_offs, part);
        let (mine, other) = (at(ours), at(theirs));
        shown(&format!("  hand-off {what}"), &time(mine), &time(other), mine / other);
    }
    note("  longest wait", &time(ours.longest_ns), &time(theirs.longest_ns));
    note("  Jain index", &format!("{:.4}", ours.jain()), &format!("{:.4}", theirs.jain()));
    let cpu = |turns: &Turns| turns.cpu_ns / turns.all();
    let (mine, other) = (cpu(ours), cpu(theirs));
    shown("  CPU of a turn, server included", &time(mine), &time(other), mine / other);
}

/// Measures many processes without a pause: zeta and the anchors in turns; the slow anchors once.
fn crowd(workers: usize, length: Duration) -> Outcomes<()> {
    let seconds = length.as_secs_f64();
    measure::head(&format!(
        "{workers} processes, hold {HOLD_US} us, rest 100 us, tmpfs, {PASSES} passes of \
         {seconds} s (node and python: 1); the median pass is shown"
    ));
    let run = |kind: &str| pass(&format!("{kind} {HOLD_US} 100"), workers, length);
    let names = ["flock", "redis", "node", "python"];
    let (mut mine, mut theirs) = (Vec::new(), names.map(|_| Vec::new()));
    let (mut stretch, mut jain, mut violations) = (0.0f64, 1.0f64, 0);
    for at in 0..PASSES {
        let ours = run("zeta")?.ok_or("we are not here")?;
        let turn_ns = HOLD_US as f64 * 1e3 + median(&ours.hand_offs);
        stretch = stretch.max(ours.longest_ns / (workers as f64 * turn_ns));
        jain = jain.min(ours.jain());
        violations += ours.violations;
        mine.push(ours);
        for (kind, passes) in names.iter().zip(&mut theirs) {
            if at == 0 || matches!(*kind, "flock" | "redis") {
                passes.extend(run(kind)?);
            }
        }
    }
    let redis: Vec<f64> = theirs[1].iter().map(Turns::all).collect();
    let turns: Vec<f64> = mine.iter().map(Turns::all).collect();
    let ours = middle(&mut mine).ok_or("no pass")?;
    let shown = ["flock", "redis BLPOP", "node proper-lockfile (1-20 ms)", "python filelock"];
    for (name, passes) in shown.iter().zip(&mut theirs) {
        match middle(passes) {
            Some(theirs) => compared(name, &ours, &theirs, seconds),
            None => missing(name),
        }
    }
    if workers == 64 {
        if redis.is_empty() {
            missing("turns / turns of redis BLPOP");
        } else {
            let ratio = median_ratio(&turns, &redis);
            row("turns / turns of redis BLPOP", "", "", ratio, at_least(0.4, 0.65));
        }
        row("longest wait / (64 x (hold + hand-off p50))", "", "", stretch, at_most(7.0, 2.5));
        row("Jain index", "", "", jain, at_least(0.98, 0.995));
    }
    row("violations", "", "", violations as f64, at_most(0.0, None));
    Ok(())
}

fn few() -> Outcomes<()> {
    const PASSES: usize = 7;
    measure::head(&format!(
        "4 processes, hold 5 ms, rest 1 ms, {PASSES} interleaved passes of 1.5 s"
    ));
    let length = Duration::from_millis(1500);
    let (mut ours, mut anchor, mut count) = (Vec::new(), Vec::new(), 0);
    for at in 0..PASSES * 2 {
        let zeta = (at % 2 == 0) != (at % 4 >= 2);
        let role = if zeta { "zeta 5000 1000" } else { "flock 5000 1000" };
        let result = pass(role, 4, length)?.ok_or("no pass")?;
        if result.violations > 0 {
            return Err("two inside at once".into());
        }
        count += result.hand_offs.len();
        if zeta { &mut ours } else { &mut anchor }.push(median(&result.hand_offs));
    }
    let what = format!("hand-off p50 against flock (n = {count})");
    let ratio = median_ratio(&ours, &anchor);
    row(&what, &time(median(&ours)), &time(median(&anchor)), ratio, at_most(3.5, 2.5));
    Ok(())
}

/// Takes the lease, prints when, and sleeps until it is killed.
fn victim(dir: &Path) -> Outcomes<()> {
    let mut lock = Lock::open("zeta", dir)?;
    let mut stdout = std::io::stdout();
    let mut waits = false;
    lock.enter(&mut || {
        if !waits {
            waits = true;
            println!("waits");
        }
    })?;
    writeln!(stdout, "{}", now_ns())?;
    stdout.flush()?;
    std::thread::sleep(Duration::from_secs(600));
    Ok(())
}

struct Victim {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Victim {
    fn start(dir: &Path) -> Outcomes<Victim> {
        let mut child = again(dir, "victim")?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        Ok(Victim { child, lines: BufReader::new(stdout) })
    }

    fn line(&mut self) -> Outcomes<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

fn takeover() -> Outcomes<()> {
    const KILLS: usize = 300;
    let scratch = Scratch::in_memory("takeover")?;
    Lock::open("zeta", &scratch.path)?;
    let mut holder = Victim::start(&scratch.path)?;
    holder.line()?;
    let mut times = Vec::new();
    for _ in 0..KILLS {
        let mut waiter = Victim::start(&scratch.path)?;
        let said = waiter.line()?;
        if said != "waits" {
            return Err(format!("a second holder: {said:?}").into());
        }
        // The holder printed the time before it slept.
        std::thread::sleep(Duration::from_millis(3));
        let killed_ns = now_ns();
        holder.child.kill()?;
        let taken_ns: u64 = waiter.line()?.parse()?;
        times.push(taken_ns.saturating_sub(killed_ns) as f64);
        holder.child.wait()?;
        holder = waiter;
    }
    holder.child.kill()?;
    holder.child.wait()?;
    measure::head(&format!("takeover after SIGKILL with a waiter present, {KILLS} kills, tmpfs"));
    let (half, most) = (quantile(&times, 0.5), quantile(&times, 0.99));
    row("p50, ms", &time(half), "", half / 1e6, at_most(2.0, 0.3));
    row("p99, ms", &time(most), "", most / 1e6, at_most(20.0, None));
    Ok(())
}

fn main() -> Outcomes<()> {
    let dir = PathBuf::from(".").canonicalize()?;
    if let Ok(role) = std::env::var(ROLE) {
        // A worker must end if the bench is killed.
        // SAFETY: the call only sets the signal that the kernel sends when the parent ends.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let words: Vec<&str> = role.split(' ').collect();
        return if words == ["victim"] { victim(&dir) } else { worker(&dir, &words) };
    }
    // `cargo bench --bench contended -- few` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let wants = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    if wants("takeover") {
        takeover()?;
    }
    if wants("few") {
        few()?;
    }
    if wants("crowd") {
        crowd(8, Duration::from_secs(2))?;
        crowd(64, Duration::from_secs(3))?;
    }
    Ok(())
}
