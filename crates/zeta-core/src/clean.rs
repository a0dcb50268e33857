//! What may be cleaned away: only what is provably dead, or expired and past its grace.
//!
//! A record that may be *granted* to the next one is not yet one that may be *removed*: a holder
//! that is merely late loses nothing as long as no other caller wants its lease. So cleaning waits
//! longer than an acquire does, and any doubt keeps the record.

use crate::evidence::{Age, FileTimes, ProcessState, age_of_foreign, judge_age, judge_boot};
use crate::lease::{Cause, FOREIGN_TTL_MS, HeldWhy, Observed, Record, Standing, judge};
use crate::presence::{self, Beat, Liveness};
use crate::record::Damage;
use crate::time::Now;

/// The record of an agent that is gone stays for this long, for people who ask what it did.
pub const PERSONA_KEEP_MS: u64 = 24 * 3600 * 1000;
/// The note of a claim that no agent took up stays for this long.
pub const NOTE_KEEP_MS: u64 = 7 * 24 * 3600 * 1000;
/// Whatever was never published stays for this long: its maker may only be slow.
pub const UNPUBLISHED_KEEP_MS: u64 = 3600 * 1000;

/// May something be removed, and why, as a word for people and for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Remove(&'static str),
    /// It stays.
    Keep(&'static str),
}

/// Judges what stands where a lease record belongs.
pub fn judge_lease(observed: &Observed, now: &Now) -> Verdict {
    match judge(observed, now) {
        Standing::Grantable(cause) => judge_grantable(cause, observed, now),
        Standing::Held(held) => Verdict::Keep(held_word(held.why)),
        Standing::MustKill(_) => Verdict::Keep("overdue_but_alive"),
    }
}

fn held_word(why: HeldWhy) -> &'static str {
    match why {
        HeldWhy::InTime => "held",
        HeldWhy::InGrace => "in_grace",
        HeldWhy::OverdueForever => "overdue_but_alive",
        HeldWhy::Foreign => "foreign_in_time",
        HeldWhy::Damaged => "damaged_in_time",
    }
}

fn judge_grantable(cause: Cause, observed: &Observed, now: &Now) -> Verdict {
    match (cause, observed) {
        (Cause::OtherBoot | Cause::HolderDead, _) => Verdict::Remove(cause.word()),
        (Cause::Expired, Observed::Ours(record, times, _)) => match past_grace(record, *times, now)
        {
            true => Verdict::Remove(cause.word()),
            false => Verdict::Keep("in_grace"),
        },
        // A forged or copied mtime is enough to be granted, not to be removed: ctime must agree.
        (Cause::ForeignExpired, Observed::Foreign { ttl_ms, times, .. }) => {
            match is_old(*times, ttl_ms.unwrap_or(FOREIGN_TTL_MS), now) {
                true => Verdict::Remove(cause.word()),
                false => Verdict::Keep("foreign_in_time"),
            }
        }
        // Perhaps a later zeta than this one wrote it, and knows its holder to be alive.
        (_, Observed::Damaged(Damage::UnknownSchema(_), _)) => Verdict::Keep("unknown_schema"),
        (Cause::DamagedExpired, _) => Verdict::Remove(cause.word()),
        (Cause::Overdue | Cause::Killed, _) => Verdict::Keep("overdue_but_alive"),
        _ => Verdict::Keep("absent"),
    }
}

fn past_grace(record: &Record, times: FileTimes, now: &Now) -> bool {
    let bound_ms = record.ttl_ms.saturating_add(record.grace_ms);
    match judge_age(&record.renewed, judge_boot(&record.renewed, now), times, now) {
        Age::Ms(age_ms) => age_ms > bound_ms,
        Age::Unclear => false,
    }
}

/// Judges the record of an agent. `life` is that of its recorded processes.
pub fn judge_persona(beat: &Beat, times: FileTimes, life: ProcessState, now: &Now) -> Verdict {
    let judgement = presence::judge(beat, times, life, now);
    let quiet = judgement.beat_age_ms.is_some_and(|age_ms| age_ms > PERSONA_KEEP_MS);
    match judgement.liveness {
        Liveness::Gone if quiet && is_old(times, PERSONA_KEEP_MS, now) => Verdict::Remove("gone"),
        Liveness::Gone => Verdict::Keep("gone_recently"),
        other => Verdict::Keep(other.word()),
    }
}

