//! The torture of the cluster: servers of NATS in network namespaces of their own are killed,
//! stopped, cut off and filled up, clients take leases meanwhile, and a judge checks their logs.
//! `cargo xtask cluster` starts it.
//!
//! `arena` has the options and the directory of a run, `network` the namespaces and the cuts
//! between them, `server` the servers, `link` what a client asks of the store, `client` takes
//! leases and writes to `register`. `verbs` does the same as the verbs do, with a tree and a bridge
//! for each node; `watch` stands in for a bridge where there is none. `nemesis` does the damage,
//! `judge` checks the logs without any code of zeta, and `report` prints what came of it.

mod arena;
mod client;
mod judge;
#[path = "../torture/linear.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "an answer 'held' is not judged here"))]
mod linear;
mod link;
mod nemesis;
mod network;
mod register;
mod report;
mod server;
#[path = "../torture/story.rs"]
mod story;
mod verbs;
mod watch;

use std::process::{Command, ExitCode};
use std::time::Duration;

use self::arena::{Arena, Expect, Options};

/// The result type of this program; an error ends the process with its text.
pub type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cluster [--minutes M | --seconds S] [--seed N] [--server PATH] [--replicas 1|3]
               [--expect safe|double] [--verbs] [--loss] [--power]
               [--calm] [--dir DIR] [--keep]
       cluster --judge DIR

  --minutes, --seconds   how long (default: 1 minute)
  --seed      of everything that is drawn (default: from the clock; it is printed)
  --server    the nats-server (default: that of ZETA_NATS_SERVER)
  --replicas  how many servers keep each stream: 1 or 3 (default: 3)
  --expect    'double': the judge must find two holders at once, as with Debian's 2.9.10 and three
              replicas; the proof of zeta is then left out (default: safe)
  --verbs     clients take leases as the verbs do, with a tree and a bridge for each node
  --loss      servers come back with an older copy of their store, too
  --power     servers, which flush each write, lose their power, too
  --calm      nothing is disturbed
  --dir       where to make a directory for it (default: the directory for temps)
  --keep      leave the logs
  --judge     read the logs of another run again
";

/// The exit status of a run that could not be made here.
const SKIPPED: u8 = 77;

/// Runs the role that the environment names, or starts a whole run.
fn main() -> ExitCode {
    let played = match Arena::of_this_process() {
        Ok(Some((arena, role))) => play(&arena, &role),
        Ok(None) => direct(std::env::args().skip(1)),
        Err(error) => Err(error),
    };
    match played {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn direct(args: impl Iterator<Item = String>) -> Outcomes<u8> {
    let mut args = args.peekable();
    if args.next_if(|arg| arg == "--judge").is_some() {
        let dir = args.next().ok_or("--judge needs a directory")?;
        let verdict = judge::judge(dir.as_ref())?;
        report::table(&verdict);
        return Ok(u8::from(!verdict.violations.is_empty()));
    }
    match options(args)? {
        Some(options) => Ok(match run(&options)? {
            Came::Good => 0,
            Came::Bad => 1,
            Came::Skipped(why) => {
                eprintln!("SKIPPED: cluster: {why}");
                SKIPPED
            }
        }),
        None => {
            print!("{USAGE}");
            Ok(0)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Outcomes<Option<Options>> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let flag = match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--verbs" => Some(&mut options.verbs),
            "--loss" => Some(&mut options.loss),
            "--power" => Some(&mut options.power),
            "--calm" => Some(&mut options.calm),
            "--keep" => Some(&mut options.keep),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"))?;
        match arg.as_str() {
            "--minutes" => options.length = Duration::from_secs_f64(60.0 * value.parse::<f64>()?),
            "--seconds" => options.length = Duration::from_secs_f64(value.parse()?),
            "--seed" => options.seed = value.parse()?,
            "--server" => options.server = value.into(),
            "--replicas" => options.replicas = value.parse()?,
            "--expect" if value == "safe" => options.expect = Expect::Safe,
            "--expect" if value == "double" => options.expect = Expect::Double,
            "--dir" => options.parent = value.into(),
            _ => return Err(format!("no such option: {arg} {value}\n{USAGE}").into()),
        }
    }
    Ok(Some(options))
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    /// What was expected.
    Good,
    /// Something else; the table says what.
    Bad,
    /// It cannot be made here, for this reason.
    Skipped(String),
}

/// Makes a whole run: a process in namespaces of its own does all of it.
fn run(options: &Options) -> Outcomes<Came> {
    if let Err(why) = network::is_permitted() {
        return Ok(Came::Skipped(why));
    }
    if !options.server.is_file() {
        let why = format!("there is no server {:?}: see ZETA_NATS_SERVER", options.server);
        return Ok(Came::Skipped(why));
    }
    println!("cluster: seed {}", options.seed);
    let arena = Arena::new(options)?;
    let mut hub = arena.part("hub")?;
    network::in_new_hub(&mut hub);
    let status = hub.status()?;
    let kept = options.keep || !status.success();
    match kept {
        true => println!("the logs are in {}", arena.dir.display()),
        false => std::fs::remove_dir_all(&arena.dir)?,
    }
    Ok(if status.success() { Came::Good } else { Came::Bad })
}

/// Runs a role until the run is over or this process is killed.
fn play(arena: &Arena, role: &str) -> Outcomes<u8> {
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["hub"] => hub(arena),
        ["client", number, seed] => client::work(arena, number.parse()?, seed.parse()?).map(|()| 0),
        ["verbs", number, seed] => verbs::work(arena, number.parse()?, seed.parse()?).map(|()| 0),
        ["compact", node] => verbs::compact(arena, node.parse()?).map(|()| 0),
        ["bridge", node] => verbs::bridge(arena, node.parse()?).map(|()| 0),
        ["watch", node] => watch::watch(arena, node.parse()?).map(|()| 0),
        _ => Err(format!("no such part: {role}").into()),
    }
}

/// Builds the network, disturbs it until the run is over, and judges the logs.
fn hub(arena: &Arena) -> Outcomes<u8> {
    let network = network::Network::build()?;
    let done = nemesis::disturb(arena, &network)?;
    let verdict = judge::judge(&arena.dir)?;
    let good = report::print(arena, &done, &verdict);
    Ok(u8::from(!good))
}

/// Runs a tool and reports its text if it fails.
fn tool(command: &mut Command) -> Outcomes<()> {
    let out = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)).into()),
    }
}
