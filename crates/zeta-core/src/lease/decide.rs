//! Every rule about leases, as pure functions: what was seen, what is asked, what time it is.
//!
//! The caller reads the record and the evidence inside the guard, calls one function here, and
//! carries out the answer. Nothing else in the project decides who holds a lease.

use super::foreign::Said;
use super::joint::Joint;
use super::{FencingToken, Policy, Record, stamp_now};
use crate::evidence::{
    Age, Boot, FileTimes, ProcessState, Processes, age_of_foreign, judge_age, judge_boot,
    judge_own_age,
};
use crate::name::{Label, RecordName};
use crate::record::Damage;
use crate::time::Now;

/// TTL of a record by another program that names none.
pub const FOREIGN_TTL_MS: u64 = 10 * 60 * 1000;
/// A damaged record holds its lease for this long after it was last changed: twice the usual TTL.
pub const DAMAGED_TTL_MS: u64 = 20 * 60 * 1000;

/// What stands where a lease record belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Nothing: the lease is free.
    Absent,
    /// A record of zeta, its file times and the state of its processes.
    ///
    /// `life` counts only when the record is of this boot.
    Ours(Box<Record>, FileTimes, ProcessState),
    /// Text by another program, with the TTL that it names, if any.
    Foreign {
        /// Its own `ttl:`.
        ttl_ms: Option<u64>,
        /// What else it says, for people.
        said: Box<Said>,
        /// File times.
        times: FileTimes,
    },
    /// A record of zeta that is damaged.
    Damaged(Damage, FileTimes),
}

/// Why a lease may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was no record.
    Free,
    /// The holder wrote it under an earlier boot.
    OtherBoot,
    /// All processes of the holder have ended.
    HolderDead,
    /// The TTL ran out and the holder cannot be shown to be alive.
    Expired,
    /// TTL and grace ran out; the holder is alive and is fenced.
    Overdue,
    /// As `Overdue`, after the holder's processes were ended.
    Killed,
    /// The time of a record by another program ran out.
    ForeignExpired,
    /// The time of a damaged record ran out.
    DamagedExpired,
}

impl Cause {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Free => "free",
            Cause::OtherBoot => "other_boot",
            Cause::HolderDead => "holder_dead",
            Cause::Expired => "expired",
            Cause::Overdue => "overdue",
            Cause::Killed => "killed",
            Cause::ForeignExpired => "foreign_expired",
            Cause::DamagedExpired => "damaged_expired",
        }
    }
}

/// Why a lease is not to be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldWhy {
    /// Within its TTL.
    InTime,
    /// After its TTL, within the grace of a holder that is alive.
    InGrace,
    /// After both, and the policy is `never`.
    OverdueForever,
    /// By another hand, not yet aged out.
    Foreign,
    /// Damaged, not yet aged out.
    Damaged,
}

/// A refusal: why the lease is held, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub why: HeldWhy,
    /// When it may change by itself, in ms from now; `None` when only its holder or a person can.
    pub rest_ms: Option<u64>,
}

/// The state of a lease as everybody sees it; the base of acquire, show, status and clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Free to grant, and why.
    Grantable(Cause),
    /// Held.
    Held(Held),
    /// Overdue under the policy `kill`: these processes must end first.
    MustKill(Box<Processes>),
}

/// Judges what stands where a lease record belongs.
pub fn judge(observed: &Observed, now: &Now) -> Standing {
    match observed {
        Observed::Absent => Standing::Grantable(Cause::Free),
        Observed::Foreign { ttl_ms, times, .. } => {
            let ttl_ms = ttl_ms.unwrap_or(FOREIGN_TTL_MS);
            aged(age_of_foreign(*times, now), ttl_ms, Cause::ForeignExpired, HeldWhy::Foreign)
        }
        Observed::Damaged(_, times) => {
            let ctime = FileTimes { mtime_us: times.ctime_us, ..*times };
            let age = age_of_foreign(ctime, now);
            aged(age, DAMAGED_TTL_MS, Cause::DamagedExpired, HeldWhy::Damaged)
        }
        Observed::Ours(record, times, life) => judge_ours(record, *times, *life, now),
    }
}

