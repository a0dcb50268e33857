//! A place in the line of a lease, which outlives the call that waits: a thread keeps it, and takes
//! the lease when its turn comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zeta_core::lease::{AcquireRequest, Observed, Record};
use zeta_core::name::RecordName;
use zeta_os::error::{Error, Result};
use zeta_state::context::Context;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, Refusal, WaitOptions};
use zeta_state::lease::{report, session};

use crate::answer::Answer;
use crate::worker::Job;

/// How often a waiting thread says who holds the lease, and looks whether it is still wanted.
const ROUND_MS: u64 = 1000;
/// A ticket counts for so long. Nobody waits longer than that in one line.
const TICKET_MS: u64 = 60 * 60 * 1000;
/// How long a place is kept after the last call that asked for it.
pub const KEPT: Duration = Duration::from_secs(10 * 60);

/// News of a waiting thread.
#[derive(Debug)]
pub enum Turn {
    /// Another process has the lease, or is ahead.
    NotYet {
        /// Who, since when and until when.
        held: Box<Error>,
        /// How many waiters are ahead.
        ahead: usize,
    },
    /// It is this agent's.
    Granted(Box<Record>),
    /// It cannot be had.
    Failed(Error),
}

/// A call that waits.
#[derive(Debug)]
pub struct Caller {
    /// The number of the call.
    pub call: u64,
    /// Until when it waits.
    pub until: Instant,
    /// Where its answer goes.
    pub reply: oneshot::Sender<Answer>,
    /// Where it is told once a second who holds the lease.
    pub progress: mpsc::UnboundedSender<String>,
}

/// A lease that this server waits for.
#[derive(Debug)]
pub struct Waiting {
    /// The calls that wait now.
    pub callers: Vec<Caller>,
    /// What the thread said last.
    pub held: Option<Box<Error>>,
    /// How many waiters were ahead then.
    pub ahead: usize,
    /// When the last call ended that asked for it.
    pub asked: Instant,
    unwanted: Arc<AtomicBool>,
}

impl Waiting {
    /// Draws a ticket, in a thread of its own that reports to `jobs`.
    pub fn start(ctx: &Context, request: AcquireRequest, jobs: Sender<Job>) -> Result<Waiting> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let waiter = Waiter { ctx: ctx.clone(), request, jobs, unwanted: unwanted.clone() };
        std::thread::Builder::new().spawn(move || waiter.run()).map_err(|error| {
            Error::new(zeta_os::error::Kind::Fault, format!("no thread can be started: {error}"))
        })?;
        let (callers, held) = (Vec::new(), None);
        Ok(Waiting { callers, held, ahead: 0, asked: Instant::now(), unwanted })
    }

    /// Returns the end of the next call that waits, or that of the place.
    pub fn next(&self) -> Instant {
        let calls = self.callers.iter().map(|caller| caller.until);
        calls.min().unwrap_or(self.asked + KEPT)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Release);
    }
}

/// The thread.
struct Waiter {
    ctx: Context,
    request: AcquireRequest,
    jobs: Sender<Job>,
    unwanted: Arc<AtomicBool>,
}

impl Waiter {
    fn run(self) {
        if let Err(error) = self.wait() {
            self.report(Turn::Failed(error));
        }
    }

    fn report(&self, turn: Turn) {
        let lease = self.request.lease.clone();
        let _ = self.jobs.send(Job::Turn(lease, self.request.lease_id.clone(), turn));
    }

    fn wait(&self) -> Result<()> {
        let at = self.ctx.open()?;
        let mut handle = LeaseHandle::new(&at, &self.request.lease);
        handle.stay_in_queue(TICKET_MS);
        while !self.unwanted.load(Ordering::Acquire) {
            let mut wait = WaitOptions { limit_ms: Some(ROUND_MS), on_wait: &mut |_, _| {} };
            let outcome = handle.acquire(&self.request, &mut wait, &mut |record| {
                record.processes = session::processes(&at)?;
                Ok(())
            })?;
            match outcome {
                Outcome::Granted { record, .. } => {
                    if self.unwanted.load(Ordering::Acquire) {
                        let _ = handle.release(record.fencing_token)?;
                    } else {
                        self.report(Turn::Granted(record));
                    }
                    return Ok(());
                }
                Outcome::Refused(refusal) => {
                    let holder = match &refusal.observed {
                        Observed::Ours(record, ..) => Some(&record.processes),
                        _ => None,
                    };
                    let ahead = handle.ahead(holder)?.unwrap_or(0);
                    let held = Box::new(held(&self.ctx, &self.request.lease, &refusal));
                    self.report(Turn::NotYet { held, ahead });
                }
            }
        }
        Ok(())
    }
}

/// Says who has a lease, since when and until when.
pub fn held(ctx: &Context, lease: &RecordName, refusal: &Refusal) -> Error {
    let refusal = Refusal { limit_ms: None, ..refusal.clone() };
    report::refused(lease, &refusal, &ctx.now()).0
}
