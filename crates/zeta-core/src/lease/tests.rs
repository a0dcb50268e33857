//! The rules of leases as tables: one row per case of `docs/concurrency.md`.

use proptest::prelude::*;

use super::*;
use crate::evidence::{FIRST_TIME_NS, FileTimes, ProcessState};
use crate::record::{Text, parse};
use crate::time::{Host, Now, Reading};

const TOKEN: u64 = 1_000;
const TTL_MS: u64 = 60_000;

fn host() -> Host {
    Host {
        boot_id: "b1".into(),
        machine_id: Some("m1".into()),
        pid_ns: Some(4),
        time_ns: Some(FIRST_TIME_NS),
    }
}

/// The reading `ms` after the record of [`record`] was granted.
fn after(ms: u64) -> Reading {
    Reading {
        boot_ns: 500_000_000_000 + ms * NS_PER_MS,
        awake_ns: 0,
        wall_us: 9_000_000 + ms as i64 * 1000,
    }
}

pub(crate) fn record() -> Record {
    let host = host();
    Record {
        lease: RecordName::new("lease", "deploy").unwrap(),
        fencing_token: FencingToken::new(TOKEN).unwrap(),
        lease_id: "id-1".into(),
        agent: Label::new("agent", "otto-cli").unwrap(),
        session: Some("s-1".into()),
        processes: Processes {
            own: Some(Process { pid: 7, start_ticks: Some(8), pidfs_ino: Some(9) }),
            child: Some(Process { pid: 10, start_ticks: Some(11), pidfs_ino: Some(12) }),
            pid_ns: Some(4),
        },
        pr: Some(42),
        uid: Some(1000),
        renewed: stamp_now(after(0), &host),
        acquired_boot_ns: after(0).boot_ns,
        acquired_us: Some(after(0).wall_us),
        ttl_ms: TTL_MS,
        grace_ms: TTL_MS,
        policy: Policy::Reclaim,
        renew_seq: 3,
        purpose: Some("a \"quoted\" reason\nof two lines".into()),
        extra: vec![("colour".into(), "\"red\"".into())],
    }
}

