//! What a cluster of many nodes costs its server: unit costs on a real server, and a run with a
//! thousand connections. `docs/scale.md` has what follows from them.
//!
//! A node is a connection that subscribes to the live feed; what it receives is counted, not
//! written to files. `ZETA_NATS_SERVER` names a newer server than Debian's.

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../../../testing/src/nats.rs"]
#[expect(dead_code, reason = "the bench uses the part that it needs")]
mod nats;
mod plan;
mod subscribers;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use zeta_cluster::store::{Store, Written};
use zeta_cluster::{AddressError, Setting, Write, init};

use measure::{Outcomes, Scratch, head, note};
use nats::Server;
use plan::{Load, Units};
use subscribers::Subscribers;

/// A record of an agent has about this many bytes.
const RECORD: usize = 450;
/// The subjects that nodes follow: all records but the cards.
const FEED: [&str; 4] = [
    "zeta1.live.state.*.lock.*",
    "zeta1.live.state.*.marker.*",
    "zeta1.live.state.*.persona.*",
    "zeta1.live.lease.>",
];
const MANY: usize = 1000;
/// How long each part is measured.
const PART: Duration = Duration::from_secs(8);

fn main() -> Outcomes<()> {
    subscribers::raise_limit()?;
    let scratch = Scratch::on_disk("scale")?;
    for (name, found) in [("debian", nats::debian()), ("newer", nats::newer())] {
        match found {
            Ok(program) => measure_server(&program, &scratch.path.join(name))?,
            Err(why) => measure::missing(&format!("a server: {why}")),
        }
    }
    Ok(())
}

fn measure_server(program: &Path, dir: &Path) -> Outcomes<()> {
    let version = Command::new(program).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    head(&format!("a cluster of many nodes on one server, {version}, R1, files"));
    let server = Server::start(program, dir, "")?;
    let store = open(&server)?;
    init::init(&store, init::Asked::default())?;
    let units = units(&server, &store)?;
    show(&units);
    simulate(&server, &store)?;
    drop(store);
    let table = format!("### {version}\n\n{}\n", plan::table(&units));
    println!("\n{table}");
    if let Some(path) = std::env::var_os("ZETA_SCALE_TABLE") {
        let mut file = std::fs::File::options().append(true).create(true).open(path)?;
        file.write_all(table.as_bytes())?;
    }
    Ok(())
}

fn open(server: &Server) -> Outcomes<Store> {
    let servers = server.url().parse().map_err(|rule: AddressError| rule.to_string());
    let setting = Setting::new(servers?);
    Ok(Store::open(&setting)?)
}

/// Measures what one of each thing costs the server.
fn units(server: &Server, store: &Store) -> Outcomes<Units> {
    let mut writer = Writer::new(store, "persona");
    // The first write of each node asks for what stands there.
    for _ in 0..MANY {
        writer.write()?;
    }
    let base_kb = resident_kb(server.pid())?;
    let idle_us = cpu_us(server, || sleep(PART))?;
    let paced = || writer.paced(100, PART);
    let write_us = (cpu_us(server, paced)? - idle_us) / (100.0 * PART.as_secs_f64());

    let feed = Subscribers::connect(server, MANY, &FEED)?;
    sleep(Duration::from_secs(2))?;
    let connection_kb = (resident_kb(server.pid())? - base_kb) / MANY as f64;
    let settled_us = cpu_us(server, || sleep(PART))?;
    let before = feed.received();
    let started = Instant::now();
    let used_us = cpu_us(server, || writer.paced(20, PART))?;
    feed.wait_for(before.messages + writer.last_part() * MANY as u64);
    let received = feed.received();
    let messages = received.messages - before.messages;
    let expected = writer.last_part() * MANY as u64;
    let own_us = write_us * writer.last_part() as f64 + settled_us;
    let parts = started.elapsed().as_secs_f64() / PART.as_secs_f64();
    note(
        "deliveries of the live feed, received / expected",
        &messages.to_string(),
        &expected.to_string(),
    );
    Ok(Units {
        write_us,
        delivery_us: (used_us - own_us * parts.max(1.0)).max(0.0) / messages as f64,
        delivery_bytes: (received.bytes - before.bytes) as f64 / messages as f64,
        connection_kb,
        connection_us: (settled_us - idle_us).max(0.0) / PART.as_secs_f64() / MANY as f64,
    })
}

fn show(units: &Units) {
    note("a write, CPU of the server", &format!("{:.1} us", units.write_us), "");
    note("a delivery, CPU of the server", &format!("{:.2} us", units.delivery_us), "");
    note("a delivery on the wire", &format!("{:.0} bytes", units.delivery_bytes), "");
    note("a connection, memory of the server", &format!("{:.0} kB", units.connection_kb), "");
    note("a connection, CPU a second", &format!("{:.2} us", units.connection_us), "");
}

