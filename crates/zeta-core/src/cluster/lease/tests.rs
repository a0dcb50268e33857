//! Tables of cases: what stands in the store, what is asked, and what is decided.

use proptest::prelude::*;

use super::*;
use crate::evidence::{Age, FIRST_TIME_NS, Process, ProcessState, Processes};
use crate::lease::joint::Joint;
use crate::lease::{
    AcquireRequest, Cause, DAMAGED_TTL_MS, Held, HeldWhy, Lost, Policy, Released, Renewed, Standing,
};
use crate::time::{Host, Now, Reading};

const TTL_MS: u64 = 60_000;
const SERVER_US: i64 = 1_795_000_000_000_000;

fn host_of(node: &str, boot_id: &str) -> Host {
    Host {
        boot_id: boot_id.into(),
        machine_id: Some(format!("machine of {node}")),
        pid_ns: Some(1),
        time_ns: Some(2),
    }
}

fn here() -> Host {
    host_of("node-a", "boot-a")
}

fn reading(boot_ms: u64) -> Reading {
    let wall_us = SERVER_US + boot_ms as i64 * 1000;
    Reading { boot_ns: boot_ms * 1_000_000, awake_ns: 0, wall_us }
}

fn terms() -> Terms {
    Terms {
        node: "node-a".parse().unwrap(),
        tree: "one".to_owned(),
        epoch: 3,
        floor: 500,
        no_grant_before_us: 0,
        max_ttl_ms: 3_600_000,
        removed_up_to: 0,
        server_us: SERVER_US,
    }
}

fn name() -> RecordName {
    "deploy".parse().unwrap()
}

fn ask(lease_id: &str) -> AcquireRequest {
    AcquireRequest {
        lease: name(),
        lease_id: lease_id.into(),
        agent: "otto".parse().unwrap(),
        session: None,
        processes: Processes {
            own: Some(Process { pid: 7, ..Process::default() }),
            ..Processes::default()
        },
        pr: None,
        uid: 0,
        ttl_ms: TTL_MS,
        grace_ms: None,
        policy: Policy::Reclaim,
        purpose: None,
        joint: None,
        in_cluster: false,
    }
}

/// The grant of `node`, which was written at 1,000 ms of its boot clock.
fn grant_of(node: &str, boot_id: &str) -> Entry {
    let terms = Terms { node: node.parse().unwrap(), ..terms() };
    let (host, ask) = (host_of(node, boot_id), ask("first"));
    let now = Now { reading: reading(1_000), host: &host };
    match decide_acquire(&Observed::nothing(3), &ask, &terms, &now) {
        Acquired::Grant(record, Cause::Free) => Entry::Grant(record, terms.scope()),
        other => panic!("{other:?}"),
    }
}

fn record_of(entry: &Entry) -> Record {
    match entry {
        Entry::Grant(record, _) => (**record).clone(),
        other => panic!("{other:?}"),
    }
}

fn end(how: How) -> Entry {
    let record = record_of(&grant_of("node-b", "boot-b"));
    Entry::End(Box::new(decide::end_of(
        &record,
        how,
        &Terms { node: "node-b".parse().unwrap(), ..terms() },
    )))
}

fn observed(entry: Entry, unchanged_ms: u64) -> Observed {
    let (unchanged, life) = (Age::Ms(unchanged_ms), ProcessState::Unknown);
    Observed { epoch: 3, revision: 41, entry, unchanged, life }
}

fn held(why: HeldWhy, rest_ms: u64) -> Standing {
    Standing::Held(Held { why, rest_ms: Some(rest_ms) })
}

#[test]
fn a_value_of_a_lease_that_was_written_before_another_is_known() {
    let renewed = |token: u64, renew_seq: u64| {
        let mut record = record_of(&grant_of("node-b", "boot-b"));
        record.fencing_token = FencingToken::new(token).unwrap();
        record.renew_seq = renew_seq;
        Entry::Grant(Box::new(record), terms().scope())
    };
    let grant = |token: u64| renewed(token, 0);
    let over = |token: u64| {
        let Entry::End(mut end) = end(How::Released) else { panic!() };
        end.fencing_token = FencingToken::new(token).unwrap();
        Entry::End(end)
    };
    for (value, known, before) in [
        (grant(7), grant(8), true),
        (over(7), grant(8), true),
        (grant(8), over(8), true),
        // A renewal, an end, and the next grant.
        (renewed(8, 5), renewed(8, 4), false),
        (over(8), renewed(8, 5), false),
        // A renewal that is older, and one that was the last.
        (renewed(8, 3), renewed(8, 4), true),
        (renewed(8, 4), renewed(8, 4), true),
        (renewed(8, 3), renewed(7, 4), false),
        (over(8), over(8), false),
        (grant(9), over(8), false),
        (grant(7), Entry::Unreadable, false),
        (Entry::Unreadable, grant(8), false),
    ] {
        assert_eq!(value.is_before(&known), before, "{value:?} {known:?}");
    }
}

