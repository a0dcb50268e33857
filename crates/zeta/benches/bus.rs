//! The bus and claims: the cost of a call without history and with ten thousand messages, of a list
//! compared with JavaScript, and the throughput of thirty-two writers.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zeta_bus::directory::Bus as Opened;
use zeta_bus::messages::{NewMessage, store};
use zeta_core::bus::Address;

mod measure;

use measure::{
    Outcomes, Scratch, at_least, at_most, median, median_ratio, quantile, row, server, time,
};

const MESSAGES: usize = 10_000;
const ROUNDS: usize = 40;
const LIST_ROUNDS: usize = 9;
const WRITERS: usize = 32;
const WRITE_FOR: Duration = Duration::from_secs(3);

fn main() -> Outcomes<()> {
    if let Ok(dir) = std::env::var("ZETA_BENCH_WRITER") {
        return write(Path::new(&dir));
    }
    let zeta = measure::static_binary().ok_or("no static binary: cargo xtask dist")?;
    one_shots(&zeta)?;
    lists(&zeta)?;
    writers()
}

/// Makes a bus with this many messages, a third of them claims by another tool.
fn fill(bus: &Path, count: usize) -> Outcomes<()> {
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(bus)?;
    for at in 0..count {
        let id = format!("{at:08x}-0000-4000-8000-000000000000");
        let (topic, payload) = match at % 3 {
            0 => (
                "claim",
                format!("{{\n    \"action\": \"claim\",\n    \"itemId\": \"X-{at}\"\n  }}"),
            ),
            _ => ("heartbeat", "{\n    \"status\": \"idle\"\n  }".to_owned()),
        };
        let text = format!(
            "{{\n  \"topic\": \"{topic}\",\n  \"payload\": {payload},\n  \"id\": \"{id}\",\n  \
             \"from\": \"otto-cli\",\n  \"to\": \"*\",\n  \
             \"timestamp\": \"2026-05-27T12:00:01.000Z\",\n  \
             \"expiresAt\": \"2099-01-01T00:00:00.000Z\"\n}}"
        );
        fs::write(bus.join(format!("{id}.json")), text)?;
    }
    Ok(())
}

struct Bus {
    bus: PathBuf,
    state: PathBuf,
}

impl Bus {
    fn new(scratch: &Scratch, count: usize) -> Outcomes<Bus> {
        let of = |what: &str| scratch.path.join(format!("{what}-{count}"));
        let bus = Bus { bus: of("bus"), state: of("state") };
        fill(&bus.bus, count)?;
        Ok(bus)
    }

    fn command(&self, zeta: &Path, words: &[&str]) -> Command {
        let argv: Vec<OsString> = std::iter::once(zeta.as_os_str().to_owned())
            .chain(words.iter().map(OsString::from))
            .collect();
        let mut command = measure::command(&argv, &self.state);
        command.env("ZETA_BUS_DIR", &self.bus);
        command
    }
}

fn one_shots(zeta: &Path) -> Outcomes<()> {
    let scratch = Scratch::in_memory("bus")?;
    let (few, many) = (Bus::new(&scratch, 0)?, Bus::new(&scratch, MESSAGES)?);
    let lock = scratch.path.join("flock").into_os_string();
    let flock = [OsString::from("flock"), "-n".into(), lock, "true".into()];
    let verbs = ["claim acquire", "claim check", "claim release", "bus publish"];
    let mut ours = vec![[Vec::new(), Vec::new()]; verbs.len()];
    let (mut anchor, mut listed) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 5 {
        let item = format!("I-{round}");
        let used = measure::run(&mut measure::command(&flock, &scratch.path))?;
        let keep = round >= 5;
        if keep {
            anchor.push(used.wall.as_nanos() as f64);
            let start = Instant::now();
            fs::read_dir(&many.bus)?.for_each(drop);
            listed.push(start.elapsed().as_nanos() as f64);
        }
        for (at, bus) in [&few, &many].into_iter().enumerate() {
            let calls: [&[&str]; 4] = [
                &["claim", "acquire", &item, "--branch", "b", "--worktree", "/w"],
                &["claim", "check", "--item", "free"],
                &["claim", "release", &item, "--branch", "b", "--worktree", "/w"],
                &["bus", "publish", "--topic", "heartbeat", "--payload", "{\"status\":\"idle\"}"],
            ];
            for (call, times) in calls.iter().zip(&mut ours) {
                let used = measure::run(&mut bus.command(zeta, call))?;
                if keep && let Some(times) = times.get_mut(at) {
                    times.push(used.wall.as_nanos() as f64);
                }
            }
        }
    }
    measure::head(&format!(
        "bus and claims, static binary, whole processes, against 'flock -n FILE true', {ROUNDS} \
         rounds, tmpfs"
    ));
    for (verb, [few, _]) in verbs.iter().zip(&ours) {
        let (value, ours, flock) = (median_ratio(few, &anchor), median(few), median(&anchor));
        row(&format!("{verb}, empty bus"), &time(ours), &time(flock), value, at_most(0.9, 0.4));
    }
    measure::head(&format!("the same with {MESSAGES} messages against an empty bus"));
    for (verb, [few, many]) in verbs.iter().zip(&ours).skip(2) {
        let (value, ours, none) = (median_ratio(many, few), median(many), median(few));
        row(verb, &time(ours), &time(none), value, at_most(1.5, 1.1));
    }
    measure::head(&format!(
        "what {MESSAGES} messages add to a call, against a bare listing of their names"
    ));
    for (verb, [few, many]) in verbs.iter().zip(&ours).take(2) {
        let added: Vec<f64> = many.iter().zip(few).map(|(many, few)| many - few).collect();
        let value = median_ratio(&added, &listed);
        row(verb, &time(median(&added)), &time(median(&listed)), value, at_most(3.0, 2.0));
    }
    Ok(())
}

