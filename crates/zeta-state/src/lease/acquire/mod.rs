//! Acquiring a lease: one attempt inside the guard after another, until it is granted or the time
//! is up.
//!
//! Between two attempts a waiter sleeps at its position in the queue ([`waiting`]). What it keeps
//! until it releases is its [`LeaseHandle`].

mod elsewhere;
mod handle;
mod joint;
mod waiting;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::getuid;
use zeta_core::evidence::{Process, Processes};
use zeta_core::layout;
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{
    AcquireRequest, Acquired, Cause, Held, HeldWhy, Observed, Policy, Record, decide_acquire, judge,
};
use zeta_core::name::RecordName;
use zeta_core::time::{NS_PER_MS, Now};

use self::elsewhere::Elsewhere;
pub use self::handle::LeaseHandle;
pub use self::joint::NAMED_MAX;
use super::joint::standing_of;
use super::session;
use super::{BeforeCommit, LeaseView, RENEWAL_RESERVE, observe, publish, refuse_if_fenced};
use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::history;
use crate::history::entry;
use crate::lease::cluster::{deadline_of, scope_of};
use crate::lease::queue::Queue;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::inotify::poll_readable;
use zeta_os::{host, process};

/// The result of an attempt to acquire a lease.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The lease was granted.
    Granted {
        /// The record of the grant.
        record: Box<Record>,
        /// Why it could be granted; `None` if it was granted to the same attempt before.
        cause: Option<Cause>,
        /// The record of the holder that the lease was taken from, if any.
        from: Option<Box<Record>>,
    },
    /// Another process holds the lease.
    Refused(Refusal),
}

/// Why a lease was not granted, with the records that decided it: a second look at them could show
/// something else.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason, and for how long it lasts; `None` if the caller's turn did not come: the lease
    /// had room, or another process stayed inside the guard.
    pub held: Option<Held>,
    /// The record that was found; of a joint lease, the grant that may change first.
    pub observed: Observed,
    /// The other grants of a joint lease that are in the way.
    pub others: Vec<Observed>,
    /// What the caller asked to hold beside others.
    pub joint: Option<Joint>,
    /// The caller asked for a lease of the cluster.
    pub in_cluster: bool,
    /// How long the caller waited.
    pub waited_ms: u64,
    /// How long the caller was to wait; `None` for a single try.
    pub limit_ms: Option<u64>,
    /// What is in the way besides the record: a process inside the guard, or a killed holder that
    /// has not ended.
    pub guarded: Option<Box<Error>>,
}

impl Refusal {
    /// What a caller is left with that waited for a lease without taking it, until its time was
    /// over.
    pub(super) fn of_waiting(
        held: Held,
        observed: Observed,
        waited_ms: u64,
        limit_ms: u64,
    ) -> Refusal {
        Refusal {
            held: Some(held),
            observed,
            others: Vec::new(),
            joint: None,
            in_cluster: false,
            waited_ms,
            limit_ms: Some(limit_ms),
            guarded: None,
        }
    }

    /// The records that decided it, with the judgement of now on them.
    pub fn views(&self, lease: &RecordName, now: &Now) -> Vec<LeaseView> {
        let found = std::iter::once(&self.observed).chain(&self.others);
        let found = found.filter(|observed| **observed != Observed::Absent);
        let view = |observed: &Observed| LeaseView {
            lease: lease.clone(),
            standing: judge(observed, now),
            observed: observed.clone(),
            copy: None,
        };
        found.map(view).collect()
    }
}

/// Called when waiting begins and whenever the holder changes.
pub type OnWait<'a> = dyn FnMut(&Observed, &Held) + 'a;

/// Options for waiting.
pub struct WaitOptions<'a> {
    /// How long to wait; `None` tries once.
    pub limit_ms: Option<u64>,
    /// Shows the caller's user which holder the caller waits for.
    pub on_wait: &'a mut OnWait<'a>,
}

/// Makes a request of the caller, with a random id and defaults for everything but the TTL.
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
        joint: None,
        in_cluster: false,
    })
}

