//! The torture test: real processes are killed and stopped and lose files, and a judge checks their
//! logs. `cargo xtask torture` starts it.
//!
//! `arena` has the directory and the options of a run, `worker` and `command` take leases, `reader`
//! reads records meanwhile, `item` claims an item on a bus that `spoil` damages, `tormentor` kills
//! and stops, and `judge` checks the logs without any code of zeta; `history` and `linear` check
//! them a second time, in another way.

mod arena;
mod child;
mod command;
mod history;
mod item;
mod judge;
mod linear;
mod reader;
mod report;
mod rob;
mod spoil;
mod stay;
mod story;
mod tormentor;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

pub use self::arena::Options;
use self::arena::{Arena, Lease, now_ns};
use self::report::Came;

/// The result type of this program; an error ends the process with its text.
pub type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: torture [--minutes M | --seconds S] [--seed N] [--workers W] [--leases L] [--dir DIR]
               [--broken] [--keep]
       torture --judge DIR

  --minutes, --seconds   how long (default: 1 minute)
  --seed                 of everything that is drawn (default: from the clock; it is printed)
  --workers              processes that take leases (default: 16)
  --leases               leases they take (default: 8: calm, short, wild, jumpy, warped, busy twice,
                         item)
  --dir                  where to make a directory for it (default: the directory for temps)
  --keep                 leave the logs
  --judge                read the logs of another run again
  --broken               workers skip the lease: the judge must convict them
";

/// Runs the role that the environment names, or starts a whole run.
pub fn main() -> ExitCode {
    let played = match Arena::of_this_process() {
        Ok(Some((arena, role))) => play(&arena, &role).map(|()| true),
        Ok(None) => direct(std::env::args().skip(1)),
        Err(error) => Err(error),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn direct(args: impl Iterator<Item = String>) -> Outcomes<bool> {
    let mut args = args.peekable();
    if args.next_if(|arg| arg == "--judge").is_some() {
        let dir = args.next().ok_or("--judge needs a directory")?;
        let verdict = judge::judge(dir.as_ref())?;
        println!("{verdict:#?}");
        return Ok(verdict.violations.is_empty());
    }
    let Some(options) = options(args)? else {
        print!("{USAGE}");
        return Ok(true);
    };
    let came = run(&options)?;
    Ok(came.violations == 0 && came.enough)
}

fn options(mut args: impl Iterator<Item = String>) -> Outcomes<Option<Options>> {
    let mut options = Options::new()?;
    while let Some(arg) = args.next() {
        if matches!(arg.as_str(), "-h" | "--help") {
            return Ok(None);
        }
        let flag = match arg.as_str() {
            "--broken" => Some(&mut options.broken),
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
            "--workers" => options.workers = value.parse()?,
            "--leases" => options.leases = value.parse()?,
            "--dir" => options.parent = value.into(),
            _ => return Err(format!("no such option: {arg}\n{USAGE}").into()),
        }
    }
    Ok(Some(options))
}

/// Reports whether this process was started with a role.
pub fn has_part() -> bool {
    matches!(Arena::of_this_process(), Ok(Some(_)))
}

/// Runs everything: the processes, the judge and the report.
pub fn run(options: &Options) -> Outcomes<Came> {
    println!("torture: seed {}", options.seed);
    let arena = Arena::new(options)?;
    let torment = tormentor::torment(&arena, options)?;
    let verdict = judge::judge(&arena.dir)?;
    let came = report::print(&arena, options, &torment, &verdict)?;
    // The logs of a violation are kept for examination.
    match !options.keep && (came.violations == 0 || options.broken) {
        true => std::fs::remove_dir_all(&arena.dir)?,
        false => println!("the logs are in {}", arena.dir.display()),
    }
    Ok(came)
}

/// Runs a role until the run is over or this process is killed.
fn play(arena: &Arena, role: &str) -> Outcomes<()> {
    child::die_with_parent();
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["worker", lease, how, seed] => {
            worker::work(arena, Lease::of(lease.parse()?), how, seed.parse()?)
        }
        ["inside", lease, how, asked_ns, worker, stay_us] => {
            let asked = command::Asked {
                lease: Lease::of(lease.parse()?),
                how,
                asked_ns: asked_ns.parse()?,
                worker,
            };
            command::inside(arena, &asked, Duration::from_micros(stay_us.parse()?))
        }
        // The time by the boot clock outside of all time namespaces.
        ["clock"] => {
            println!("clock {}", now_ns());
            Ok(())
        }
        ["reader", number] => reader::read_all(arena, number),
        _ => Err(format!("no such part: {role}").into()),
    }
}
