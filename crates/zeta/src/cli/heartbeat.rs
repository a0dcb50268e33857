//! `zeta heartbeat`: one beat, or beats at an interval.

use std::time::{Duration, Instant};

use clap::Args;
use zeta_core::record::printable;
use zeta_core::time::parse_ttl;

use super::{Call, Noun};
use zeta_os::error::{Error, Result};
use zeta_os::notify::Manager;
use zeta_state::presence::heartbeat::beat;
use zeta_state::presence::report::beat_json;

pub(super) const NOUN: Noun = Noun {
    name: "heartbeat",
    about: "Record one beat of this node and agent, or keep beating",
    build: HeartbeatArgs::augment_args,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta heartbeat --as otto-cli               # one beat, from a hook or a cron job
  zeta heartbeat --as otto-cli --every 10s   # keep beating until ended

'zeta run' beats by itself. Without --as (or ZETA_AGENT) only the node is marked as seen. As a
service with Type=notify, as in zeta-heartbeat.service, it is ready after its first beat.")]
struct HeartbeatArgs {
    /// Keep beating with this interval
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// With --every: stop after this many beats
    #[arg(long, value_name = "N", requires = "every",
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

fn run(call: &Call) -> Result<u8> {
    let args: HeartbeatArgs = call.args()?;
    let every_ms = args.every.as_deref().map(parse_ttl).transpose()?;
    let ctx = call.context()?;
    // An error at the start ends the call; a later one may be temporary.
    ctx.open()?;
    let manager = every_ms.map(|_| Manager::from_environment());
    let mut beats = 0u64;
    let mut reported = None;
    loop {
        // Opened again for each beat: over days the directory may be removed and created again.
        let beaten = ctx
            .open()
            .and_then(|handle| beat(&handle, every_ms).map(|wall_us| (handle.node.name, wall_us)));
        beats += 1;
        let Some(every_ms) = every_ms.filter(|_| args.count != Some(beats)) else {
            let (node, wall_us) = beaten?;
            if call.out.json {
                call.out.data(&beat_json(&node, wall_us, beats).done())?;
            }
            return Ok(0);
        };
        let trouble = beaten.err();
        if let Some(error) = trouble.as_ref().filter(|_| trouble != reported) {
            call.out.warn(error);
        }
        if let Some(manager) = &manager {
            if beats == 1 || trouble != reported {
                manager.tell(&status(trouble.as_ref()));
            }
            sleep(manager, Duration::from_millis(every_ms));
        }
        reported = trouble;
    }
}

/// The lines for the manager: a service whose beat fails works on, and says why it fails.
fn status(trouble: Option<&Error>) -> String {
    match trouble {
        None => "READY=1\nSTATUS=beating".to_owned(),
        // What a file is named begins no other line.
        Some(error) => format!("READY=1\nSTATUS={}", printable(&error.text)),
    }
}

/// Sleeps, and tells the manager in time that this process works.
fn sleep(manager: &Manager, time: Duration) {
    let until = Instant::now() + time;
    loop {
        manager.tell("WATCHDOG=1");
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        std::thread::sleep(manager.watchdog().map_or(rest, |every| rest.min(every)));
    }
}
