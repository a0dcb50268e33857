//! `zeta status --all --json` over 10,000 nodes with 4 records each, compared with the minimum:
//! open, list and read the same files in a plain loop on one thread.
//!
//! `cargo bench --bench status -- [ROUNDS] [NODES]` builds the tree in `/dev/shm`, takes turns with
//! both sides, and prints medians and their ratio. Run as a test, it does one small round.
#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use zeta_core::evidence::Processes;
use zeta_core::layout;
use zeta_core::lease::{AcquireRequest, Observed, Policy, decide_acquire};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{Beat, set_beat, set_processes};
use zeta_core::record::{Fields, Text, parse};
use zeta_core::time::{Host, Now};

use zeta_os::{host, process};
use zeta_state::presence::view::View;

mod measure;

use measure::{at_most, row};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let timed = args.iter().any(|arg| arg == "--bench");
    let mut numbers = args.iter().filter_map(|arg| arg.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(if timed { 15 } else { 1 });
    let nodes = numbers.next().unwrap_or(if timed { 10_000 } else { 50 });
    let base = PathBuf::from(format!("/dev/shm/zeta-bench-{}", std::process::id()));
    let bytes = build_tree(&base, nodes);
    measure::head(&format!(
        "status --all --json, plain build: {nodes} nodes, {} records, {bytes} bytes, tmpfs, warm",
        nodes * 4
    ));
    let mut raw = Vec::new();
    let mut status = Vec::new();
    raw_loop(&base);
    run_status(&base);
    let before = child_ticks();
    for _ in 0..rounds {
        raw.push(timed_run(|| assert_eq!(raw_loop(&base), bytes)));
        status.push(timed_run(|| run_status(&base)));
    }
    let cpu = Duration::from_millis((child_ticks() - before) * 10) / rounds as u32;
    let parsing = parse_all(&base);
    report(&mut raw, &mut status, cpu, parsing);
    others(&base, rounds.min(5));
    view(&base, rounds);
    let _ = std::fs::remove_dir_all(&base);
}

fn report(raw: &mut [Duration], status: &mut [Duration], cpu: Duration, parsing: [Duration; 2]) {
    let n = raw.len();
    let (raw, status) = (median(raw), median(status));
    let ns = |time: Duration| measure::time(time.as_nanos() as f64);
    let ratio = status.as_secs_f64() / raw.as_secs_f64();
    let what = format!("status against a raw loop, 1 thread (n = {n})");
    row(&what, &ns(status), &ns(raw), ratio, at_most(1.3, 0.7));
    for (what, time) in [
        ("parsing, % of the CPU time of status", parsing[0]),
        ("  parsing and interpreting", parsing[1]),
    ] {
        let part = 100.0 * time.as_secs_f64() / cpu.as_secs_f64().max(1e-9);
        match what.starts_with(' ') {
            false => row(what, &ns(time), &ns(cpu), part, at_most(15.0, 8.0)),
            true => measure::shown(what, &ns(time), &ns(cpu), part),
        }
    }
}

/// Measures common tools as whole processes: each reads all files of the tree.
const OTHERS: [(&str, &[&str]); 3] = [
    ("grep -r", &["grep", "-r", "-c", "fencing_token", "nodes"]),
    (
        "python",
        &[
            "python3",
            "-c",
            "import os\nfor d in os.scandir('nodes'):\n  for f in os.scandir(d):\n    \
             if f.name[0] != '.':\n      with open(f.path, 'rb') as r: r.read()",
        ],
    ),
    (
        "node",
        &[
            "node",
            "-e",
            "const fs = require('fs'); for (const d of fs.readdirSync('nodes')) \
             for (const f of fs.readdirSync('nodes/' + d)) \
             if (f[0] != '.') fs.readFileSync(`nodes/${d}/${f}`)",
        ],
    ),
];

fn others(base: &Path, rounds: usize) {
    for (name, argv) in OTHERS {
        let name = format!("status / {name}, whole processes");
        if !measure::server::here(argv[0]) {
            measure::missing(&name);
            continue;
        }
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            mine.push(timed_run(|| run_status(base)).as_secs_f64() * 1e9);
            let mut command = Command::new(argv[0]);
            command.args(&argv[1..]).current_dir(base).stdout(Stdio::null());
            theirs.push(timed_run(|| assert!(command.status().expect(argv[0]).success())));
        }
        let theirs: Vec<f64> = theirs.iter().map(|time| time.as_secs_f64() * 1e9).collect();
        let (our, their) = (measure::median(&mine), measure::median(&theirs));
        let ratio = measure::median_ratio(&mine, &theirs);
        measure::shown(&name, &measure::time(our), &measure::time(their), ratio);
    }
}