impl NodeHandle<'_> {
    /// Acquires a lease for the caller's session; `before_commit` may change the record.
    ///
    /// The session's processes are read inside the guard, because the session may end while the
    /// caller waits, and once more after the grant, because it may end at that very moment.
    pub fn acquire(
        &self,
        request: &AcquireRequest,
        wait: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let lease = &request.lease;
        refuse_if_fenced(self.ctx, lease)?;
        // The store is asked before the record is made: the bridge watches what stands there.
        let known = match request.in_cluster {
            true => {
                Some(AcquireRequest { processes: session::processes(self)?, ..request.clone() })
            }
            false => None,
        };
        let asked = known.as_ref().unwrap_or(request);
        let outcome = LeaseHandle::new(self, lease).acquire(asked, wait, &mut |record| {
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
    request: &'s AcquireRequest,
    started_ns: u64,
    limit_ms: Option<u64>,
    handle: &'s mut LeaseHandle<'a>,
}

/// The result of one attempt inside the guard.
enum Attempted {
    Done(Outcome),
    /// An overdue holder was sent SIGKILL; these descriptors become readable when it has ended.
    Killed(Vec<OwnedFd>),
    /// Another process stays inside the guard: a fenced command, or a stopped process.
    Guarded(Error),
    Sleep {
        /// As in [`Refusal`].
        held: Option<Held>,
        observed: Observed,
        others: Vec<Observed>,
        /// The processes of each holder whose end may free the lease.
        holders: Vec<Vec<OwnedFd>>,
    },
    /// It is free here, and not in the cluster.
    Elsewhere(Elsewhere),
}

impl Attempted {
    /// The lease can be granted, but other processes are ahead in the queue.
    fn behind(observed: Observed, others: Vec<Observed>) -> Attempted {
        Attempted::Sleep { held: None, observed, others, holders: Vec::new() }
    }
}

/// How often an overdue holder is killed before the caller gives up.
const KILLS_MAX: usize = 3;

/// How long a single try waits for a critical section.
const TRY_LIMIT: Duration = Duration::from_millis(500);

/// How long a single try waits for the end of a killed holder.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// How often a waiting caller's user is shown the holder.
const SHOW_EVERY_NS: u64 = 30_000 * NS_PER_MS;

impl Attempt<'_, '_> {
    fn run(
        &mut self,
        wait: &mut WaitOptions<'_>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> Result<Outcome> {
        let mut shown_ns = None;
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
                    if !self.wait_for_ends(ends) || kills == KILLS_MAX {
                        return self.refuse_guarded(will_not_die(&self.request.lease));
                    }
                }
                Attempted::Elsewhere(elsewhere) => {
                    let ended = self.wait_elsewhere(elsewhere, wait.on_wait, &mut shown_ns)?;
                    if let Some(outcome) = ended {
                        return Ok(outcome);
                    }
                }
                Attempted::Sleep { held, observed, others, holders } => {
                    let now_ns = host::reading().boot_ns;
                    let quiet_for = shown_ns.map(|shown_ns| now_ns.saturating_sub(shown_ns));
                    if let Some(held) = &held
                        && quiet_for.is_none_or(|quiet_for| quiet_for > SHOW_EVERY_NS)
                    {
                        shown_ns = Some(now_ns);
                        (wait.on_wait)(&observed, held);
                    }
                    if self.rest_ms() == 0 {
                        let refusal = self.refusal(held, observed);
                        return Ok(Outcome::Refused(Refusal { others, ..refusal }));
                    }
                    self.sleep(held.as_ref(), &holders);
                }
            }
        }
    }

    /// Makes one attempt inside the guard: takes the lease, or finds out what to sleep on.
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
        let observed = observe(bytes, &self.request.lease, &ctx.host);
        let now = ctx.at(host::reading());
        let highest = section.highest_token()?;
        if self.request.joint.is_some() || standing_of(&observed).is_some() {
            return self.step_joint(&section, observed, highest, killed, &now, before_commit);
        }
        match decide_acquire(&observed, self.request, highest, killed, &now) {
            Acquired::Again(record) if scope_of(&record).is_some() != self.request.in_cluster => {
                Err(self.granted_something_else())
            }
            // The store says whether it stands.
            Acquired::Again(record) if has_ended(&record, &now) => {
                self.grant(&section, (record, Cause::Free), observed, before_commit, &now)
            }
            Acquired::Again(record) => {
                Ok(Attempted::Done(Outcome::Granted { record, cause: None, from: None }))
            }
            Acquired::Grant(record, cause) => {
                if self.must_queue(&section, holder(&observed), &|_| true, &now)? {
                    return Ok(Attempted::behind(observed, Vec::new()));
                }
                self.grant(&section, (record, cause), observed, before_commit, &now)
            }
            Acquired::Held(held) => {
                if self.limit_ms.is_none() {
                    return Ok(Attempted::Done(Outcome::Refused(
                        self.refusal(Some(held), observed),
                    )));
                }
                let first = self.queue_up(&section, holder(&observed), None, &now)?;
                let holders = if first { vec![holder_fds(&observed)] } else { Vec::new() };
                Ok(Attempted::Sleep { held: Some(held), observed, others: Vec::new(), holders })
            }
            Acquired::MustKill(processes) => self.kill(&section, &processes, observed, &now),
            Acquired::NoTokenLeft => Err(no_token_left(&self.request.lease)),
        }
    }

    /// Kills an overdue holder whose policy is `kill`. This happens inside the guard: a moment
    /// later the holder could have renewed.
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
                     killed: {errno}"
                ),
            )
            .hint("ask its owner, or root, or break the lease: 'zeta lease break'")),
            (Some(_), Some(_)) => {
                self.queue_up(section, holder(&observed), None, now)?;
                let held = Held { why: HeldWhy::OverdueForever, rest_ms: None };
                let holders = vec![ends];
                Ok(Attempted::Sleep { held: Some(held), observed, others: Vec::new(), holders })
            }
        }
    }

    fn grant(
        &mut self,
        section: &Section<'_>,
        (record, cause): (Box<Record>, Cause),
        observed: Observed,
        before_commit: &mut BeforeCommit<'_>,
        now: &Now,
    ) -> Result<Attempted> {
        let (mut record, cause, there) = match self.request.in_cluster {
            false => (record, Some(cause), None),
            true => match self.ask_cluster(section, &observed, now)? {
                Ok(granted) => granted,
                Err(attempted) => return Ok(attempted),
            },
        };
        let replaces = observed != Observed::Absent;
        let committed = before_commit(&mut record)
            .and_then(|()| section.remember(record.fencing_token.get()))
            .and_then(|()| publish(section, &record, replaces, RENEWAL_RESERVE));
        if let Err(error) = committed {
            self.undo_in_cluster(section, &record);
            return Err(error);
        }
        let because = cause.unwrap_or(Cause::Free);
        history::append(section, &entry::of_grant(section, &record, because, &observed));
        let from = match observed {
            Observed::Ours(record, ..) => Some(record),
            _ => None,
        };
        if let Some(from) = &from {
            Queue::remove_tickets_of(section, &from.processes);
        }
        Ok(Attempted::Done(Outcome::Granted { record, cause, from: from.or(there) }))
    }

    fn rest_ms(&self) -> u64 {
        if self.handle.is_stopped {
            return 0;
        }
        let waited_ms = self.waited_ms();
        self.limit_ms.unwrap_or(0).saturating_sub(waited_ms)
    }

    fn waited_ms(&self) -> u64 {
        host::reading().boot_ns.saturating_sub(self.started_ns) / NS_PER_MS
    }

    fn refusal(&self, held: Option<Held>, observed: Observed) -> Refusal {
        let (waited_ms, limit_ms) = (self.waited_ms(), self.limit_ms);
        let (others, joint) = (Vec::new(), self.request.joint.clone());
        let in_cluster = self.request.in_cluster;
        Refusal { held, observed, others, joint, in_cluster, waited_ms, limit_ms, guarded: None }
    }

    /// Waits until killed processes have ended; false if the caller's time is over before.
    fn wait_for_ends(&self, mut ends: Vec<OwnedFd>) -> bool {
        let limit = self.limit_ms.map_or(DEATH_LIMIT, |_| Duration::from_millis(self.rest_ms()));
        let until = Instant::now() + limit;
        while !ends.is_empty() {
            let rest = until.saturating_duration_since(Instant::now());
            let fds: Vec<BorrowedFd<'_>> = ends.iter().map(AsFd::as_fd).collect();
            let mut ready = poll_readable(&fds, rest).into_iter();
            ends.retain(|_| !ready.next().unwrap_or(false));
            if rest.is_zero() {
                break;
            }
        }
        ends.is_empty()
    }

    fn refuse_guarded(&self, busy: Error) -> Result<Outcome> {
        // No claim on paths is known to be in the way.
        let found = match self.is_for_paths() {
            true => None,
            false => self.handle.at.view(&self.request.lease)?,
        };
        let observed = found.map_or(Observed::Absent, |view| view.observed);
        let refusal = self.refusal(None, observed);
        Ok(Outcome::Refused(Refusal { guarded: Some(Box::new(busy)), ..refusal }))
    }
}

