//! Presence: what an agent says it does, and how alive it is by the evidence of its record.
//!
//! The record `persona-<agent>.state` is written by the session's wrapper (`zeta run`) with every
//! beat and by the agent itself when it has something to say. One function judges it.

use crate::evidence::{
    Age, Boot, FileTimes, ProcessState, Processes, Stamp, age_of_foreign, judge_age, judge_boot,
};
use crate::lease::{FOREIGN_TTL_MS, optional_number, push_evidence, read_processes, read_stamp};
use crate::record::{Damage, Fields};
use crate::time::{Host, NS_PER_MS, Now, Reading, format_utc};

/// The `kind` of a persona record.
pub const KIND: &str = "persona";
/// How often a session beats by default.
pub const BEAT_MS: u64 = 10_000;
/// What an agent that only speaks now and then promises: to be heard again within this time.
pub const SPOKEN_MS: u64 = 600_000;
/// Missed beats after which an agent is late.
const LATE_BEATS: u64 = 2;
/// Missed beats after which it is silent or hung.
const SILENT_BEATS: u64 = 4;

/// Keys of a persona record that the program itself writes; a user's `K=V` may not use them.
pub const OWN_KEYS: [&str; 48] = [
    "schema",
    "kind",
    "persona",
    "agent",
    "session",
    "pid",
    "timestamp",
    "uid",
    "pid_start_ticks",
    "pidfs_ino",
    "pid_ns",
    "child_pid",
    "child_pid_start_ticks",
    "child_pidfs_ino",
    "boot_id",
    "machine_id",
    "time_ns",
    "started_at",
    "beat_boot_ns",
    "beat_awake_ns",
    "beat_at",
    "beat_every_ms",
    "beat_seq",
    "ended_at",
    "exit_status",
    "updated_at",
    "node",
    "file",
    "liveness",
    "turn",
    "turns",
    "wake",
    "stops",
    "hooked_boot_ns",
    "hooked_by",
    "tool_name",
    "tool_pid",
    "tool_pid_start_ticks",
    "tool_pidfs_ino",
    "tool_pid_ns",
    "tool_session",
    "cwd",
    "cwd_space",
    "edits",
    "told",
    "waits_for",
    "waits_since",
    "end",
];

/// How alive an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The last beat came in time.
    Live,
    /// Two beats are missing.
    Late,
    /// Four beats are missing, and its processes run.
    Hung,
    /// Four beats are missing, and no evidence says whether it lives.
    Silent,
    /// It has ended, or all its processes have.
    Gone,
}

impl Liveness {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Liveness::Live => "live",
            Liveness::Late => "late",
            Liveness::Hung => "hung",
            Liveness::Silent => "silent",
            Liveness::Gone => "gone",
        }
    }
}

/// The part of a persona record that its liveness is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Session that beats, if it is one.
    pub session: Option<String>,
    /// Its processes.
    pub processes: Processes,
    /// Clocks of the last beat.
    pub stamp: Stamp,
    /// CLOCK_MONOTONIC at the last beat: a machine that slept is not an agent that missed beats.
    pub awake_ns: Option<u64>,
    /// Time between beats.
    pub every_ms: u64,
    /// Its session has ended, by its own record.
    pub ended: bool,
}

impl Beat {
    /// Reads the beat of a persona record.
    pub fn from_fields(fields: &Fields) -> Result<Beat, Damage> {
        fields.expect_kind(KIND)?;
        Ok(Beat {
            session: fields.text("session").map(|t| t.into_owned()),
            processes: read_processes(fields)?,
            stamp: read_stamp(fields, "beat_boot_ns", "beat_at")?,
            awake_ns: optional_number(fields, "beat_awake_ns")?,
            every_ms: optional_number(fields, "beat_every_ms")?.unwrap_or(BEAT_MS).max(1),
            ended: fields.raw("ended_at").is_some(),
        })
    }
}

