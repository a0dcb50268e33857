//! Taking a lease: one look inside the guard after another, until it is granted or time is up.
//!
//! Between two looks a waiter sleeps in its place in the line ([`line`]), and what it keeps of all
//! that until it releases is its [`LeaseHandle`].

mod handle;
mod waiting;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::getuid;
use zeta_core::evidence::{Process, Processes};
use zeta_core::layout;
use zeta_core::lease::{
    AcquireRequest, Acquired, Cause, Held, HeldWhy, Observed, Policy, Record, decide_acquire,
};
use zeta_core::name::RecordName;
use zeta_core::time::{NS_PER_MS, Now};

pub use self::handle::LeaseHandle;
use super::session;
use super::{BeforeCommit, RENEWAL_ROOM, observe, publish, refuse_if_fenced};
use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::lease::queue::Queue;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::poll_readable;
use zeta_os::{host, process};

/// The answer to somebody who wants a lease.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is theirs.
    Granted {
        /// The record of the grant.
        record: Box<Record>,
        /// Why it could be granted; `None` if it was granted to the same attempt before.
        cause: Option<Cause>,
        /// The one it was taken from, if any.
        from: Option<Box<Record>>,
    },
    /// Somebody else has it.
    Refused(Refusal),
}

/// Who is in the way.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why and for how long.
    pub held: Held,
    /// What stands there.
    pub observed: Observed,
    /// How long was waited.
    pub waited_ms: u64,
    /// How long was to be waited; `None` for a single try.
    pub limit_ms: Option<u64>,
    /// Somebody was inside the guard all the time: who, and what to do.
    pub guarded: Option<Error>,
}

/// Called when waiting begins and whenever the holder changes.
pub type OnWait<'a> = dyn FnMut(&Observed, &Held) + 'a;

/// How to wait.
pub struct WaitOptions<'a> {
    /// For how long; `None` tries once.
    pub limit_ms: Option<u64>,
    /// Tells the caller's user whom the wait is for.
    pub on_wait: &'a mut OnWait<'a>,
}

/// What the caller would ask for, with a random id and nothing said beyond the TTL.
pub fn new_request(ctx: &Context, lease: RecordName, ttl_ms: u64) -> Result<AcquireRequest> {
    Ok(AcquireRequest {
        lease,
        lease_id: host::random_hex()?,
        agent: ctx.agent.clone(),
        session: ctx.session.clone(),
        processes: Processes::default(),
        pr: None,
        uid: getuid().as_raw(),
        ttl_ms,
        grace_ms: None,
        policy: Policy::default(),
        purpose: None,
    })
}

impl NodeHandle<'_> {
    /// Acquires a lease for the caller's session, with something to do before the commit.
    ///
    /// Which processes vouch for it is asked inside the guard, because the session may end while
    /// the caller waits, and once more after the grant, because it may end in that very moment.
    pub fn acquire(
        &self,
        request: &AcquireRequest,
        wait: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let lease = &request.lease;
        refuse_if_fenced(self.ctx, lease)?;
        let outcome = LeaseHandle::new(self, lease).acquire(request, wait, &mut |record| {
            record.processes = session::processes(self)?;
            before_commit(record)
        })?;
        if let Outcome::Granted { record, cause: Some(_), .. } = &outcome
            && record.processes.own.is_some()
            && session::processes(self)?.own.is_none()
        {
            self.detach_session(lease, record.fencing_token)?;
        }
        Ok(outcome)
    }
}

struct Attempt<'s, 'a> {
    ask: &'s AcquireRequest,
    started_ns: u64,
    limit_ms: Option<u64>,
    handle: &'s mut LeaseHandle<'a>,
}

/// What one look inside the guard came to.
enum Attempted {
    Done(Outcome),
    /// An overdue holder was sent SIGKILL; these tell when it has ended.
    Killed(Vec<OwnedFd>),
    /// Somebody stays inside the guard: a fenced command, or a stopped process.
    Guarded(Error),
    Sleep {
        held: Option<Held>,
        observed: Observed,
        holder: Vec<OwnedFd>,
    },
}