#[test]
fn an_observer_waits_longer_than_any_holder_acts() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let standing = |observed: &Observed| judge(observed, &terms(), &now);
    assert_eq!(standing(&Observed::nothing(3)), Standing::Grantable(Cause::Free));
    for how in [How::Released, How::Dead, How::Expired] {
        assert_eq!(standing(&observed(end(how), 0)), Standing::Grantable(Cause::Free));
    }
    let other = || grant_of("node-b", "boot-b");
    for (unchanged_ms, expected) in [
        (0, held(HeldWhy::InTime, 60_601)),
        (60_000, held(HeldWhy::InTime, 601)),
        (60_600, held(HeldWhy::InTime, 1)),
        (60_601, Standing::Grantable(Cause::Expired)),
    ] {
        assert_eq!(standing(&observed(other(), unchanged_ms)), expected, "{unchanged_ms}");
    }
    let unclear = Observed { unchanged: Age::Unclear, ..observed(other(), 0) };
    let unknown = Held { why: HeldWhy::InTime, rest_ms: None };
    assert_eq!(standing(&unclear), Standing::Held(unknown));
    let damaged_ms = DAMAGED_TTL_MS + DAMAGED_TTL_MS / 100;
    let damaged = held(HeldWhy::Damaged, 1);
    assert_eq!(standing(&observed(Entry::Unreadable, damaged_ms)), damaged);
    let expired = Standing::Grantable(Cause::DamagedExpired);
    assert_eq!(standing(&observed(Entry::Unreadable, damaged_ms + 1)), expired);
}

#[test]
fn only_a_node_speaks_for_its_dead() {
    let (host, rebooted) = (here(), host_of("node-a", "boot-2"));
    // Long after the other boot began, so that its moment of booting is another one.
    let late = Reading { boot_ns: 0, ..reading(900_000) };
    let in_time = held(HeldWhy::InTime, 60_601);
    for (case, entry, host, reading, life, expected) in [
        (
            "alive",
            grant_of("node-a", "boot-a"),
            &host,
            reading(2_000),
            ProcessState::Alive,
            in_time.clone(),
        ),
        (
            "unknown",
            grant_of("node-a", "boot-a"),
            &host,
            reading(2_000),
            ProcessState::Unknown,
            in_time.clone(),
        ),
        (
            "dead",
            grant_of("node-a", "boot-a"),
            &host,
            reading(2_000),
            ProcessState::Dead,
            Standing::Grantable(Cause::HolderDead),
        ),
        (
            "rebooted",
            grant_of("node-a", "boot-a"),
            &rebooted,
            late,
            ProcessState::Dead,
            Standing::Grantable(Cause::OtherBoot),
        ),
        (
            "another boot id alone",
            grant_of("node-a", "boot-a"),
            &rebooted,
            reading(2_000),
            ProcessState::Dead,
            in_time.clone(),
        ),
        (
            "another node's",
            grant_of("node-b", "boot-b"),
            &host,
            reading(2_000),
            ProcessState::Dead,
            in_time.clone(),
        ),
        (
            "another node's, a boot that looks like this one",
            grant_of("node-b", "boot-a"),
            &host,
            reading(2_000),
            ProcessState::Dead,
            in_time,
        ),
    ] {
        let now = Now { reading, host };
        let observed = Observed { life, ..observed(entry, 0) };
        assert_eq!(judge(&observed, &terms(), &now), expected, "{case}");
    }
}

