//! The slow step of opening credentials, compared with the same step in Node.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use zeta_creds::cipher::kdf::{Work, stretch};

mod measure;

use measure::{Outcomes, at_most, head, median, median_ratio, missing, note, row, time};

const ROUNDS: usize = 11;
const LOG2_N: u8 = 17;
const PASSPHRASE: &str = "correct horse battery staple";
const SALT: [u8; 32] = [7; 32];

/// Node's implementation, in a process that stays: reads a line, prints the nanoseconds and the
/// key.
const NODE: &str = "
const { scryptSync } = require('crypto');
const salt = Buffer.alloc(32, 7);
const cost = { N: 1 << Number(process.argv[1]), r: 8, p: 1, maxmem: 1 << 30 };
require('readline').createInterface({ input: process.stdin }).on('line', (passphrase) => {
  const start = process.hrtime.bigint();
  const key = scryptSync(passphrase, salt, 32, cost);
  console.log(`${process.hrtime.bigint() - start} ${key.toString('hex')}`);
});
";

struct Node {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Node {
    fn start() -> Outcomes<Option<Node>> {
        let mut command = Command::new("node");
        command.args(["-e", NODE, &LOG2_N.to_string()]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stdin = child.stdin.take().ok_or("no way in")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no way out")?);
        Ok(Some(Node { child, stdin, stdout }))
    }

    /// Returns the ns of one key, and the key.
    fn stretch(&mut self) -> Outcomes<(f64, String)> {
        writeln!(self.stdin, "{PASSPHRASE}")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let (ns, key) = line.trim().split_once(' ').ok_or("node ended")?;
        Ok((ns.parse()?, key.to_owned()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours() -> Outcomes<(f64, String)> {
    let work = Work { passphrase: PASSPHRASE.as_bytes(), salt: &SALT, log2_n: LOG2_N };
    let start = Instant::now();
    let key = stretch(&work).map_err(|error| error.to_string())?;
    let ns = start.elapsed().as_nanos() as f64;
    Ok((ns, key.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// The time in ns that a restore may take beyond the key: starting, reading, writing and flushing.
const REST_NS: f64 = 20e6;

/// A blob of three credentials, and the directory that it is restored to.
struct Stick {
    dir: std::path::PathBuf,
    count: usize,
}

impl Stick {
    fn call(&self, args: &[&str]) -> Outcomes<f64> {
        let lock = ["--usb-uuid", "4F2A-91C7", "--passphrase-file", "pp"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.arg("-q").arg("creds").args(args).args(lock).current_dir(&self.dir);
        command.env("HOME", "/home/zeta").env("STATE_DIRECTORY", self.dir.join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        let ns = start.elapsed().as_nanos() as f64;
        if status.success() { Ok(ns) } else { Err(format!("{args:?}: {status}").into()) }
    }

    fn new() -> Outcomes<Stick> {
        let dir = std::env::temp_dir().join(format!("zeta-bench-creds-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("pp"), PASSPHRASE)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(dir.join("pp"), private)?;
        let stick = Stick { dir, count: 0 };
        let bakes = ["gh-cli=x", "install-answers={}", "wifi={\"ssid\":\"x\"}"];
        let mut args = vec!["persist", "--output", "c.enc"];
        args.extend(bakes.iter().flat_map(|bake| ["--bake-cred", bake]));
        stick.call(&args)?;
        Ok(stick)
    }

    /// Restores all three into a new root.
    fn restore(&mut self) -> Outcomes<f64> {
        self.count += 1;
        let root = format!("root-{}", self.count);
        std::fs::create_dir(self.dir.join(&root))?;
        self.call(&["restore", "--input", "c.enc", "--target-root", &root])
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Measures a whole restore and the key alone.
fn whole() -> Outcomes<()> {
    let mut stick = Stick::new()?;
    stick.restore()?;
    let (mut restores, mut keys) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = if round % 2 == 0 { Some(stick.restore()?) } else { None };
        keys.push(ours()?.0);
        restores.push(match first {
            Some(ns) => ns,
            None => stick.restore()?,
        });
    }
    let beyond: Vec<f64> = restores.iter().map(|ns| ns - REST_NS).collect();
    let ratio = median_ratio(&beyond, &keys);
    let (whole, key) = (time(median(&restores)), time(median(&keys)));
    row("(restore of 3 files - 20 ms) / key alone", &whole, &key, ratio, at_most(1.1, 1.0));
    Ok(())
}

fn main() -> Outcomes<()> {
    head("a passphrase becomes a key: scrypt, N = 2^17, r = 8, p = 1");
    let Some(mut node) = Node::start()? else {
        note("zeta alone", &time(ours()?.0), "");
        missing("node crypto.scryptSync");
        return Ok(());
    };
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    // One round of each is not counted, because the first one touches new memory.
    ours()?;
    node.stretch()?;
    for round in 0..ROUNDS {
        let (one, other) = if round % 2 == 0 {
            let one = ours()?;
            (one, node.stretch()?)
        } else {
            let other = node.stretch()?;
            (ours()?, other)
        };
        if one.1 != other.1 {
            return Err("the two keys differ: one of them is not scrypt".into());
        }
        mine.push(one.0);
        theirs.push(other.0);
    }
    let ratio = median_ratio(&mine, &theirs);
    let (mine, theirs) = (time(median(&mine)), time(median(&theirs)));
    row("zeta / node crypto.scryptSync", &mine, &theirs, ratio, at_most(1.0, 0.85));
    whole()
}
