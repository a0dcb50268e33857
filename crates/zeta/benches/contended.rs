//! Many processes and one lease: fairness, hand-off against blocking flock, takeover from the dead.
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
use zeta::adapters::node::{Node, Tree};
use zeta::adapters::process::identify_self;
use zeta::context::Context;
use zeta::ops::acquire::{Outcome, Patience, Stand};
use zeta_core::layout;
use zeta_core::lease::{Ask, FencingToken};

mod measure;

use measure::{
    Outcomes, Scratch, at_least, at_most, median, median_ratio, note, quantile, row, time,
};

const ROLE: &str = "ZETA_BENCH_ROLE";

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// What all workers of a pass see: who is inside, when it was left last, when to go and to stop.
#[repr(C)]
struct Page {
    inside: AtomicU64,
    violations: AtomicU64,
    left_ns: AtomicU64,
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

/// A way to exclude others.
enum Lock {
    Zeta {
        ctx: Box<Context>,
        stand: Box<Stand<'static>>,
        ask: Box<Ask>,
        token: Option<FencingToken>,
    },
    Flock(fs::File),
}

impl Lock {
    fn open(kind: &str, dir: &Path) -> Outcomes<Lock> {
        if kind == "flock" {
            return Ok(Lock::Flock(fs::File::create(dir.join("flock"))?));
        }
        let ctx = measure::caller(&dir.join("state"), "bench")?;
        // One for the life of this process.
        let (tree, node) = ctx.open()?;
        let (tree, node): &(Tree, Node) = Box::leak(Box::new((tree, node)));
        let mut ask = measure::ask(&ctx, "lease")?;
        let file: &String = Box::leak(Box::new(layout::lease_file(&ask.lease)));
        let stand = Stand::before(tree, node, file).into();
        ask.processes.own = Some(identify_self());
        ask.processes.pid_ns = ctx.host.pid_ns;
        Ok(Lock::Zeta { ctx: ctx.into(), stand, ask: ask.into(), token: None })
    }

