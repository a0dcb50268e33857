//! Joint leases as tables, and as random histories that an oracle judges.

use super::decide::*;
use super::*;
use crate::evidence::{FIRST_TIME_NS, FileTimes, Process, ProcessState, Processes};
use crate::lease::decide::granted;
use crate::lease::tests::record;
use crate::lease::{
    AcquireRequest, Cause, Checked, HeldWhy, Observed, decide_check, decide_release, decide_renew,
};
use crate::name::{Label, RecordName};
use crate::pattern::{Mode, PathClaim};
use crate::time::{Host, Reading};

const TTL_MS: u64 = 1_000;

fn host() -> Host {
    let machine_id = Some("m1".into());
    Host { boot_id: "b1".into(), machine_id, pid_ns: Some(4), time_ns: Some(FIRST_TIME_NS) }
}

fn at(ms: u64) -> Reading {
    let boot_ns = 500_000_000_000 + ms * NS_PER_MS;
    Reading { boot_ns, awake_ns: 0, wall_us: 9_000_000 + ms as i64 * 1000 }
}

fn ask(who: usize, attempt: u64, processes: Processes) -> AcquireRequest {
    AcquireRequest {
        lease: RecordName::new("lease", "deploy").unwrap(),
        lease_id: format!("{who}-{attempt}"),
        agent: Label::new("agent", "otto-cli").unwrap(),
        session: None,
        processes,
        pr: None,
        uid: 1000,
        ttl_ms: TTL_MS,
        grace_ms: None,
        policy: Policy::Reclaim,
        purpose: None,
        joint: None,
        in_cluster: false,
    }
}

fn process(pid: u32) -> Processes {
    let own = Some(Process { pid, start_ticks: Some(1), pidfs_ino: None });
    Processes { own, child: None, pid_ns: Some(4) }
}

/// A grant at 0 ms with this token, number of slots and policy.
fn grant(token: u64, slots: u32, policy: Policy, life: ProcessState) -> Observed {
    let mut record = record();
    record.fencing_token = FencingToken::new(token).unwrap();
    record.lease_id = format!("id-{token}");
    record.renewed = stamp_now(at(0), &host());
    (record.ttl_ms, record.grace_ms, record.policy) = (TTL_MS, TTL_MS, policy);
    record.extra = vec![(SLOTS.to_owned(), slots.to_string())];
    Observed::Ours(Box::new(record), FileTimes::default(), life)
}

fn decided(grants: &[Observed], slots: u32, ms: u64) -> Joined {
    let host = host();
    let now = Now { reading: at(ms), host: &host };
    let member = |observed| Member { observed, in_the_way: true };
    let members: Vec<Member<'_>> = grants.iter().map(member).collect();
    let stay = may_stay(&members, slots, &now);
    decide_join(&members, &ask(9, 0, Processes::default()), stay, 0, false, &now)
}

