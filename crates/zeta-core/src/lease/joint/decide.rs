//! Who gets a grant of a joint lease.

use super::{Joint, slots_of};
use crate::evidence::Processes;
use crate::lease::decide::{granted, is_repeated, judge};
use crate::lease::{
    AcquireRequest, Cause, FencingToken, Held, HeldWhy, Observed, Record, Standing,
};
use crate::pattern::PathClaim;
use crate::time::Now;

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

/// Returns whether a grant alone refuses a claim on paths, so that no other one need be read.
pub fn refuses(ask: &AcquireRequest, observed: &Observed, now: &Now) -> bool {
    matches!(ask.joint, Some(Joint::Paths(_)))
        && is_in_the_way(ask, observed)
        && !is_repeated(observed, ask, now)
        && matches!(judge(observed, now), Standing::Held(_))
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

/// Returns whether a request of `slots` would be granted now, or after an overdue holder was ended.
pub fn has_room(members: &[Member<'_>], slots: u32, now: &Now) -> bool {
    sort(members, now).held.len() <= may_stay(members, slots, now)
}

/// Returns the grants in the way that are held, the one that changes first before the others.
pub fn holding(members: &[Member<'_>], now: &Now) -> Vec<usize> {
    sort(members, now).held.into_iter().map(|(at, _)| at).collect()
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
    let (why, rest_ms) =
        held.get(nth).map_or((HeldWhy::OverdueForever, None), |(_, held)| (held.why, held.rest_ms));
    Joined::Held { held: Held { why, rest_ms }, by }
}
