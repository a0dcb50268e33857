//! Leases that several holders have side by side: counted ones, and claims on paths.
//!
//! Each grant has a record, a token and an end of its own; one guard stands around all of them.
//! What may stand side by side is the rule of the kind: so many at a time ([`may_stay`]), or claims
//! that do not conflict. Everything else is the same, and decided here.

#[cfg(test)]
mod tests;

use super::decide::{granted, is_repeated, judge};
use super::{
    AcquireRequest, Cause, FencingToken, Held, Observed, Policy, Record, Standing, stamp_now,
};
use crate::evidence::Processes;
use crate::name::Label;
use crate::pattern::PathClaim;
use crate::record::quote;
use crate::time::{NS_PER_MS, Now, TTL_MAX_MS};

/// Most slots of a counted lease.
pub const SLOTS_MAX: u32 = 1024;
/// The key of a grant of a counted lease: how many may stand side by side.
pub const SLOTS: &str = "slots";

/// The key of the record that stands for a joint lease: the kind of its grants.
pub const JOINT: &str = "joint";
/// The record that stands for a joint lease lasts for so long beyond the grants, so that it need
/// not be written with every renewal, in ms.
const STANDS_LONGER_MS: u64 = 3600 * 1000;

/// What a grant of a joint lease leaves to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joint {
    /// At most so many grants stand side by side.
    Slots(u32),
    /// Claims that do not exclude this one stand beside it.
    Paths(PathClaim),
}

impl Joint {
    /// Reads it from the record of a grant; `None` if nothing may stand beside it.
    pub fn of(record: &Record) -> Option<Joint> {
        let paths = || record.extra.iter().any(|(key, _)| key == "path_1");
        slots_of(record)
            .map(Joint::Slots)
            .or_else(|| paths().then(|| Joint::Paths(PathClaim::of(&record.extra))))
    }

    /// The keys of the record of the grant.
    pub fn to_entries(&self) -> Vec<(String, String)> {
        match self {
            Joint::Slots(slots) => vec![(SLOTS.to_owned(), slots.to_string())],
            Joint::Paths(claim) => claim.to_entries(),
        }
    }

    /// The word of the key [`JOINT`].
    fn word(&self) -> &'static str {
        match self {
            Joint::Slots(_) => "slots",
            Joint::Paths(_) => "paths",
        }
    }
}

/// Returns whether a record stands for the grants of a joint lease.
pub fn stands_for_grants(record: &Record) -> bool {
    record.extra.iter().any(|(key, _)| key == JOINT)
}

/// Makes the record that stands for a joint lease while `grant` is one of its grants. A program
/// that knows no joint leases takes the lease for held by it. `before` is the one that stands
/// there; the first one has `token`.
pub fn standing_record(
    before: Option<&Record>,
    token: FencingToken,
    grant: &Record,
    now: &Now,
) -> Option<Record> {
    let joint = Joint::of(grant)?;
    let ttl_ms = life_ms(grant).saturating_add(STANDS_LONGER_MS);
    let rest_ms = before.map_or(0, |before| rest_ms(before, now));
    Some(Record {
        lease: grant.lease.clone(),
        fencing_token: before.map_or(token, |before| before.fencing_token),
        lease_id: JOINT.to_owned(),
        agent: Label::new("agent", "several-holders").ok()?,
        session: None,
        processes: Processes::default(),
        pr: None,
        uid: grant.uid,
        renewed: stamp_now(now.reading, now.host),
        acquired_boot_ns: before.map_or(now.reading.boot_ns, |before| before.acquired_boot_ns),
        acquired_us: before.map_or(Some(now.reading.wall_us), |before| before.acquired_us),
        ttl_ms: ttl_ms.max(rest_ms).min(TTL_MAX_MS),
        grace_ms: 0,
        policy: Policy::default(),
        renew_seq: before.map_or(0, |before| before.renew_seq.saturating_add(1)),
        purpose: None,
        extra: vec![(JOINT.to_owned(), quote(joint.word()))],
    })
}

/// Returns whether the record that stands for a joint lease lasts as long as a renewed grant.
pub fn stands_long_enough(standing: &Record, grant: &Record, now: &Now) -> bool {
    rest_ms(standing, now) >= life_ms(grant).min(TTL_MAX_MS / 2)
}

/// For how long a grant can hold from now on, in ms.
fn life_ms(grant: &Record) -> u64 {
    match grant.policy {
        Policy::Never => TTL_MAX_MS,
        _ => grant.ttl_ms.saturating_add(grant.grace_ms),
    }
}

fn rest_ms(record: &Record, now: &Now) -> u64 {
    match record.renewed.boot_id == now.host.boot_id {
        true => record.expires_boot_ns().saturating_sub(now.reading.boot_ns) / NS_PER_MS,
        false => 0,
    }
}

/// A grant of a joint lease, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its record.
    pub observed: &'a Observed,
    /// Whether it counts against the request.
    pub in_the_way: bool,
}

/// The answer to the request of a grant beside others. Numbers are places in the list of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// Remove the records of `void`, then write this one; it is the grant.
    Grant {
        /// The new record.
        record: Box<Record>,
        /// Why there was room.
        cause: Cause,
        /// Grants that have ended, or are taken from their holders.
        void: Vec<usize>,
    },
    /// It was granted before to this very attempt: nothing is written.
    Again(usize),
    /// This very attempt was granted something else before.
    Other(usize),
    /// Refused.
    Held {
        /// Why, and until when at least.
        held: Held,
        /// The grants that stand in the way.
        by: Vec<usize>,
    },
    /// End these processes, then ask again with `killed`.
    MustKill(usize, Processes),
    /// The token range is used up: the wall clock or a record lies beyond the year 2255.
    NoTokenLeft,
}

