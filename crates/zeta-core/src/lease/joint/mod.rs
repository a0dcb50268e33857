//! Leases that several holders have side by side: counted ones, and claims on paths.
//!
//! Each grant has a record, a token and an end of its own; one guard stands around all of them.
//! What may stand side by side is the rule of the kind: so many at a time ([`decide::may_stay`]),
//! or claims that do not conflict. Everything else is the same.

pub mod decide;
#[cfg(test)]
mod tests;

use super::{FencingToken, Policy, Record, stamp_now};
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

/// The number of slots that a grant names.
pub fn slots_of(record: &Record) -> Option<u32> {
    let (_, value) = record.extra.iter().find(|(key, _)| key == SLOTS)?;
    value.parse().ok().filter(|slots| (1..=SLOTS_MAX).contains(slots))
}