pub(crate) fn aged(age: Age, ttl_ms: u64, cause: Cause, why: HeldWhy) -> Standing {
    match age {
        Age::Ms(age_ms) if age_ms > ttl_ms => Standing::Grantable(cause),
        Age::Ms(age_ms) => Standing::Held(Held { why, rest_ms: Some(ttl_ms - age_ms + 1) }),
        Age::Unclear => Standing::Held(Held { why, rest_ms: None }),
    }
}

fn judge_ours(record: &Record, times: FileTimes, life: ProcessState, now: &Now) -> Standing {
    let boot = judge_boot(&record.renewed, now);
    let life = if boot == Boot::Same { life } else { ProcessState::Unknown };
    if boot == Boot::Other {
        return Standing::Grantable(Cause::OtherBoot);
    }
    if life == ProcessState::Dead {
        return Standing::Grantable(Cause::HolderDead);
    }
    let held = |why, rest_ms| Standing::Held(Held { why, rest_ms });
    let Age::Ms(age_ms) = judge_age(&record.renewed, boot, times, now) else {
        return held(HeldWhy::InTime, None);
    };
    if age_ms <= record.ttl_ms {
        return held(HeldWhy::InTime, Some(record.ttl_ms - age_ms + 1));
    }
    if life == ProcessState::Unknown {
        return Standing::Grantable(Cause::Expired);
    }
    let bound_ms = record.ttl_ms.saturating_add(record.grace_ms);
    if age_ms <= bound_ms {
        return held(HeldWhy::InGrace, Some(bound_ms - age_ms + 1));
    }
    match record.policy {
        Policy::Reclaim => Standing::Grantable(Cause::Overdue),
        Policy::Kill => Standing::MustKill(Box::new(record.processes)),
        Policy::Never => held(HeldWhy::OverdueForever, None),
    }
}

/// The request of a caller that wants a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireRequest {
    /// Name of the lease.
    pub lease: RecordName,
    /// Id of this attempt; the same id, agent and session again get the same answer.
    pub lease_id: String,
    /// The agent that asks.
    pub agent: Label,
    /// Its session.
    pub session: Option<String>,
    /// The processes whose death shall free it.
    pub processes: Processes,
    /// Pull request that it is about.
    pub pr: Option<u64>,
    /// User id of the asker.
    pub uid: u32,
    /// Life without renewal.
    pub ttl_ms: u64,
    /// Further time while alive; the TTL if not given.
    pub grace_ms: Option<u64>,
    /// What happens after both.
    pub policy: Policy,
    /// What it is for.
    pub purpose: Option<String>,
    /// What others may hold beside it; `None` for nothing.
    pub joint: Option<Joint>,
    /// No process of the whole cluster may hold it besides; else none of this node.
    pub in_cluster: bool,
}

/// The answer to an acquire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// Write this record; it is the grant.
    Grant(Box<Record>, Cause),
    /// It was granted before to this very attempt: nothing is written.
    Again(Box<Record>),
    /// Refused.
    Held(Held),
    /// End these processes, then ask again with `killed`.
    MustKill(Processes),
    /// The token range is used up: the wall clock or a record lies beyond the year 2255.
    NoTokenLeft,
}

/// Decides an acquire. `highest` is the token file's number; `killed` says that the processes of
/// an earlier [`Acquired::MustKill`] have ended since.
pub fn decide_acquire(
    observed: &Observed,
    ask: &AcquireRequest,
    highest: u64,
    killed: bool,
    now: &Now,
) -> Acquired {
    // A record below the token file's number is void: it was written in a guard that another
    // program had moved away.
    if let Observed::Ours(record, ..) = observed
        && record.fencing_token.get() >= highest
        && is_repeated(observed, ask, now)
    {
        return Acquired::Again(record.clone());
    }
    let cause = match judge(observed, now) {
        Standing::Grantable(Cause::HolderDead) if killed => Cause::Killed,
        Standing::Grantable(cause) => cause,
        Standing::Held(held) => return Acquired::Held(held),
        Standing::MustKill(processes) => return Acquired::MustKill(*processes),
    };
    let previous = match observed {
        Observed::Ours(record, ..) => Some(record.fencing_token),
        _ => None,
    };
    match FencingToken::after(highest, previous, now.reading.wall_us) {
        Some(token) => Acquired::Grant(Box::new(granted(ask, token, now)), cause),
        None => Acquired::NoTokenLeft,
    }
}

