//! Every rule about a lease of the cluster, as pure functions of what was read, what is asked and
//! what time it is.
//!
//! Each decision says what to write over the revision that was read. It counts once the store has
//! accepted that write, so an old reading costs a round trip and never a second holder.

use super::{End, Entry, How, Scope, TOKEN_MAX};
use crate::evidence::{Age, Boot, FIRST_TIME_NS, FileTimes, ProcessState, judge_boot};
use crate::lease::{
    self, AcquireRequest, Cause, DAMAGED_TTL_MS, FencingToken, Held, HeldWhy, Lost, Policy,
    Reassigned, Record, Released, Renewed, Standing, Successor, check_margin_ms,
};
use crate::name::Label;
use crate::time::{NS_PER_MS, Now};

/// What was read of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The epoch that the reader knew before it asked; of an own write, before it was sent. An
    /// answer may be older than a loss of which its receiver learned meanwhile.
    pub epoch: u64,
    /// The last revision of all subjects of the lease; 0 if there is none.
    pub revision: u64,
    /// What was written with that revision.
    pub entry: Entry,
    /// For how long this observer has seen this revision, by its own boot clock.
    pub unchanged: Age,
    /// The state of the recorded processes. It counts only for a grant of the observer's own tree
    /// and boot.
    pub life: ProcessState,
}

impl Observed {
    /// The guess of a caller that knows nothing: the store has nothing either.
    pub fn nothing(epoch: u64) -> Observed {
        let (entry, life) = (Entry::Absent, ProcessState::Unknown);
        Observed { epoch, revision: 0, entry, unchanged: Age::Unclear, life }
    }

    fn local(&self) -> lease::Observed {
        match &self.entry {
            Entry::Grant(record, _) => {
                lease::Observed::Ours(record.clone(), FileTimes::default(), self.life)
            }
            Entry::Absent | Entry::End(_) | Entry::Unreadable => lease::Observed::Absent,
        }
    }
}

/// What a node knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The node that asks.
    pub node: Label,
    /// Its tree: what tells it apart from the others of this machine.
    pub tree: String,
    /// The epoch of the cluster.
    pub epoch: u64,
    /// Every new token is greater: the cluster's floor, and the highest token that this node knows.
    pub floor: u64,
    /// The server's clock before which no lease is granted, because the store lost data.
    pub no_grant_before_us: i64,
    /// Longest TTL; it is what the time without grants is reckoned from.
    pub max_ttl_ms: u64,
    /// The highest revision of an end of a lease that an administrator may have removed.
    pub removed_up_to: u64,
    /// The server's clock now: the own wall clock and the last difference that was seen.
    pub server_us: i64,
}

impl Terms {
    /// What stands in a value that is written now.
    pub fn scope(&self) -> Scope {
        Scope { node: self.node.clone(), tree: self.tree.clone(), epoch: self.epoch }
    }

    /// Returns whether the record of a grant stands in the tree that asks.
    pub fn is_own_tree(&self, scope: &Scope) -> bool {
        scope.node == self.node && !scope.tree.is_empty() && scope.tree == self.tree
    }
}

/// How long an observer waits for a lease with this TTL, in ms: its clock may run 1 % faster than
/// the holder's.
fn stretched(ttl_ms: u64) -> u64 {
    ttl_ms.saturating_add(ttl_ms / 100)
}

/// The holder's boot clock at which it must have stopped: the TTL less a margin, counted from
/// before the write was sent.
pub fn deadline_ns(record: &Record) -> u64 {
    let life_ms = record.ttl_ms.saturating_sub(check_margin_ms(record.ttl_ms));
    record.renewed.boot_ns.saturating_add(life_ms.saturating_mul(NS_PER_MS))
}