fn ask(lease_id: &str, session: &str) -> AcquireRequest {
    AcquireRequest {
        lease: RecordName::new("lease", "deploy").unwrap(),
        lease_id: lease_id.into(),
        agent: Label::new("agent", "otto-cli").unwrap(),
        session: Some(session.into()),
        processes: Processes::default(),
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

fn ours(life: ProcessState) -> Observed {
    Observed::Ours(Box::new(record()), FileTimes::default(), life)
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let text = record().to_fields().render();
    let Ok(Text::Own(fields)) = parse(text.as_bytes(), 4096) else { panic!("{text}") };
    assert_eq!(Record::from_fields(&fields, &record().lease), Ok(record()), "{text}");
}

#[test]
fn the_words_and_numbers_of_the_standard_are_these() {
    let ttls = [TTL_SESSION_MS, TTL_PROCESS_MS, FOREIGN_TTL_MS];
    assert_eq!(ttls, [600_000, 60_000, 600_000]);
    assert_eq!((FencingToken::LIMIT, DAMAGED_TTL_MS), (9_007_199_254_740_992, 1_200_000));
    for (policy, word) in
        [(Policy::Reclaim, "reclaim"), (Policy::Kill, "kill"), (Policy::Never, "never")]
    {
        assert_eq!(policy.word(), word);
        assert_eq!(word.parse(), Ok(policy));
    }
    assert!("Kill".parse::<Policy>().is_err());
    let token = FencingToken::new(TOKEN).unwrap();
    assert_eq!(token.to_string(), "1000");
    assert_eq!("1000".parse(), Ok(token));
    assert!("0".parse::<FencingToken>().is_err());
}

#[test]
fn a_ttl_of_nothing_and_one_beyond_the_limit_are_damaged() {
    let max_ms = crate::time::TTL_MAX_MS;
    for (ttl_ms, good) in [(0, false), (1, true), (max_ms, true), (max_ms + 1, false)] {
        let mut fields = record().to_fields();
        fields.set_number("ttl_ms", ttl_ms);
        let read = Record::from_fields(&fields, &record().lease);
        assert_eq!(read.is_ok(), good, "{ttl_ms}");
    }
}

#[test]
fn a_grant_says_why_it_was_free_and_counts_up_from_the_record() {
    let mut host = host();
    host.pid_ns = Some(9);
    let now = Now { reading: Reading { wall_us: 1, ..after(10) }, host: &host };
    for (killed, cause) in [(true, Cause::Killed), (false, Cause::HolderDead)] {
        let asked = ask("id-2", "s-2");
        let answer = decide_acquire(&ours(ProcessState::Dead), &asked, 1, killed, &now);
        let Acquired::Grant(record, why) = answer else { panic!("{answer:?}") };
        assert_eq!(why, cause);
        assert_eq!(record.fencing_token.get(), TOKEN + 1, "above the record's own");
        assert_eq!(record.processes.pid_ns, Some(9), "the caller's namespace");
    }
}

#[test]
fn a_record_by_another_hand_is_held_to_the_last_millisecond_of_its_ttl() {
    let host = host();
    let now = Now { reading: Reading { wall_us: 20_000_000, ..after(0) }, host: &host };
    for (age_ms, rest_ms) in [(4_000, Some(1_001)), (5_000, Some(1)), (5_001, None)] {
        let us = now.reading.wall_us - age_ms * 1000;
        let times = FileTimes { mtime_us: us, ctime_us: us };
        let observed = Observed::Foreign { ttl_ms: Some(5_000), said: Box::default(), times };
        let rest = match judge(&observed, &now) {
            Standing::Held(held) => held.rest_ms,
            _ => None,
        };
        assert_eq!(rest, rest_ms, "{age_ms}");
    }
}

#[test]
fn the_end_of_a_ttl_is_the_same_by_both_clocks() {
    let record = record();
    assert_eq!(record.expires_boot_ns(), after(TTL_MS).boot_ns);
    assert_eq!(record.expires_us(after(0).wall_us), after(TTL_MS).wall_us);
}

#[test]
fn a_child_without_its_wrapper_keeps_its_namespace() {
    let mut record = record();
    record.processes.child = record.processes.own.take();
    record.processes.pid_ns = Some(7);
    let read = Record::from_fields(&record.to_fields(), &record.lease);
    assert_eq!(read, Ok(record));
}

#[test]
fn numbers_that_leave_no_room_for_arithmetic_are_damaged() {
    let name = record().lease;
    let ns = i64::MAX as u64;
    for (key, good, bad) in [
        ("renew_seq", FencingToken::LIMIT, FencingToken::LIMIT + 1),
        ("acquired_boot_ns", ns, ns + 1),
        ("renewed_boot_ns", ns, u64::MAX),
    ] {
        let read = |number| {
            let mut fields = record().to_fields();
            fields.set_number(key, number);
            Record::from_fields(&fields, &name)
        };
        assert_eq!(read(bad), Err(Damage::BadKey(key)));
        let far = read(good).unwrap();
        assert!(far.expires_boot_ns() > far.renewed.boot_ns, "{key}");
        let _ = far.to_fields().render();
    }
}

#[test]
fn a_record_under_another_name_is_damaged() {
    let fields = record().to_fields();
    let other = RecordName::new("lease", "other").unwrap();
    assert_eq!(Record::from_fields(&fields, &other), Err(Damage::BadKey("lease")));
}

#[test]
fn who_may_take_over_and_when() {
    use ProcessState::{Alive, Dead, Unknown};
    let host = host();
    let grant = |cause| Standing::Grantable(cause);
    let held = |why, rest_ms| Standing::Held(Held { why, rest_ms: Some(rest_ms) });
    for (life, ms, standing) in [
        (Alive, 0, held(HeldWhy::InTime, TTL_MS + 1)),
        (Unknown, TTL_MS, held(HeldWhy::InTime, 1)),
        (Unknown, TTL_MS + 1, grant(Cause::Expired)),
        (Dead, 0, grant(Cause::HolderDead)),
        (Alive, TTL_MS + 1, held(HeldWhy::InGrace, TTL_MS)),
        (Alive, 2 * TTL_MS, held(HeldWhy::InGrace, 1)),
        (Alive, 2 * TTL_MS + 1, grant(Cause::Overdue)),
    ] {
        let now = Now { reading: after(ms), host: &host };
        assert_eq!(judge(&ours(life), &now), standing, "{life:?} after {ms} ms");
    }
}

#[test]
fn the_policy_decides_about_a_holder_that_is_alive_and_overdue() {
    let host = host();
    let now = Now { reading: after(2 * TTL_MS + 1), host: &host };
    let with = |policy| {
        let record = Record { policy, ..record() };
        judge(&Observed::Ours(Box::new(record), FileTimes::default(), ProcessState::Alive), &now)
    };
    assert_eq!(with(Policy::Reclaim), Standing::Grantable(Cause::Overdue));
    assert_eq!(with(Policy::Kill), Standing::MustKill(Box::new(record().processes)));
    let never = Standing::Held(Held { why: HeldWhy::OverdueForever, rest_ms: None });
    assert_eq!(with(Policy::Never), never);
}

#[test]
fn a_wall_clock_step_changes_nothing() {
    let host = host();
    for step_us in [-86_400_000_000, 86_400_000_000i64] {
        let reading = Reading { wall_us: after(10).wall_us + step_us, ..after(10) };
        let now = Now { reading, host: &host };
        assert!(
            matches!(judge(&ours(ProcessState::Unknown), &now), Standing::Held(_)),
            "{step_us}"
        );
    }
}

#[test]
fn life_is_not_asked_about_another_kernel() {
    let elsewhere = Host { boot_id: "b2".into(), machine_id: Some("m2".into()), ..host() };
    let now = Now { reading: after(10), host: &elsewhere };
    let times = FileTimes { mtime_us: 0, ctime_us: after(0).wall_us };
    let seen = Observed::Ours(Box::new(record()), times, ProcessState::Dead);
    assert!(matches!(judge(&seen, &now), Standing::Held(_)));
    // By the file, whose time may be that of the tick before.
    let now = Now { reading: after(TTL_MS + 10), host: &elsewhere };
    assert!(matches!(judge(&seen, &now), Standing::Held(_)));
    let now = Now { reading: after(TTL_MS + 11), host: &elsewhere };
    assert_eq!(judge(&seen, &now), Standing::Grantable(Cause::Expired));
}

#[test]
fn a_lease_whose_age_no_clock_can_tell_is_held() {
    let shifted = Host { time_ns: Some(FIRST_TIME_NS + 1), ..host() };
    let now = Now { reading: after(9 * TTL_MS), host: &shifted };
    let times = FileTimes { mtime_us: 0, ctime_us: now.reading.wall_us + 1 };
    let seen = |life| Observed::Ours(Box::new(record()), times, life);
    let held = Standing::Held(Held { why: HeldWhy::InTime, rest_ms: None });
    assert_eq!(judge(&seen(ProcessState::Unknown), &now), held);
    assert_eq!(judge(&seen(ProcessState::Alive), &now), held);
    assert_eq!(judge(&seen(ProcessState::Dead), &now), Standing::Grantable(Cause::HolderDead));
}

/// A limit that `docs/concurrency.md` names (N17), shown so that no code comes to rely on more.
#[test]
fn a_wall_clock_set_forward_ends_a_lease_of_another_time_namespace() {
    let shifted = Host { time_ns: Some(FIRST_TIME_NS + 1), ..host() };
    let times = FileTimes { mtime_us: 0, ctime_us: after(0).wall_us };
    let at = |wall_ms, life| {
        let reading = Reading { wall_us: after(wall_ms).wall_us, ..after(10) };
        let seen = Observed::Ours(Box::new(record()), times, life);
        judge(&seen, &Now { reading, host: &shifted })
    };
    assert!(matches!(at(10, ProcessState::Unknown), Standing::Held(_)));
    assert_eq!(at(TTL_MS + 11, ProcessState::Unknown), Standing::Grantable(Cause::Expired));
    assert!(matches!(at(TTL_MS + 11, ProcessState::Alive), Standing::Held(_)));
    assert_eq!(at(2 * TTL_MS + 11, ProcessState::Alive), Standing::Grantable(Cause::Overdue));
    let set_back = Reading { wall_us: after(0).wall_us - 1, ..after(9 * TTL_MS) };
    let seen = Observed::Ours(Box::new(record()), times, ProcessState::Unknown);
    assert!(matches!(judge(&seen, &Now { reading: set_back, host: &shifted }), Standing::Held(_)));
}

#[test]
fn the_same_attempt_gets_the_same_token_and_a_sibling_does_not() {
    let host = host();
    let now = Now { reading: after(10), host: &host };
    let again = decide_acquire(&ours(ProcessState::Alive), &ask("id-1", "s-1"), TOKEN, false, &now);
    assert_eq!(again, Acquired::Again(Box::new(record())));
    for (lease_id, session) in [("id-2", "s-1"), ("id-1", "s-2")] {
        let sibling =
            decide_acquire(&ours(ProcessState::Alive), &ask(lease_id, session), TOKEN, false, &now);
        assert!(matches!(sibling, Acquired::Held(_)), "{lease_id} {session}");
    }
}

#[test]
fn a_repeated_attempt_gets_no_dead_and_no_void_lease() {
    let host = host();
    let now = Now { reading: after(10), host: &host };
    let again = |life, highest| {
        let decided = decide_acquire(&ours(life), &ask("id-1", "s-1"), highest, false, &now);
        matches!(decided, Acquired::Again(_))
    };
    assert!(again(ProcessState::Alive, TOKEN) && again(ProcessState::Unknown, 0));
    assert!(!again(ProcessState::Dead, TOKEN));
    assert!(!again(ProcessState::Alive, TOKEN + 1));
}

#[test]
fn a_new_grant_takes_over_nothing_from_the_old_record() {
    let host = host();
    let now = Now { reading: after(10), host: &host };
    let ask = AcquireRequest { agent: Label::new("agent", "vera").unwrap(), ..ask("id-2", "s-2") };
    let decided = decide_acquire(&ours(ProcessState::Dead), &ask, TOKEN, false, &now);
    let Acquired::Grant(granted, Cause::HolderDead) = decided else { panic!("{decided:?}") };
    assert!(!record().extra.is_empty() && granted.extra.is_empty());
    assert!(granted.fencing_token.get() > TOKEN);
    assert_eq!((granted.pr, granted.purpose, granted.renew_seq), (None, None, 0));
    assert_eq!((granted.processes.own, granted.processes.child), (None, None));
}

#[test]
fn release_tells_mine_from_already_from_lost() {
    let mine = FencingToken::new(TOKEN).unwrap();
    let late = FencingToken::new(TOKEN - 1).unwrap();
    assert_eq!(decide_release(&ours(ProcessState::Alive), mine, TOKEN, true), Released::Remove);
    assert_eq!(decide_release(&Observed::Absent, mine, TOKEN, false), Released::Already);
    assert!(matches!(decide_release(&Observed::Absent, mine, TOKEN, true), Released::Lost(_)));
    assert!(matches!(decide_release(&Observed::Absent, late, TOKEN, false), Released::Lost(_)));
    assert!(matches!(
        decide_release(&ours(ProcessState::Alive), late, TOKEN, false),
        Released::Lost(_)
    ));
}

#[test]
fn a_grant_that_never_was_is_told_from_one_that_ended() {
    let past = |observed: &Observed, token, highest| {
        let token = FencingToken::new(token).unwrap();
        let host = host();
        let now = Now { reading: after(0), host: &host };
        let Checked::Lost(lost) = decide_check(observed, token, &now) else { panic!("it stands") };
        judge_past(&lost, token, highest)
    };
    let never = |highest| Past::Never { highest };
    assert_eq!(past(&Observed::Absent, TOKEN, 0), Past::NoGrant);
    assert_eq!(past(&Observed::Absent, TOKEN, TOKEN), Past::Granted);
    assert_eq!(past(&Observed::Absent, TOKEN + 1, TOKEN), never(TOKEN));
    assert_eq!(past(&ours(ProcessState::Alive), TOKEN + 1, 0), never(TOKEN));
    assert_eq!(past(&ours(ProcessState::Alive), TOKEN - 1, 0), Past::Granted);
}

#[test]
fn a_break_removes_only_the_grant_that_was_looked_at() {
    let seen = FencingToken::new(TOKEN);
    let other = FencingToken::new(TOKEN - 1);
    let times = FileTimes::default();
    let foreign = Observed::Foreign { ttl_ms: None, said: Default::default(), times };
    let damaged = Observed::Damaged(Damage::NoEnd, times);
    let lost = |observed: &Observed, expected| {
        matches!(decide_break(observed, expected), Released::Lost(_))
    };
    assert_eq!(decide_break(&ours(ProcessState::Alive), seen), Released::Remove);
    assert!(lost(&ours(ProcessState::Alive), other) && lost(&ours(ProcessState::Dead), other));
    for strange in [&foreign, &damaged] {
        assert_eq!(decide_break(strange, None), Released::Remove, "{strange:?}");
        assert!(lost(strange, seen), "{strange:?}");
    }
    assert!(lost(&ours(ProcessState::Alive), None));
    assert_eq!(decide_break(&Observed::Absent, None), Released::Already);
    assert_eq!(decide_break(&Observed::Absent, seen), Released::Already);
}

#[test]
fn a_lease_is_passed_on_by_its_holder_alone_and_its_token_grows() {
    let host = host();
    let now = Now { reading: after(1_000), host: &host };
    let successor = || Successor {
        lease_id: "id-2".into(),
        agent: Label::new("agent", "vera").unwrap(),
        session: None,
        processes: Processes::default(),
        ttl_ms: None,
        extra: Vec::new(),
    };
    let mine = FencingToken::new(TOKEN).unwrap();
    let highest = 10_000_000;
    let passed = decide_reassign(&ours(ProcessState::Alive), mine, highest, successor(), &now);
    let Reassigned::Write(new) = passed else { panic!("{passed:?}") };
    assert_eq!(new.fencing_token.get(), highest + 1, "above the token file's number");
    assert_eq!((new.agent.as_str(), new.session.as_deref()), ("vera", None));
    assert_eq!((new.renew_seq, new.ttl_ms), (0, TTL_MS));
    assert_eq!(new.acquired_boot_ns, now.reading.boot_ns);
    assert_eq!(new.acquired_us, Some(now.reading.wall_us));
    assert_eq!(new.renewed, stamp_now(now.reading, &host));
    assert_eq!((new.lease_id.as_str(), new.processes), ("id-2", Processes::default()));
    let longer = Successor { ttl_ms: Some(TTL_MS * 2), ..successor() };
    let passed = decide_reassign(&ours(ProcessState::Alive), mine, highest, longer, &now);
    let Reassigned::Write(new) = passed else { panic!("{passed:?}") };
    assert_eq!(new.ttl_ms, TTL_MS * 2);
    assert_eq!(new.extra, record().extra, "what the record says of its work stays");
    let extra = |from: &str| ("claim_from".to_owned(), format!("\"{from}\""));
    let mut described = ours(ProcessState::Alive);
    if let Observed::Ours(record, ..) = &mut described {
        record.extra.push(extra("otto"));
    }
    let named = Successor { extra: vec![extra("vera")], ..successor() };
    let passed = decide_reassign(&described, mine, highest, named, &now);
    let Reassigned::Write(new) = passed else { panic!("{passed:?}") };
    assert_eq!(new.extra, [record().extra, vec![extra("vera")]].concat());
    let other = FencingToken::new(TOKEN + 1).unwrap();
    for (seen, token) in [(ours(ProcessState::Alive), other), (Observed::Absent, mine)] {
        let refused = decide_reassign(&seen, token, highest, successor(), &now);
        assert!(matches!(refused, Reassigned::Lost(_)), "{refused:?}");
    }
    let full = FencingToken::LIMIT;
    let none = decide_reassign(&ours(ProcessState::Alive), mine, full, successor(), &now);
    assert_eq!(none, Reassigned::NoTokenLeft);
}

#[test]
fn a_late_renew_is_good_only_if_nobody_was_in_between() {
    let host = host();
    let now = Now { reading: after(TTL_MS + 500), host: &host };
    let mine = FencingToken::new(TOKEN).unwrap();
    let late = decide_renew(&ours(ProcessState::Alive), mine, None, &now);
    let Renewed::Write { record, gap_ms } = late else { panic!("{late:?}") };
    assert_eq!((gap_ms, record.renew_seq), (Some(500), 4));
    assert_eq!(record.extra, super::tests::record().extra);
    let last = Now { reading: after(TTL_MS), host: &host };
    let in_time = decide_renew(&ours(ProcessState::Alive), mine, None, &last);
    assert!(matches!(in_time, Renewed::Write { gap_ms: None, .. }), "{in_time:?}");
    let other = FencingToken::new(TOKEN - 1).unwrap();
    let lost = decide_renew(&ours(ProcessState::Alive), other, None, &now);
    assert!(matches!(lost, Renewed::Lost(Lost { by: Some(_) })));
    let gone = decide_renew(&Observed::Absent, mine, None, &now);
    assert!(matches!(gone, Renewed::Lost(Lost { by: None })));
}

#[test]
fn a_keeper_tells_given_back_from_lost() {
    let host = host();
    let mine = FencingToken::new(TOKEN).unwrap();
    let until_ns = record().expires_boot_ns();
    let other = |acquired_ms| {
        let fencing_token = FencingToken::new(TOKEN + 5).unwrap();
        let acquired_boot_ns = after(acquired_ms).boot_ns;
        let record = Record { fencing_token, acquired_boot_ns, ..record() };
        Observed::Ours(Box::new(record), FileTimes::default(), ProcessState::Alive)
    };
    let fate = |observed: &Observed, highest, broken, ms| {
        let now = Now { reading: after(ms), host: &host };
        match decide_loss(observed, mine, until_ns, highest, broken, &now) {
            Loss::Stands => "stands",
            Loss::GivenBack => "given back",
            Loss::Lost(_) => "lost",
        }
    };
    let late = TTL_MS + 10;
    assert_eq!(fate(&ours(ProcessState::Alive), TOKEN, false, late), "stands");
    assert_eq!(fate(&Observed::Absent, TOKEN, false, late), "given back");
    assert_eq!(fate(&Observed::Absent, TOKEN + 5, false, 10), "given back");
    assert_eq!(fate(&Observed::Absent, TOKEN + 5, false, late), "lost");
    assert_eq!(fate(&Observed::Absent, TOKEN, true, 10), "lost");
    assert_eq!(fate(&other(5), TOKEN + 5, false, 10), "given back");
    assert_eq!(fate(&other(5), TOKEN + 5, true, 10), "lost");
    assert_eq!(fate(&other(5), TOKEN + 5, false, late), "given back");
    assert_eq!(fate(&other(TTL_MS + 5), TOKEN + 5, false, late), "lost");
    let times = FileTimes::default();
    let foreign = Observed::Foreign { ttl_ms: None, said: Default::default(), times };
    assert_eq!(fate(&foreign, TOKEN, false, TTL_MS), "given back");
    assert_eq!(fate(&foreign, TOKEN, false, late), "lost");
}

#[test]
fn a_session_keeps_what_it_vouches_for_and_nothing_else() {
    let record = record();
    let own = record.processes.own.unwrap();
    assert!(is_kept_by(&record, "s-1", &own));
    assert!(!is_kept_by(&record, "s-2", &own));
    assert!(!is_kept_by(&record, "s-1", &Process { pid: 99, ..own }));
    let bare = Record { processes: Processes::default(), ..record };
    assert!(is_kept_by(&bare, "s-1", &own));
}

#[test]
fn a_check_fails_before_the_ttl_ends() {
    assert_eq!(check_margin_ms(600_000), 30_000);
    assert_eq!(check_margin_ms(10_000), 1_000);
    assert_eq!(check_margin_ms(1_000), 250);
    let host = host();
    let mine = FencingToken::new(TOKEN).unwrap();
    let at = |ms| {
        let now = Now { reading: after(ms), host: &host };
        decide_check(&ours(ProcessState::Alive), mine, &now)
    };
    assert_eq!(at(0), Checked::Good { rest_ms: 57_000 });
    assert_eq!(at(56_999), Checked::Good { rest_ms: 1 });
    assert_eq!(at(57_000), Checked::TooLate);
}

#[test]
fn foreign_and_damaged_records_age_out() {
    let host = host();
    let now =
        Now { reading: Reading { boot_ns: 0, awake_ns: 0, wall_us: 10_000_000_000 }, host: &host };
    let aged = |s: i64| FileTimes {
        mtime_us: now.reading.wall_us - s * 1_000_000,
        ctime_us: now.reading.wall_us - s * 1_000_000,
    };
    let foreign = |s, ttl_ms| {
        judge(&Observed::Foreign { ttl_ms, said: Default::default(), times: aged(s) }, &now)
    };
    assert!(matches!(foreign(599, None), Standing::Held(_)));
    assert_eq!(foreign(601, None), Standing::Grantable(Cause::ForeignExpired));
    assert_eq!(foreign(6, Some(5_000)), Standing::Grantable(Cause::ForeignExpired));
    let damaged = |s| judge(&Observed::Damaged(Damage::NoEnd, aged(s)), &now);
    assert!(matches!(damaged(1199), Standing::Held(_)));
    assert_eq!(damaged(1201), Standing::Grantable(Cause::DamagedExpired));
    // The time that a writer can set is not believed: another one tells when it was changed.
    let set_back = FileTimes { mtime_us: 0, ..aged(1199) };
    let standing = judge(&Observed::Damaged(Damage::NoEnd, set_back), &now);
    assert!(matches!(standing, Standing::Held(_)), "{standing:?}");
    assert!(matches!(damaged(-60), Standing::Held(Held { rest_ms: None, .. })));
}

proptest! {
    #[test]
    fn a_new_token_is_above_all_that_are_known(
        highest in 0..FencingToken::LIMIT - 1,
        record in 1..FencingToken::LIMIT - 1,
        wall_us in any::<i64>(),
    ) {
        if let Some(token) = FencingToken::after(highest, FencingToken::new(record), wall_us) {
            prop_assert!(token.get() > highest && token.get() > record);
        } else {
            prop_assert!(wall_us >= (FencingToken::LIMIT - 1) as i64
                || highest.max(record) + 1 >= FencingToken::LIMIT);
        }
    }

    /// At no moment may the old holder's check pass while a stranger could be granted.
    #[test]
    fn check_and_grant_never_overlap(ms in 0u64..200_000, alive in any::<bool>()) {
        let host = host();
        let now = Now { reading: after(ms), host: &host };
        let life = if alive { ProcessState::Alive } else { ProcessState::Unknown };
        let good = matches!(
            decide_check(&ours(life), FencingToken::new(TOKEN).unwrap(), &now),
            Checked::Good { .. }
        );
        let grantable = matches!(judge(&ours(life), &now), Standing::Grantable(_));
        prop_assert!(!(good && grantable));
    }
}