/// Returns whether the record was granted to this very attempt, whose answer may have been lost. A
/// dead holder's lease is free.
pub(crate) fn is_repeated(observed: &Observed, ask: &AcquireRequest, now: &Now) -> bool {
    let Observed::Ours(record, _, life) = observed else { return false };
    *life != ProcessState::Dead
        && record.lease_id == ask.lease_id
        && record.agent == ask.agent
        && record.session == ask.session
        && record.renewed.boot_id == now.host.boot_id
        && now.reading.boot_ns <= record.expires_boot_ns()
}

pub(crate) fn granted(ask: &AcquireRequest, fencing_token: FencingToken, now: &Now) -> Record {
    // A session's wrapper may live in another pid namespace than the call that takes the lease.
    let pid_ns = ask.processes.pid_ns.or(now.host.pid_ns);
    let processes = Processes { pid_ns, ..ask.processes };
    Record {
        lease: ask.lease.clone(),
        fencing_token,
        lease_id: ask.lease_id.clone(),
        agent: ask.agent.clone(),
        session: ask.session.clone(),
        processes,
        pr: ask.pr,
        uid: Some(ask.uid),
        renewed: stamp_now(now.reading, now.host),
        acquired_boot_ns: now.reading.boot_ns,
        acquired_us: Some(now.reading.wall_us),
        ttl_ms: ask.ttl_ms,
        grace_ms: ask.grace_ms.unwrap_or(ask.ttl_ms),
        policy: ask.policy,
        renew_seq: 0,
        purpose: ask.purpose.clone(),
        extra: ask.joint.as_ref().map_or_else(Vec::new, Joint::to_entries),
    }
}

/// The lease is no longer the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The record that stands there now, if it is one of zeta.
    pub by: Option<Box<Record>>,
}

impl Lost {
    pub(crate) fn to(observed: &Observed) -> Lost {
        match observed {
            Observed::Ours(record, ..) => Lost { by: Some(record.clone()) },
            _ => Lost { by: None },
        }
    }
}

/// The answer to a renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// Write this record. `gap_ms` says how long the lease had been expired, unnoticed by others.
    Write {
        /// The renewed record.
        record: Box<Record>,
        /// Time between the end of the TTL and now.
        gap_ms: Option<u64>,
    },
    /// It is not the caller's.
    Lost(Lost),
}

/// Decides a renew. A new TTL may be given; the old one is kept otherwise.
pub fn decide_renew(
    observed: &Observed,
    token: FencingToken,
    ttl_ms: Option<u64>,
    now: &Now,
) -> Renewed {
    let Observed::Ours(record, times, _) = observed else {
        return Renewed::Lost(Lost::to(observed));
    };
    let boot = judge_boot(&record.renewed, now);
    if record.fencing_token != token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Renewed::Lost(Lost::to(observed));
    }
    let gap_ms = match judge_age(&record.renewed, boot, *times, now) {
        Age::Ms(age_ms) => age_ms.checked_sub(record.ttl_ms).filter(|gap| *gap > 0),
        Age::Unclear => None,
    };
    let mut record = record.clone();
    record.renewed = stamp_now(now.reading, now.host);
    record.renew_seq = record.renew_seq.saturating_add(1);
    if let Some(ttl_ms) = ttl_ms {
        record.ttl_ms = ttl_ms;
    }
    Renewed::Write { record, gap_ms }
}

/// The new holder of a lease that its holder passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Id of this attempt.
    pub lease_id: String,
    /// The agent.
    pub agent: Label,
    /// Its session.
    pub session: Option<String>,
    /// The processes whose death shall free the lease.
    pub processes: Processes,
    /// Life without renewal, in ms; the old one if not given.
    pub ttl_ms: Option<u64>,
    /// Further keys of the record whose values are the next holder's.
    pub extra: Vec<(String, String)>,
}

