//! Whole processes: the cost of one short call, compared with `flock -n FILE true` in each round.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use zeta_core::lease::FencingToken;
use zeta_state::context::Context;

mod measure;

use measure::{Bounds, Outcomes, Scratch, Used, at_most, median, median_ratio, row, time};

/// A command of the rounds, with what must be true before it.
struct Job {
    what: &'static str,
    argv: Vec<OsString>,
    before: Before,
    /// Whether it is `lease exec`, which has gates of its own.
    whole: bool,
}

#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// The lease is free.
    Free(&'static str),
    /// The lease is held, and its token follows.
    Held(&'static str),
}

fn words(program: &Path, words: &str) -> Vec<OsString> {
    let rest = words.split_whitespace().map(OsString::from);
    std::iter::once(program.as_os_str().to_owned()).chain(rest).collect()
}

fn jobs(zeta: &Path) -> Vec<Job> {
    let job = |what, line, before| Job { what, argv: words(zeta, line), before, whole: false };
    let mut jobs = vec![
        job("lease acquire", "lease acquire a", Before::Free("a")),
        job("lease release", "lease release r --token", Before::Held("r")),
        job("lease check", "lease check r --token", Before::Held("r")),
        job("heartbeat", "heartbeat", Before::Nothing),
        job("heartbeat --as otto-cli", "heartbeat --as otto-cli", Before::Nothing),
        job("--version", "--version", Before::Nothing),
    ];
    let exec = job("lease exec -- true", "lease exec e -- true", Before::Nothing);
    jobs.push(Job { whole: true, ..exec });
    jobs
}

/// Establishes the precondition, and returns the whole command.
fn prepare(job: &Job, ctx: &Context) -> Outcomes<Command> {
    let mut argv = job.argv.clone();
    match job.before {
        Before::Nothing => {}
        Before::Free(lease) => measure::free(ctx, lease)?,
        Before::Held(lease) => {
            measure::free(ctx, lease)?;
            let token: FencingToken = measure::take(ctx, lease)?;
            argv.push(token.to_string().into());
        }
    }
    Ok(measure::command(&argv, &ctx.state_dir))
}

fn wall(used: Used) -> f64 {
    used.wall.as_nanos() as f64
}

fn compare(name: &str, zeta: &Path, gates: (Bounds, Bounds), rounds: usize) -> Outcomes<()> {
    let scratch = Scratch::in_memory("oneshot")?;
    let ctx = measure::caller(&scratch.path.join("state"), "bench")?;
    ctx.open()?;
    let lock = scratch.path.join("flock").into_os_string();
    let flock = [OsString::from("flock"), "-n".into(), lock, "true".into()];
    let jobs = jobs(zeta);
    let mut ours: Vec<Vec<f64>> = jobs.iter().map(|_| Vec::new()).collect();
    let mut faults: Vec<Vec<f64>> = ours.clone();
    let mut anchor = Vec::new();
    for round in 0..rounds + 5 {
        // The order rotates, so that no command always runs after the same other one.
        for at in (0..=jobs.len()).map(|at| (at + round) % (jobs.len() + 1)) {
            let Some(job) = jobs.get(at) else {
                let used = measure::run(&mut measure::command(&flock, &scratch.path))?;
                if round >= 5 {
                    anchor.push(wall(used));
                }
                continue;
            };
            let used = measure::run(&mut prepare(job, &ctx)?)?;
            if round >= 5 {
                ours.iter_mut().skip(at).take(1).for_each(|all| all.push(wall(used)));
                faults.iter_mut().skip(at).take(1).for_each(|all| all.push(used.faults));
            }
        }
    }
    measure::head(&format!(
        "{name} against 'flock -n FILE true', whole processes, {rounds} rounds, state on {}",
        measure::file_system(&scratch.path)?
    ));
    for (job, (ours, faults)) in jobs.iter().zip(ours.iter().zip(&faults)) {
        let bounds = if job.whole { gates.1 } else { gates.0 };
        let what = format!("{} ({:.0} faults)", job.what, median(faults));
        let value = median_ratio(ours, &anchor);
        row(&what, &time(median(ours)), &time(median(&anchor)), value, bounds);
    }
    Ok(())
}

/// Takes the counts that repeat exactly: system calls, user instructions, page faults.
fn count(zeta: &Path) -> Outcomes<()> {
    let scratch = Scratch::in_memory("counts")?;
    let ctx = measure::caller(&scratch.path.join("state"), "bench")?;
    ctx.open()?;
    measure::head("counts of one 'lease acquire' of the static binary (the guard exists)");
    let acquire = Job {
        what: "lease acquire",
        argv: words(zeta, "lease acquire a"),
        before: Before::Free("a"),
        whole: false,
    };
    measure::free(&ctx, "a")?;
    measure::take(&ctx, "a")?;
    let trace = scratch.path.join("trace");
    let strace = [OsString::from("strace"), "-f".into(), "-qq".into(), "-o".into()];
    let traced = strace.into_iter().chain([trace.clone().into_os_string()]);
    let traced = Job { argv: traced.chain(acquire.argv.clone()).collect(), ..acquire };
    match prepare(&traced, &ctx)?.status() {
        Ok(status) if status.success() => {
            let calls = fs::read_to_string(&trace)?.lines().count();
            row("system calls", &calls.to_string(), "", calls as f64, at_most(90.0, 55.0));
        }
        other => println!("system calls: not counted, strace did not run: {other:?}"),
    }
    let acquire = words(zeta, "lease acquire a");
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    // An older valgrind does not know openat2; the walk without it is a little longer.
    let argv: Vec<OsString> = valgrind.iter().map(OsString::from).chain(acquire.clone()).collect();
    measure::free(&ctx, "a")?;
    match measure::command(&argv, &ctx.state_dir).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let collected = said.lines().find_map(|line| line.split_once("Collected : "));
            let number: f64 = collected.ok_or("callgrind said no number")?.1.trim().parse()?;
            row("user instructions", &number.to_string(), "", number, at_most(4e5, 1e5));
        }
        other => println!("user instructions: not counted, valgrind did not run: {other:?}"),
    }
    let mut faults = Vec::new();
    for _ in 0..20 {
        measure::free(&ctx, "a")?;
        let stat = ["perf", "stat", "-x,", "-e", "page-faults"].map(OsString::from);
        let argv: Vec<OsString> = stat.into_iter().chain(acquire.clone()).collect();
        let counted = measure::command(&argv, &ctx.state_dir).stderr(Stdio::piped()).output();
        let said = counted.map(|output| output.stderr).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = said.lines().find(|line| line.contains("page-faults"));
        faults.extend(line.and_then(|line| line.split(',').next()?.parse::<f64>().ok()));
    }
    if faults.is_empty() {
        println!("page faults: perf did not run; getrusage counts populated pages as faults, too");
        measure::free(&ctx, "a")?;
        faults.push(measure::run(&mut measure::command(&acquire, &ctx.state_dir))?.faults);
    }
    let faults = median(&faults);
    row("page faults", &faults.to_string(), "", faults, at_most(90.0, 30.0));
    Ok(())
}

