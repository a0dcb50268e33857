//! The frames of the page with a thousand agents and 10,000 entries of the history, while a hundred
//! records change each second: how long the page's thread is busy for one, on a processor that the
//! browser makes four times as slow. The times are of the browser's own trace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

#[expect(dead_code, reason = "the tests of the page use the rest of it")]
#[path = "../../../testing/src/browser.rs"]
mod browser;
mod measure;

use browser::Browser;
use measure::{Outcomes, Scratch, at_most, note, quantile, row, time};

const AGENTS: usize = 1000;
const ENTRIES: usize = 10_000;
/// Where the pointer is: on the list of agents, and on the lanes of the timeline.
const LIST: (f64, f64) = (300.0, 420.0);
const LANES: (f64, f64) = (500.0, 660.0);

/// Makes the tree: the records of agents are like one that zeta wrote.
fn fill(zeta: &Path, state: &Path) -> Outcomes<()> {
    let set = ["persona", "set", "agent-0", "--task", "task 0", "--as", "bench"];
    measure::run(quiet(&mut zeta_on(zeta, state, &set)))?;
    for lease in 0..200 {
        let lease = format!("job-{lease}");
        let acquire = ["lease", "acquire", &lease, "--as", "bench", "--ttl", "1h"];
        measure::run(quiet(&mut zeta_on(zeta, state, &acquire)))?;
    }
    let node = node(state)?;
    for number in 1..AGENTS {
        change(&node, number, 0)?;
    }
    let now = zeta_os::host::wall_us();
    let mut logs = [String::new(), String::new()];
    for at in 0..ENTRIES as i64 {
        let log = &mut logs[usize::from(at >= ENTRIES as i64 / 2)];
        let when = zeta_core::time::format_utc(now - (ENTRIES as i64 - at) * 1_000_000);
        let (lease, agent) = (at * 7919 % 300, at * 104_729 % AGENTS as i64);
        let token = 1_700_000_000_000_000 + at;
        let event = if at % 2 == 0 { "acquired" } else { "released" };
        let (lease, agent, token) = match at % 2 {
            0 => (lease, agent, token),
            _ => ((at - 1) * 7919 % 300, (at - 1) * 104_729 % AGENTS as i64, token - 1),
        };
        log.push_str(&format!(
            "{when} {event} old-{lease} fencing_token={token} agent=\"agent-{agent}\"\n"
        ));
    }
    fs::write(node.join("history.1.log"), &logs[0])?;
    fs::write(node.join("history.log"), &logs[1])?;
    Ok(())
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

fn zeta_on(zeta: &Path, state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(zeta);
    command.args(args).env("ZETA_STATE_DIR", state).env("ZETA_BUS_DIR", state.join("../bus"));
    command
}

fn node(state: &Path) -> Outcomes<std::path::PathBuf> {
    Ok(state.join("nodes").join(fs::read_to_string(state.join("local-node"))?.trim()))
}

/// Writes the record of an agent, with another task in each round.
fn change(node: &Path, number: usize, round: usize) -> Outcomes<()> {
    let record = fs::read_to_string(node.join("persona-agent-0.state"))?;
    let record = record.replace("agent-0", &format!("agent-{number}"));
    let temp = node.join(format!(".tmp-bench-{number}"));
    fs::write(&temp, record.replace("task 0", &format!("task {number}, round {round}")))?;
    fs::rename(temp, node.join(format!("persona-agent-{number}.state")))?;
    Ok(())
}

/// The server of the page.
struct Web(Child);

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The steps of a frame, as the trace names them.
const STEPS: [(&str, &str); 7] = [
    ("script", "FireAnimationFrame"),
    ("style", "UpdateLayoutTree"),
    ("layout", "Layout"),
    ("before paint", "PrePaint"),
    ("paint", "Paint"),
    ("layers", "Layerize"),
    ("commit", "Commit"),
];

/// How long a frame kept the page's thread, and each of its steps, in ns.
struct Frame {
    time: f64,
    steps: [f64; STEPS.len()],
}

/// Starts the trace, does something, and returns the frames of that time.
fn frames(
    browser: &mut Browser,
    act: impl FnOnce(&mut Browser) -> browser::Outcome<()>,
) -> browser::Outcome<Vec<Frame>> {
    let categories = "toplevel,devtools.timeline,disabled-by-default-devtools.timeline";
    browser.call("Tracing.start", &json!({"categories": categories}))?;
    act(browser)?;
    browser.call("Tracing.end", &json!({}))?;
    let mut events = Vec::new();
    while browser.take_events("Tracing.tracingComplete").is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        for part in browser.take_events("Tracing.dataCollected") {
            events.extend(part["params"]["value"].as_array().cloned().unwrap_or_default());
        }
    }
    let place = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or_default();
    // The thread that painted is that of the page.
    let painter = events.iter().find(|event| event["name"] == "FireAnimationFrame");
    let page = painter.map(place).ok_or("no frame was drawn")?;
    let of_page = |event: &&Value| event["ph"] == "X" && place(event) == page;
    let ours: Vec<&Value> = events.iter().filter(of_page).collect();
    let drawn: Vec<f64> = ours
        .iter()
        .filter(|event| event["name"] == "Commit" || event["name"] == "FireAnimationFrame")
        .map(|event| number(event, "ts"))
        .collect();
    let task = |event: &&&Value| event["name"].as_str().is_some_and(|name| name == "RunTask");
    let has = |event: &Value| {
        let begin = number(event, "ts");
        let end = begin + number(event, "dur");
        drawn.iter().any(|at| (begin..end).contains(at))
    };
    let steps = |frame: &Value| {
        let begin = number(frame, "ts");
        let end = begin + number(frame, "dur");
        let within = |event: &Value| (begin..end).contains(&number(event, "ts"));
        STEPS.map(|(_, name)| {
            let of_step = ours.iter().filter(|event| event["name"] == name && within(event));
            of_step.map(|event| number(event, "tdur") * 1e3).sum::<f64>()
        })
    };
    let tasks = ours.iter().filter(task).filter(|event| has(event));
    let frame = |event: &&Value| Frame { time: number(event, "tdur") * 1e3, steps: steps(event) };
    Ok(tasks.map(frame).collect())
}

