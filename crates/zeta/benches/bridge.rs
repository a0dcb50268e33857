//! The bridge on a real server: how long a file of one node takes to be one of another, beside a
//! plain watch; what a bridge costs; and how soon a dead holder is freed.
//!
//! `ZETA_NATS_SERVER` names the server. Prints one line for each figure.
#![expect(clippy::unwrap_used, reason = "a bench stops where it fails")]

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use zeta_cluster::identity::Identity;
use zeta_cluster::store::Store;
use zeta_cluster::{Setting, Write};

#[path = "../../../testing/src/nats.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod nats;

const ROUNDS: usize = 300;
const KILLS: usize = 100;
const LIMIT: Duration = Duration::from_secs(30);
/// Before each round, of both: longer than the time in which a bridge collects changes. An idle
/// core takes as long to wake for a plain watch.
const QUIET: Duration = Duration::from_millis(25);

struct Node {
    dir: PathBuf,
    name: &'static str,
    url: String,
    bridge: Option<Child>,
}

impl Node {
    fn new(scratch: &Path, name: &'static str, server: &nats::Server) -> Node {
        let dir = scratch.join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut node = Node { dir, name, url: server.url(), bridge: None };
        assert!(node.zeta(&["init"]).status().unwrap().success());
        std::fs::write(node.state().join("local-node"), format!("{name}\n")).unwrap();
        let meta = server.client().unwrap().last("ZETA1_META", "zeta1.meta").unwrap().unwrap();
        let cluster = meta.lines().find_map(|line| line.strip_prefix("cluster: ")).unwrap();
        let cluster = cluster.trim_matches('"').parse().unwrap();
        Identity::bind(&node.identity(), &name.parse().unwrap(), &cluster).unwrap();
        let mut command = node.zeta(&["cluster", "bridge", "--server", &node.url]);
        node.bridge = Some(command.spawn().unwrap());
        let status = node.state().join("cluster/status");
        wait("the bridge is connected", || read(&status).contains("state: \"connected\""));
        node
    }

