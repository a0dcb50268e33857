//! Whole processes beside what a user would take instead: a lock taken and given back, by each
//! tool's own command line. Tools that are not here are named; `cargo xtask bench` installs them.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod measure;

use measure::{Outcomes, Scratch, median, median_ratio, shown, time};

/// Something that takes a lock and gives it back, in one process or more.
struct Peer {
    name: &'static str,
    /// One command after the other; all of them are one run.
    steps: Vec<Vec<OsString>>,
    /// One run of a slow tool stands for this many rounds.
    every: usize,
}

/// A server that this bench started; it ends with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line(words: &str) -> Vec<OsString> {
    words.split(' ').map(OsString::from).collect()
}

fn here(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).is_file())
}

/// Starts a server and waits until `asks` succeeds.
fn serve(argv: &[OsString], dir: &Path, asks: &[OsString]) -> Outcomes<Server> {
    let server = Server(measure::command(argv, dir).current_dir(dir).spawn()?);
    let started = Instant::now();
    while !measure::command(asks, dir).status()?.success() {
        if started.elapsed() > Duration::from_secs(10) {
            return Err(format!("{argv:?} does not answer").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

fn free_port() -> Outcomes<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn redis(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<Option<Server>> {
    if !here("redis-server") || !here("redis-cli") {
        println!("not here: redis-cli");
        return Ok(None);
    }
    let socket = dir.join("redis.sock").display().to_string();
    let cli = |words: &str| line(&format!("redis-cli -s {socket} {words}"));
    let server = line(&format!("redis-server --port 0 --unixsocket {socket} --save "));
    let server = serve(&server, dir, &cli("PING"))?;
    let steps = vec![cli("SET lock me NX PX 60000"), cli("DEL lock")];
    peers.push(Peer { name: "redis-cli SET NX PX, DEL", steps, every: 1 });
    Ok(Some(server))
}

fn etcd(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<Option<Server>> {
    if !here("etcd") || !here("etcdctl") {
        println!("not here: etcdctl");
        return Ok(None);
    }
    let (client, peer) = (free_port()?, free_port()?);
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let server = line(&format!(
        "etcd --data-dir {} --listen-client-urls {client} --advertise-client-urls {client} \
         --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} \
         --initial-cluster default={peer} --log-level error",
        dir.join("etcd").display()
    ));
    let ctl =
        |words: &str| line(&format!("env ETCDCTL_API=3 etcdctl --endpoints {client} {words}"));
    let server = serve(&server, dir, &ctl("endpoint health"))?;
    let steps = vec![ctl("lock bench true")];
    peers.push(Peer { name: "etcdctl lock x true", steps, every: 4 });
    Ok(Some(server))
}

/// Libraries of other languages, where `ZETA_ANCHORS` says that they were installed.
fn libraries(dir: &Path, peers: &mut Vec<Peer>) {
    let anchors = std::env::var_os("ZETA_ANCHORS").map(PathBuf::from).unwrap_or_default();
    let lock = dir.join("library").display().to_string();
    let (python, node) = (anchors.join("python"), anchors.join("node/node_modules"));
    if python.join("filelock").is_dir() && here("python3") {
        let code = format!(
            "import sys; sys.path.insert(0, {:?}); import filelock\n\
             with filelock.FileLock({lock:?}): pass",
            python.display().to_string()
        );
        let steps = vec![["python3", "-I", "-c", &code].map(OsString::from).to_vec()];
        peers.push(Peer { name: "python filelock", steps, every: 4 });
    } else {
        println!("not here: python filelock");
    }
    if node.join("proper-lockfile").is_dir() && here("node") {
        let module = node.join("proper-lockfile").display().to_string();
        let code = format!(
            "require('fs').writeFileSync({lock:?}, ''); \
             require({module:?}).lockSync({lock:?})()"
        );
        let steps = vec![["node", "-e", &code].map(OsString::from).to_vec()];
        peers.push(Peer { name: "node proper-lockfile", steps, every: 4 });
    } else {
        println!("not here: node proper-lockfile");
    }
}

fn simple(dir: &Path, peers: &mut Vec<Peer>) {
    let file = |name: &str| dir.join(name).display().to_string();
    let steps = vec![line(&format!("flock -n {} true", file("flock")))];
    peers.push(Peer { name: "flock -n FILE true", steps, every: 1 });
    if here("dotlockfile") {
        let name = file("dot");
        let step = |flag: &str| line(&format!("dotlockfile {flag} {name}"));
        let steps = vec![step("-l"), step("-u")];
        peers.push(Peer { name: "dotlockfile -l, -u", steps, every: 1 });
    } else {
        println!("not here: dotlockfile");
    }
    let script = format!("set -C; : >{0} && rm {0}", file("noclobber"));
    let steps = vec![["sh", "-c", &script].map(OsString::from).to_vec()];
    peers.push(Peer { name: "sh, noclobber file, rm", steps, every: 1 });
}

/// The time of one run of all steps, in ns.
fn turn(peer: &Peer, dir: &Path) -> Outcomes<f64> {
    let mut wall = Duration::ZERO;
    for step in &peer.steps {
        wall += measure::run(&mut measure::command(step, dir))?.wall;
    }
    Ok(wall.as_nanos() as f64)
}

/// Ours: a lease taken and given back by two processes, as an agent does it.
fn ours(zeta: &Path, dir: &Path) -> Outcomes<f64> {
    let call = |words: &str| line(&format!("{} {words}", zeta.display()));
    let state = dir.join("state");
    let start = Instant::now();
    let mut take = Command::new(zeta);
    take.args(["lease", "acquire", "bench"]).env_clear().env("USER", "bench");
    take.env("ZETA_STATE_DIR", &state).stderr(Stdio::null());
    let output = take.output()?;
    let took = start.elapsed();
    let token = String::from_utf8(output.stdout)?;
    let give = call(&format!("lease release bench --token {}", token.trim()));
    let gave = measure::run(&mut measure::command(&give, &state))?.wall;
    Ok((took + gave).as_nanos() as f64)
}

fn main() -> Outcomes<()> {
    const ROUNDS: usize = 40;
    let plain = PathBuf::from(env!("CARGO_BIN_EXE_zeta"));
    let target = format!("{}-unknown-linux-musl/release/zeta", std::env::consts::ARCH);
    let built = plain.parent().and_then(Path::parent).map(|dir| dir.join(target));
    let zeta = built.filter(|path| path.is_file()).unwrap_or(plain);
    let scratch = Scratch::in_memory("peers")?;
    let dir = &scratch.path;
    let mut peers = Vec::new();
    simple(dir, &mut peers);
    let _servers = (redis(dir, &mut peers)?, etcd(dir, &mut peers)?);
    libraries(dir, &mut peers);
    let mut mine = Vec::new();
    let mut theirs: Vec<Vec<f64>> = peers.iter().map(|_| Vec::new()).collect();
    // Ours of the same rounds as each peer's.
    let mut beside = theirs.clone();
    for round in 0..ROUNDS {
        let our = ours(&zeta, dir)?;
        mine.push(our);
        for (peer, (theirs, beside)) in peers.iter().zip(theirs.iter_mut().zip(&mut beside)) {
            if round % peer.every == 0 {
                theirs.push(turn(peer, dir)?);
                beside.push(our);
            }
        }
    }
    measure::head(&format!(
        "acquire and release by two processes of {} against others, whole processes, {ROUNDS} \
         rounds, state on {}; value: how many times ours",
        if zeta.to_string_lossy().contains("musl") { "the static binary" } else { "a plain build" },
        measure::file_system(dir)?
    ));
    for (peer, (theirs, beside)) in peers.iter().zip(theirs.iter().zip(&beside)) {
        let times = median_ratio(theirs, beside);
        let (our, their) = (time(median(beside)), time(median(theirs)));
        shown(peer.name, &our, &their, times);
    }
    fs::remove_dir_all(dir.join("state"))?;
    Ok(())
}