/// A thousand connections, each of which follows the changes; cards are written, and not followed.
fn simulate(server: &Server, store: &Store) -> Outcomes<()> {
    let load = Load::of(MANY);
    let feed = Subscribers::connect(server, MANY, &FEED)?;
    let mut cards = Writer::new(store, "card");
    let mut changes = Writer::new(store, "persona");
    for _ in 0..MANY {
        cards.write()?;
        changes.write()?;
    }
    let first = (cards.count, changes.count);
    sleep(Duration::from_secs(1))?;
    let before = feed.received();
    let (card_rate, change_rate) = (load.cards, load.changes);
    let begun = Instant::now();
    let mut written = Ok(());
    let used_us = cpu_us(server, || {
        let (mut carded, mut changed) = (0.0, 0.0);
        while begun.elapsed() < PART && written.is_ok() {
            let due = begun.elapsed().as_secs_f64();
            if carded < due * card_rate {
                carded += 1.0;
                written = cards.write();
            } else if changed < due * change_rate {
                changed += 1.0;
                written = changes.write();
            } else {
                sleep(Duration::from_micros(500))?;
            }
        }
        Ok(())
    })?;
    written?;
    let (cards, changes) = (cards.count - first.0, changes.count - first.1);
    let expected = changes * MANY as u64;
    feed.wait_for(before.messages + expected);
    let received = feed.received();
    let messages = received.messages - before.messages;
    let seconds = PART.as_secs_f64();
    note(
        &format!("{MANY} nodes for {seconds} s: cards / changes written"),
        &cards.to_string(),
        &changes.to_string(),
    );
    note("deliveries received / expected", &messages.to_string(), &expected.to_string());
    note("CPU of the server", &format!("{:.1} %", used_us / seconds / 1e4), "of a core");
    let rate = (received.bytes - before.bytes) as f64 / seconds / 1e6;
    note("sent by the server", &format!("{rate:.1} MB/s"), "");
    note("memory of the server", &format!("{:.0} MB", resident_kb(server.pid())? / 1e3), "");
    Ok(())
}

/// Writes records of many nodes in turn, each by compare-and-set.
struct Writer<'s> {
    store: &'s Store,
    kind: &'static str,
    last: Vec<u64>,
    count: u64,
    part: u64,
}

impl<'s> Writer<'s> {
    fn new(store: &'s Store, kind: &'static str) -> Writer<'s> {
        Writer { store, kind, last: vec![0; MANY], count: 0, part: 0 }
    }

    fn write(&mut self) -> Outcomes<()> {
        let node = self.count as usize % MANY;
        let name = if self.kind == "card" { "self" } else { "otto" };
        let subject = format!("zeta1.state.node-{node}.{}.{name}", self.kind);
        let body = vec![b'x'; RECORD];
        let last = self.last.get_mut(node).ok_or("a node")?;
        if *last == 0 {
            let stored = self.store.last("ZETA1_STATE", &subject)?;
            *last = stored.map_or(0, |stored| stored.sequence);
        }
        let expected = Some(*last);
        let write =
            Write { subject: &subject, expected, expected_on: None, headers: &[], body: &body };
        match self.store.write(write)? {
            Written::Stored(sequence) => *last = sequence,
            other => return Err(format!("{subject}: {other:?}").into()),
        }
        self.count += 1;
        Ok(())
    }

    /// Writes so many a second for a time.
    fn paced(&mut self, rate: u32, time: Duration) -> Outcomes<()> {
        let (begun, first) = (Instant::now(), self.count);
        while begun.elapsed() < time {
            self.write()?;
            let next = begun + (Duration::from_secs(1) / rate) * u32::try_from(self.count - first)?;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.part = self.count - first;
        Ok(())
    }

    /// How many the last [`Writer::paced`] wrote.
    fn last_part(&self) -> u64 {
        self.part
    }
}

fn sleep(time: Duration) -> Outcomes<()> {
    std::thread::sleep(time);
    Ok(())
}

/// The CPU time that the server used during a step, in µs.
fn cpu_us(server: &Server, step: impl FnOnce() -> Outcomes<()>) -> Outcomes<f64> {
    let before = used_us(server.pid())?;
    step()?;
    Ok(used_us(server.pid())? - before)
}

/// The CPU time of all threads of a process, in µs.
fn used_us(pid: u32) -> Outcomes<f64> {
    let mut ns = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        ns += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(ns / 1e3)
}

fn resident_kb(pid: u32) -> Outcomes<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(text.parse()?)
}