    fn enter(&mut self, on_wait: &mut dyn FnMut()) -> Outcomes<()> {
        match self {
            Lock::Flock(file) => Ok(flock(file, FlockOperation::LockExclusive)?),
            Lock::Zeta { ctx, stand, ask, token } => {
                ask.lease_id = zeta::adapters::host::random_hex()?;
                let mut tell = |_: &_, _: &_| on_wait();
                let mut patience = Patience { limit_ms: Some(60_000), on_wait: &mut tell };
                match stand.acquire(ctx, ask, &mut patience, &mut |_| Ok(()))? {
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
            Lock::Zeta { stand, ask, token, .. } => {
                let token = token.take().ok_or("leaving without a token")?;
                match stand.release(&ask.lease, token)? {
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

/// `KIND HOLD_US REST_US`: takes turns until told to stop; prints turns, longest wait, hand-offs.
fn worker(dir: &Path, role: &[&str]) -> Outcomes<()> {
    let [kind, hold_us, rest_us] = role else { return Err("KIND HOLD REST".into()) };
    let (hold_us, rest_us) = (hold_us.parse()?, rest_us.parse()?);
    let page = shared_page(&dir.join("page"))?;
    let mut lock = Lock::open(kind, dir)?;
    let (mut turns, mut longest_ns) = (0u64, 0u64);
    let mut hand_offs = Vec::new();
    while page.go.load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    while page.stop.load(Ordering::Acquire) == 0 {
        let asked_ns = now_ns();
        lock.enter(&mut || {})?;
        let entered_ns = now_ns();
        if page.inside.swap(1, Ordering::SeqCst) != 0 {
            page.violations.fetch_add(1, Ordering::SeqCst);
        }
        let left_ns = page.left_ns.load(Ordering::SeqCst);
        // Only a hand-off if it was waited for.
        if left_ns > asked_ns {
            hand_offs.push(entered_ns.saturating_sub(left_ns).to_string());
        }
        turns += 1;
        longest_ns = longest_ns.max(entered_ns - asked_ns);
        spin(hold_us);
        page.inside.store(0, Ordering::SeqCst);
        page.left_ns.store(now_ns(), Ordering::SeqCst);
        lock.leave()?;
        std::thread::sleep(Duration::from_micros(rest_us));
    }
    println!("{turns} {longest_ns} {}", hand_offs.join(" "));
    Ok(())
}

/// What the workers of one pass came to.
struct Pass {
    turns: Vec<f64>,
    longest_ns: f64,
    hand_offs: Vec<f64>,
    violations: u64,
}

impl Pass {
    fn jain(&self) -> f64 {
        let sum: f64 = self.turns.iter().sum();
        let squares: f64 = self.turns.iter().map(|turns| turns * turns).sum();
        sum * sum / (self.turns.len() as f64 * squares)
    }
}

fn again(dir: &Path, role: &str) -> Outcomes<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).current_dir(dir).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

fn pass(role: &str, workers: usize, length: Duration) -> Outcomes<Pass> {
    let scratch = Scratch::in_memory("contended")?;
    let page = shared_page(&scratch.path.join("page"))?;
    Lock::open("zeta", &scratch.path)?;
    let children: Outcomes<Vec<Child>> = (0..workers).map(|_| again(&scratch.path, role)).collect();
    let children = children?;
    std::thread::sleep(Duration::from_millis(200));
    page.go.store(1, Ordering::Release);
    std::thread::sleep(length);
    page.stop.store(1, Ordering::Release);
    let mut pass = Pass { turns: vec![], longest_ns: 0.0, hand_offs: vec![], violations: 0 };
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a worker failed: {}", output.status).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        let numbers = numbers?;
        pass.turns.extend(numbers.first());
        pass.longest_ns = numbers.get(1).copied().unwrap_or(f64::NAN).max(pass.longest_ns);
        pass.hand_offs.extend(numbers.get(2..).unwrap_or_default());
    }
    pass.violations = page.violations.load(Ordering::SeqCst);
    Ok(pass)
}

const CROWD: usize = 64;
const CROWD_HOLD_US: u64 = 100;

fn crowd() -> Outcomes<()> {
    const PASSES: usize = 3;
    measure::head(&format!(
        "{CROWD} processes, hold {CROWD_HOLD_US} us, rest 100 us, {PASSES} x 3 s, worst of all"
    ));
    let role = |kind| format!("{kind} {CROWD_HOLD_US} 100");
    let (mut stretch, mut jain, mut violations) = (0.0f64, 1.0f64, 0);
    for _ in 0..PASSES {
        let flock = pass(&role("flock"), CROWD, Duration::from_secs(3))?;
        let ours = pass(&role("zeta"), CROWD, Duration::from_secs(3))?;
        let hand_off = median(&ours.hand_offs);
        let turn_ns = CROWD_HOLD_US as f64 * 1e3 + hand_off;
        stretch = stretch.max(ours.longest_ns / (CROWD as f64 * turn_ns));
        jain = jain.min(ours.jain());
        violations += ours.violations + flock.violations;
        let turns = |pass: &Pass| format!("{:.0}", pass.turns.iter().sum::<f64>());
        note("  turns in all", &turns(&ours), &turns(&flock));
        note("  hand-off p50", &time(hand_off), &time(median(&flock.hand_offs)));
        note("  longest wait", &time(ours.longest_ns), &time(flock.longest_ns));
        note("  Jain index", &format!("{:.4}", ours.jain()), &format!("{:.4}", flock.jain()));
    }
    row("longest wait / (64 x (hold + hand-off p50))", "", "", stretch, at_most(5.0, 2.5));
    row("Jain index", "", "", jain, at_least(0.98, 0.995));
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
        let result = pass(if zeta { "zeta 5000 1000" } else { "flock 5000 1000" }, 4, length)?;
        if result.violations > 0 {
            return Err("two inside at once".into());
        }
        count += result.hand_offs.len();
        if zeta { &mut ours } else { &mut anchor }.push(median(&result.hand_offs));
    }
    let what = format!("hand-off p50 against flock (n = {count})");
    let ratio = median_ratio(&ours, &anchor);
    row(&what, &time(median(&ours)), &time(median(&anchor)), ratio, at_most(2.5, 1.7));
    Ok(())
}

/// Takes the lease, says when, and sleeps until it is killed.
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
        // It said so before it fell asleep.
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
        // Nobody shall take turns for ever because the bench was killed.
        // SAFETY: it only tells the kernel which signal to send when the parent ends.
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
        crowd()?;
    }
    Ok(())
}