#[test]
fn a_counted_lease_has_room_until_the_lowest_number_that_a_holder_was_promised() {
    use ProcessState::{Alive, Dead, Unknown};
    let of = |slots, life| grant(7, slots, Policy::Reclaim, life);
    let table: [(&[Observed], u32, Option<usize>); 8] = [
        (&[], 1, Some(0)),
        (&[of(3, Alive)], 3, Some(0)),
        (&[of(3, Alive), of(3, Alive)], 3, Some(0)),
        (&[of(3, Alive), of(3, Alive), of(3, Alive)], 3, None),
        (&[of(3, Alive), of(3, Dead), of(3, Alive)], 3, Some(1)),
        (&[of(2, Alive), of(3, Unknown)], 3, None),
        (&[of(3, Alive), of(3, Alive)], 2, None),
        // What a dead one was promised does not count.
        (&[of(1, Dead), of(3, Alive)], 3, Some(1)),
    ];
    for (grants, slots, wanted) in table {
        let ended = match decided(grants, slots, 10) {
            Joined::Grant { void, record, .. } => {
                assert!(record.fencing_token.get() > 7);
                Some(void.len())
            }
            Joined::Held { by, .. } => {
                assert_eq!(by.len(), grants.len());
                None
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(ended, wanted, "{grants:?} {slots}");
    }
}

#[test]
fn a_holder_that_is_merely_late_keeps_its_slot_while_there_is_another_one() {
    use ProcessState::{Alive, Unknown};
    let late = || grant(7, 2, Policy::Reclaim, Unknown);
    let living = || grant(8, 2, Policy::Reclaim, Alive);
    let void = |grants: &[Observed], ms| match decided(grants, 2, ms) {
        Joined::Grant { void, cause, .. } => (void, cause),
        other => panic!("{other:?}"),
    };
    assert_eq!(void(&[late()], TTL_MS + 1), (vec![], Cause::Free));
    assert_eq!(void(&[living(), late()], TTL_MS + 1), (vec![1], Cause::Expired));
    // Of two late ones, the one that may be dead goes, not the one that is known to live.
    assert_eq!(void(&[living(), late()], 2 * TTL_MS + 1), (vec![1], Cause::Expired));
}

#[test]
fn a_refusal_lasts_until_the_first_slot_can_be_free_and_an_overdue_holder_is_killed_if_that_helps()
{
    use ProcessState::{Alive, Unknown};
    let of = |policy, life| grant(7, 2, policy, life);
    let held = |grants: &[Observed], slots, ms| match decided(grants, slots, ms) {
        Joined::Held { held, .. } => (held.why, held.rest_ms),
        other => panic!("{other:?}"),
    };
    let (kill, never) = (of(Policy::Kill, Alive), of(Policy::Never, Alive));
    let other = of(Policy::Reclaim, Unknown);
    let two = [never.clone(), other];
    assert_eq!(held(&two, 2, 10), (HeldWhy::InTime, Some(TTL_MS - 9)));
    assert_eq!(held(&[never.clone(), never.clone()], 2, 9_000), (HeldWhy::OverdueForever, None));
    let answer = decided(&[never.clone(), kill.clone()], 2, 9_000);
    assert!(matches!(answer, Joined::MustKill(1, _)), "{answer:?}");
    // It does not help if another one must go, too.
    assert_eq!(held(&[never, kill], 1, 9_000), (HeldWhy::OverdueForever, None));
}

#[test]
fn a_repeated_attempt_gets_its_own_grant() {
    let host = host();
    let now = Now { reading: at(10), host: &host };
    let asked = AcquireRequest { joint: Some(Joint::Slots(2)), ..ask(1, 1, Processes::default()) };
    let first = granted(&asked, FencingToken::new(5).unwrap(), &now);
    let first = Observed::Ours(Box::new(first), FileTimes::default(), ProcessState::Unknown);
    let other = grant(7, 2, Policy::Reclaim, ProcessState::Alive);
    let members = [&other, &first].map(|observed| Member { observed, in_the_way: true });
    // Its token is not the highest one: the other grant came later.
    let answer = decide_join(&members, &asked, 1, 7, false, &now);
    assert_eq!(answer, Joined::Again(1));
    let more = AcquireRequest { joint: Some(Joint::Slots(3)), ..asked.clone() };
    assert_eq!(decide_join(&members, &more, 2, 7, false, &now), Joined::Other(1));
    let other = AcquireRequest { session: Some("s".into()), ..asked };
    assert!(matches!(decide_join(&members, &other, 1, 7, false, &now), Joined::Held { .. }));
}

#[test]
fn a_token_is_above_those_of_all_grants_the_token_file_and_the_clock() {
    let host = host();
    let now = Now { reading: at(10), host: &host };
    let token = |tokens: [u64; 2], highest| {
        let grants = tokens.map(|token| grant(token, 9, Policy::Reclaim, ProcessState::Alive));
        let members = grants.each_ref().map(|observed| Member { observed, in_the_way: false });
        match decide_join(&members, &ask(9, 0, Processes::default()), 0, highest, false, &now) {
            Joined::Grant { record, .. } => Some(record.fencing_token.get()),
            Joined::NoTokenLeft => None,
            other => panic!("{other:?}"),
        }
    };
    let clock = now.reading.wall_us as u64;
    assert_eq!(token([7, 8], 9), Some(clock + 1));
    assert_eq!(token([clock + 5, 8], 9), Some(clock + 6));
    assert_eq!(token([8, clock + 5], clock + 9), Some(clock + 10));
    assert_eq!(token([8, FencingToken::LIMIT - 1], 9), None);
}

#[test]
fn the_record_that_stands_for_grants_is_held_for_longer_than_each_of_them() {
    let host = host();
    let now = |ms| Now { reading: at(ms), host: Box::leak(Box::new(host.clone())) };
    let own = |observed| match observed {
        Observed::Ours(record, ..) => *record,
        other => panic!("{other:?}"),
    };
    let grant_of = |policy| own(grant(7, 2, policy, ProcessState::Alive));
    let (grant, never) = (grant_of(Policy::Reclaim), grant_of(Policy::Never));
    let token = FencingToken::new(6).unwrap();
    let first = standing_record(None, token, &grant, &now(10)).unwrap();
    assert!(stands_for_grants(&first) && !stands_for_grants(&grant));
    assert_eq!((first.fencing_token, first.processes), (token, Processes::default()));
    let text = first.to_fields().render();
    let parsed = crate::record::parse(text.as_bytes(), 4096).unwrap();
    let crate::record::Text::Own(fields) = parsed else { panic!("{text}") };
    assert_eq!(Record::from_fields(&fields, &first.lease).unwrap(), first);
    assert!(stands_long_enough(&first, &grant, &now(20)));
    assert!(stands_long_enough(&first, &grant, &now(STANDS_LONGER_MS)));
    assert!(!stands_long_enough(&first, &grant, &now(STANDS_LONGER_MS + 2 * TTL_MS)));
    assert!(!stands_long_enough(&first, &never, &now(20)), "it may hold for ever");
    let other = FencingToken::new(9).unwrap();
    let second = standing_record(Some(&first), other, &never, &now(20)).unwrap();
    assert_eq!((second.fencing_token, second.ttl_ms), (token, TTL_MAX_MS));
    assert!(stands_long_enough(&second, &never, &now(30)));
    // A short grant does not shorten it.
    let third = standing_record(Some(&second), other, &grant, &now(30)).unwrap();
    assert!(rest_ms(&third, &now(30)) >= TTL_MAX_MS - 30, "{third:?}");
    let mut alone = grant;
    alone.extra.clear();
    assert_eq!(standing_record(None, token, &alone, &now(10)), None);
}

/// A generator of numbers (splitmix64), so that a seed is a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A process that takes part: what it was told, and whether it lives.
struct Actor {
    token: Option<FencingToken>,
    processes: Processes,
    alive: bool,
}

/// What is on disk, and the actors around it.
struct World {
    ms: u64,
    highest: u64,
    records: Vec<Record>,
    actors: Vec<Actor>,
}

impl World {
    fn observed(&self) -> Vec<Observed> {
        let life = |record: &Record| match record.processes.own {
            None => ProcessState::Unknown,
            Some(own) if self.actors[own.pid as usize].alive => ProcessState::Alive,
            Some(_) => ProcessState::Dead,
        };
        let times = FileTimes::default();
        let seen = |record: &Record| Observed::Ours(Box::new(record.clone()), times, life(record));
        self.records.iter().map(seen).collect()
    }

    /// The record of an actor that may act now.
    fn acting(&self, who: usize, now: &Now) -> Option<&Record> {
        let actor = &self.actors[who];
        let token = actor.token.filter(|_| actor.alive)?;
        let seen = self.observed();
        let at = self.records.iter().position(|record| record.fencing_token == token)?;
        let good = matches!(decide_check(&seen[at], token, now), Checked::Good { .. });
        good.then(|| &self.records[at])
    }

    fn acquire(
        &mut self,
        who: usize,
        attempt: u64,
        entries: &[(String, String)],
        slots: Option<u32>,
    ) {
        let host = host();
        let now = Now { reading: at(self.ms), host: &host };
        let seen = self.observed();
        let asked = ask(who, attempt, self.actors[who].processes);
        let mut wanted = record();
        wanted.extra = entries.to_vec();
        let claim = PathClaim::of(&wanted.extra);
        let in_the_way =
            |record: &Record| slots.is_some() || PathClaim::of(&record.extra).excludes(&claim);
        let members: Vec<Member<'_>> = seen
            .iter()
            .zip(&self.records)
            .map(|(observed, record)| Member { observed, in_the_way: in_the_way(record) })
            .collect();
        let stay = slots.map_or(0, |slots| may_stay(&members, slots, &now));
        let answer = decide_join(&members, &asked, stay, self.highest, false, &now);
        let dead_in_way = members.iter().any(|member| {
            member.in_the_way && matches!(member.observed, Observed::Ours(.., ProcessState::Dead))
        });
        match answer {
            Joined::Grant { mut record, void, .. } => {
                assert!(record.fencing_token.get() > self.highest, "a token was given twice");
                self.highest = record.fencing_token.get();
                let mut place = 0;
                self.records.retain(|_| {
                    place += 1;
                    !void.contains(&(place - 1))
                });
                record.extra = entries.to_vec();
                self.actors[who].token = Some(record.fencing_token);
                self.records.push(*record);
            }
            Joined::Held { by, .. } => {
                let counted = by.len() > stay && !by.is_empty();
                assert!(counted, "refused without a reason: {by:?}, dead: {dead_in_way}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, random: &mut Random, entries: &[(String, String)], slots: Option<u32>) {
        let who = random.below(self.actors.len() as u64) as usize;
        let host = host();
        let now = Now { reading: at(self.ms), host: &host };
        let token = self.actors[who].token;
        let place = self.records.iter().position(|record| Some(record.fencing_token) == token);
        let observed = place.map_or(Observed::Absent, |at| self.observed().swap_remove(at));
        match (random.below(10), token) {
            (0, _) if self.actors[who].processes.own.is_some() => {
                // Killed, and another process takes its part.
                self.actors[who].alive = false;
                let pid = self.actors.len();
                self.actors.push(Actor {
                    token: None,
                    processes: process(pid as u32),
                    alive: true,
                });
            }
            (1 | 2, _) => self.ms += random.below(TTL_MS),
            (3 | 4, Some(token)) if self.actors[who].alive => {
                let answer = decide_renew(&observed, token, None, &now);
                if let (crate::lease::Renewed::Write { record, .. }, Some(at)) = (answer, place) {
                    self.records[at] = *record;
                }
            }
            (5 | 6, Some(token)) if self.actors[who].alive => {
                let answer = decide_release(&observed, token, self.highest, false);
                if let (crate::lease::Released::Remove, Some(at)) = (answer, place) {
                    self.records.remove(at);
                }
                self.actors[who].token = None;
            }
            (7.., None) if self.actors[who].alive => {
                let attempt = random.below(u64::MAX);
                self.acquire(who, attempt, entries, slots);
            }
            _ => {}
        }
    }
}

/// Runs random histories; `judge` sees who may act after every step. Returns the most at once.
fn histories(
    mut entries: impl FnMut(&mut Random) -> (Vec<(String, String)>, Option<u32>),
    judge: impl Fn(&[&Record]),
) -> usize {
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut most = 0;
    for _ in 0..300 {
        let actor = |pid| Actor {
            token: None,
            processes: if pid % 2 == 0 { process(pid) } else { Processes::default() },
            alive: true,
        };
        let actors = (0..6).map(actor).collect();
        let mut world = World { ms: 0, highest: 0, records: Vec::new(), actors };
        for _ in 0..120 {
            let (entries, slots) = entries(&mut random);
            world.step(&mut random, &entries, slots);
            let host = host();
            let now = Now { reading: at(world.ms), host: &host };
            let acting: Vec<&Record> =
                (0..world.actors.len()).filter_map(|who| world.acting(who, &now)).collect();
            judge(&acting);
            most = most.max(acting.len());
        }
    }
    most
}

#[test]
fn in_random_histories_no_holder_sees_more_than_its_number_beside_it() {
    let entries = |random: &mut Random| {
        let slots = 3 + random.below(2) as u32;
        (vec![(SLOTS.to_owned(), slots.to_string())], Some(slots))
    };
    let most = histories(entries, |acting| {
        let allowed = acting.iter().filter_map(|record| slots_of(record)).min().unwrap_or(4);
        assert!(acting.len() <= allowed as usize, "{} beside {allowed}", acting.len());
    });
    assert_eq!(most, 4, "the histories must fill the slots");
}

#[test]
fn in_random_histories_no_two_holders_have_claims_that_exclude_each_other() {
    let patterns = ["src/**", "src/a.rs", "src/b.rs", "**/*.md", "docs/*", "docs/x.txt", "t/[a-c]"];
    let entries = |random: &mut Random| {
        let mode = if random.below(2) == 0 { Mode::Shared } else { Mode::Exclusive };
        let mut of = || patterns[random.below(patterns.len() as u64) as usize].parse().unwrap();
        let both = vec![of(), of()];
        let worktree = [None, Some("/r".to_owned()), Some("/s".to_owned())];
        let worktree = worktree[random.below(3) as usize].clone();
        (PathClaim { worktree, ..PathClaim::new(mode, both) }.to_entries(), None)
    };
    let most = histories(entries, |acting| {
        let claims: Vec<PathClaim> =
            acting.iter().map(|record| PathClaim::of(&record.extra)).collect();
        for (at, one) in claims.iter().enumerate() {
            assert!(!claims[at + 1..].iter().any(|other| one.excludes(other)), "{claims:?}");
        }
    });
    assert!(most >= 4, "the histories must have claims side by side: {most}");
}