/// Measures a view on one thread: a first refresh, and one that finds no change, by file times and
/// by events. Every node has a `last-seen.iso` by now, whose time must be read by itself.
fn view(base: &Path, rounds: usize) {
    for node in std::fs::read_dir(base.join("nodes")).expect("nodes").flatten() {
        let line = "2026-11-22T10:11:12.123456Z\n";
        std::fs::write(node.path().join(layout::LAST_SEEN), line).expect("last-seen.iso");
    }
    // Waits until the times of all files are old enough to be trusted.
    std::thread::sleep(Duration::from_millis(1200));
    measure::head("a view on one thread, the same tree with a last-seen.iso in every node");
    let open = || View::open(base).expect("view").expect("a tree");
    let look = |view: &mut View| {
        let mut changes = 0;
        view.refresh(&mut |_| changes += 1).expect("refresh");
        changes
    };
    let mut following = open();
    let follows = following.follow();
    look(&mut following);
    let [mut raw, mut full, mut still, mut told] = [(); 4].map(|()| Vec::new());
    for _ in 0..rounds {
        raw.push(timed_run(|| assert_ne!(raw_loop(base), 0)));
        let mut view = open();
        full.push(timed_run(|| assert_ne!(look(&mut view), 0)));
        still.push(timed_run(|| assert_eq!(look(&mut view), 0)));
        told.push(timed_run(|| assert_eq!(look(&mut following), 0)));
    }
    let ns = |times: &[Duration]| -> Vec<f64> {
        times.iter().map(|time| time.as_secs_f64() * 1e9).collect()
    };
    let [raw, full, still, told] = [raw, full, still, told].map(|times| ns(&times));
    let shown = |times: &[f64]| measure::time(measure::median(times));
    let ratio = measure::median_ratio;
    measure::shown("first refresh / the raw loop", &shown(&full), &shown(&raw), ratio(&full, &raw));
    let what = "nothing changed, by file times / first refresh";
    row(what, &shown(&still), &shown(&full), ratio(&still, &full), at_most(0.2, 0.12));
    let what = "nothing changed, by file times / the raw loop";
    measure::shown(what, &shown(&still), &shown(&raw), ratio(&still, &raw));
    match follows {
        true => {
            let what = "nothing changed, by events / first refresh";
            measure::shown(what, &shown(&told), &shown(&full), ratio(&told, &full));
        }
        false => measure::missing("nothing changed, by events"),
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn timed_run(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn run_status(base: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_zeta"))
        .args(["status", "--all", "--json", "--state-dir"])
        .arg(base)
        .stdout(Stdio::null())
        .status()
        .expect("zeta starts");
    assert!(status.success(), "{status}");
}

/// Returns user and system time of the children that were waited for, in ticks of 10 ms.
fn child_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    fields[14].parse::<u64>().unwrap_or(0) + fields[15].parse::<u64>().unwrap_or(0)
}

/// Runs the minimum: reads on one thread without checks or parsing. Returns the number of bytes.
fn raw_loop(base: &Path) -> usize {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = flags | OFlags::DIRECTORY;
    let nodes = openat(CWD, base.join("nodes"), directory, Mode::empty()).expect("nodes");
    let mut outer = [MaybeUninit::uninit(); 32 * 1024];
    let mut inner = [MaybeUninit::uninit(); 16 * 1024];
    let mut bytes = vec![0; 64 * 1024];
    let mut sum = 0;
    let mut names = RawDir::new(&nodes, &mut outer);
    while let Some(Ok(node)) = names.next() {
        if node.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        let dir = openat(&nodes, node.file_name(), directory, Mode::empty()).expect("node");
        let mut files = RawDir::new(&dir, &mut inner);
        while let Some(Ok(file)) = files.next() {
            if file.file_name().to_bytes().starts_with(b".") {
                continue;
            }
            let fd = openat(&dir, file.file_name(), flags, Mode::empty()).expect("file");
            sum += rustix::io::read(&fd, &mut *bytes).expect("read");
        }
    }
    sum
}

/// Measures parsing all records from memory, without and with their interpretation, on one thread.
fn parse_all(base: &Path) -> [Duration; 2] {
    let mut files = Vec::new();
    for node in std::fs::read_dir(base.join("nodes")).expect("nodes").flatten() {
        for file in std::fs::read_dir(node.path()).expect("node").flatten() {
            let name = file.file_name().into_string().expect("UTF-8");
            files.push((name, std::fs::read(file.path()).expect("file")));
        }
    }
    let parsed = || {
        for (_, bytes) in &files {
            std::hint::black_box(parse(bytes, layout::PERSONA_MAX).is_ok());
        }
    };
    let meant = || {
        for (name, bytes) in &files {
            let Ok(Text::Own(fields)) = parse(bytes, layout::PERSONA_MAX) else { panic!("{name}") };
            match layout::kind_of(name) {
                layout::Kind::Lease(name) => {
                    let name = RecordName::new("lease", name).expect("name");
                    let record = zeta_core::lease::Record::from_fields(&fields, &name);
                    std::hint::black_box(record).expect("record");
                }
                layout::Kind::Persona(_) => {
                    std::hint::black_box(Beat::from_fields(&fields)).expect("beat");
                }
                _ => {}
            }
        }
    };
    let median_of_5 = |run: &dyn Fn()| median(&mut [(); 5].map(|()| timed_run(run)));
    [median_of_5(&parsed), median_of_5(&meant)]
}

/// Writes the tree; returns how many bytes its records have.
fn build_tree(base: &Path, nodes: usize) -> usize {
    make_dir(base);
    make_dir(&base.join("nodes"));
    let host = host::host().expect("host");
    std::fs::write(base.join("local-node"), "node-000000\n").expect("local-node");
    let own = process::identify_self();
    let mut sum = 0;
    for number in 0..nodes {
        let dir = base.join("nodes").join(format!("node-{number:06}"));
        make_dir(&dir);
        // One node in a hundred has processes that run; a machine has no ten thousand agents.
        let mut process = own;
        if number % 100 != 0 {
            process.pid = 4_000_000 + number as u32 % 100_000;
        }
        let processes = Processes { own: Some(process), child: Some(process), pid_ns: host.pid_ns };
        for (name, text) in records(number, &processes, &host) {
            sum += text.len();
            std::fs::write(dir.join(name), text).expect("record");
        }
    }
    sum
}

fn make_dir(path: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path).expect("directory");
}

fn records(number: usize, processes: &Processes, host: &Host) -> [(String, String); 4] {
    let now = Now { reading: host::reading(), host };
    let lease = RecordName::new("lease", "register-pr-in-flight").expect("name");
    let agent = Label::new("agent", "otto-cli").expect("name");
    let session = format!("{number:032x}");
    let ask = AcquireRequest {
        lease: lease.clone(),
        lease_id: format!("{:032x}", number * 31),
        agent,
        session: Some(session.clone()),
        processes: *processes,
        pr: Some(number as u64),
        uid: 1000,
        ttl_ms: 600_000,
        grace_ms: None,
        policy: Policy::Reclaim,
        purpose: Some("register this node with the cluster, one pull request for all".into()),
        joint: None,
        in_cluster: false,
    };
    let granted = decide_acquire(&Observed::Absent, &ask, 0, false, &now);
    let zeta_core::lease::Acquired::Grant(record, _) = granted else { panic!("not granted") };
    let mut marker = Fields::new("marker");
    marker.push_text("marker", "self-registered");
    marker.push_text("agent", "otto-cli");
    marker.push_text("timestamp", "2026-11-22T10:11:12.123456Z");
    marker.push_text("pr_url", "https://example.org/cluster/pull/1234");
    marker.push_text("branch", "register/node");
    [
        (layout::lease_file(&lease), record.to_fields().render()),
        ("self-registered.marker".to_owned(), marker.render()),
        persona("otto-cli", &session, processes, &now),
        persona("otto-vscode", &session, processes, &now),
    ]
}

fn persona(name: &str, session: &str, processes: &Processes, now: &Now) -> (String, String) {
    let mut fields = Fields::new(zeta_core::presence::KIND);
    fields.set_text("persona", "otto");
    fields.set_text("agent", name);
    fields.set_text("session", session);
    fields.set_text("status", "working");
    fields.set_text("task", "B-0856: the state directory, leases that hold, presence");
    fields.set_text("branch", "feature/state-directory");
    fields.set_text("worktree", "/home/otto/trees/state-directory");
    set_processes(&mut fields, processes);
    fields.set_text("started_at", "2026-11-22T10:11:12.123456Z");
    set_beat(&mut fields, now.reading, now.host, 10_000);
    (layout::persona_file(name), fields.render())
}