#[test]
fn what_a_former_epoch_wrote_may_stand_over_a_grant_and_frees_nothing_for_the_longest_ttl() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let later = Terms { epoch: 4, ..terms() };
    let longest_ms = later.max_ttl_ms + later.max_ttl_ms / 100;
    for entry in [end(How::Released), grant_of("node-a", "boot-a"), grant_of("node-b", "boot-b")] {
        let seen = |unchanged_ms| Observed {
            life: ProcessState::Dead,
            epoch: 4,
            ..observed(entry.clone(), unchanged_ms)
        };
        let standing = judge(&seen(longest_ms), &later, &now);
        assert_eq!(standing, held(HeldWhy::InTime, 1), "{entry:?}");
        let standing = judge(&seen(longest_ms + 1), &later, &now);
        assert_eq!(standing, Standing::Grantable(Cause::Expired), "{entry:?}");
    }
    // Its holder goes on before its deadline, and not after it.
    let own = observed(grant_of("node-a", "boot-a"), 0);
    let token = own.entry.fencing_token().unwrap();
    for (boot_ms, goes_on) in [(57_999, true), (58_000, false)] {
        let now = Now { reading: reading(boot_ms), host: &host };
        let answer = decide_renew(&own, token, None, &later, &now);
        assert_eq!(matches!(answer, Renewed::Write { .. }), goes_on, "{boot_ms}");
    }
}

#[test]
fn a_node_need_not_watch_a_grant_of_its_own_clock() {
    let first = Host { time_ns: Some(FIRST_TIME_NS), ..here() };
    let mut record = record_of(&grant_of("node-a", "boot-a"));
    record.renewed.time_ns = Some(FIRST_TIME_NS);
    let entry = Entry::Grant(Box::new(record), terms().scope());
    let standing = |boot_ms, unchanged_ms| {
        let now = Now { reading: reading(boot_ms), host: &first };
        judge(&observed(entry.clone(), unchanged_ms), &terms(), &now)
    };
    assert_eq!(standing(61_600, 5), held(HeldWhy::InTime, 1));
    assert_eq!(standing(61_601, 5), Standing::Grantable(Cause::Expired));
    assert_eq!(standing(0, 60_601), Standing::Grantable(Cause::Expired));
    // In a time namespace whose number another one may have had, it has to watch.
    let shifted = here();
    let now = Now { reading: reading(900_000), host: &shifted };
    let observed = observed(grant_of("node-a", "boot-a"), 5);
    assert_eq!(judge(&observed, &terms(), &now), held(HeldWhy::InTime, 60_596));
}

#[test]
fn a_token_is_above_the_previous_one_the_floor_and_the_clock() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let previous = end(How::Released).fencing_token().unwrap().get();
    for (entry, floor, server_us, token) in [
        (Entry::Absent, 500, 0, 501),
        (Entry::Absent, 500, -7, 501),
        (Entry::Absent, 500, 900, 901),
        (end(How::Released), 500, 900, previous + 1),
        (end(How::Released), previous + 9, 900, previous + 10),
    ] {
        let terms = Terms { floor, server_us, no_grant_before_us: i64::MIN, ..terms() };
        let observed = Observed { revision: 7_000_000, ..observed(entry, 0) };
        let Acquired::Grant(record, cause) = decide_acquire(&observed, &ask("x"), &terms, &now)
        else {
            panic!("it is free");
        };
        assert_eq!((record.fencing_token.get(), cause), (token, Cause::Free));
        assert_eq!((record.grace_ms, record.ttl_ms), (0, TTL_MS));
        assert_eq!(Scope::of(&record), Some(terms.scope()));
    }
    for floor in [TOKEN_MAX, (1 << 53) - 1] {
        let last = Terms { floor, ..terms() };
        let answer = decide_acquire(&observed(Entry::Absent, 0), &ask("x"), &last, &now);
        assert_eq!(answer, Acquired::NoTokenLeft);
    }
    // A node that writes the last token of all takes the lease for a while, and not for ever.
    let text = end(How::Released).render().unwrap().replace(
        &format!("fencing_token: {previous}"),
        &format!("fencing_token: {}", (1_u64 << 53) - 1),
    );
    let (lease, node) = ("job".parse().unwrap(), "node-a".parse().unwrap());
    assert_eq!(Entry::read(text.as_bytes(), &lease, &node), Entry::Unreadable);
}

#[test]
fn what_a_cluster_does_not_grant() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let free = observed(Entry::Absent, 0);
    let quarantine = Terms { no_grant_before_us: SERVER_US + 1, ..terms() };
    let until_us = SERVER_US + 1;
    let answer = |ask: &AcquireRequest, terms: &Terms| decide_acquire(&free, ask, terms, &now);
    assert_eq!(answer(&ask("x"), &quarantine), Acquired::Quarantine { until_us });
    let over = Terms { no_grant_before_us: SERVER_US, ..terms() };
    assert!(matches!(answer(&ask("x"), &over), Acquired::Grant(..)));
    let long = AcquireRequest { ttl_ms: 3_600_001, ..ask("x") };
    assert_eq!(answer(&long, &terms()), Acquired::TtlTooLong { max_ms: 3_600_000 });
    let counted = AcquireRequest { joint: Some(Joint::Slots(2)), ..ask("x") };
    assert_eq!(answer(&counted, &terms()), Acquired::Unsupported);
    for policy in [Policy::Kill, Policy::Never] {
        let asked = AcquireRequest { policy, ..ask("x") };
        assert_eq!(answer(&asked, &terms()), Acquired::Unsupported);
    }
}

