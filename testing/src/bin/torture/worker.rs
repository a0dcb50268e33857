//! A worker that uses the library: it takes its lease, logs that it is inside, and releases it.

use std::time::Duration;

use zeta_core::lease::{AcquireRequest, Record};
use zeta_os::error::{Error, Kind as Fault};
use zeta_os::process::identify_self;
use zeta_state::context::Context;
use zeta_state::lease::HolderResult;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions, new_request};

use super::Outcomes;
use super::arena::{Arena, Kind, Lease, now_ns, outside_ns};
use super::story::Story;

/// The ways in which workers take leases; a way that is listed more often is drawn more often.
pub const WAYS: [&str; 12] = [
    "stand", "stand", "stand", "plain", "plain", "plain", "renew", "renew", "command", "exec",
    "exec", "fenced",
];

/// The number of ways that use the library; they come first.
pub const LIBRARY: usize = 8;

/// The longest wait for a lease.
pub const WAIT_MS: u64 = 10_000;

/// The longest wait for a guard. It is longer than any stop, so a guard is free again by then.
const ENTER: Duration = Duration::from_secs(10);

/// A worker at its lease.
pub struct Worker<'a> {
    pub arena: &'a Arena,
    pub lease: Lease,
    pub dice: fastrand::Rng,
    pub story: Story,
}

/// Works in the given way until the run is over.
pub fn work(arena: &Arena, lease: Lease, how: &str, seed: u64) -> Outcomes<()> {
    let story = Story::open(&arena.dir, &lease.name())?;
    let mut worker = Worker { arena, lease, dice: fastrand::Rng::with_seed(seed), story };
    while !arena.over() {
        let asked_ns = now_ns();
        let done = match how {
            "stand" | "plain" | "renew" => worker.library(how),
            "broken" => worker.broken(),
            "claim" | "foreign" => worker.item(how),
            _ => worker.command(how),
        };
        if let Err(error) = done {
            // An outsider removes files of the wild lease; for other leases the judge reports this.
            let kind = error.downcast_ref::<Error>().map_or("other", |error| error.kind.word());
            worker.story.say(&format!("fault {asked_ns} {} {kind} {error}", now_ns()))?;
            worker.rest();
        }
    }
    Ok(())
}