/// Judges what stands in the store. A lease of the cluster has no grace: its deadline is all that
/// keeps two holders apart.
pub fn judge(observed: &Observed, terms: &Terms, now: &Now) -> Standing {
    // After a loss the store gives the same numbers again, so a write of a former epoch may have
    // arrived over a grant of this one.
    if observed.entry.epoch().is_some_and(|epoch| epoch < terms.epoch) {
        let ttl_ms = stretched(terms.max_ttl_ms);
        return lease::aged(observed.unchanged, ttl_ms, Cause::Expired, HeldWhy::InTime);
    }
    let (record, scope) = match &observed.entry {
        Entry::Absent | Entry::End(_) => return Standing::Grantable(Cause::Free),
        Entry::Unreadable => {
            let ttl_ms = stretched(DAMAGED_TTL_MS);
            let (cause, why) = (Cause::DamagedExpired, HeldWhy::Damaged);
            return lease::aged(observed.unchanged, ttl_ms, cause, why);
        }
        Entry::Grant(record, scope) => (record, scope),
    };
    let mut age = observed.unchanged;
    // Only a node speaks for its dead.
    if scope.node == terms.node {
        match judge_boot(&record.renewed, now) {
            Boot::Other => return Standing::Grantable(Cause::OtherBoot),
            // Only the local record names all processes of the holder, its child among them.
            Boot::Same if observed.life == ProcessState::Dead && terms.is_own_tree(scope) => {
                return Standing::Grantable(Cause::HolderDead);
            }
            Boot::Same => age = older(age, own_age(record, now)),
            Boot::Unclear | Boot::Elsewhere => {}
        }
    }
    lease::aged(age, stretched(record.ttl_ms), Cause::Expired, HeldWhy::InTime)
}

/// The age of a grant of this boot, by the clock that its holder counts by too.
fn own_age(record: &Record, now: &Now) -> Age {
    let first = Some(FIRST_TIME_NS);
    let comparable = record.renewed.time_ns == first && now.host.time_ns == first;
    match now.reading.boot_ns.checked_sub(record.renewed.boot_ns) {
        Some(age_ns) if comparable => Age::Ms(age_ns / NS_PER_MS),
        _ => Age::Unclear,
    }
}

fn older(one: Age, other: Age) -> Age {
    match (one, other) {
        (Age::Ms(one), Age::Ms(other)) => Age::Ms(one.max(other)),
        (Age::Unclear, age) | (age, Age::Unclear) => age,
    }
}

/// The answer to an acquire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// Write this record; once it is accepted, it is the grant.
    Grant(Box<Record>, Cause),
    /// It was granted before to this very attempt. Write this record to be sure: the reading may
    /// be old.
    Again(Box<Record>),
    /// Refused.
    Held(Held),
    /// The store lost data, and nobody is granted a lease before this time of the server.
    Quarantine {
        /// The server's clock, in µs.
        until_us: i64,
    },
    /// The TTL is longer than the cluster allows.
    TtlTooLong {
        /// The longest, in ms.
        max_ms: u64,
    },
    /// A lease of the cluster has one holder, and the policy `reclaim`.
    Unsupported,
    /// The token range is used up: a clock or a record lies beyond the year 2255.
    NoTokenLeft,
}

/// Decides an acquire.
pub fn decide_acquire(
    observed: &Observed,
    ask: &AcquireRequest,
    terms: &Terms,
    now: &Now,
) -> Acquired {
    if ask.joint.is_some() || ask.policy != Policy::Reclaim {
        return Acquired::Unsupported;
    }
    if ask.ttl_ms > terms.max_ttl_ms {
        return Acquired::TtlTooLong { max_ms: terms.max_ttl_ms };
    }
    // A repeated attempt waits, too: its record may have arrived after the loss of another grant.
    if terms.server_us < terms.no_grant_before_us {
        return Acquired::Quarantine { until_us: terms.no_grant_before_us };
    }
    // A record below the floor is void: its write was on its way while the store lost values.
    if let Entry::Grant(record, scope) = &observed.entry
        && scope.node == terms.node
        && record.fencing_token.get() >= terms.floor
        && lease::is_repeated(&observed.local(), ask, now)
        && let Renewed::Write { record, .. } =
            decide_renew(observed, record.fencing_token, None, terms, now)
    {
        return Acquired::Again(record);
    }
    let cause = match judge(observed, terms, now) {
        Standing::Grantable(cause) => cause,
        Standing::Held(held) => return Acquired::Held(held),
        Standing::MustKill(_) => return Acquired::Unsupported,
    };
    let previous = observed.entry.fencing_token();
    let token = FencingToken::after(terms.floor, previous, terms.server_us);
    let Some(token) = token.filter(|token| token.get() <= TOKEN_MAX) else {
        return Acquired::NoTokenLeft;
    };
    let mut record = Record { grace_ms: 0, ..lease::granted(ask, token, now) };
    terms.scope().set(&mut record);
    Acquired::Grant(Box::new(record), cause)
}

