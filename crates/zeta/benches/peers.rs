//! Whole processes compared with other tools: each takes and releases a lock by its own command
//! line. Missing tools are named; `cargo xtask bench` installs them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod measure;

use measure::server::{self, Server, here, line};
use measure::{Outcomes, Scratch, median, median_ratio, missing, shown, time};

/// A tool that takes a lock and releases it, in one process or more.
struct Peer {
    name: &'static str,
    /// The commands of one run, in order. None if the tool is not installed.
    steps: Vec<Vec<OsString>>,
    /// The number of rounds for one run of a slow tool.
    every: usize,
}

fn redis(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<Option<Server>> {
    let server = server::redis(dir)?.filter(|_| here("redis-cli"));
    let Some(server) = server else {
        peers.push(absent("redis-cli SET NX PX, DEL"));
        return Ok(None);
    };
    let cli = |words: &str| line(&format!("redis-cli -s {} {words}", server.address));
    let steps = vec![cli("SET lock me NX PX 60000"), cli("DEL lock")];
    peers.push(Peer { name: "redis-cli SET NX PX, DEL", steps, every: 1 });
    Ok(Some(server))
}

fn etcd(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<Option<Server>> {
    let server = server::etcd(dir)?.filter(|_| here("etcdctl"));
    let Some(server) = server else {
        peers.push(absent("etcdctl lock x true"));
        return Ok(None);
    };
    let ctl = format!("env ETCDCTL_API=3 etcdctl --endpoints {} lock bench true", server.address);
    peers.push(Peer { name: "etcdctl lock x true", steps: vec![line(&ctl)], every: 4 });
    Ok(Some(server))
}

fn nats(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<Option<Server>> {
    let name = "NATS KV create, delete, a Rust client";
    let (Some(server), Some(client)) = (server::nats(dir, "memory")?, server::client()) else {
        peers.push(absent(name));
        return Ok(None);
    };
    let once = line(&format!("{} nats once {}", client.display(), server.address));
    peers.push(Peer { name, steps: vec![once], every: 2 });
    Ok(Some(server))
}

/// Makes the claim tool that scans a directory of messages, run by Bun, with few and many messages.
fn bus(dir: &Path, peers: &mut Vec<Peer>) -> Outcomes<()> {
    let bun = server::anchors().join("node/node_modules/.bin/bun");
    let script = dir.join("claim.ts");
    fs::write(&script, include_str!("claim.ts"))?;
    for (name, messages) in
        [("bun claim tool, empty bus", 0), ("bun claim tool, 1000 messages", 1000)]
    {
        if !bun.exists() {
            peers.push(absent(name));
            continue;
        }
        let bus = dir.join(format!("bus-{messages}"));
        fs::create_dir(&bus)?;
        for number in 0..messages {
            let text = format!(
                r#"{{ "topic": "heartbeat", "payload": {{ "status": "working" }}, "id": "m{number}",
  "from": "otto-cli", "to": "*", "timestamp": "2026-11-22T10:11:12.123Z",
  "expiresAt": "2036-11-22T10:11:12.123Z" }}"#
            );
            fs::write(bus.join(format!("m{number}.json")), text)?;
        }
        let step = |verb: &str| {
            line(&format!("{} {} {verb} {} job", bun.display(), script.display(), bus.display()))
        };
        peers.push(Peer { name, steps: vec![step("acquire"), step("release")], every: 4 });
    }
    Ok(())
}

/// Makes the libraries of other languages that are installed in the directory `ZETA_ANCHORS`.
fn libraries(dir: &Path, peers: &mut Vec<Peer>) {
    let anchors = server::anchors();
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
        peers.push(absent("python filelock"));
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
        peers.push(absent("node proper-lockfile"));
    }
}

/// Makes a peer without commands, which the table shows as missing.
fn absent(name: &'static str) -> Peer {
    Peer { name, steps: Vec::new(), every: 1 }
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
        peers.push(absent("dotlockfile -l, -u"));
    }
    let script = format!("set -C; : >{0} && rm {0}", file("noclobber"));
    let steps = vec![["sh", "-c", &script].map(OsString::from).to_vec()];
    peers.push(Peer { name: "sh, noclobber file, rm", steps, every: 1 });
}

/// Measures one run of all steps, in ns.
fn turn(peer: &Peer, dir: &Path) -> Outcomes<f64> {
    let mut wall = Duration::ZERO;
    for step in &peer.steps {
        wall += measure::run(&mut measure::command(step, dir))?.wall;
    }
    Ok(wall.as_nanos() as f64)
}

/// Measures zeta: a lease acquired and released by two processes, as an agent does it.
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
    let _servers = (redis(dir, &mut peers)?, etcd(dir, &mut peers)?, nats(dir, &mut peers)?);
    bus(dir, &mut peers)?;
    libraries(dir, &mut peers);
    let mut mine = Vec::new();
    let mut theirs: Vec<Vec<f64>> = peers.iter().map(|_| Vec::new()).collect();
    // zeta's times of the same rounds as each peer's.
    let mut beside = theirs.clone();
    for round in 0..ROUNDS {
        let our = ours(&zeta, dir)?;
        mine.push(our);
        for (peer, (theirs, beside)) in peers.iter().zip(theirs.iter_mut().zip(&mut beside)) {
            if !peer.steps.is_empty() && round % peer.every == 0 {
                theirs.push(turn(peer, dir)?);
                beside.push(our);
            }
        }
    }
    measure::head(&format!(
        "acquire and release by two processes of {} against others, whole processes, {ROUNDS} \
         rounds, state on {}; value: anchor / zeta",
        if zeta.to_string_lossy().contains("musl") { "the static binary" } else { "a plain build" },
        measure::file_system(dir)?
    ));
    for (peer, (theirs, beside)) in peers.iter().zip(theirs.iter().zip(&beside)) {
        if peer.steps.is_empty() {
            missing(peer.name);
            continue;
        }
        let times = median_ratio(theirs, beside);
        let (our, their) = (time(median(beside)), time(median(theirs)));
        shown(peer.name, &our, &their, times);
    }
    fs::remove_dir_all(dir.join("state"))?;
    Ok(())
}