/// The processes that vouch for what a session takes: none if the session has ended, because a
/// grant must not be born free to take.
pub fn holder_processes(beat: &Beat, life: ProcessState) -> Processes {
    match beat.ended || life == ProcessState::Dead {
        true => Processes::default(),
        false => beat.processes,
    }
}

/// A judgement and the evidence for it, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub liveness: Liveness,
    /// Time since the last beat, where a clock can tell.
    pub beat_age_ms: Option<u64>,
    /// What it rests on.
    pub evidence: &'static str,
}

/// Judges a beat. `life` is that of the recorded processes and counts only on the same boot.
pub fn judge(beat: &Beat, times: FileTimes, life: ProcessState, now: &Now) -> Judgement {
    let boot = judge_boot(&beat.stamp, now);
    let life = if boot == Boot::Same { life } else { ProcessState::Unknown };
    let age = judge_age(&beat.stamp, boot, times, now);
    let beat_age_ms = match age {
        Age::Ms(ms) => Some(ms),
        Age::Unclear => None,
    };
    let verdict = |liveness, evidence| Judgement { liveness, beat_age_ms, evidence };
    if beat.ended {
        return verdict(Liveness::Gone, "its session has ended");
    }
    if boot == Boot::Other {
        return verdict(Liveness::Gone, "its record is of an earlier boot");
    }
    if life == ProcessState::Dead {
        return verdict(Liveness::Gone, "its processes have ended");
    }
    let Some(age_ms) = beat_age_ms else {
        return verdict(Liveness::Silent, "its clock lies ahead of this machine's");
    };
    let missed = awake_ms(beat, boot, age_ms, now) / beat.every_ms;
    match (missed, life) {
        (0..LATE_BEATS, ProcessState::Alive) => {
            verdict(Liveness::Live, "beat in time, process runs")
        }
        (0..LATE_BEATS, _) => verdict(Liveness::Live, "beat in time"),
        (LATE_BEATS..SILENT_BEATS, ProcessState::Alive) => verdict(Liveness::Late, "process runs"),
        (LATE_BEATS..SILENT_BEATS, _) => verdict(Liveness::Late, "not tied to a process"),
        (_, ProcessState::Alive) => verdict(Liveness::Hung, "process runs but does not beat"),
        (_, _) => verdict(Liveness::Silent, "no beat, and not tied to a process"),
    }
}

/// Judges a persona record by another program, which is known by its age alone.
pub fn judge_foreign(times: FileTimes, ttl_ms: Option<u64>, now: &Now) -> Judgement {
    let beat_age_ms = match age_of_foreign(times, now) {
        Age::Ms(ms) => Some(ms),
        Age::Unclear => None,
    };
    let (liveness, evidence) = match beat_age_ms {
        None => (Liveness::Silent, "its file time lies ahead of our clock"),
        Some(ms) if ms <= ttl_ms.unwrap_or(FOREIGN_TTL_MS) => {
            (Liveness::Live, "another program's record, within its TTL")
        }
        Some(_) => (Liveness::Silent, "another program's record, past its TTL"),
    };
    Judgement { liveness, beat_age_ms, evidence }
}

/// Returns for how many ms the judgement of a beat stays the same if none comes; `None` if only a
/// change of the record or of its processes can alter it. A beat that is late by half of its time
/// is a reason to look, too: the process may have been stopped.
pub fn steady_ms(beat: &Beat, times: FileTimes, life: ProcessState, now: &Now) -> Option<u64> {
    let judgement = judge(beat, times, life, now);
    if !matches!(judgement.liveness, Liveness::Live | Liveness::Late) {
        return None;
    }
    let boot = judge_boot(&beat.stamp, now);
    let awake_ms = awake_ms(beat, boot, judgement.beat_age_ms?, now);
    let every_ms = beat.every_ms;
    let half_late_ms = every_ms.saturating_add(every_ms / 2);
    let steps = [LATE_BEATS, SILENT_BEATS].map(|beats| every_ms.saturating_mul(beats));
    let mut later = std::iter::once(half_late_ms).chain(steps).filter(|at_ms| *at_ms > awake_ms);
    later.next().map(|at_ms| at_ms - awake_ms)
}