/// Returns whether a grant counts against a request. Of claims on paths, those that share a path
/// with it and are not those of the same session; of all others, every one.
pub fn is_in_the_way(ask: &AcquireRequest, observed: &Observed) -> bool {
    let (Some(Joint::Paths(claim)), Observed::Ours(record, ..)) = (&ask.joint, observed) else {
        return true;
    };
    let same_session = ask.session.is_some() && ask.session == record.session;
    !same_session && claim.excludes(&PathClaim::of(&record.extra))
}

/// Returns how many grants may stay beside a new one that asks for `slots` of them. Each grant says
/// how many may stand side by side, and the lowest number counts: what one holder was promised,
/// another one's number does not take away. A grant without a number stands alone.
pub fn may_stay(members: &[Member<'_>], slots: u32, now: &Now) -> usize {
    let promised = members.iter().filter_map(|member| match member.observed {
        Observed::Ours(record, ..) if !has_ended(&judge(member.observed, now)) => {
            Some(slots_of(record).unwrap_or(1))
        }
        _ => None,
    });
    promised.fold(slots, u32::min).saturating_sub(1) as usize
}

/// The number of slots that a grant names.
pub fn slots_of(record: &Record) -> Option<u32> {
    let (_, value) = record.extra.iter().find(|(key, _)| key == SLOTS)?;
    value.parse().ok().filter(|slots| (1..=SLOTS_MAX).contains(slots))
}

/// Returns whether a request of `slots` would be granted now, or after an overdue holder was ended.
pub fn has_room(members: &[Member<'_>], slots: u32, now: &Now) -> bool {
    sort(members, now).held.len() <= may_stay(members, slots, now)
}

/// Returns whether a grant is void: its holder has ended, or its boot.
pub fn has_ended(standing: &Standing) -> bool {
    matches!(standing, Standing::Grantable(Cause::OtherBoot | Cause::HolderDead))
}

/// The grants in the way, by what may become of them.
#[derive(Default)]
struct Sorted {
    ended: Vec<(usize, Cause)>,
    late: Vec<(usize, Cause)>,
    overdue: Vec<(usize, Processes)>,
    held: Vec<(usize, Held)>,
}

fn sort(members: &[Member<'_>], now: &Now) -> Sorted {
    let mut sorted = Sorted::default();
    for (at, member) in members.iter().enumerate().filter(|(_, member)| member.in_the_way) {
        match judge(member.observed, now) {
            Standing::Grantable(cause) if has_ended(&Standing::Grantable(cause)) => {
                sorted.ended.push((at, cause));
            }
            Standing::Grantable(cause) => sorted.late.push((at, cause)),
            Standing::MustKill(processes) => sorted.overdue.push((at, *processes)),
            Standing::Held(held) => sorted.held.push((at, held)),
        }
    }
    // A holder that is known to live is the last one to be fenced.
    sorted.late.sort_by_key(|(_, cause)| *cause == Cause::Overdue);
    // The first that changes by itself comes first.
    sorted.held.sort_by_key(|(_, held)| held.rest_ms.unwrap_or(u64::MAX));
    sorted
}

/// Decides whether a caller gets a grant beside others, of which `may_stay` of those in the way may
/// stay. Grants that have ended go; one that is merely late goes only if its place is needed.
/// `highest` is the number in the token file; `killed` says that the processes of an earlier
/// [`Joined::MustKill`] have ended since.
pub fn decide_join(
    members: &[Member<'_>],
    ask: &AcquireRequest,
    may_stay: usize,
    highest: u64,
    killed: bool,
    now: &Now,
) -> Joined {
    if let Some(at) = members.iter().position(|member| is_repeated(member.observed, ask, now)) {
        let same = members.get(at).is_some_and(|member| match member.observed {
            Observed::Ours(record, ..) => Joint::of(record) == ask.joint,
            _ => false,
        });
        return if same { Joined::Again(at) } else { Joined::Other(at) };
    }
    let Sorted { ended, late, overdue, held } = sort(members, now);
    let present = late.len() + overdue.len() + held.len();
    let too_many = present.saturating_sub(may_stay);
    if let Some(still) = too_many.checked_sub(late.len()).filter(|still| *still > 0) {
        return match (overdue.first(), still.checked_sub(overdue.len() + 1)) {
            (Some((at, processes)), None) => Joined::MustKill(*at, *processes),
            (_, nth) => refused(&held, &overdue, nth.unwrap_or(0)),
        };
    }
    let taken: Vec<(usize, Cause)> =
        ended.into_iter().chain(late.into_iter().take(too_many)).collect();
    let cause = match taken.first() {
        None => Cause::Free,
        Some((_, Cause::HolderDead)) if killed => Cause::Killed,
        Some((_, cause)) => *cause,
    };
    let token = members.iter().filter_map(|member| match member.observed {
        Observed::Ours(record, ..) => Some(record.fencing_token),
        _ => None,
    });
    match FencingToken::after(highest, token.max(), now.reading.wall_us) {
        Some(token) => Joined::Grant {
            record: Box::new(granted(ask, token, now)),
            cause,
            void: taken.into_iter().map(|(at, _)| at).collect(),
        },
        None => Joined::NoTokenLeft,
    }
}

/// The refusal: it lasts until the `nth` of the held ones has gone.
fn refused(held: &[(usize, Held)], overdue: &[(usize, Processes)], nth: usize) -> Joined {
    let by = held.iter().map(|(at, _)| *at).chain(overdue.iter().map(|(at, _)| *at)).collect();
    let (why, rest_ms) = held
        .get(nth)
        .map_or((super::HeldWhy::OverdueForever, None), |(_, held)| (held.why, held.rest_ms));
    Joined::Held { held: Held { why, rest_ms }, by }
}