impl Worker<'_> {
    /// Returns the length of a stay: short most often, sometimes long.
    pub fn stay(&mut self) -> Duration {
        if self.lease.kind == Kind::Busy && self.dice.u32(..100) > 0 {
            return Duration::ZERO;
        }
        match self.dice.u32(..20) {
            0 => Duration::from_millis(self.dice.u64(5..30)),
            1..5 => Duration::ZERO,
            _ => Duration::from_micros(self.dice.u64(..2000)),
        }
    }

    pub fn rest(&mut self) {
        if self.lease.kind == Kind::Busy && self.dice.u32(..50) > 0 {
            return;
        }
        std::thread::sleep(Duration::from_micros(self.dice.u64(..1500)));
    }

    /// Sleeps for the stay; a sleep of no time would be a system call, too.
    fn linger(&mut self) {
        let stay = self.stay();
        if !stay.is_zero() {
            std::thread::sleep(stay);
        }
    }

    /// Runs rounds with one open handle; returns at the first fault, so that the tree is opened
    /// again.
    fn library(&mut self, how: &str) -> Outcomes<()> {
        let ctx = self.arena.context(self.lease)?;
        let (handle, lease) = (ctx.open()?, self.lease.record()?);
        let mut stand = LeaseHandle::new(&handle, &lease);
        while !self.arena.over() {
            let ask = self.ask(&ctx)?;
            let mut patience = WaitOptions { limit_ms: Some(WAIT_MS), on_wait: &mut |_, _| {} };
            // A worker that waited lets others go first; a single try pauses by its own clock.
            let waits = if self.lease.kind == Kind::Warped { 2 } else { 10 };
            if self.dice.u32(..waits) == 0 {
                patience.limit_ms = None;
            }
            let asked_ns = now_ns();
            let outcome = match how {
                "plain" => {
                    let mut fresh = LeaseHandle::new(&handle, &lease);
                    fresh.acquire(&ask, &mut patience, &mut |_| Ok(()))?
                }
                _ => stand.acquire(&ask, &mut patience, &mut |_| Ok(()))?,
            };
            let record = match outcome {
                Outcome::Granted { record, .. } => record,
                Outcome::Refused(refusal) => {
                    let why = match (refusal.guarded, refusal.limit_ms) {
                        (Some(_), _) => "guarded",
                        (None, Some(_)) => "waited",
                        (None, None) => "held",
                    };
                    self.story.say(&format!("refused {asked_ns} {} {why}", now_ns()))?;
                    self.rest();
                    continue;
                }
            };
            self.entered(&record, asked_ns, how)?;
            let token = record.fencing_token;
            let renewals = if how == "renew" { self.dice.u32(..6) } else { 0 };
            let mut kept = true;
            for at in 0..=renewals {
                self.linger();
                if at < renewals && kept {
                    let asked_ns = now_ns();
                    let renewed = match self.dice.bool() {
                        true => stand.renew(token, ENTER),
                        false => handle.renew(&lease, token, None, ENTER),
                    };
                    kept = self.renewed(token.get(), asked_ns, renewed)?;
                }
            }
            self.story.say(&format!("leave {token} {}", now_ns()))?;
            self.release(token.get(), || match how {
                "plain" => handle.release(&lease, token),
                _ => stand.release(token),
            })?;
            self.rest();
        }
        Ok(())
    }

    fn ask(&self, ctx: &Context) -> Outcomes<AcquireRequest> {
        let mut ask = new_request(ctx, self.lease.record()?, self.lease.ttl_ms())?;
        ask.processes.own = Some(identify_self());
        ask.processes.pid_ns = ctx.host.pid_ns;
        Ok(ask)
    }

    fn entered(&mut self, record: &Record, asked_ns: u64, how: &str) -> Outcomes<()> {
        let (token, until_ns) = (record.fencing_token, until_ns(record));
        let (got_ns, pid) = (now_ns(), std::process::id());
        self.story.say(&format!("enter {token} {asked_ns} {got_ns} {until_ns} {how} {pid}"))
    }

    /// Logs the outcome of a renewal; false if the lease was lost.
    fn renewed(
        &mut self,
        token: u64,
        asked_ns: u64,
        renewed: HolderResult<(Box<Record>, Option<u64>)>,
    ) -> Outcomes<bool> {
        let got_ns = now_ns();
        match renewed {
            Ok(Ok((record, _))) => {
                let until_ns = until_ns(&record);
                self.story.say(&format!("renew {token} {asked_ns} {got_ns} {until_ns}"))?;
                Ok(true)
            }
            Ok(Err(_)) => {
                self.story.say(&format!("lost {token} {asked_ns} {got_ns}"))?;
                Ok(false)
            }
            Err(error) => {
                self.story.say(&format!("leave {token} {asked_ns}"))?;
                Err(error.into())
            }
        }
    }

    /// Releases, with repetitions while a process is stopped inside the guard.
    fn release(
        &mut self,
        token: u64,
        mut release: impl FnMut() -> HolderResult<bool>,
    ) -> Outcomes<()> {
        const TRIES: usize = 10;
        for at in 1..=TRIES {
            let asked_ns = now_ns();
            let released = release();
            let got_ns = now_ns();
            match released {
                Ok(Ok(_)) => return self.story.say(&format!("freed {token} {asked_ns} {got_ns}")),
                Ok(Err(_)) => return self.story.say(&format!("lost {token} {asked_ns} {got_ns}")),
                Err(error) if error.kind == Fault::Busy && at < TRIES => {
                    self.story.say(&format!("fault {asked_ns} {got_ns} busy {error}"))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Enters without taking a lease: the judge must report this.
    fn broken(&mut self) -> Outcomes<()> {
        let token = now_ns() / 1000 + u64::from(std::process::id());
        let (at_ns, pid) = (now_ns(), std::process::id());
        self.story.say(&format!("enter {token} {at_ns} {at_ns} {} broken {pid}", u64::MAX))?;
        std::thread::sleep(self.stay());
        self.story.say(&format!("leave {token} {}", now_ns()))?;
        self.rest();
        Ok(())
    }
}

/// Returns until when a lease whose holder lives may not be granted to others: TTL, and grace if
/// the record names a process. This process wrote the record, by the clock of its time namespace.
pub fn until_ns(record: &Record) -> u64 {
    let grace_ms = if record.processes.own.is_some() { record.grace_ms } else { 0 };
    outside_ns(record.expires_boot_ns().saturating_add(grace_ms.saturating_mul(1_000_000)))
}