/// Judges the note of a claim. `seen` is what stands where the lease of the claim belongs: its
/// holder may read the note again.
pub fn judge_note(times: FileTimes, seen: &Observed, now: &Now) -> Verdict {
    match seen {
        Observed::Absent if is_old(times, NOTE_KEEP_MS, now) => Verdict::Remove("unclaimed"),
        Observed::Absent => Verdict::Keep("young"),
        _ => Verdict::Keep("held"),
    }
}

/// Was a file last touched more than `keep_ms` ago, by both of its times?
pub fn is_old(times: FileTimes, keep_ms: u64, now: &Now) -> bool {
    let changed = FileTimes { mtime_us: times.ctime_us, ..times };
    [times, changed].into_iter().all(|times| match age_of_foreign(times, now) {
        Age::Ms(age_ms) => age_ms > keep_ms,
        Age::Unclear => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Processes, Stamp};
    use crate::lease::Policy;
    use crate::name::{Label, RecordName};
    use crate::time::{Host, NS_PER_MS, Reading};

    #[test]
    fn the_record_of_an_agent_stays_for_a_day_and_what_was_not_published_for_an_hour() {
        assert_eq!((PERSONA_KEEP_MS, UNPUBLISHED_KEEP_MS), (86_400_000, 3_600_000));
    }

    const TTL_MS: u64 = 1_000;
    const GRACE_MS: u64 = 500;
    const START_MS: u64 = 1_000_000_000;

    fn host() -> Host {
        Host { boot_id: "b1".into(), machine_id: Some("m1".into()), ..Host::default() }
    }

    fn now(age_ms: u64, host: &Host) -> Now<'_> {
        let ms = START_MS + age_ms;
        let boot_ns = ms * NS_PER_MS;
        Now { reading: Reading { boot_ns, awake_ns: boot_ns, wall_us: ms as i64 * 1000 }, host }
    }

    fn times(age_of_mtime_ms: u64, age_of_ctime_ms: u64, now: &Now) -> FileTimes {
        let us = |age_ms: u64| now.reading.wall_us - age_ms as i64 * 1000;
        FileTimes { mtime_us: us(age_of_mtime_ms), ctime_us: us(age_of_ctime_ms) }
    }

    fn stamp(boot_id: &str, boot_ms: u64) -> Stamp {
        Stamp {
            boot_id: boot_id.into(),
            machine_id: Some("m1".into()),
            time_ns: None,
            boot_ns: boot_ms * NS_PER_MS,
            wall_us: Some(START_MS as i64 * 1000),
        }
    }

    fn record(boot_id: &str, policy: Policy) -> Record {
        let boot_ms = if boot_id == "b1" { START_MS } else { START_MS * 2 };
        Record {
            lease: RecordName::new("lease", "deploy").unwrap(),
            fencing_token: crate::lease::FencingToken::new(7).unwrap(),
            lease_id: "id".into(),
            agent: Label::new("agent", "otto").unwrap(),
            session: None,
            processes: Processes::default(),
            pr: None,
            uid: None,
            renewed: stamp(boot_id, boot_ms),
            acquired_boot_ns: 0,
            acquired_us: None,
            ttl_ms: TTL_MS,
            grace_ms: GRACE_MS,
            policy,
            renew_seq: 0,
            purpose: None,
            extra: Vec::new(),
        }
    }

    #[test]
    fn a_lease_goes_only_when_its_holder_is_proven_dead_or_ttl_and_grace_are_over() {
        use ProcessState::{Alive, Dead, Unknown};
        use Verdict::{Keep, Remove};
        let host = host();
        for (boot, policy, age_ms, life, verdict) in [
            ("b1", Policy::Reclaim, 10, Dead, Remove("holder_dead")),
            ("b1", Policy::Never, 10, Dead, Remove("holder_dead")),
            ("b1", Policy::Reclaim, 10, Unknown, Keep("held")),
            ("b1", Policy::Reclaim, 10, Alive, Keep("held")),
            ("b1", Policy::Reclaim, 1_001, Unknown, Keep("in_grace")),
            ("b1", Policy::Reclaim, 1_500, Unknown, Keep("in_grace")),
            ("b1", Policy::Reclaim, 1_501, Unknown, Remove("expired")),
            ("b1", Policy::Never, 1_501, Unknown, Remove("expired")),
            ("b1", Policy::Reclaim, 1_001, Alive, Keep("in_grace")),
            ("b1", Policy::Reclaim, 9_999, Alive, Keep("overdue_but_alive")),
            ("b1", Policy::Kill, 9_999, Alive, Keep("overdue_but_alive")),
            ("b1", Policy::Never, 9_999, Alive, Keep("overdue_but_alive")),
            ("b0", Policy::Reclaim, 10, Unknown, Remove("other_boot")),
        ] {
            let now = now(age_ms, &host);
            let record = Box::new(record(boot, policy));
            let observed = Observed::Ours(record, times(age_ms, age_ms, &now), life);
            assert_eq!(
                judge_lease(&observed, &now),
                verdict,
                "{boot} {policy:?} {age_ms} {life:?}"
            );
        }
        assert_eq!(judge_lease(&Observed::Absent, &now(0, &host)), Keep("absent"));
    }

    #[test]
    fn another_hand_s_record_goes_only_when_both_of_its_times_are_old() {
        use Verdict::{Keep, Remove};
        let host = host();
        let now = now(0, &host);
        for (mtime_ms, ctime_ms, verdict) in [
            (5_000, 5_000, Remove("foreign_expired")),
            (5_000, 10, Keep("foreign_in_time")),
            (10, 5_000, Keep("foreign_in_time")),
        ] {
            let times = times(mtime_ms, ctime_ms, &now);
            let observed =
                Observed::Foreign { ttl_ms: Some(1_000), said: Default::default(), times };
            assert_eq!(judge_lease(&observed, &now), verdict, "{mtime_ms} {ctime_ms}");
        }
    }

    #[test]
    fn a_damaged_record_ages_out_and_one_of_a_later_schema_never_does() {
        use Verdict::{Keep, Remove};
        let host = host();
        let now = now(0, &host);
        let newer = || Damage::UnknownSchema("2".into());
        for (damage, age_ms, verdict) in [
            (Damage::NoEnd, 60_000, Keep("damaged_in_time")),
            (Damage::NoEnd, 1_200_001, Remove("damaged_expired")),
            (newer(), 60_000, Keep("damaged_in_time")),
            (newer(), 900_000_000, Keep("unknown_schema")),
        ] {
            let observed = Observed::Damaged(damage.clone(), times(age_ms, age_ms, &now));
            assert_eq!(judge_lease(&observed, &now), verdict, "{damage:?} {age_ms}");
        }
    }

    #[test]
    fn a_note_goes_a_week_after_it_was_written_if_no_lease_stands() {
        let (week, host) = (7 * 24 * 3_600_000, host());
        let now = now(week + 2, &host);
        let held = Observed::Damaged(Damage::NoEnd, times(1, 1, &now));
        for (age_ms, touched_ms, seen, verdict) in [
            (week + 1, week + 1, &Observed::Absent, Verdict::Remove("unclaimed")),
            (week, week + 1, &Observed::Absent, Verdict::Keep("young")),
            (week + 1, week, &Observed::Absent, Verdict::Keep("young")),
            (week + 1, week + 1, &held, Verdict::Keep("held")),
        ] {
            assert_eq!(judge_note(times(age_ms, touched_ms, &now), seen, &now), verdict);
        }
        assert_eq!(NOTE_KEEP_MS, week);
    }

    #[test]
    fn an_agent_s_record_goes_a_day_after_the_agent() {
        use ProcessState::{Alive, Dead, Unknown};
        use Verdict::{Keep, Remove};
        let (day, host) = (24 * 60 * 60_000, host());
        assert_eq!([PERSONA_KEEP_MS, UNPUBLISHED_KEEP_MS], [day, 60 * 60_000]);
        for (age_ms, touched_ms, life, ended, verdict) in [
            (day + 1, day + 1, Dead, false, Remove("gone")),
            (day + 1, day + 1, Unknown, true, Remove("gone")),
            (day + 1, 10, Unknown, true, Keep("gone_recently")),
            (day, day + 1, Dead, false, Keep("gone_recently")),
            (day + 1, day, Dead, false, Keep("gone_recently")),
            (day + 1, day + 1, Unknown, false, Keep("silent")),
            (day + 1, day + 1, Alive, false, Keep("hung")),
            (5, 5, Alive, false, Keep("live")),
        ] {
            let now = now(age_ms, &host);
            let beat = Beat {
                session: None,
                processes: Processes::default(),
                stamp: stamp("b1", START_MS),
                awake_ns: None,
                every_ms: 10_000,
                ended,
            };
            let verdict_now = judge_persona(&beat, times(touched_ms, touched_ms, &now), life, &now);
            assert_eq!(verdict_now, verdict, "{age_ms} {touched_ms} {life:?} {ended}");
        }
    }
}