/// Lists all messages in JavaScript, as a tool of the original's shape does.
const LIST_JS: &str = r#"
const fs = require("fs"), dir = process.argv[2];
const all = fs.readdirSync(dir).filter((n) => n.endsWith(".json")).flatMap((n) => {
  try { return [JSON.parse(fs.readFileSync(dir + "/" + n, "utf8"))]; } catch { return []; }
}).filter((m) => typeof m.id === "string" && Date.parse(m.expiresAt) >= Date.now());
all.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
console.log(JSON.stringify(all, null, 2));
"#;

fn lists(zeta: &Path) -> Outcomes<()> {
    let scratch = Scratch::in_memory("list")?;
    let bus = Bus::new(&scratch, MESSAGES)?;
    let script = scratch.path.join("list.cjs");
    fs::write(&script, LIST_JS)?;
    measure::head(&format!("list of {MESSAGES} messages as JSON, whole processes, tmpfs"));
    let first = measure::run(&mut bus.command(zeta, &["bus", "list", "--json"]))?;
    measure::note(
        "the first list, which reads every file",
        &time(first.wall.as_nanos() as f64),
        "",
    );
    for (name, runtime) in runtimes() {
        let (mut ours, mut anchor) = (Vec::new(), Vec::new());
        for _ in 0..LIST_ROUNDS {
            let used = measure::run(&mut bus.command(zeta, &["bus", "list", "--json"]))?;
            ours.push(used.wall.as_nanos() as f64);
            let argv = [runtime.clone().into(), script.clone().into(), bus.bus.clone().into()];
            let used = measure::run(&mut measure::command(&argv, &bus.state))?;
            anchor.push(used.wall.as_nanos() as f64);
        }
        let value = median_ratio(&ours, &anchor);
        let (ours, anchor) = (time(median(&ours)), time(median(&anchor)));
        row(&format!("list against {name}"), &ours, &anchor, value, at_most(0.6, 0.3));
    }
    Ok(())
}

/// Lists which of bun and node are installed.
fn runtimes() -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for (name, path) in [
        ("bun", Some(server::anchors().join("node/node_modules/.bin/bun"))),
        ("node", Some(PathBuf::from("node"))),
    ] {
        let works = path.as_ref().is_some_and(|path| {
            let mut probe = Command::new(path);
            probe.args(["-e", "0"]).stdout(Stdio::null()).stderr(Stdio::null());
            probe.status().is_ok_and(|status| status.success())
        });
        match path.filter(|_| works) {
            Some(path) => found.push((name, path)),
            None => measure::missing(name),
        }
    }
    found
}

/// Runs one of many writers: stores as fast as it can, and prints the time of each message.
fn write(dir: &Path) -> Outcomes<()> {
    let draft = NewMessage {
        from: Address::new("otto-cli")?,
        to: zeta_core::bus::Recipient::All,
        topic: "shadow-catch".to_owned(),
        payload: serde_json::json!({ "content": "two surfaces opened the same row" }),
        life_ms: None,
        unchecked: false,
        reply: None,
    };
    let bus = Opened::open_or_create(dir)?;
    let mut times = Vec::new();
    let until = Instant::now() + WRITE_FOR;
    while Instant::now() < until {
        let start = Instant::now();
        store(&bus, &draft.envelope()?)?;
        times.push(start.elapsed().as_nanos().to_string());
    }
    println!("{}", times.join("\n"));
    Ok(())
}

fn writers() -> Outcomes<()> {
    let scratch = Scratch::in_memory("writers")?;
    let bus = scratch.path.join("bus");
    fill(&bus, 0)?;
    let started = Instant::now();
    let children: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe()?);
            command.env("ZETA_BENCH_WRITER", &bus).stdout(Stdio::piped());
            command.spawn()
        })
        .collect::<Result<_, _>>()?;
    let mut times = Vec::new();
    for child in children {
        let out = child.wait_with_output()?;
        let text = String::from_utf8(out.stdout)?;
        times.extend(text.lines().filter_map(|line| line.parse::<f64>().ok()));
    }
    let took = started.elapsed().as_secs_f64();
    let stored = fs::read_dir(&bus)?.filter_map(Result::ok);
    let stored = stored.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json"));
    let lost = times.len() as f64 - stored.count() as f64;
    let p99_ms = quantile(&times, 0.99) / 1e6;
    measure::head(&format!(
        "{WRITERS} processes store messages through the library, in a loop of {WRITE_FOR:?}, tmpfs"
    ));
    let rate = times.len() as f64 / took;
    row("messages per second", &format!("{rate:.0}"), "", rate, at_least(10_000.0, 20_000.0));
    row("p99, ms", &time(quantile(&times, 0.99)), "", p99_ms, at_most(20.0, 5.0));
    row("lost", &format!("{lost:.0} of {}", times.len()), "", lost, at_most(0.0, None));
    Ok(())
}