/// How often an overdue holder is killed before it counts as undying.
const KILLS_MAX: usize = 3;

/// How long a single try waits for a critical section.
const TRY_LIMIT: Duration = Duration::from_millis(500);

/// How often somebody who waits is told for whom.
const TELL_EVERY_NS: u64 = 30_000 * NS_PER_MS;

impl Attempt<'_, '_> {
    fn run(
        &mut self,
        patience: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let mut told_ns = None;
        let mut kills = 0;
        loop {
            match self.step(kills > 0, before_commit)? {
                Attempted::Guarded(busy) => {
                    if self.rest_ms() == 0 {
                        return self.refuse_guarded(busy);
                    }
                }
                Attempted::Done(outcome) => return Ok(outcome),
                Attempted::Killed(ends) => {
                    kills += 1;
                    wait_for_ends(&ends);
                    if kills > KILLS_MAX {
                        return Err(will_not_die(&self.ask.lease));
                    }
                }
                Attempted::Sleep { held, observed, holder } => {
                    let now_ns = host::reading().boot_ns;
                    let quiet_for = told_ns.map(|told_ns| now_ns.saturating_sub(told_ns));
                    if let Some(held) = &held
                        && quiet_for.is_none_or(|quiet_for| quiet_for > TELL_EVERY_NS)
                    {
                        told_ns = Some(now_ns);
                        (patience.on_wait)(&observed, held);
                    }
                    if self.rest_ms() == 0 {
                        let held = held.unwrap_or_else(queued);
                        return Ok(Outcome::Refused(self.refusal(held, observed)));
                    }
                    self.sleep(held.as_ref(), &holder);
                }
            }
        }
    }

    /// One look inside the guard: take the lease, or find out what to sleep on.
    fn step(&mut self, killed: bool, before_commit: &mut BeforeCommit<'_>) -> Result<Attempted> {
        let limit = match self.limit_ms {
            Some(_) => ENTER_LIMIT.min(Duration::from_millis(self.rest_ms().max(50))),
            None => TRY_LIMIT,
        };
        let section = match self.handle.enter(limit) {
            Err(error) if error.kind == Kind::Busy => return Ok(Attempted::Guarded(error)),
            entered => entered?,
        };
        let bytes = section.read(layout::RECORD_MAX)?;
        let ctx = self.handle.at.ctx;
        let observed = observe(bytes, &self.ask.lease, &ctx.host);
        let now = ctx.at(host::reading());
        let highest = section.highest_token()?;
        match decide_acquire(&observed, self.ask, highest, killed, &now) {
            Acquired::Again(record) => {
                Ok(Attempted::Done(Outcome::Granted { record, cause: None, from: None }))
            }
            Acquired::Grant(record, cause) => {
                if self.must_queue(&section, &observed, &now)? {
                    return Ok(Attempted::Sleep { held: None, observed, holder: Vec::new() });
                }
                self.grant(&section, record, cause, observed, before_commit)
            }
            Acquired::Held(held) => {
                if self.limit_ms.is_none() {
                    return Ok(Attempted::Done(Outcome::Refused(self.refusal(held, observed))));
                }
                let first = self.queue_up(&section, &observed, &now)?;
                let holder = if first { holder_fds(&observed) } else { Vec::new() };
                Ok(Attempted::Sleep { held: Some(held), observed, holder })
            }
            Acquired::MustKill(processes) => self.kill(&section, &processes, observed, &now),
            Acquired::NoTokenLeft => Err(no_token_left(&self.ask.lease)),
        }
    }