#[test]
fn the_same_attempt_gets_the_same_grant() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let own = || observed(grant_of("node-a", "boot-a"), 0);
    let token = own().entry.fencing_token().unwrap();
    let known = Terms { floor: token.get(), ..terms() };
    for terms in [terms(), known] {
        let Acquired::Again(record) = decide_acquire(&own(), &ask("first"), &terms, &now) else {
            panic!("it is the same attempt");
        };
        assert_eq!((record.fencing_token, record.renew_seq), (token, 1));
        assert_eq!(record.renewed.boot_ns, now.reading.boot_ns);
    }
    // Its write may have arrived in a store that had lost the grant of another holder.
    let quarantine = Terms { no_grant_before_us: i64::MAX, ..terms() };
    let answer = decide_acquire(&own(), &ask("first"), &quarantine, &now);
    assert_eq!(answer, Acquired::Quarantine { until_us: i64::MAX });
    let above = Terms { floor: token.get() + 1, ..terms() };
    let answer = decide_acquire(&own(), &ask("first"), &above, &now);
    assert!(matches!(answer, Acquired::Held(_)), "a void record: {answer:?}");
    let other = observed(grant_of("node-b", "boot-a"), 0);
    for (case, observed, lease_id) in [
        ("another id", own(), "second"),
        ("another node", other, "first"),
        ("it is over", Observed { unchanged: Age::Ms(0), ..own() }, "first"),
    ] {
        let at_ms = if case == "it is over" { 61_001 } else { 5_000 };
        let now = Now { reading: reading(at_ms), host: &host };
        let answer = decide_acquire(&observed, &ask(lease_id), &terms(), &now);
        assert!(matches!(answer, Acquired::Held(_)), "{case}: {answer:?}");
    }
    let dead = Observed { life: ProcessState::Dead, ..own() };
    let answer = decide_acquire(&dead, &ask("first"), &terms(), &now);
    let Acquired::Grant(record, Cause::HolderDead) = answer else { panic!("{answer:?}") };
    assert!(record.fencing_token > token, "a dead holder's grant is not passed on");
}

#[test]
fn a_renew_keeps_the_grant_and_never_makes_one() {
    let host = here();
    let renew = |observed: &Observed, token, boot_ms| {
        let now = Now { reading: reading(boot_ms), host: &host };
        decide_renew(observed, token, None, &terms(), &now)
    };
    let own = observed(grant_of("node-a", "boot-a"), 0);
    let token = own.entry.fencing_token().unwrap();
    for (boot_ms, gap) in [(5_000, None), (61_000, None), (71_000, Some(10_000))] {
        let Renewed::Write { record, gap_ms } = renew(&own, token, boot_ms) else {
            panic!("it is the holder's");
        };
        assert_eq!((record.fencing_token, record.renew_seq, gap_ms), (token, 1, gap));
    }
    let more = FencingToken::new(token.get() + 1).unwrap();
    let other_node = observed(grant_of("node-b", "boot-a"), 0);
    let other_boot = observed(grant_of("node-a", "boot-0"), 0);
    for (case, observed, token) in [
        ("nothing", observed(Entry::Absent, 0), token),
        ("ended", observed(end(How::Released), 0), end(How::Released).fencing_token().unwrap()),
        ("unreadable", observed(Entry::Unreadable, 0), token),
        ("another token", own, more),
        ("another node", other_node.clone(), other_node.entry.fencing_token().unwrap()),
    ] {
        assert!(matches!(renew(&observed, token, 5_000), Renewed::Lost(_)), "{case}");
    }
    let token = other_boot.entry.fencing_token().unwrap();
    let late = Now { reading: Reading { boot_ns: 0, ..reading(900_000) }, host: &host };
    let answer = decide_renew(&other_boot, token, None, &terms(), &late);
    assert!(matches!(answer, Renewed::Lost(Lost { by: Some(_) })), "{answer:?}");
}

