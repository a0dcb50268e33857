//! `zeta creds guard --watch`: it calls a guard before each end of the login, in a process of its
//! own each time.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::cli::Call;
use zeta_core::creds::login::Watch;
use zeta_creds::report::guard as report;
use zeta_creds::verbs::guard::{LoginFile, number_of};
use zeta_creds::verbs::{INPUT, Outcome, WithExitNumber};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_os::inotify::poll_readable;
use zeta_os::relay::Relay;
use zeta_os::signal::{CHILD_ENDED, Signals};
use zeta_os::spawn::{ExitOutcome, Group, Setup, fork_gated};

/// How long it sleeps at once: the clock may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Refreshes before each end of the login, until a signal asks for an end. A refresh that runs then
/// comes to its end first.
pub(super) fn run(call: &Call, margin_ms: u64, file: &LoginFile) -> Outcome<u8> {
    if file.ends_us().is_none() {
        let text = format!("{}: the login does not say when it ends", file.path().display());
        let hint = "--watch needs that; a timer can call the guard without it";
        return Err(Error::new(Kind::NotFound, text).hint(hint)).number(INPUT);
    }
    let signals = Signals::take_over_with_children().map_err(number_of)?;
    let once = once();
    let mut watch = Watch::new(margin_ms);
    loop {
        let left_us = watch.decide_call(file.ends_us(), host::wall_us());
        if left_us > 0 {
            if let Some(status) = pause(&signals, LOOK_EVERY.min(micros(left_us))) {
                return Ok(status);
            }
            continue;
        }
        let (ended, asked) = refresh(call, &once, &signals).map_err(number_of)?;
        if let Some(status) = asked {
            return Ok(status);
        }
        let succeeded = ended == ExitOutcome::Exited(0);
        let (next, pause_us) = watch.decide_after(succeeded, file.ends_us(), host::wall_us());
        if !succeeded {
            call.out.note(&format!("trying again in {} s", micros(pause_us).as_secs()));
        }
        if watch.margin_us == watch.wish_us && next.margin_us != watch.wish_us {
            call.out.note(&report::shortened(file, &next));
        }
        watch = next;
        if let Some(status) = pause(&signals, micros(pause_us)) {
            return Ok(status);
        }
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.unsigned_abs())
}

/// The command line of one call of the guard.
fn once() -> Vec<OsString> {
    let mut words = std::env::args_os().skip(1).peekable();
    let mut once = vec![OsString::from("/proc/self/exe")];
    while let Some(word) = words.next_if(|word| word != "--") {
        if word != "--watch" {
            once.push(word);
        }
    }
    once.extend(words);
    once
}

/// Does nothing for that long; returns the status of an end that a signal asks for.
fn pause(signals: &Signals, limit: Duration) -> Option<u8> {
    let end = Instant::now() + limit;
    loop {
        poll_readable(&[signals.fd()], end.saturating_duration_since(Instant::now()));
        while let Some(signal) = signals.next() {
            if signal.number != CHILD_ENDED {
                return Some(ExitOutcome::Signaled(signal.number).status());
            }
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

/// Runs one call of the guard; returns how it ended, and the status of an end that a signal asked
/// for meanwhile.
fn refresh(call: &Call, argv: &[OsString], signals: &Signals) -> Result<(ExitOutcome, Option<u8>)> {
    let setup = Setup { argv, env: Vec::new(), group: Group::Same, terminal: None };
    let child = match fork_gated(&setup, signals)?.open()? {
        Ok(child) => child,
        Err((status, error)) => {
            call.out.warn(&error);
            return Ok((ExitOutcome::Exited(status), None));
        }
    };
    let mut relay = Relay::new(&child, signals).keep_end();
    let mut asked = None;
    loop {
        let ready = poll_readable(&relay.fds(), LOOK_EVERY);
        relay.pass_on();
        if let Some(number) = relay.asked_to_end().filter(|_| asked.is_none()) {
            asked = Some(ExitOutcome::Signaled(number).status());
            call.out.note(report::FINISHES);
        }
        if ready.first() == Some(&true) {
            return Ok((child.wait()?, asked));
        }
    }
}