/// The part of a beat's age in which the machine was awake.
fn awake_ms(beat: &Beat, boot: Boot, age_ms: u64, now: &Now) -> u64 {
    match beat.awake_ns.and_then(|then| now.reading.awake_ns.checked_sub(then)) {
        Some(awake_ns) if boot == Boot::Same && beat.stamp.time_ns == now.host.time_ns => {
            (awake_ns / NS_PER_MS).min(age_ms)
        }
        _ => age_ms,
    }
}

/// Writes the beat of a session into its record, in place of the last one.
pub fn set_beat(fields: &mut Fields, reading: Reading, host: &Host, every_ms: u64) {
    let seq = fields.number("beat_seq").unwrap_or(0);
    fields.set_text("boot_id", &host.boot_id);
    match &host.machine_id {
        Some(id) => fields.set_text("machine_id", id),
        None => fields.remove("machine_id"),
    }
    match host.time_ns {
        Some(ino) => fields.set_number("time_ns", ino),
        None => fields.remove("time_ns"),
    }
    fields.set_number("beat_boot_ns", reading.boot_ns);
    fields.set_number("beat_awake_ns", reading.awake_ns);
    fields.set_text("beat_at", &format_utc(reading.wall_us));
    fields.set_number("beat_every_ms", every_ms);
    fields.set_number("beat_seq", seq.saturating_add(1));
}

/// Is the session of a record over: it said so, all its processes have ended, or its boot has.
/// `life` is that of the recorded processes and counts only on the same boot.
pub fn judge_session_over(fields: &Fields<'_>, life: ProcessState, now: &Now) -> bool {
    let over = |beat: Beat| match judge_boot(&beat.stamp, now) {
        Boot::Same => life == ProcessState::Dead,
        Boot::Other => true,
        Boot::Unclear | Boot::Elsewhere => false,
    };
    fields.raw("ended_at").is_some() || Beat::from_fields(fields).is_ok_and(over)
}

/// Takes a session that is over out of its record: a later beat is another agent's.
pub fn forget_session(fields: &mut Fields<'_>) {
    fields.remove("session");
    fields.remove("ended_at");
    fields.remove("exit_status");
    remove_processes(fields);
}

fn remove_processes(fields: &mut Fields<'_>) {
    for key in [
        "pid",
        "pid_start_ticks",
        "pidfs_ino",
        "pid_ns",
        "child_pid",
        "child_pid_start_ticks",
        "child_pidfs_ino",
    ] {
        fields.remove(key);
    }
}