#[test]
fn another_tree_of_the_node_does_not_speak_for_the_dead_of_this_one() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let dead = Observed { life: ProcessState::Dead, ..observed(grant_of("node-a", "boot-a"), 0) };
    let other = Terms { tree: "two".to_owned(), ..terms() };
    let unknown = Terms { tree: String::new(), ..terms() };
    // The child of the dead process may live, and only the local record names it.
    for terms in [&other, &unknown] {
        assert!(matches!(judge(&dead, terms, &now), Standing::Held(_)), "{terms:?}");
        assert_eq!(decide_end(&dead, terms, &now), None);
    }
    assert_eq!(judge(&dead, &terms(), &now), Standing::Grantable(Cause::HolderDead));
    let text = dead.entry.render().unwrap().replace("tree: \"one\"\n", "");
    let read = Entry::read(text.as_bytes(), &name(), &"node-a".parse().unwrap());
    let nowhere = Observed { entry: read, ..dead.clone() };
    assert!(matches!(judge(&nowhere, &unknown, &now), Standing::Held(_)));
    // Another boot has ended them all, and the TTL ends for everyone.
    let rebooted = host_of("node-a", "boot-2");
    let late = Now { reading: Reading { boot_ns: 0, ..reading(900_000) }, host: &rebooted };
    assert_eq!(judge(&dead, &other, &late), Standing::Grantable(Cause::OtherBoot));
    // A renewal says where the record is now.
    let token = dead.entry.fencing_token().unwrap();
    let answer = decide_renew(&dead, token, None, &other, &now);
    let Renewed::Write { record, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(Scope::of(&record), Some(other.scope()));
}

#[test]
fn a_longer_ttl_stays_within_what_the_cluster_allows() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let own = observed(grant_of("node-a", "boot-a"), 0);
    let token = own.entry.fencing_token().unwrap();
    for (asked_ms, ttl_ms) in [(90_000, 90_000), (u64::MAX, 3_600_000)] {
        let answer = decide_renew(&own, token, Some(asked_ms), &terms(), &now);
        let Renewed::Write { record, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(record.ttl_ms, ttl_ms);
    }
}

#[test]
fn a_release_ends_the_own_grant_only() {
    let own = observed(grant_of("node-b", "boot-b"), 0);
    let token = own.entry.fencing_token().unwrap();
    let more = FencingToken::new(token.get() + 1).unwrap();
    assert_eq!(decide_release(&own, token), Released::Remove);
    assert_eq!(decide_release(&observed(end(How::Released), 0), token), Released::Already);
    for (case, observed, token) in [
        ("another token", own, more),
        ("nothing", observed(Entry::Absent, 0), token),
        ("its end, another token", observed(end(How::Released), 0), more),
        ("ended as dead", observed(end(How::Dead), 0), token),
        ("ended as expired", observed(end(How::Expired), 0), token),
    ] {
        assert!(matches!(decide_release(&observed, token), Released::Lost(_)), "{case}");
    }
}

#[test]
fn a_node_ends_what_is_dead_or_over_and_nothing_else() {
    let host = here();
    let now = Now { reading: reading(5_000), host: &host };
    let own = |life| Observed { life, ..observed(grant_of("node-a", "boot-a"), 0) };
    for (case, observed, how) in [
        ("alive", own(ProcessState::Alive), None),
        ("dead", own(ProcessState::Dead), Some(How::Dead)),
        ("over", observed(grant_of("node-b", "boot-b"), 60_601), Some(How::Expired)),
        ("in time", observed(grant_of("node-b", "boot-b"), 60_600), None),
        ("ended", observed(end(How::Released), 900_000), None),
        ("nothing", observed(Entry::Absent, 900_000), None),
        ("unreadable", observed(Entry::Unreadable, u64::MAX), None),
    ] {
        assert_eq!(decide_end(&observed, &terms(), &now), how, "{case}");
    }
}

#[test]
fn the_deadline_lies_before_the_ttl_by_a_margin() {
    let record = record_of(&grant_of("node-a", "boot-a"));
    for (ttl_ms, life_ms) in [(60_000, 57_000), (30_000, 28_500), (10_000, 9_000), (2_000, 1_500)] {
        let record = Record { ttl_ms, ..record.clone() };
        assert_eq!(deadline_ns(&record), (1_000 + life_ms) * 1_000_000, "{ttl_ms}");
    }
}

