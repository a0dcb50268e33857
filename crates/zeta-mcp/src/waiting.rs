//! A place in the line of a lease, which outlives the call that waits: a thread keeps it, and takes
//! the lease when its turn comes.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rmcp::model::RequestId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use zeta_core::lease::{AcquireRequest, Observed, Record};
use zeta_core::name::RecordName;
use zeta_os::error::{Error, Kind, Result};
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

/// The client's side of a call.
#[derive(Debug)]
pub struct Caller {
    /// The number that the client gave the call.
    pub call: RequestId,
    /// Until when it waits.
    pub until: Instant,
    /// Where its answer goes.
    pub reply: oneshot::Sender<Answer>,
    /// Where it is told once a second who holds the lease.
    pub progress: mpsc::UnboundedSender<String>,
    /// Its share of the calls that may be open.
    pub _open: OwnedSemaphorePermit,
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
    /// It is one of the cluster.
    pub in_cluster: bool,
    /// Closed when the place is given up: the thread leaves the line then.
    wanted: Option<PipeWriter>,
    unwanted: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Waiting {
    /// Draws a ticket, in a thread of its own that reports to `jobs`.
    pub fn start(ctx: &Context, request: AcquireRequest, jobs: Sender<Job>) -> Result<Waiting> {
        let fault = |error| {
            Error::new(Kind::Fault, format!("no thread can be started that waits: {error}"))
        };
        let (stop, wanted) = std::io::pipe().map_err(fault)?;
        let unwanted = Arc::new(AtomicBool::new(false));
        let in_cluster = request.in_cluster;
        let cluster = ctx.cluster.as_ref().map(|cluster| Arc::new(cluster.apart()));
        let ctx = Context { cluster, ..ctx.clone() };
        let waiter = Waiter { ctx, request, jobs, unwanted: unwanted.clone() };
        let thread = std::thread::Builder::new().spawn(move || waiter.run(stop)).map_err(fault)?;
        let (callers, held, asked) = (Vec::new(), None, Instant::now());
        let wanted = Some(wanted);
        Ok(Waiting { callers, held, ahead: 0, asked, in_cluster, wanted, unwanted, thread })
    }

    /// Returns the end of the next call that waits, or that of the place.
    pub fn next(&self) -> Instant {
        let calls = self.callers.iter().map(|caller| caller.until);
        calls.min().unwrap_or(self.asked + KEPT)
    }

    /// Leaves the line, and returns when that is done or the time is up.
    pub fn leave(mut self, until: Instant) {
        self.give_up();
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn give_up(&mut self) {
        self.unwanted.store(true, Ordering::Release);
        self.wanted = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.give_up();
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
    fn run(self, stop: PipeReader) {
        if let Err(error) = self.wait(stop.into()) {
            let _ = self.report(Turn::Failed(error));
        }
    }

    fn report(&self, turn: Turn) -> bool {
        let lease = self.request.lease.clone();
        self.jobs.send(Job::Turn(lease, self.request.lease_id.clone(), turn)).is_ok()
    }

    fn wait(&self, stop: OwnedFd) -> Result<()> {
        let at = self.ctx.open()?;
        let mut handle = LeaseHandle::new(&at, &self.request.lease);
        handle.stay_in_queue(TICKET_MS);
        handle.stop_with(stop);
        // The store is asked before the record is made, and others read there whose it is.
        let processes = session::processes(&at)?;
        let request = AcquireRequest { processes, ..self.request.clone() };
        // The first round only draws the ticket, and finds out who has the lease.
        let mut round_ms = 0;
        while !self.unwanted.load(Ordering::Acquire) {
            let mut wait = WaitOptions { limit_ms: Some(round_ms), on_wait: &mut |_, _| {} };
            round_ms = ROUND_MS;
            let outcome = handle.acquire(&request, &mut wait, &mut |record| {
                record.processes = session::processes(&at)?;
                Ok(())
            });
            let outcome = match outcome {
                // No server answers, or it is not known what came of it: the next round goes on
                // with the same attempt.
                Err(error) if request.in_cluster && error.kind == Kind::Busy => {
                    let ahead = handle.ahead(None)?.unwrap_or(0);
                    let _ = self.report(Turn::NotYet { held: Box::new(error), ahead });
                    continue;
                }
                outcome => outcome?,
            };
            match outcome {
                Outcome::Granted { record, .. } => {
                    // Whether it is still wanted is for the worker to say, which may have named the
                    // grant in an answer by now. Without a worker, it is not.
                    let token = record.fencing_token;
                    if !self.report(Turn::Granted(record)) {
                        let _ = handle.release(token)?;
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
                    let _ = self.report(Turn::NotYet { held, ahead });
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
