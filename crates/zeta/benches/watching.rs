//! The time from a rename to the callback of a watcher in another process: a view of the tree,
//! compared with a bare inotify loop and with a watch on a NATS bucket.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::time::{ClockId, clock_gettime};
use zeta_state::presence::view::{Change, View};

mod measure;

use measure::server::{self, Server};
use measure::{
    Outcomes, Scratch, at_most, median, median_ratio, missing, note, quantile, row, time,
};

const ROUNDS: usize = 6;
const EVENTS: usize = 400;
/// The writer is this program again, with the directory that it writes to in its environment.
const WRITER: &str = "ZETA_BENCH_WRITER";
const FILE: &str = "stamp.marker";
const SOON: Duration = Duration::from_secs(5);

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Renames a record over the last one, with gaps of 0.5 to 1.5 ms, so that nothing falls into step.
fn write(dir: &Path) -> Outcomes<()> {
    let temp = dir.join(".tmp-stamp");
    for at in 0..EVENTS as u64 {
        std::thread::sleep(Duration::from_micros(500 + (at * 7919) % 1000));
        fs::write(&temp, format!("stamp: {:020}\n", now_ns()))?;
        fs::rename(&temp, dir.join(FILE))?;
    }
    fs::write(dir.join("end.marker"), "stamp: 0\n")?;
    Ok(())
}

/// Returns the time between the stamp in a record and now.
fn since(bytes: &[u8], now_ns: u64) -> Outcomes<f64> {
    let text = std::str::from_utf8(bytes)?.trim().trim_start_matches("stamp: ");
    Ok(now_ns.saturating_sub(text.parse()?) as f64)
}

fn writer(dir: &Path) -> Outcomes<std::process::Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.env(WRITER, dir).stdout(Stdio::null()).spawn()?)
}

/// Measures the minimum: read one event, then the clock.
fn raw(dir: &Path) -> Outcomes<Vec<f64>> {
    let fd = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
    let mut child = writer(dir)?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&fd, &mut buffer);
    let mut times = Vec::new();
    loop {
        let event = events.next()?;
        let now_ns = now_ns();
        match event.file_name().map(|name| name.to_bytes()) {
            Some(b"stamp.marker") => times.push(since(&fs::read(dir.join(FILE))?, now_ns)?),
            Some(b"end.marker") => break,
            _ => {}
        }
    }
    child.wait()?;
    fs::remove_file(dir.join("end.marker"))?;
    Ok(times)
}

/// Measures zeta: the callback gets node, record and content.
fn ours(view: &mut View, dir: &Path) -> Outcomes<Vec<f64>> {
    view.refresh(&mut |_| {})?;
    let mut child = writer(dir)?;
    let (mut times, mut end) = (Vec::new(), false);
    while !end {
        let told = view.wait(SOON, &mut |change| {
            let now_ns = now_ns();
            match change {
                Change::Record(_, FILE, Some(bytes)) => {
                    times.extend(since(&bytes.bytes, now_ns));
                }
                Change::Record(_, "end.marker", Some(_)) => end = true,
                _ => {}
            }
        })?;
        if !told {
            return Err("the view saw nothing".into());
        }
    }
    child.wait()?;
    fs::remove_file(dir.join("end.marker"))?;
    Ok(times)
}

/// Measures p50 and p99 of a watch on a bucket, with a client and a writer of its own.
fn nats(server: &Server, dir: &Path) -> Outcomes<[f64; 2]> {
    let client = server::client().ok_or("no client")?;
    let argv = |verb: &str| {
        let count = EVENTS.to_string();
        [
            client.as_os_str(),
            "nats".as_ref(),
            verb.as_ref(),
            server.address.as_ref(),
            count.as_ref(),
        ]
        .map(OsString::from)
    };
    let mut watch = measure::command(&argv("watch"), dir).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().ok_or("no pipe")?).lines();
    lines.next().ok_or("the watch did not start")??;
    measure::run(&mut measure::command(&argv("puts"), dir))?;
    let line = lines.next().ok_or("the watch said nothing")??;
    watch.wait()?;
    let (half, most) = line.split_once(' ').ok_or("two numbers")?;
    Ok([half.parse()?, most.parse()?])
}

fn main() -> Outcomes<()> {
    if let Some(dir) = std::env::var_os(WRITER) {
        return write(Path::new(&dir));
    }
    let scratch = Scratch::in_memory("watching")?;
    let state = scratch.path.join("state");
    let node = measure::caller(&state, "bench")?.open()?.node;
    let mut view = View::open(&state)?.ok_or("no tree")?;
    if !view.follow() {
        return Err("no inotify here".into());
    }
    let server = server::nats(&scratch.path, "memory")?;
    let [mut mine, mut bare, mut theirs] = [(); 3].map(|()| [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (all, times) in
            [(&mut bare, raw(&node.path)?), (&mut mine, ours(&mut view, &node.path)?)]
        {
            all[0].push(median(&times));
            all[1].push(quantile(&times, 0.99));
        }
        if let Some(server) = &server {
            let [half, most] = nats(server, &scratch.path)?;
            theirs[0].push(half);
            theirs[1].push(most);
        }
    }
    measure::head(&format!(
        "watch: from before a rename to the callback in another process, with the record's \
         content, tmpfs, {ROUNDS} rounds of {EVENTS} events"
    ));
    let told = |what: &str, others: &[Vec<f64>; 2], bounds| {
        let ratio = median_ratio(&mine[0], &others[0]);
        row(what, &time(median(&mine[0])), &time(median(&others[0])), ratio, bounds);
        note("  p99", &time(median(&mine[1])), &time(median(&others[1])));
    };
    told("p50 against a bare inotify loop", &bare, at_most(2.0, 1.3));
    match server {
        Some(_) => told("p50 against a NATS KV watch", &theirs, at_most(0.7, 0.4)),
        None => missing("p50 against a NATS KV watch"),
    }
    Ok(())
}