    /// Ends an overdue holder whose policy is `kill`. It happens inside the guard: a moment later
    /// the holder could have renewed.
    fn kill(
        &mut self,
        section: &Section<'_>,
        processes: &Processes,
        observed: Observed,
        now: &Now,
    ) -> Result<Attempted> {
        let recorded: Vec<&Process> = processes.own.iter().chain(&processes.child).collect();
        let ends = recorded.iter().filter_map(|process| process::watch(process)).collect();
        let refused = recorded.iter().find_map(|process| match process::kill(process) {
            Ok(()) | Err(Errno::SRCH) => None,
            Err(errno) => Some((process.pid, errno)),
        });
        match (refused, self.limit_ms) {
            (None, _) => Ok(Attempted::Killed(ends)),
            (Some((pid, errno)), None) => Err(Error::new(
                Kind::Refused,
                format!(
                    "the holder is overdue and its policy is 'kill', but process {pid} cannot be \
                     ended: {errno}"
                ),
            )
            .hint("ask its owner, or root, or break the lease: 'zeta lease break'")),
            (Some(_), Some(_)) => {
                self.queue_up(section, &observed, now)?;
                let held = Held { why: HeldWhy::OverdueForever, rest_ms: None };
                Ok(Attempted::Sleep { held: Some(held), observed, holder: ends })
            }
        }
    }

    fn grant(
        &mut self,
        section: &Section<'_>,
        mut record: Box<Record>,
        cause: Cause,
        observed: Observed,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Attempted> {
        before_commit(&mut record)?;
        section.remember(record.fencing_token.get())?;
        publish(section, &record, observed != Observed::Absent, RENEWAL_ROOM)?;
        let from = match observed {
            Observed::Ours(record, ..) => Some(record),
            _ => None,
        };
        if let Some(from) = &from {
            Queue::dismiss(section, &from.processes);
        }
        Ok(Attempted::Done(Outcome::Granted { record, cause: Some(cause), from }))
    }

    fn rest_ms(&self) -> u64 {
        let waited_ms = self.waited_ms();
        self.limit_ms.unwrap_or(0).saturating_sub(waited_ms)
    }

    fn waited_ms(&self) -> u64 {
        host::reading().boot_ns.saturating_sub(self.started_ns) / NS_PER_MS
    }

    fn refusal(&self, held: Held, observed: Observed) -> Refusal {
        let (waited_ms, limit_ms) = (self.waited_ms(), self.limit_ms);
        Refusal { held, observed, waited_ms, limit_ms, guarded: None }
    }

    fn refuse_guarded(&self, busy: Error) -> Result<Outcome> {
        let LeaseHandle { at, file, .. } = &*self.handle;
        let bytes = at.read(file, layout::RECORD_MAX)?;
        let observed = observe(bytes, &self.ask.lease, &at.ctx.host);
        let refusal = self.refusal(queued(), observed);
        Ok(Outcome::Refused(Refusal { guarded: Some(busy), ..refusal }))
    }
}

/// The refusal of somebody whose time ran out in line before a lease that just became free.
fn queued() -> Held {
    Held { why: HeldWhy::InTime, rest_ms: None }
}

fn holder_fds(observed: &Observed) -> Vec<OwnedFd> {
    let Observed::Ours(record, ..) = observed else { return Vec::new() };
    let recorded = record.processes.own.iter().chain(&record.processes.child);
    recorded.filter_map(process::watch).collect()
}

/// Waits until killed processes have ended, for at most 2 s each.
fn wait_for_ends(ends: &[OwnedFd]) {
    for end in ends {
        poll_readable(&[end.as_fd()], Duration::from_secs(2));
    }
}

fn will_not_die(lease: &RecordName) -> Error {
    Error::new(
        Kind::Fault,
        format!("lease {lease}: its holder is overdue and was killed, but does not end"),
    )
    .hint("it may hang inside the kernel (state D): see 'zeta lease show'")
}

fn no_token_left(lease: &RecordName) -> Error {
    Error::new(Kind::Unsafe, format!("lease {lease}: no fencing token is left below 2^53"))
        .doctor_hint(
            "the wall clock or a record lies beyond the year 2255: correct it ('zeta doctor')",
        )
}
