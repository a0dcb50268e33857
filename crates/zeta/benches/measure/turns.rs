//! The turns of many processes: each prints when it requested, entered and left every turn, by the
//! clock that all processes share. Workers in other languages use their own library.

use std::ffi::OsString;
use std::path::Path;

use super::server::{anchors, here};

/// The code of a JavaScript worker, which reads 'go' and 'stop' from the shared page's file.
const NODE: &str = r"
const fs = require('fs'), lockfile = require(MODULE);
const page = fs.openSync('page', 'r'), word = Buffer.alloc(8);
const says = at => { fs.readSync(page, word, 0, 8, at); return word.readBigUInt64LE() !== 0n; };
const now = () => process.hrtime.bigint();
const sleep = ms => new Promise(done => setTimeout(done, ms));
(async () => {
    const retries = { retries: 100000, factor: 1.2, minTimeout: 1, maxTimeout: 20 };
    while (!says(16)) await sleep(1);
    const used = process.cpuUsage(), turns = [];
    while (!says(24)) {
        const asked = now(), release = await lockfile.lock('proper', { retries });
        const entered = now();
        while (now() - entered < HOLDn * 1000n);
        const left = now();
        await release();
        turns.push(`${asked},${entered},${left}`);
        await sleep(REST / 1000);
    }
    const cpu = process.cpuUsage(used);
    console.log(`T ${(cpu.user + cpu.system) * 1000} ${turns.join(' ')}`);
})();";

const PYTHON: &str = r"
import sys, os, time
sys.path.insert(0, MODULE)
import filelock
page = os.open('page', os.O_RDONLY)
says = lambda at: os.pread(page, 8, at) != bytes(8)
now = time.monotonic_ns
lock = filelock.FileLock('filelock')
while not says(16): time.sleep(0.001)
used, turns = time.process_time_ns(), []
while not says(24):
    asked = now()
    lock.acquire()
    entered = now()
    while now() - entered < HOLD * 1000: pass
    left = now()
    lock.release()
    turns.append(f'{asked},{entered},{left}')
    time.sleep(REST / 1e6)
print('T', time.process_time_ns() - used, *turns)";

/// Makes the command of a worker of `kind` (node or python), if its library is installed.
pub fn foreign(kind: &str, hold_us: u64, rest_us: u64) -> Option<Vec<OsString>> {
    let (program, module, code) = match kind {
        "node" => (["node", "-e"], "node/node_modules/proper-lockfile", NODE),
        _ => (["python3", "-c"], "python/filelock", PYTHON),
    };
    let module = anchors().join(module);
    if !module.is_dir() || !here(program[0]) {
        return None;
    }
    let module = if kind == "node" { &module } else { module.parent().unwrap_or(Path::new("/")) };
    let code = code
        .replace("MODULE", &format!("{:?}", module.display().to_string()))
        .replace("HOLD", &hold_us.to_string())
        .replace("REST", &rest_us.to_string());
    Some([program[0], program[1], &code].map(OsString::from).to_vec())
}

impl Turns {
    /// The number of turns.
    pub fn all(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// The fairness: 1 if all workers had equally many turns.
    pub fn jain(&self) -> f64 {
        let squares: f64 = self.counts.iter().map(|count| count * count).sum();
        self.all() * self.all() / (self.counts.len() as f64 * squares)
    }
}

/// The results of the turns of all workers.
#[derive(Debug, Default)]
pub struct Turns {
    /// The number of turns of each worker.
    pub counts: Vec<f64>,
    /// The times from one leave to the enter of the next worker, which was waiting already.
    pub hand_offs: Vec<f64>,
    /// The longest time from the request to the enter.
    pub longest_ns: f64,
    /// How many times two workers were inside at once.
    pub violations: u64,
    /// The CPU time of all workers while they took turns.
    pub cpu_ns: f64,
}

/// Reads what the workers printed.
pub fn turns(texts: &[String]) -> Turns {
    let mut turns = Turns::default();
    let mut all: Vec<[u64; 3]> = Vec::new();
    for text in texts {
        let mut words = text.split_whitespace().skip(1);
        turns.cpu_ns += words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        let before = all.len();
        all.extend(words.filter_map(|word| {
            let mut numbers = word.split(',').map(str::parse);
            Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
        }));
        turns.counts.push((all.len() - before) as f64);
    }
    all.sort_unstable_by_key(|[_, entered, _]| *entered);
    for pair in all.windows(2) {
        let [[_, _, left], [asked, entered, _]] = [pair[0], pair[1]];
        turns.violations += u64::from(entered < left);
        if asked < left {
            turns.hand_offs.push(entered.saturating_sub(left) as f64);
        }
    }
    let waits = all.iter().map(|[asked, entered, _]| entered.saturating_sub(*asked));
    turns.longest_ns = waits.max().unwrap_or(0) as f64;
    turns
}
