//! The view where there is no terminal: a line for each change, or with `--json` an overview for
//! each.

use std::io::{ErrorKind, Write as _, stdout};
use std::time::{Duration, Instant};

use zeta_bus::overview::Follower;
use zeta_core::overview::json;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::reader::end_of_reader;

use crate::line;

/// How long it waits at least after it printed: changes within this time are taken in together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long it sleeps at most.
const LIMIT: Duration = Duration::from_secs(60);

/// Prints until the reader of the standard output goes away.
pub fn run(follower: &mut Follower, as_json: bool) -> Result<()> {
    let mut known = follower.overview().clone();
    let mut text = match as_json {
        true => json::overview(&known).done() + "\n",
        false => joined(&line::first(&known)),
    };
    // What was before is not a change.
    drop(follower.take_history());
    let end = end_of_reader();
    let mut changed = false;
    loop {
        if !text.is_empty() && !print(&text)? {
            return Ok(());
        }
        let printed = Instant::now();
        loop {
            let pause = TOGETHER.saturating_sub(printed.elapsed());
            if changed && pause.is_zero() {
                break;
            }
            let woken = follower.wait(if changed { pause } else { LIMIT }, end.as_slice());
            changed |= woken.changed;
            if woken.readable {
                return Ok(());
            }
        }
        changed = false;
        let log = follower.take_history();
        let now = follower.overview();
        text = match as_json {
            true => json::overview(now).done() + "\n",
            false => joined(&line::changes(&known, now, &log)),
        };
        known.clone_from(now);
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Prints; false if the reader went away.
fn print(text: &str) -> Result<bool> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::new(Kind::Fault, format!("could not print: {error}"))
            .hint("make space, or give the output to another program or file")),
    }
}