/// Names the steps of the slowest tenth of the frames, with their mean times.
fn slow_steps(frames: &mut [Frame]) -> String {
    frames.sort_by(|one, other| other.time.total_cmp(&one.time));
    let slow = &frames[..frames.len().div_ceil(10)];
    let mean =
        |step: usize| slow.iter().map(|frame| frame.steps[step]).sum::<f64>() / slow.len() as f64;
    let step = |(at, (step, _)): (usize, &(&str, &str))| format!("{step} {}", time(mean(at)));
    STEPS.iter().enumerate().map(step).collect::<Vec<_>>().join(", ")
}

fn wait(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

type Act = fn(&mut Browser) -> browser::Outcome<()>;

const ACTS: [(&str, Act); 5] = [
    ("nothing is touched, 100 changes a second", |_| {
        wait(4000);
        Ok(())
    }),
    ("a list is scrolled", |browser| turn(browser, LIST, &[120.0; 60])),
    ("the timeline is zoomed", |browser| {
        turn(browser, LANES, &[[-100.0; 25], [100.0; 25]].concat())
    }),
    ("the timeline is dragged", |browser| {
        browser.mouse("mouseMoved", LANES.0, LANES.1)?;
        browser.mouse("mousePressed", LANES.0, LANES.1)?;
        for step in 0..60 {
            browser.mouse("mouseMoved", LANES.0 + 4.0 * f64::from(step), LANES.1)?;
            wait(16);
        }
        browser.mouse("mouseReleased", LANES.0, LANES.1)
    }),
    ("a filter is typed", |browser| {
        browser.press("/", false)?;
        for letter in ["a", "g", "e", "n", "t", "-", "1", "7"] {
            browser.press(letter, false)?;
            wait(120);
        }
        browser.press("Escape", false)?;
        wait(300);
        Ok(())
    }),
];

fn turn(browser: &mut Browser, (x, y): (f64, f64), deltas: &[f64]) -> browser::Outcome<()> {
    for delta in deltas {
        browser.wheel(x, y, *delta)?;
        wait(30);
    }
    Ok(())
}

fn main() -> Outcomes<()> {
    let title = format!(
        "the page with {AGENTS} agents and {ENTRIES} entries of the history: time of the page's \
         thread for a frame, on a processor slowed down 4 times"
    );
    measure::head(&title);
    let zeta = measure::static_binary().unwrap_or_else(|| env!("CARGO_BIN_EXE_zeta").into());
    if !Path::new("/usr/bin/chromium").exists() {
        measure::missing("chromium");
        return Ok(());
    }
    let scratch = Scratch::in_memory("page")?;
    let state = scratch.path.join("state");
    fill(&zeta, &state)?;
    let mut web = zeta_on(&zeta, &state, &["web", "--json"]);
    let mut web = Web(web.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    BufReader::new(web.0.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line)?;
    let mut browser = Browser::start(&scratch.path.join("browser"), &[])?;
    browser.resize(1280, 800)?;
    browser.open(said["url"].as_str().ok_or("no address")?)?;
    browser.until("document.querySelector('#agents h2 b').innerText === '1000'")?;
    browser.eval("document.querySelector('#zoom-all').click()")?;
    wait(1000);
    let end = Arc::new(AtomicBool::new(false));
    let (node, ended) = (node(&state)?, Arc::clone(&end));
    let writer = std::thread::spawn(move || {
        let mut at = 0;
        while !ended.load(Ordering::Relaxed) {
            let _ = change(&node, 1 + at * 7 % (AGENTS - 1), at);
            at += 1;
            wait(10);
        }
    });
    browser.call("Emulation.setCPUThrottlingRate", &json!({"rate": 4}))?;
    for (what, act) in ACTS {
        let mut frames = frames(&mut browser, act)?;
        let times: Vec<f64> = frames.iter().map(|frame| frame.time).collect();
        let half = quantile(&times, 0.5);
        let most = quantile(&times, 0.95);
        row(&format!("{what}: p95"), &time(most), "16 ms", most / 1e6, at_most(16.0, 8.0));
        note("  p50", &time(half), "");
        note("  the longest", &time(quantile(&times, 1.0)), &format!("of {}", times.len()));
        note("  the slowest tenth", &slow_steps(&mut frames), "");
    }
    end.store(true, Ordering::Relaxed);
    let _ = writer.join();
    Ok(())
}