/// Reports whether the deadline of a grant of the cluster has passed.
fn has_ended(record: &Record, now: &Now) -> bool {
    deadline_of(record).is_some_and(|deadline_ns| now.reading.boot_ns >= deadline_ns)
}

/// Returns the processes of the holder, whose ticket does not count.
fn holder(observed: &Observed) -> Option<&Processes> {
    let Observed::Ours(record, ..) = observed else { return None };
    Some(&record.processes)
}

fn holder_fds(observed: &Observed) -> Vec<OwnedFd> {
    let Observed::Ours(record, ..) = observed else { return Vec::new() };
    let recorded = record.processes.own.iter().chain(&record.processes.child);
    recorded.filter_map(process::watch).collect()
}

fn will_not_die(lease: &RecordName) -> Error {
    Error::new(
        Kind::Busy,
        format!("lease {lease}: its holder is overdue and was killed, but has not ended"),
    )
    .hint("it may be frozen, or hang inside the kernel (state D): see 'zeta lease show'")
}

fn no_token_left(lease: &RecordName) -> Error {
    Error::new(Kind::Unsafe, format!("lease {lease}: no fencing token is left below 2^53"))
        .doctor_hint(
            "the wall clock or a record lies beyond the year 2255: correct it ('zeta doctor')",
        )
}