/// Writes the processes of a session into its record, in place of earlier ones.
pub fn set_processes(fields: &mut Fields<'_>, processes: &Processes) {
    remove_processes(fields);
    if let Some(own) = processes.own {
        fields.set_number("pid", own.pid.into());
    }
    push_evidence(fields, processes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(every_ms: u64, ended: bool) -> (Beat, Host) {
        let host = Host { boot_id: "b".into(), ..Host::default() };
        let stamp = Stamp {
            boot_id: "b".into(),
            machine_id: None,
            time_ns: None,
            boot_ns: 1_000_000_000,
            wall_us: None,
        };
        let session = Some("s".to_owned());
        let processes = Processes::default();
        (Beat { session, processes, stamp, awake_ns: Some(7_000_000), every_ms, ended }, host)
    }

    fn liveness(age_ms: u64, slept_ms: u64, life: ProcessState, ended: bool) -> Liveness {
        let (beat, host) = beat(10_000, ended);
        let boot_ns = 1_000_000_000 + age_ms * NS_PER_MS;
        let awake_ns = 7_000_000 + (age_ms - slept_ms) * NS_PER_MS;
        let now = Now { reading: Reading { boot_ns, awake_ns, wall_us: 0 }, host: &host };
        judge(&beat, FileTimes::default(), life, &now).liveness
    }

    #[test]
    fn liveness_by_missed_beats_and_evidence() {
        use ProcessState::{Alive, Dead, Unknown};
        for (age_ms, life, verdict) in [
            (0, Alive, Liveness::Live),
            (19_999, Unknown, Liveness::Live),
            (20_000, Alive, Liveness::Late),
            (39_999, Unknown, Liveness::Late),
            (40_000, Alive, Liveness::Hung),
            (40_000, Unknown, Liveness::Silent),
            (0, Dead, Liveness::Gone),
        ] {
            assert_eq!(liveness(age_ms, 0, life, false), verdict, "{age_ms} {life:?}");
        }
        assert_eq!(liveness(0, 0, Alive, true), Liveness::Gone);
    }

    #[test]
    fn a_judgement_stays_until_the_next_beat_is_missed() {
        let (beat, host) = beat(10_000, false);
        let steady = |age_ms: u64, life| {
            let boot_ns = 1_000_000_000 + age_ms * NS_PER_MS;
            let reading = Reading { boot_ns, awake_ns: 7_000_000 + age_ms * NS_PER_MS, wall_us: 0 };
            let now = Now { reading, host: &host };
            steady_ms(&beat, FileTimes::default(), life, &now)
        };
        for (age_ms, expected) in [
            (0, Some(15_000)),
            (14_999, Some(1)),
            (15_000, Some(5_000)),
            (20_000, Some(20_000)),
            (39_999, Some(1)),
            (40_000, None),
        ] {
            assert_eq!(steady(age_ms, ProcessState::Alive), expected, "{age_ms}");
        }
        assert_eq!(steady(0, ProcessState::Dead), None);
    }

    #[test]
    fn an_agent_of_another_boot_is_gone_and_one_of_an_unknown_age_is_silent() {
        let (beat, host) = beat(10_000, false);
        let reading = Reading { boot_ns: beat.stamp.boot_ns - 1, awake_ns: 0, wall_us: 0 };
        let rebooted = Host { boot_id: "later".into(), ..host.clone() };
        let on = |host, life| {
            judge(&beat, FileTimes { mtime_us: 0, ctime_us: 1 }, life, &Now { reading, host })
        };
        assert_eq!(on(&rebooted, ProcessState::Alive).liveness, Liveness::Gone);
        // The same boot, and both its clock and the file's time lie ahead.
        for (life, liveness) in
            [(ProcessState::Alive, Liveness::Silent), (ProcessState::Dead, Liveness::Gone)]
        {
            assert_eq!(on(&host, life).liveness, liveness, "{life:?}");
        }
    }

    #[test]
    fn a_record_by_another_hand_is_judged_by_its_age() {
        let host = Host::default();
        let now =
            Now { reading: Reading { boot_ns: 0, awake_ns: 0, wall_us: 900_000_000 }, host: &host };
        let judged = |changed_us, ttl_ms| {
            let times = FileTimes { mtime_us: changed_us, ctime_us: changed_us };
            judge_foreign(times, ttl_ms, &now).liveness
        };
        assert_eq!(judged(899_000_000, None), Liveness::Live);
        assert_eq!(judged(200_000_000, None), Liveness::Silent);
        assert_eq!(judged(890_000_000, Some(5_000)), Liveness::Silent);
        assert_eq!(judged(901_000_000, None), Liveness::Silent);
    }

    #[test]
    fn a_machine_that_slept_is_not_an_agent_that_missed_beats() {
        assert_eq!(liveness(8_000_000, 7_990_000, ProcessState::Alive, false), Liveness::Live);
        assert_eq!(liveness(8_000_000, 7_980_000, ProcessState::Alive, false), Liveness::Late);
    }

    #[test]
    fn the_sleep_of_another_clock_excuses_nothing() {
        let (beat, host) = beat(10_000, false);
        let age_ms = 8_000_000;
        let awake_ns = 7_000_000 + 10_000 * NS_PER_MS;
        let boot_ns = 1_000_000_000 + age_ms * NS_PER_MS;
        let now = Now { reading: Reading { boot_ns, awake_ns, wall_us: 0 }, host: &host };
        assert_eq!(awake_ms(&beat, Boot::Same, age_ms, &now), 10_000);
        assert_eq!(awake_ms(&beat, Boot::Unclear, age_ms, &now), age_ms);
        let warped = Host { time_ns: Some(2), ..host.clone() };
        assert_eq!(awake_ms(&beat, Boot::Same, age_ms, &Now { host: &warped, ..now }), age_ms);
    }

    #[test]
    fn the_processes_of_a_session_replace_those_before() {
        let process = |pid| Some(crate::evidence::Process { pid, ..Default::default() });
        let mut fields = Fields::new(KIND);
        set_processes(
            &mut fields,
            &Processes { own: process(7), child: process(8), pid_ns: Some(4) },
        );
        assert_eq!((fields.number("pid"), fields.number("child_pid")), (Some(7), Some(8)));
        set_processes(&mut fields, &Processes { own: process(9), ..Processes::default() });
        assert_eq!((fields.number("pid"), fields.raw("child_pid")), (Some(9), None));
    }

    #[test]
    fn a_session_that_has_ended_vouches_for_nothing() {
        use ProcessState::{Alive, Dead, Unknown};
        let process = crate::evidence::Process { pid: 7, ..Default::default() };
        let processes = Processes { own: Some(process), ..Processes::default() };
        for (ended, life, vouches) in [
            (false, Alive, true),
            (false, Unknown, true),
            (false, Dead, false),
            (true, Alive, false),
        ] {
            let beat = Beat { processes, ..beat(10_000, ended).0 };
            let expected = if vouches { processes } else { Processes::default() };
            assert_eq!(holder_processes(&beat, life), expected, "{ended} {life:?}");
        }
    }

    #[test]
    fn a_beat_after_the_end_is_not_the_session_s() {
        let mut fields = Fields::new(KIND);
        fields.set_text("session", "s");
        fields.set_number("pid", 7);
        let (_, host) = beat(1, false);
        let reading = Reading { boot_ns: 9_000_000_000, awake_ns: 0, wall_us: 9_000_000 };
        let now = Now { reading, host: &host };
        assert!(
            !judge_session_over(&fields, ProcessState::Dead, &now),
            "there is no beat to judge"
        );
        set_beat(&mut fields, reading, &host, 1);
        for (life, over) in [
            (ProcessState::Alive, false),
            (ProcessState::Unknown, false),
            (ProcessState::Dead, true),
        ] {
            assert_eq!(judge_session_over(&fields, life, &now), over, "{life:?}");
        }
        let earlier = Host { boot_id: "earlier".into(), ..host.clone() };
        let started = Reading { boot_ns: 99_000_000_000, ..reading };
        let mut old = fields.clone();
        set_beat(&mut old, started, &earlier, 1);
        assert!(judge_session_over(&old, ProcessState::Alive, &now), "its boot is over");
        fields.set_text("ended_at", "x");
        assert!(judge_session_over(&fields, ProcessState::Alive, &now));
        forget_session(&mut fields);
        assert!(fields.raw("session").is_none() && fields.raw("pid").is_none());
    }

    #[test]
    fn a_beat_replaces_the_last_one_and_keeps_the_rest() {
        let (_, host) = beat(1, false);
        let mut fields = Fields::new(KIND);
        fields.set_text("task", "B-0856");
        let reading = Reading { boot_ns: 5, awake_ns: 0, wall_us: 6 };
        set_beat(&mut fields, reading, &host, 10_000);
        set_beat(&mut fields, reading, &host, 10_000);
        assert_eq!(fields.number("beat_seq"), Some(2));
        assert_eq!(fields.text("task").as_deref(), Some("B-0856"));
        let read = Beat::from_fields(&fields).unwrap();
        assert_eq!((read.stamp.boot_ns, read.every_ms), (5, 10_000));
    }
}