#[test]
fn what_the_writer_of_the_subject_did_not_write_holds_the_lease_and_grants_nothing() {
    let (a, b) = ("node-a".parse().unwrap(), "node-b".parse().unwrap());
    let grant = grant_of("node-a", "boot-a");
    let text = grant.render().unwrap();
    assert_eq!(Entry::read(text.as_bytes(), &name(), &a), grant);
    let ended = end(How::Dead);
    let end_text = ended.render().unwrap();
    assert_eq!(Entry::read(end_text.as_bytes(), &name(), &b), ended);
    let plain = text.replace("scope: \"cluster\"\n", "");
    let other: RecordName = "other".parse().unwrap();
    for (case, text, lease, writer) in [
        ("another node's record", text.as_str(), &name(), &b),
        ("another node's end", end_text.as_str(), &name(), &a),
        ("another lease", text.as_str(), &other, &a),
        ("another lease's end", end_text.as_str(), &other, &b),
        ("a lease of one machine", plain.as_str(), &name(), &a),
        ("a text", "held by me", &name(), &a),
        ("nothing", "", &name(), &a),
        ("a word", &end_text.replace("\"dead\"", "\"gone\""), &name(), &b),
        ("no token", &end_text.replace("fencing_token: ", "fencing_token: 9"), &name(), &b),
    ] {
        assert_eq!(Entry::read(text.as_bytes(), lease, writer), Entry::Unreadable, "{case}");
    }
    assert_eq!((Entry::Absent.render(), Entry::Unreadable.render()), (None, None));
    assert!(is_kind("lease") && is_kind("lease_end") && !is_kind("card"));
}

mod steps {
    use super::*;

    fn call(op: Op) -> Call {
        Call::new(op)
    }

    fn acquire() -> Call {
        call(Op::Acquire(Box::new(ask("first"))))
    }

    fn at(boot_ms: u64, run: impl FnOnce(&Now) -> Step) -> Step {
        let host = here();
        run(&Now { reading: reading(boot_ms), host: &host })
    }

