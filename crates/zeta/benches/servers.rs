//! The library's acquire and release in a loop, compared with servers and with the library that
//! JavaScript programs use: one client each, which stays connected.

use std::ffi::OsString;
use std::path::Path;

mod measure;

use measure::server::{self, Asked, Redis, Server};
use measure::{
    Bounds, Ours, Outcomes, Scratch, at_least, at_most, block, median, median_ratio, missing, row,
    shown, time,
};

const ROUNDS: usize = 9;

/// Deletes the lock if it is still the caller's, as the manual of Redis asks.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end";

/// An anchor: the number of calls in a round, and the bounds of the ratio.
struct Other {
    name: &'static str,
    count: usize,
    bounds: Option<Bounds>,
    asked: Option<Asked>,
}

fn other(name: &'static str, count: usize, bounds: Option<Bounds>, asked: Option<Asked>) -> Other {
    Other { name, count, bounds, asked }
}

fn client(words: &[&str], dir: &Path) -> Outcomes<Option<Asked>> {
    let Some(client) = server::client() else { return Ok(None) };
    let words = words.iter().map(OsString::from);
    Asked::start(&[client.into_os_string()].into_iter().chain(words).collect::<Vec<_>>(), dir)
        .map(Some)
}

/// proper-lockfile with its file system and options as they are.
fn node(dir: &Path) -> Outcomes<Option<Asked>> {
    let module = server::anchors().join("node/node_modules/proper-lockfile");
    if !module.is_dir() || !server::here("node") {
        return Ok(None);
    }
    let file = dir.join("proper").display().to_string();
    std::fs::write(&file, "")?;
    let code = format!(
        "const lock = require({:?}).lock;
        const one = async () => {{
            const start = process.hrtime.bigint();
            await (await lock({file:?}))();
            return Number(process.hrtime.bigint() - start);
        }};
        require('readline').createInterface({{ input: process.stdin }}).on('line', async n => {{
            const times = [];
            while (times.length < n) times.push(await one());
            console.log(times.sort((a, b) => a - b)[n >> 1]);
        }});",
        module.display().to_string()
    );
    Asked::start(&["node", "-e", &code].map(OsString::from), dir).map(Some)
}

fn redis_cycle(redis: &mut Redis) -> Outcomes<()> {
    let taken = redis.ask(&["SET", "lock", "me", "NX", "PX", "60000"])?;
    let given = redis.ask(&["EVAL", RELEASE, "1", "lock", "me"])?;
    match (taken.as_str(), given.as_str()) {
        ("OK", "1") => Ok(()),
        answers => Err(format!("redis: {answers:?}").into()),
    }
}

/// Measures Redis and zeta's loop in turns: first where the kernel puts client and server, then
/// both on one core, then on two.
fn redis(ours: &Ours, server: &Server, gated: bool) -> Outcomes<()> {
    let mut clients = [("unix", Redis::connect(&server.address)?), ("tcp", server.redis_by_tcp()?)];
    let places =
        [("unpinned", None, at_most(0.5, 0.1)), ("one core", Some([0, 0]), at_most(1.6, 0.3))];
    let apart = [("two cores", Some([0, 1]), at_most(0.4, 0.1))];
    for (place, cores, bounds) in places.into_iter().chain(apart) {
        if let Some([own, theirs]) = cores {
            server::pin(std::process::id(), Some(own))?;
            server::pin(server.pid(), Some(theirs))?;
        }
        for (socket, redis) in &mut clients {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                mine.push(block(400, || ours.cycle())?);
                theirs.push(block(400, || redis_cycle(redis))?);
            }
            let what = format!("zeta / redis SET NX PX + EVAL, {socket}, {place}");
            let ratio = median_ratio(&mine, &theirs);
            let gated = gated && *socket == "tcp" && place != "two cores";
            told(&what, &mine, &theirs, ratio, gated.then_some(bounds));
        }
    }
    server::pin(std::process::id(), None)
}

fn told(what: &str, mine: &[f64], theirs: &[f64], ratio: f64, bounds: Option<Bounds>) {
    let (mine, theirs) = (time(median(mine)), time(median(theirs)));
    match bounds {
        Some(bounds) => row(what, &mine, &theirs, ratio, bounds),
        None => shown(what, &mine, &theirs, ratio),
    }
}

fn beside(dir: &Path, gated: bool) -> Outcomes<()> {
    let place = measure::file_system(dir)?;
    measure::head(&format!(
        "library, acquire + release on {place}, against connected clients; the servers keep their \
         data there (redis keeps none), {ROUNDS} rounds"
    ));
    let ours = Ours::open(&dir.join("ours"))?;
    match server::redis(dir)? {
        Some(server) => redis(&ours, &server, gated)?,
        None => missing("redis"),
    }
    let storage = if gated { "memory" } else { "file" };
    let servers = [server::nats(dir, storage)?, server::etcd(dir)?];
    let [nats, etcd] = servers.each_ref().map(|server| server.as_ref());
    let cycles = |kind, server: Option<&Server>| match server {
        Some(server) => client(&[kind, "cycles", &server.address], dir),
        None => Ok(None),
    };
    let mut others = [
        other(
            "NATS KV create + delete / zeta",
            200,
            Some(at_least(3.0, 15.0)),
            cycles("nats", nats)?,
        ),
        other("  the same with a new name each time", 200, None, cycles("nats-new", nats)?),
        other("etcd txn + txn / zeta", 60, Some(at_least(5.0, 25.0)), cycles("etcd", etcd)?),
        other("node proper-lockfile lock() / zeta", 300, Some(at_least(2.5, 12.0)), node(dir)?),
    ];
    for Other { name, count, bounds, asked } in &mut others {
        let Some(asked) = asked else {
            missing(name);
            continue;
        };
        asked.times(*count)?;
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(block(*count, || ours.cycle())?);
            theirs.push(asked.times(*count)?);
        }
        told(name, &mine, &theirs, median_ratio(&theirs, &mine), bounds.filter(|_| gated));
    }
    Ok(())
}

fn main() -> Outcomes<()> {
    let (memory, disk) = (Scratch::in_memory("servers")?, Scratch::on_disk("servers")?);
    beside(&memory.path, true)?;
    beside(&disk.path, false)
}
