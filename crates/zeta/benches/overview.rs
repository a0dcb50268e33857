//! What a followed overview costs while many agents beat, alone, in `zeta watch` and in `zeta web`,
//! and how soon a change is in it.
//!
//! One process writes the beats, another one follows and says what it used. Both are this program
//! again, with the state directory in the environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zeta_bus::overview::Follower;
use zeta_core::evidence::Processes;
use zeta_core::name::Label;
use zeta_core::presence::{set_beat, set_processes};
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::presence::heartbeat::touch_last_seen;
use zeta_state::presence::records::{RecordKey, publish, read_or_new};

mod measure;

use measure::{Outcomes, Scratch, at_most, median, quantile, row, time};

/// The state directory, for the process that writes.
const WRITER: &str = "ZETA_BENCH_WRITER";
/// The same for the one that follows.
const READER: &str = "ZETA_BENCH_READER";
/// How many agents there are.
const AGENTS: &str = "ZETA_BENCH_AGENTS";
const BEAT_MS: u64 = 10_000;
/// How long a follower is measured.
const MEASURED: Duration = Duration::from_secs(30);
const CHANGES: usize = 50;

/// Writes the beats of many agents, each with a process of its own, evenly in time.
fn write(state: &Path, agents: u64) -> Outcomes<()> {
    let ctx = measure::caller(state, "writer")?;
    let handle = ctx.open()?;
    // Each reads until this process ends, also if it is killed.
    let (ends, held) = std::io::pipe()?;
    let mut children = Vec::new();
    for number in 0..agents {
        let mut agent = Command::new("cat");
        let agent = agent.stdin(ends.try_clone()?).stdout(Stdio::null()).spawn()?;
        beat(&ctx, number, Some(agent.id()))?;
        children.push(agent);
    }
    println!("ready");
    let started = Instant::now();
    let gap = Duration::from_millis(BEAT_MS) / u32::try_from(agents)?;
    for turn in 0u32.. {
        let next = started + gap * (turn + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        beat(&ctx, u64::from(turn) % agents, None)?;
        touch_last_seen(&handle)?;
        // The bench ended.
        if std::os::unix::process::parent_id() == 1 || started.elapsed() > MEASURED * 3 {
            break;
        }
    }
    drop(held);
    children.iter_mut().for_each(|child| _ = child.wait());
    Ok(())
}

/// Writes the beat of an agent, at first with its process.
fn beat(ctx: &Context, number: u64, pid: Option<u32>) -> Outcomes<()> {
    let name = RecordKey::Persona(Label::new("agent", &format!("agent-{number}"))?);
    let handle = ctx.open()?;
    let section = handle.enter(name.file(), ENTER_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, &handle.node, &name)?;
    if let Some(pid) = pid {
        fields.set_text("agent", &format!("agent-{number}"));
        fields.set_text("session", &format!("{number:032x}"));
        fields.set_text("task", "the invoice is sent twice if the network is slow");
        fields.set_text("branch", "fix/invoice-twice");
        let own = Some(process::identify(pid));
        let pid_ns = ctx.host.pid_ns;
        set_processes(&mut fields, &Processes { own, child: None, pid_ns });
    }
    set_beat(&mut fields, host::reading(), &ctx.host, BEAT_MS);
    Ok(publish(&section, &handle.node, &name, &fields, exists)?)
}

/// Follows, and prints: milliseconds of CPU per second, KiB of memory, times that it woke up.
fn read(state: &Path, agents: usize) -> Outcomes<()> {
    let mut follower = Follower::new(&measure::caller(state, "reader")?);
    assert_eq!(follower.overview().agents.len(), agents);
    let (started, before, mut woken) = (Instant::now(), cpu(), 0u32);
    while started.elapsed() < MEASURED {
        woken += u32::from(follower.wait(MEASURED - started.elapsed().min(MEASURED), &[]).changed);
    }
    let used = (cpu() - before).as_secs_f64() * 1e3 / MEASURED.as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = rss.and_then(|rss| rss.split_ascii_whitespace().next()).unwrap_or("0");
    println!("{used} {kib} {woken}");
    Ok(())
}

/// The time of a processor that this process has used.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn again(role: &str, state: &Path, agents: u64) -> Outcomes<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(role, state).env(AGENTS, agents.to_string());
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

fn line_of(child: &mut Child) -> Outcomes<String> {
    use std::io::BufRead as _;
    let mut line = String::new();
    let out = child.stdout.take().ok_or("no pipe")?;
    std::io::BufReader::new(out).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Measures one number of agents.
fn follow(agents: u64, gate: f64) -> Outcomes<()> {
    let scratch = Scratch::in_memory("overview")?;
    let state = scratch.path.join("state");
    let mut writer = again(WRITER, &state, agents)?;
    line_of(&mut writer)?;
    let mut reader = again(READER, &state, agents)?;
    let line = line_of(&mut reader)?;
    reader.wait()?;
    writer.kill()?;
    writer.wait()?;
    let mut words = line.split(' ').map(str::parse::<f64>);
    let mut next = || words.next().ok_or("three numbers")?.map_err(|_| "a number");
    let (cpu_ms, kib, woken) = (next()?, next()?, next()?);
    let what = format!("{agents} agents beat each 10 s: CPU, % of a core");
    let changes = format!("{woken} changes");
    row(&what, &format!("{cpu_ms:.2} ms/s"), &changes, cpu_ms / 10.0, at_most(gate, None));
    row("  memory, MiB", &format!("{kib} KiB"), "", kib / 1024.0, at_most(30.0, None));
    Ok(())
}

/// Starts `zeta` on a tree, in a terminal or not; returns what was started, and zeta's process.
fn start(state: &Path, args: &str, in_terminal: bool) -> Outcomes<(Child, u32)> {
    let zeta = measure::static_binary().unwrap_or_else(|| env!("CARGO_BIN_EXE_zeta").into());
    let mut command = Command::new("script");
    command.args(["-q", "-c", &format!("exec {} {args}", zeta.display()), "/dev/null"]);
    if !in_terminal {
        command = Command::new(&zeta);
        command.args(args.split(' '));
    }
    command.env("ZETA_STATE_DIR", state).env("ZETA_BUS_DIR", state.join("../bus"));
    command.env("TERM", "xterm-256color").stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn()?;
    let mut pid = child.id();
    if in_terminal {
        std::thread::sleep(Duration::from_secs(1));
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        pid = children.trim().parse()?;
    }
    Ok((child, pid))
}

/// Opens the page of `zeta web` as a browser does, and leaves its stream open.
fn look(web: &mut Child, scratch: &Path) -> Outcomes<Child> {
    let said: serde_json::Value = serde_json::from_str(&line_of(web)?)?;
    let (url, jar) = (said["url"].as_str().ok_or("no address")?, scratch.join("cookies"));
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sN", "-b"]).arg(&jar).arg("-c").arg(&jar);
        curl
    };
    let page = String::from_utf8(curl().arg(url).output()?.stdout)?;
    let base = page.split_once("href=\"").and_then(|(_, rest)| rest.split_once("icon.svg"));
    let (base, _) = base.ok_or("no page")?;
    let host = url.split_once("/?").ok_or("no token")?.0;
    Ok(curl().arg(format!("{host}{base}events")).stdout(Stdio::null()).spawn()?)
}

/// The time of a processor that a process has used, and its greatest memory in MiB.
fn used_by(pid: u32) -> Outcomes<(Duration, f64)> {
    let mut time = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = stat.split(' ').next().ok_or("no time")?;
        time += Duration::from_nanos(on_cpu.parse()?);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no memory")?;
    let kib: f64 = rss.trim().trim_end_matches(" kB").parse()?;
    Ok((time, kib / 1024.0))
}

/// Measures what people leave open, while 100 agents beat.
fn program(args: &str, in_terminal: bool, gate: f64) -> Outcomes<()> {
    let scratch = Scratch::in_memory("overview")?;
    let state = scratch.path.join("state");
    let mut writer = again(WRITER, &state, 100)?;
    line_of(&mut writer)?;
    let (mut child, pid) = start(&state, args, in_terminal)?;
    // What is drawn must be read.
    let mut reader = match in_terminal {
        true => {
            let mut out = child.stdout.take().ok_or("no pipe")?;
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            None
        }
        false => Some(look(&mut child, &scratch.path)?),
    };
    std::thread::sleep(Duration::from_secs(2));
    let (before, _) = used_by(pid)?;
    std::thread::sleep(MEASURED);
    let (after, mib) = used_by(pid)?;
    for child in reader.iter_mut().chain([&mut child, &mut writer]) {
        child.kill()?;
        child.wait()?;
    }
    let used = (after - before).as_secs_f64() * 1e3 / MEASURED.as_secs_f64();
    let what = format!("zeta {args}, 100 agents beat: CPU, % of a core");
    row(&what, &format!("{used:.2} ms/s"), "", used / 10.0, at_most(gate, None));
    row("  memory, MiB", &format!("{mib:.1} MiB"), "", mib, at_most(30.0, None));
    Ok(())
}

/// Measures the time from a change to its overview, in this process: a thread changes.
fn latency() -> Outcomes<()> {
    let scratch = Scratch::in_memory("overview")?;
    let ctx = measure::caller(&scratch.path.join("state"), "bench")?;
    beat(&ctx, 0, None)?;
    let mut follower = Follower::new(&ctx);
    let (ready, go) = std::io::pipe()?;
    let mut times = Vec::new();
    let changing = ctx.clone();
    let thread = std::thread::spawn(move || {
        use std::io::Read as _;
        let (mut ready, mut byte, mut moments) = (ready, [0], Vec::new());
        while ready.read(&mut byte).is_ok_and(|len| len == 1) {
            std::thread::sleep(Duration::from_millis(60));
            moments.push(Instant::now());
            if beat(&changing, 0, None).is_err() {
                break;
            }
        }
        moments
    });
    let mut seen = Vec::new();
    {
        use std::io::Write as _;
        let mut go = go;
        for _ in 0..CHANGES {
            go.write_all(b"x")?;
            if !follower.wait(Duration::from_secs(5), &[]).changed {
                return Err("the follower saw nothing".into());
            }
            seen.push(Instant::now());
        }
    }
    let moments = thread.join().map_err(|_| "the thread")?;
    for (moment, seen) in moments.iter().zip(&seen) {
        times.push((*seen - *moment).as_nanos() as f64);
    }
    let most = quantile(&times, 1.0);
    let value = most / 1e6;
    let half = time(median(&times));
    row("a change, p50 and most; ms", &half, &time(most), value, at_most(100.0, 50.0));
    Ok(())
}

fn main() -> Outcomes<()> {
    let agents = std::env::var(AGENTS).unwrap_or_default().parse().unwrap_or(1);
    if let Some(state) = std::env::var_os(WRITER) {
        return write(Path::new(&state), agents);
    }
    if let Some(state) = std::env::var_os(READER) {
        return read(Path::new(&state), usize::try_from(agents)?);
    }
    measure::head("a followed overview, in a process of its own, tmpfs, 30 s each");
    latency()?;
    follow(100, 0.3)?;
    follow(1000, 1.0)?;
    program("watch", true, 0.5)?;
    program("web --json", false, 1.0)?;
    Ok(())
}