    fn written(step: Step) -> Write {
        match step {
            Step::Write(write) => write,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_optimistic_acquire_is_one_round_trip() {
        let mut call = acquire();
        let write = written(at(1_000, |now| call.observe(&Observed::nothing(3), &terms(), now)));
        assert_eq!(write.expected, 0);
        let step = at(1_001, |now| call.answer(Answer::Accepted { revision: 42 }, &terms(), now));
        let Step::Done(Outcome::Granted(grant, Cause::Free)) = step else { panic!("{step:?}") };
        assert_eq!((grant.revision, grant.deadline_ns), (42, 58_000_000_000));
        assert_eq!(Entry::Grant(grant.record, terms().scope()), write.entry);
    }

    #[test]
    fn a_grant_that_arrives_after_its_deadline_is_not_acted_on() {
        let mut call = acquire();
        let _ = at(1_000, |now| call.observe(&Observed::nothing(3), &terms(), now));
        let step = at(58_000, |now| call.answer(Answer::Accepted { revision: 42 }, &terms(), now));
        assert_eq!((step, call.give_up()), (Step::Read, Outcome::Unknown));
        // It stands, so it is made sure of by one more write.
        let own = Observed { revision: 42, ..observed(grant_of("node-a", "boot-a"), 0) };
        let write = written(at(58_001, |now| call.observe(&own, &terms(), now)));
        assert_eq!((write.expected, call.give_up()), (42, Outcome::Unknown));
        let step = at(58_002, |now| call.answer(Answer::Accepted { revision: 43 }, &terms(), now));
        assert!(matches!(step, Step::Done(Outcome::Again(Grant { revision: 43, .. }))), "{step:?}");
    }

    #[test]
    fn a_lease_whose_end_was_removed_is_granted_to_a_caller_that_knew_the_end() {
        for (removed_up_to, granted) in [(41, true), (40, false)] {
            let terms = Terms { removed_up_to, ..terms() };
            let mut call = acquire();
            let known = Observed { revision: 41, ..observed(end(How::Released), 0) };
            let write = written(at(1_000, |now| call.observe(&known, &terms, now)));
            assert_eq!(write.expected, 41);
            let step = at(1_001, |now| call.answer(Answer::Refused, &terms, now));
            assert_eq!(step, Step::Read);
            let nothing = Observed { unchanged: Age::Ms(0), ..Observed::nothing(3) };
            let step = at(1_002, |now| call.observe(&nothing, &terms, now));
            match granted {
                true => assert_eq!(written(step).expected, 0),
                // It may be what a server has that is cut off, or that lost values.
                false => assert_eq!(step, Step::Read),
            }
        }
    }

    #[test]
    fn an_answer_to_a_write_of_a_former_epoch_grants_nothing() {
        let mut call = acquire();
        let _ = at(1_000, |now| call.observe(&Observed::nothing(3), &terms(), now));
        let later = Terms { epoch: 4, ..terms() };
        let step = at(1_001, |now| call.answer(Answer::Accepted { revision: 42 }, &later, now));
        assert_eq!((step, call.give_up()), (Step::Read, Outcome::Unknown));
    }

    #[test]
    fn a_lost_answer_is_found_out_under_the_same_id() {
        let mut call = acquire();
        let write = written(at(1_000, |now| call.observe(&Observed::nothing(3), &terms(), now)));
        assert_eq!(at(6_000, |now| call.answer(Answer::Unknown, &terms(), now)), Step::Read);
        assert_eq!(call.give_up(), Outcome::Unknown);
        // Nothing is there: the write may still arrive, so the next one expects the same revision.
        let nothing = Observed { unchanged: Age::Ms(0), ..Observed::nothing(3) };
        let again = written(at(7_000, |now| call.observe(&nothing, &terms(), now)));
        assert_eq!(again.expected, write.expected);
        // The first one arrived meanwhile.
        assert_eq!(at(7_001, |now| call.answer(Answer::Refused, &terms(), now)), Step::Read);
        let own = Observed { revision: 42, entry: write.entry, ..nothing };
        let sure = written(at(7_002, |now| call.observe(&own, &terms(), now)));
        assert_eq!((sure.expected, sure.entry.fencing_token()), (42, own.entry.fencing_token()));
        let step = at(7_003, |now| call.answer(Answer::Accepted { revision: 43 }, &terms(), now));
        assert!(matches!(step, Step::Done(Outcome::Again(_))), "{step:?}");
    }

    #[test]
    fn while_a_write_may_arrive_a_refusal_is_no_answer() {
        let mut call = acquire();
        let _ = at(1_000, |now| call.observe(&Observed::nothing(3), &terms(), now));
        let _ = at(6_000, |now| call.answer(Answer::Unknown, &terms(), now));
        let quarantine = Terms { no_grant_before_us: i64::MAX, ..terms() };
        let step = at(6_001, |now| call.observe(&Observed::nothing(3), &quarantine, now));
        assert_eq!((step, call.give_up()), (Step::Read, Outcome::Unknown));
        // A newer revision of another node: the write cannot arrive any more.
        let other = observed(grant_of("node-b", "boot-b"), 0);
        let step = at(6_002, |now| call.observe(&other, &terms(), now));
        assert!(matches!(step, Step::Done(Outcome::Held(_))), "{step:?}");
        assert_eq!(call.give_up(), Outcome::TimedOut);
    }

    #[test]
    fn an_old_reading_and_one_of_another_epoch_decide_nothing() {
        let mut call = call(Op::Release { token: FencingToken::new(9).unwrap() });
        let other = observed(grant_of("node-b", "boot-b"), 0);
        for observed in [
            Observed { epoch: 2, revision: 99, ..other.clone() },
            Observed { epoch: 4, revision: 99, ..other.clone() },
        ] {
            assert_eq!(at(1, |now| call.observe(&observed, &terms(), now)), Step::Read);
        }
        let lost = at(1, |now| call.observe(&other, &terms(), now));
        assert!(matches!(lost, Step::Done(Outcome::Lost(_))));
        let older = Observed { revision: 40, ..other };
        assert_eq!(at(1, |now| call.observe(&older, &terms(), now)), Step::Read);
        // After a loss the numbers begin again below.
        let later = Terms { epoch: 4, ..terms() };
        let lower = Observed { epoch: 4, ..older };
        let step = at(1, |now| call.observe(&lower, &later, now));
        assert!(matches!(step, Step::Done(Outcome::Lost(_))), "{step:?}");
    }

    #[test]
    fn a_renew_that_is_refused_for_no_reason_goes_on_and_one_that_lost_stops() {
        let own = observed(grant_of("node-a", "boot-a"), 0);
        let token = own.entry.fencing_token().unwrap();
        let mut call = call(Op::Renew { token, ttl_ms: None });
        let write = written(at(16_000, |now| call.observe(&own, &terms(), now)));
        assert_eq!(write.expected, 41);
        assert_eq!(at(16_001, |now| call.answer(Answer::Refused, &terms(), now)), Step::Read);
        let write = written(at(16_002, |now| call.observe(&own, &terms(), now)));
        assert_eq!(write.expected, 41);
        assert_eq!(at(16_003, |now| call.answer(Answer::Unknown, &terms(), now)), Step::Read);
        assert!(matches!(call.give_up(), Outcome::Lost(_)), "at the deadline it stops");
        let renewed = Observed { revision: 44, entry: write.entry, ..own };
        let write = written(at(16_004, |now| call.observe(&renewed, &terms(), now)));
        let step = at(16_005, |now| call.answer(Answer::Accepted { revision: 45 }, &terms(), now));
        let Step::Done(Outcome::Renewed { grant, .. }) = step else { panic!("{step:?}") };
        assert_eq!((write.expected, grant.deadline_ns), (44, (16_004 + 57_000) * 1_000_000));
        let taken = Observed { revision: 50, ..observed(grant_of("node-b", "boot-b"), 0) };
        let step = at(16_006, |now| call.observe(&taken, &terms(), now));
        assert!(matches!(step, Step::Done(Outcome::Lost(Lost { by: Some(_) }))), "{step:?}");
    }

    #[test]
    fn an_end_carries_the_token_and_is_written_once() {
        let own = observed(grant_of("node-a", "boot-a"), 0);
        let token = own.entry.fencing_token().unwrap();
        let mut release = call(Op::Release { token });
        let write = written(at(2_000, |now| release.observe(&own, &terms(), now)));
        assert_eq!((write.expected, write.entry.fencing_token()), (41, Some(token)));
        assert_eq!(at(2_001, |now| release.answer(Answer::Unknown, &terms(), now)), Step::Read);
        assert_eq!(release.give_up(), Outcome::Unknown);
        let ended = Observed { revision: 42, entry: write.entry, ..own.clone() };
        let step = at(2_002, |now| release.observe(&ended, &terms(), now));
        assert_eq!(step, Step::Done(Outcome::Released));

        let mut end = call(Op::End);
        let stands = at(2_000, |now| end.observe(&own, &terms(), now));
        assert_eq!(stands, Step::Done(Outcome::Stands));
        let dead = Observed { life: ProcessState::Dead, ..own };
        let write = written(at(2_000, |now| end.observe(&dead, &terms(), now)));
        let Entry::End(written) = &write.entry else { panic!("{write:?}") };
        assert_eq!((written.how, written.fencing_token), (How::Dead, token));
        let step = at(2_001, |now| end.answer(Answer::Accepted { revision: 42 }, &terms(), now));
        assert_eq!(step, Step::Done(Outcome::Ended(How::Dead)));
        assert_eq!(
            at(2_002, |now| end.answer(Answer::Refused, &terms(), now)),
            Step::Read,
            "nothing was sent"
        );
    }

    #[test]
    fn each_refusal_has_its_outcome() {
        let free = Observed::nothing(3);
        let quarantine = Terms { no_grant_before_us: i64::MAX, ..terms() };
        let full = Terms { floor: u64::MAX, ..terms() };
        let short = Terms { max_ttl_ms: 1, ..terms() };
        let counted = AcquireRequest { joint: Some(Joint::Slots(2)), ..ask("first") };
        for (ask, terms, outcome) in [
            (ask("first"), quarantine, Outcome::Quarantine { until_us: i64::MAX }),
            (ask("first"), full, Outcome::NoTokenLeft),
            (ask("first"), short, Outcome::TtlTooLong { max_ms: 1 }),
            (counted, terms(), Outcome::Unsupported),
        ] {
            let mut call = call(Op::Acquire(Box::new(ask)));
            let step = at(1_000, |now| call.observe(&free, &terms, now));
            assert_eq!(step, Step::Done(outcome));
        }
    }
}

proptest! {
    #[test]
    fn grants_and_ends_read_back(floor in 0u64..1 << 52, epoch: u64, ttl_ms in 1u64..3_600_000) {
        let host = here();
        let now = Now { reading: reading(5_000), host: &host };
        let terms = Terms { floor, epoch, ..terms() };
        let ask = AcquireRequest { ttl_ms, ..ask("x") };
        let answer = decide_acquire(&Observed::nothing(epoch), &ask, &terms, &now);
        let Acquired::Grant(record, _) = answer else {
            return Err(TestCaseError::fail(format!("{answer:?}")));
        };
        prop_assert!(deadline_ns(&record) < record.expires_boot_ns());
        let end = Entry::End(Box::new(decide::end_of(&record, How::Released, &terms)));
        let scope = terms.scope();
        for entry in [Entry::Grant(record, scope), end] {
            let text = entry.render().unwrap();
            prop_assert_eq!(Entry::read(text.as_bytes(), &name(), &terms.node), entry);
        }
    }

    #[test]
    fn no_bytes_in_the_store_are_a_reason_to_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let node = "node-a".parse().unwrap();
        prop_assert_eq!(Entry::read(&bytes, &name(), &node), Entry::Unreadable);
    }
}