    fn identity(&self) -> PathBuf {
        self.dir.join("identity")
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn zeta(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.args(args).env("HOME", &self.dir).env("ZETA_STATE_DIR", self.state());
        command.env("ZETA_BUS_DIR", self.dir.join("bus"));
        command.env("ZETA_CLUSTER_DIR", self.identity()).env("ZETA_CLUSTER_SERVER", &self.url);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn setting(&self) -> Setting {
        Setting::new(self.url.parse().unwrap())
    }

    /// Puts a marker into its directory, as a verb does.
    fn put(&self, name: &str, number: usize) {
        let text = format!("schema: 1\nkind: \"marker\"\nnumber: {number}\nend: true\n");
        let temp = self.dir.join("temp");
        std::fs::write(&temp, text).unwrap();
        let nodes = self.state().join("nodes").join(self.name);
        std::fs::rename(temp, nodes.join(format!("{name}.marker"))).unwrap();
    }

    /// CPU time of its bridge, and its resident memory in KiB.
    fn cost(&self) -> (Duration, u64) {
        let pid = self.bridge.as_ref().unwrap().id();
        let stat = read(Path::new(&format!("/proc/{pid}/stat")));
        let rest = stat.rsplit_once(')').unwrap().1;
        let ticks = |at| rest.split_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
        let status = read(Path::new(&format!("/proc/{pid}/status")));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib = line.split_whitespace().next().unwrap().parse().unwrap();
        (Duration::from_millis(10 * (ticks(11) + ticks(12))), kib)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut bridge) = self.bridge.take() {
            let _ = bridge.kill();
            let _ = bridge.wait();
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn wait(what: &str, so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < LIMIT, "it does not come: {what}");
        std::thread::sleep(Duration::from_micros(50));
    }
    begun.elapsed()
}

fn part(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

/// The beginning of a plain subscriber.
const HELLO: &[u8] =
    b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB zeta1.live.> 1\r\nPING\r\n";

/// The time from a plain write to a plain subscriber of another connection.
fn raw(server: &nats::Server, setting: &Setting) -> Vec<Duration> {
    let address = server.url().trim_start_matches("nats://").to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(HELLO).unwrap();
    let mut lines = BufReader::new(stream);
    let mut next = move |start: &str| {
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0);
            if line.starts_with(start) {
                return Instant::now();
            }
        }
    };
    next("PONG");
    let store = Store::open(setting).unwrap();
    let subject = "zeta1.state.node-raw.marker.raw";
    (0..ROUNDS)
        .map(|_| {
            std::thread::sleep(QUIET);
            let begun = Instant::now();
            let write =
                Write { subject, expected: None, expected_on: None, headers: &[], body: b"x" };
            store.write(write).unwrap();
            next("HMSG").duration_since(begun)
        })
        .collect()
}

/// The time from a file of one node to the same file of another one, whose reader sleeps until its
/// directory changes, as the plain subscriber sleeps until its socket does.
fn file_to_file(a: &Node, b: &Node) -> Vec<Duration> {
    let dir = b.state().join("nodes").join(a.name);
    let copy = dir.join("bench.marker");
    a.put("bench", ROUNDS);
    wait("the first copy", || copy.exists());
    let changes = inotify::init(CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&changes, &dir, WatchFlags::MOVED_TO).unwrap();
    let mut events = [0; 4096];
    (0..ROUNDS)
        .map(|number| {
            std::thread::sleep(QUIET);
            let begun = Instant::now();
            a.put("bench", number);
            while !read(&copy).contains(&format!("number: {number}\n")) {
                assert!(begun.elapsed() < LIMIT, "the copy does not come");
                rustix::io::read(&changes, &mut events).unwrap();
            }
            begun.elapsed()
        })
        .collect()
}

fn busy(a: &Node, b: &Node) {
    let (before, begun) = ((a.cost().0, b.cost().0), Instant::now());
    for number in 0..1000_usize {
        a.put(&format!("busy-{}", number % 20), number);
        let next = Duration::from_millis(10) * (number as u32 + 1);
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let seconds = begun.elapsed().as_secs_f64();
    for (node, before, what) in [(a, before.0, "sends"), (b, before.1, "receives")] {
        let (after, kib) = node.cost();
        let percent = (after - before).as_secs_f64() * 100.0 / seconds;
        println!("100 changes/s: a bridge that {what}: {percent:.2} % of a core, {kib} KiB");
    }
}

fn kills(a: &Node, b: &Node) -> Vec<Duration> {
    let lock = a.state().join("nodes").join(a.name).join("bench.lock");
    let copy = b.state().join("cluster/leases/bench.lease");
    let kill = |pid: &str| {
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    };
    let key = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    (0..KILLS)
        .map(|_| {
            let args = ["lease", "exec", "bench", "--scope", "cluster", "--ttl", "60s", "--"];
            let mut command = a.zeta(&args);
            let mut holder = command.args(["sleep", "600"]).spawn().unwrap();
            wait("the holder begins", || {
                let record = read(&lock);
                key(&record, "pid") == holder.id().to_string()
                    && !key(&record, "child_pid").is_empty()
            });
            let record = read(&lock);
            let token = key(&record, "fencing_token");
            wait("its grant comes", || {
                let copy = read(&copy);
                key(&copy, "kind") == "\"lease\"" && key(&copy, "fencing_token") == token
            });
            std::thread::sleep(Duration::from_millis(5));
            kill(&holder.id().to_string());
            kill(&key(&record, "child_pid"));
            let took = wait("it is freed", || key(&read(&copy), "ended") == "\"dead\"");
            holder.wait().unwrap();
            took
        })
        .collect()
}

fn main() {
    let program = match nats::newer().or_else(|_| nats::debian()) {
        Ok(program) => program,
        Err(why) => return println!("SKIPPED: bridge: {why}"),
    };
    let scratch = std::env::temp_dir().join(format!("zeta-bench-bridge-{}", std::process::id()));
    std::fs::create_dir(&scratch).unwrap();
    let server = nats::Server::start(&program, &scratch.join("server"), "").unwrap();
    let mut init = Command::new(env!("CARGO_BIN_EXE_zeta"));
    init.args(["cluster", "init", "--server", &server.url()]).stdout(Stdio::null());
    assert!(init.status().unwrap().success());
    let a = Node::new(&scratch, "node-a", &server);
    let b = Node::new(&scratch, "node-b", &server);
    let mut plain = raw(&server, &a.setting());
    let mut files = file_to_file(&a, &b);
    let (raw_ms, files_ms) = (part(&mut plain, 50), part(&mut files, 50));
    println!("raw watch: p50 {raw_ms:.3} ms, p99 {:.3} ms", part(&mut plain, 99));
    println!("file to file: p50 {files_ms:.3} ms, p99 {:.3} ms", part(&mut files, 99));
    println!("ratio {:.2}", files_ms / raw_ms);
    busy(&a, &b);
    let mut dead = kills(&a, &b);
    println!(
        "a dead holder is freed: p50 {:.1} ms, p99 {:.1} ms, of {KILLS}",
        part(&mut dead, 50),
        part(&mut dead, 99)
    );
    drop((a, b, server));
    let _ = std::fs::remove_dir_all(&scratch);
}
