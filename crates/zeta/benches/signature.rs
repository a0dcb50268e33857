//! Signed commits: an audit of 100,000 commits beside `git log` of the same messages, its memory,
//! and a check beside `git interpret-trailers --parse`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod measure;

use measure::{Outcomes, Scratch, at_most, median, median_ratio, row, time};

const COMMITS: usize = 100_000;
/// The same with this share of the commits, for the memory.
const FEW: usize = 10_000;
const ROUNDS: usize = 7;
const CALLS: usize = 200;
/// How much more memory ten times the commits may take: the same, but for the noise of pages.
const MEMORY: f64 = 1.1;

fn main() -> Outcomes<()> {
    let timed = std::env::args().any(|arg| arg == "--bench");
    let (commits, few, rounds, calls) =
        if timed { (COMMITS, FEW, ROUNDS, CALLS) } else { (300, 30, 2, 2) };
    let zeta = measure::static_binary().ok_or("no static binary: cargo xtask dist")?;
    let scratch = Scratch::in_memory("signature")?;
    let dir = scratch.path.join("repo");
    fill(&dir, commits)?;
    let range = "main";
    measure::head(&format!("signed commits: {commits} of them, {rounds} rounds, on tmpfs"));
    let audit = || call(zeta.to_str().unwrap_or_default(), &["signature", "audit", range], &dir);
    let log = || call("git", &["log", "--format=%B", range], &dir);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(timed_call(audit())?);
        theirs.push(timed_call(log())?);
    }
    let ratio = median_ratio(&ours, &theirs);
    let (shown, anchor) = (time(median(&ours)), time(median(&theirs)));
    row("audit, beside git log --format=%B", &shown, &anchor, ratio, at_most(1.5, 1.2));
    let of = |max: usize| {
        let max = max.to_string();
        let args = ["signature", "audit", "--max", &max];
        memory(call(zeta.to_str().unwrap_or_default(), &args, &dir))
    };
    let (all, some) = (of(commits)?, of(few)?);
    let kib = |kib: f64| format!("{kib:.0} KiB");
    let what = "its memory, beside that for a tenth of them";
    row(what, &kib(all), &kib(some), all / some, at_most(MEMORY, None));
    let message = dir.join("message");
    fs::write(&message, message_of(1))?;
    let check =
        || call(zeta.to_str().unwrap_or_default(), &["signature", "check", "message"], &dir);
    let parse = || call("git", &["interpret-trailers", "--parse", "message"], &dir);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        ours.push(timed_call(check())?);
        theirs.push(timed_call(parse())?);
    }
    let ratio = median_ratio(&ours, &theirs);
    let (shown, anchor) = (time(median(&ours)), time(median(&theirs)));
    row("check, beside git interpret-trailers", &shown, &anchor, ratio, at_most(0.6, 0.4));
    Ok(())
}

/// A message of a usual length; each third one is signed, and each fifth one is of a person.
fn message_of(number: usize) -> String {
    let mut text = format!("feat: change {number}\n\n");
    for line in 0..6 {
        text.push_str(&format!("Line {line} says why, in some sixty letters or a few more.\n"));
    }
    if number % 3 == 1 {
        text.push_str(
            "\nAgency-Signature-Version: 1\nAgent: Otto\nAgent-Runtime: Claude Code\n\
             Agent-Model: model-x\nCredential-Identity: operator-account\n\
             Credential-Mode: shared\nHuman-Review: none\nHuman-Review-Evidence: none\n\
             Action-Mode: autonomous-fail-open\nTask: Otto-12\n",
        );
    } else if !number.is_multiple_of(5) {
        text.push_str("\nCo-authored-by: Ann <ann@example.invalid>\n");
    }
    text
}

/// Makes a repository with so many commits, packed.
fn fill(dir: &Path, commits: usize) -> Outcomes<()> {
    fs::create_dir(dir)?;
    done(&mut call("git", &["init", "-q", "-b", "main"], dir))?;
    let stream = dir.join("stream");
    let mut file = BufWriter::new(File::create(&stream)?);
    for number in 0..commits {
        let text = message_of(number);
        let at = 1_700_000_000 + number;
        write!(
            file,
            "commit refs/heads/main\ncommitter Ann <ann@example.invalid> {at} +0000\n\
             data {}\n{text}\n",
            text.len()
        )?;
    }
    file.flush()?;
    let mut import = call("git", &["fast-import", "--quiet"], dir);
    done(import.stdin(File::open(&stream)?))?;
    Ok(fs::remove_file(stream)?)
}

fn call(program: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir).env_remove("XDG_CONFIG_HOME");
    command
}

fn done(command: &mut Command) -> Outcomes<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

fn timed_call(mut command: Command) -> Outcomes<f64> {
    let begun = Instant::now();
    done(&mut command)?;
    Ok(begun.elapsed().as_nanos() as f64)
}

/// The most memory that a call itself had in use, in KiB, without that of the git that it started.
fn memory(mut command: Command) -> Outcomes<f64> {
    let mut child = command.stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    // The kernel keeps the most; it is gone with the process, so the last look before that counts.
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = kib.unwrap_or(most);
        std::thread::sleep(Duration::from_millis(1));
    }
    if most > 0.0 { Ok(most) } else { Err("the memory of a call was not seen".into()) }
}