/// Measures what `zeta run` adds to the start of a command, and its cost while the command works.
fn presence(zeta: &Path, rounds: usize) -> Outcomes<()> {
    let scratch = Scratch::in_memory("presence")?;
    let state = scratch.path.join("state");
    measure::caller(&state, "bench")?.open()?;
    let with = words(zeta, "run --as otto-cli -- true");
    let without = [OsString::from("true")];
    let mut added = Vec::new();
    for round in 0..rounds + 5 {
        let mut times = [0.0; 2];
        for at in [round % 2, (round + 1) % 2] {
            let argv: &[OsString] = if at == 0 { &with } else { &without };
            let used = measure::run(&mut measure::command(argv, &state))?;
            times.iter_mut().skip(at).take(1).for_each(|slot| *slot = wall(used));
        }
        if round >= 5 {
            added.push(times[0] - times[1]);
        }
    }
    let build = if zeta.to_string_lossy().contains("musl") { "static" } else { "plain" };
    measure::head(&format!("zeta run, {build} binary, {rounds} rounds"));
    let added = median(&added);
    row(
        "added to the start and end of 'true', ms",
        &time(added),
        "",
        added / 1e6,
        at_most(5.0, 1.0),
    );
    idle(zeta, &state)
}

/// Measures memory and CPU of a wrapper whose command sleeps. A short beat is scaled to 10 s.
fn idle(zeta: &Path, state: &Path) -> Outcomes<()> {
    const BEATS: u32 = 50;
    const EVERY: Duration = Duration::from_millis(200);
    let argv = words(zeta, "run --as otto-idle --beat 200ms -- sleep 60");
    let mut child = measure::command(&argv, state).spawn()?;
    let pid = child.id();
    let measured = (|| -> Outcomes<()> {
        std::thread::sleep(EVERY * 3);
        let before = cpu_ns(pid)?;
        std::thread::sleep(EVERY * BEATS);
        let beat = (cpu_ns(pid)? - before) / f64::from(BEATS);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |key: &str| -> Outcomes<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            Ok(line.ok_or("no such line")?.trim().trim_end_matches(" kB").parse()?)
        };
        let (all, own) = (kib("VmRSS:")?, kib("RssAnon:")?);
        let what = format!("memory of an idle run, MiB ({own} KiB private)");
        row(&what, &format!("{all} KiB"), "", all / 1024.0, at_most(4.0, None));
        let percent = beat / 10e9 * 100.0;
        let what = format!("CPU at a 10 s beat, % (n = {BEATS} beats of 200 ms)");
        row(&what, &time(beat), "", percent, at_most(0.05, None));
        Ok(())
    })();
    // SAFETY: the process is our child and was not reaped, so the number is its own.
    unsafe { libc::kill(i32::try_from(pid)?, libc::SIGTERM) };
    child.wait()?;
    measured
}

fn cpu_ns(pid: u32) -> Outcomes<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    Ok(text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?)
}

fn main() -> Outcomes<()> {
    let rounds = std::env::var("ZETA_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(80);
    let plain = Path::new(env!("CARGO_BIN_EXE_zeta"));
    // Dynamic linking alone is 0.4 of the anchor.
    compare("plain release build", plain, (at_most(0.90, 0.30), at_most(1.5, 1.0)), rounds)?;
    match measure::static_binary() {
        Some(released) => {
            let gates = (at_most(0.60, 0.30), at_most(1.0, 0.7));
            compare("static binary", &released, gates, rounds)?;
            count(&released)?;
            presence(&released, rounds)?;
        }
        None => {
            println!("no static binary: 'cargo xtask dist' builds one, ZETA_STATIC names another");
            presence(plain, rounds)?;
        }
    }
    Ok(())
}