/// Decides a renew. It never makes a grant where the holder's own does not stand. After the TTL it
/// is possible as long as no other write came in between.
pub fn decide_renew(
    observed: &Observed,
    token: FencingToken,
    ttl_ms: Option<u64>,
    terms: &Terms,
    now: &Now,
) -> Renewed {
    let local = observed.local();
    if !is_own(observed, terms, now) {
        return Renewed::Lost(Lost::to(&local));
    }
    let ttl_ms = ttl_ms.map(|ttl_ms| ttl_ms.min(terms.max_ttl_ms));
    match lease::decide_renew(&local, token, ttl_ms, now) {
        Renewed::Write { mut record, gap_ms } => {
            terms.scope().set(&mut record);
            Renewed::Write { record, gap_ms }
        }
        lost => lost,
    }
}

/// Reports whether a grant of this node stands. One of a former epoch that is late may stand over a
/// grant of this one.
fn is_own(observed: &Observed, terms: &Terms, now: &Now) -> bool {
    matches!(&observed.entry, Entry::Grant(record, scope)
        if scope.node == terms.node
            && (scope.epoch == terms.epoch || now.reading.boot_ns < deadline_ns(record)))
}

/// Decides whether the holder passes its lease on, within its node. The token grows. An attempt
/// that was written before is written again.
pub fn decide_pass_on(
    observed: &Observed,
    token: FencingToken,
    successor: &Successor,
    terms: &Terms,
    now: &Now,
) -> Reassigned {
    let local = observed.local();
    if !is_own(observed, terms, now) {
        return Reassigned::Lost(Lost::to(&local));
    }
    if let Entry::Grant(record, _) = &observed.entry
        && record.lease_id == successor.lease_id
        && let Renewed::Write { record, .. } =
            decide_renew(observed, record.fencing_token, None, terms, now)
    {
        return Reassigned::Write(record);
    }
    let highest = terms.floor.max(u64::try_from(terms.server_us).unwrap_or(0));
    match lease::decide_reassign(&local, token, highest, successor.clone(), now) {
        Reassigned::Write(mut record) => {
            record.ttl_ms = record.ttl_ms.min(terms.max_ttl_ms);
            terms.scope().set(&mut record);
            Reassigned::Write(record)
        }
        other => other,
    }
}

/// Decides a release. [`Released::Remove`] says to write [`end_of`].
pub fn decide_release(observed: &Observed, token: FencingToken) -> Released {
    let (highest, other_end) = match &observed.entry {
        Entry::End(end) => (end.fencing_token.get(), end.how != How::Released),
        _ => (0, false),
    };
    lease::decide_release(&observed.local(), token, highest, other_end)
}

/// Decides whether a node ends a lease whose holder does not: it is dead, or its TTL ran out.
pub fn decide_end(observed: &Observed, terms: &Terms, now: &Now) -> Option<How> {
    match judge(observed, terms, now) {
        Standing::Grantable(Cause::OtherBoot | Cause::HolderDead) => Some(How::Dead),
        Standing::Grantable(Cause::Expired) => Some(How::Expired),
        _ => None,
    }
}

/// The end of a grant, as this node writes it.
pub(super) fn end_of(record: &Record, how: How, terms: &Terms) -> End {
    End {
        lease: record.lease.clone(),
        fencing_token: record.fencing_token,
        lease_id: record.lease_id.clone(),
        how,
        scope: terms.scope(),
        wall_us: terms.server_us,
    }
}