/// The answer to a reassignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reassigned {
    /// Write this record; it is the new grant.
    Write(Box<Record>),
    /// The lease is no longer the caller's.
    Lost(Lost),
    /// The token range is used up: the wall clock or a record lies beyond the year 2255.
    NoTokenLeft,
}

/// Decides whether the holder with `token` passes its lease on, without a moment in which it is
/// free. The token grows, so that the old holder is fenced. `highest` is the token file's number.
pub fn decide_reassign(
    observed: &Observed,
    token: FencingToken,
    highest: u64,
    successor: Successor,
    now: &Now,
) -> Reassigned {
    if let Checked::Lost(lost) = decide_check(observed, token, now) {
        return Reassigned::Lost(lost);
    }
    let Observed::Ours(record, ..) = observed else {
        return Reassigned::Lost(Lost::to(observed));
    };
    let next = FencingToken::after(highest, Some(token), now.reading.wall_us);
    let Some(fencing_token) = next else { return Reassigned::NoTokenLeft };
    let Successor { lease_id, agent, session, processes, ttl_ms, extra: changed } = successor;
    let mut extra = record.extra.clone();
    extra.retain(|(key, _)| !changed.iter().any(|(other, _)| other == key));
    extra.extend(changed);
    Reassigned::Write(Box::new(Record {
        fencing_token,
        lease_id,
        agent,
        session,
        processes,
        ttl_ms: ttl_ms.unwrap_or(record.ttl_ms),
        renewed: stamp_now(now.reading, now.host),
        acquired_boot_ns: now.reading.boot_ns,
        acquired_us: Some(now.reading.wall_us),
        renew_seq: 0,
        extra,
        ..(**record).clone()
    }))
}

/// The answer to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Remove the record.
    Remove,
    /// It was released or removed before, and no other caller was granted it since.
    Already,
    /// It is not the caller's.
    Lost(Lost),
}

/// Decides a release. `highest` is the token file's number; `broken` says that a note of a break
/// names this token.
pub fn decide_release(
    observed: &Observed,
    token: FencingToken,
    highest: u64,
    broken: bool,
) -> Released {
    match observed {
        Observed::Ours(record, ..) if record.fencing_token == token => Released::Remove,
        Observed::Absent if highest == token.get() && !broken => Released::Already,
        _ => Released::Lost(Lost::to(observed)),
    }
}

/// Decides a break by force: only the grant that the operator looked at may be removed. `Already`
/// says that there is none.
pub fn decide_break(observed: &Observed, expected: Option<FencingToken>) -> Released {
    match (observed, expected) {
        (Observed::Absent, _) => Released::Already,
        (Observed::Ours(record, ..), Some(token)) if record.fencing_token == token => {
            Released::Remove
        }
        (Observed::Foreign { .. } | Observed::Damaged(..), None) => Released::Remove,
        _ => Released::Lost(Lost::to(observed)),
    }
}

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The lease is the caller's for at least this long.
    Good {
        /// Time until the margin before the end of the TTL.
        rest_ms: u64,
    },
    /// It is the caller's, but its TTL has run out or is about to: renew before you go on.
    TooLate,
    /// It is not the caller's.
    Lost(Lost),
}

/// How long before the end of its TTL a lease stops passing a check: min(max(5 %, 1 s), ttl / 4).
pub fn check_margin_ms(ttl_ms: u64) -> u64 {
    (ttl_ms / 20).max(1000).min(ttl_ms / 4)
}

/// Decides a check.
pub fn decide_check(observed: &Observed, token: FencingToken, now: &Now) -> Checked {
    let Observed::Ours(record, times, _) = observed else {
        return Checked::Lost(Lost::to(observed));
    };
    let boot = judge_boot(&record.renewed, now);
    if record.fencing_token != token || matches!(boot, Boot::Other | Boot::Elsewhere) {
        return Checked::Lost(Lost::to(observed));
    }
    let limit_ms = record.ttl_ms - check_margin_ms(record.ttl_ms);
    match judge_own_age(&record.renewed, boot, *times, now) {
        Age::Ms(age_ms) if age_ms < limit_ms => Checked::Good { rest_ms: limit_ms - age_ms },
        _ => Checked::TooLate,
    }
}
