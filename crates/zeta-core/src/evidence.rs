//! Is a process alive: three answers, and any doubt is *unknown*, because unknown never robs.
//!
//! A process is recorded by its pid, its start in clock ticks, and the inode number of its pidfd,
//! which the kernel never uses twice (6.9 and later). Pids mean something only to the kernel and
//! the pid namespace that they were read in, so the boot is judged first.

use crate::record::is_same;
use crate::time::{Host, Now};

/// The state of recorded processes, as far as evidence shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// Proven to run.
    Alive,
    /// Proven to have ended.
    Dead,
    /// Neither can be shown.
    Unknown,
}

impl ProcessState {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            ProcessState::Alive => "alive",
            ProcessState::Dead => "dead",
            ProcessState::Unknown => "unknown",
        }
    }
}

/// One process as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Process {
    /// Process id in the pid namespace that the record names.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: Option<u64>,
    /// Inode number of its pidfd, where the kernel has a pidfs.
    pub pidfs_ino: Option<u64>,
}

/// The processes whose death frees a lease: the wrapper and the child that works under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Processes {
    /// The process that took the lease (a `zeta run`, a `zeta lease exec`, a program).
    pub own: Option<Process>,
    /// The child that it watches over.
    pub child: Option<Process>,
    /// Pid namespace of both, as an inode number.
    pub pid_ns: Option<u64>,
}

/// What was found where a process was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No process has that id (or the id is now a thread's).
    Nothing,
    /// There is one.
    Something {
        /// It has ended and only waits to be reaped.
        ended: bool,
        /// Inode number of its pidfd, where the kernel has a pidfs.
        pidfs_ino: Option<u64>,
        /// Its start in clock ticks, where that could be read.
        start_ticks: Option<u64>,
    },
    /// It could not be asked.
    Unreadable,
}

/// Judges one process.
pub fn judge_process(recorded: &Process, found: Found) -> ProcessState {
    let Found::Something { ended, pidfs_ino, start_ticks } = found else {
        return if found == Found::Nothing { ProcessState::Dead } else { ProcessState::Unknown };
    };
    let same = match (recorded.pidfs_ino, pidfs_ino) {
        (Some(then), Some(now)) => Some(then == now),
        _ => match (recorded.start_ticks, start_ticks) {
            (Some(then), Some(now)) => Some(then == now),
            _ => None,
        },
    };
    match (same, ended) {
        (Some(false), _) | (_, true) => ProcessState::Dead,
        (Some(true), false) => ProcessState::Alive,
        (None, false) => ProcessState::Unknown,
    }
}

/// Joins the verdicts on a holder's processes: dead only if all of them are; one alive is alive.
pub fn join(verdicts: impl IntoIterator<Item = ProcessState>) -> ProcessState {
    let mut joined = None;
    for life in verdicts {
        joined = Some(match (joined, life) {
            (_, ProcessState::Alive) | (Some(ProcessState::Alive), _) => ProcessState::Alive,
            (None | Some(ProcessState::Dead), ProcessState::Dead) => ProcessState::Dead,
            _ => ProcessState::Unknown,
        });
    }
    joined.unwrap_or(ProcessState::Unknown)
}

/// The clock stamp of a record: when it was last renewed, and by whose clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Boot id of the writer.
    pub boot_id: String,
    /// Machine id of the writer, if it had one.
    pub machine_id: Option<String>,
    /// Time namespace of the writer, if known.
    pub time_ns: Option<u64>,
    /// Both clocks at the last renewal or beat; the wall clock is absent in short records.
    pub boot_ns: u64,
    /// See `boot_ns`.
    pub wall_us: Option<i64>,
}

/// During which boot of which machine a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// The same boot: its boot clock and its pids can be compared.
    Same,
    /// Another boot of this machine: its writer has ended.
    Other,
    /// The boot ids differ and nothing else says so (they can be over-mounted in a container).
    Unclear,
    /// Written on another machine.
    Elsewhere,
}

/// How far wall minus boot time may move within one boot before it proves another boot, in µs.
const BOOT_DRIFT_US: i64 = 5_000_000;

/// Returns whether a boot id is that of the boot that runs.
pub fn is_same_boot(boot_id: &str, host: &Host) -> bool {
    is_same(boot_id.as_bytes(), host.boot_id.as_bytes())
}

/// Judges the boot of a record.
pub fn judge_boot(stamp: &Stamp, now: &Now) -> Boot {
    if is_same_boot(&stamp.boot_id, now.host) {
        return Boot::Same;
    }
    if let (Some(then), Some(here)) = (&stamp.machine_id, &now.host.machine_id)
        && then != here
    {
        return Boot::Elsewhere;
    }
    if stamp.time_ns.is_some() && stamp.time_ns != now.host.time_ns {
        return Boot::Unclear;
    }
    let ahead = stamp.boot_ns > now.reading.boot_ns;
    let moved = stamp.wall_us.is_some_and(|wall_us| {
        let then = boot_started_us(stamp.boot_ns, wall_us);
        let here = boot_started_us(now.reading.boot_ns, now.reading.wall_us);
        then.saturating_sub(here).saturating_abs() > BOOT_DRIFT_US
    });
    if ahead || moved { Boot::Other } else { Boot::Unclear }
}

fn boot_started_us(boot_ns: u64, wall_us: i64) -> i64 {
    wall_us.saturating_sub_unsigned(boot_ns / 1000)
}

/// When the file system says that a file was changed, in µs since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTimes {
    /// Set by writers, and by every program that may.
    pub mtime_us: i64,
    /// Set by the kernel alone.
    pub ctime_us: i64,
}

/// For this long a file may change and keep its times: the kernel stamps by the tick (10 ms at
/// most), and some file systems keep whole seconds.
const SETTLING_US: i64 = 1_100_000;

/// Would every change from now on show in these times, which were read after `wall_us`? Only the
/// kernel's own time counts; one that lies ahead of the clock settles when the clock has passed it.
pub fn judge_settled(times: FileTimes, wall_us: i64) -> bool {
    wall_us.saturating_sub(times.ctime_us) >= SETTLING_US
}

/// How long ago a record was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// That many milliseconds.
    Ms(u64),
    /// Every clock that could tell lies ahead of now.
    Unclear,
}

/// The number of the time namespace that every kernel starts with. It is the only one that is never
/// another's later: the next namespace gets the number of the last that ended.
pub const FIRST_TIME_NS: u64 = 0xEFFF_FFFA;

/// How far the kernel's file times may lag behind its clock: a tick of the slowest configuration.
const TICK_MS: u64 = 10;

/// The age of a record of another process: by the boot clock, or, where that clock is not this
/// process's, by its file. Where it only seems to be, the younger of both, so that no holder is
/// robbed.
pub fn judge_age(stamp: &Stamp, boot: Boot, times: FileTimes, now: &Now) -> Age {
    age_by_both(stamp, boot, times, now, u64::min)
}

/// The same for the holder itself: in doubt the older one, so that it does not act too long.
pub fn judge_own_age(stamp: &Stamp, boot: Boot, times: FileTimes, now: &Now) -> Age {
    age_by_both(stamp, boot, times, now, u64::max)
}

fn age_by_both(
    stamp: &Stamp,
    boot: Boot,
    times: FileTimes,
    now: &Now,
    doubt: fn(u64, u64) -> u64,
) -> Age {
    let comparable = matches!(boot, Boot::Same | Boot::Unclear)
        && (stamp.time_ns.is_none() || stamp.time_ns == now.host.time_ns);
    let proven = now.host.time_ns.is_none_or(|ino| ino == FIRST_TIME_NS);
    let by_file = match age_of_unreadable(times.ctime_us, now) {
        Age::Ms(age_ms) => Age::Ms(age_ms.saturating_sub(TICK_MS)),
        Age::Unclear => Age::Unclear,
    };
    let by_clock_ns = now.reading.boot_ns.checked_sub(stamp.boot_ns);
    match (by_clock_ns.map(|age_ns| age_ns / crate::time::NS_PER_MS), by_file) {
        (Some(age_ms), _) if comparable && proven => Age::Ms(age_ms),
        (Some(age_ms), Age::Ms(by_file_ms)) if comparable => Age::Ms(doubt(age_ms, by_file_ms)),
        _ => by_file,
    }
}

/// The age of a file by another program: by mtime, or by ctime where mtime lies in the future.
pub fn age_of_foreign(times: FileTimes, now: &Now) -> Age {
    match times.mtime_us <= now.reading.wall_us {
        true => age_of_unreadable(times.mtime_us, now),
        false => age_of_unreadable(times.ctime_us, now),
    }
}

fn age_of_unreadable(changed_us: i64, now: &Now) -> Age {
    match u64::try_from(now.reading.wall_us.saturating_sub(changed_us)) {
        Ok(us) => Age::Ms(us / 1000),
        Err(_) => Age::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Reading;

    fn found(ended: bool, pidfs_ino: u64, start_ticks: u64) -> Found {
        Found::Something { ended, pidfs_ino: Some(pidfs_ino), start_ticks: Some(start_ticks) }
    }

    #[test]
    fn a_reused_pid_is_dead_even_within_one_clock_tick() {
        let then = Process { pid: 7, start_ticks: Some(100), pidfs_ino: Some(1) };
        assert_eq!(judge_process(&then, found(false, 1, 100)), ProcessState::Alive);
        assert_eq!(judge_process(&then, found(false, 2, 100)), ProcessState::Dead);
        assert_eq!(judge_process(&then, found(true, 1, 100)), ProcessState::Dead);
        assert_eq!(judge_process(&then, Found::Nothing), ProcessState::Dead);
        assert_eq!(judge_process(&then, Found::Unreadable), ProcessState::Unknown);
    }

    #[test]
    fn without_a_pidfs_the_start_ticks_decide_and_a_bare_pid_proves_nothing() {
        let ticks = Process { pid: 7, start_ticks: Some(100), pidfs_ino: None };
        assert_eq!(judge_process(&ticks, found(false, 1, 100)), ProcessState::Alive);
        assert_eq!(judge_process(&ticks, found(false, 1, 101)), ProcessState::Dead);
        let bare = Process { pid: 7, start_ticks: None, pidfs_ino: None };
        assert_eq!(judge_process(&bare, found(false, 1, 100)), ProcessState::Unknown);
        assert_eq!(judge_process(&bare, Found::Nothing), ProcessState::Dead);
    }

    #[test]
    fn a_holder_is_dead_only_if_all_its_processes_are() {
        use ProcessState::{Alive, Dead, Unknown};
        assert_eq!([Alive, Dead, Unknown].map(ProcessState::word), ["alive", "dead", "unknown"]);
        for (verdicts, joined) in [
            (vec![], Unknown),
            (vec![Dead], Dead),
            (vec![Dead, Dead], Dead),
            (vec![Dead, Alive], Alive),
            (vec![Alive, Dead], Alive),
            (vec![Dead, Unknown], Unknown),
            (vec![Unknown, Dead], Unknown),
            (vec![Unknown, Alive], Alive),
        ] {
            assert_eq!(join(verdicts.clone()), joined, "{verdicts:?}");
        }
    }

    fn host(boot: &str, machine: &str, time_ns: u64) -> Host {
        Host {
            boot_id: boot.into(),
            machine_id: Some(machine.into()),
            pid_ns: Some(1),
            time_ns: Some(time_ns),
        }
    }

    fn stamp(boot: &str, machine: &str, boot_s: u64, wall_s: i64) -> Stamp {
        Stamp {
            boot_id: boot.into(),
            machine_id: Some(machine.into()),
            time_ns: Some(1),
            boot_ns: boot_s * 1_000_000_000,
            wall_us: Some(wall_s * 1_000_000),
        }
    }

    #[test]
    fn another_boot_needs_more_than_another_boot_id() {
        let here = host("b1", "m1", 1);
        let reading =
            Reading { boot_ns: 1000 * 1_000_000_000, awake_ns: 0, wall_us: 5000 * 1_000_000 };
        let now = Now { reading, host: &here };
        for (stamp, boot) in [
            (stamp("b1", "m1", 900, 4900), Boot::Same),
            (stamp("b1", "m1", 900, 99_999), Boot::Same),
            (stamp("b0", "m1", 900, 4903), Boot::Unclear),
            (stamp("b0", "m1", 900, 4000), Boot::Other),
            (stamp("b0", "m1", 1001, 5001), Boot::Other),
            // A record of this very moment is not ahead, and five seconds are still drift.
            (stamp("b0", "m1", 1000, 5000), Boot::Unclear),
            (stamp("b0", "m1", 900, 4905), Boot::Unclear),
            (stamp("b0", "m1", 900, 4906), Boot::Other),
            (stamp("b0", "m2", 900, 4000), Boot::Elsewhere),
        ] {
            assert_eq!(judge_boot(&stamp, &now), boot, "{stamp:?}");
        }
        // The clocks of another time namespace prove nothing; another machine id still does.
        let warped = Stamp { time_ns: Some(2), ..stamp("b0", "m1", 1001, 4000) };
        assert_eq!(judge_boot(&warped, &now), Boot::Unclear);
        let elsewhere = Stamp { machine_id: Some("m2".into()), ..warped };
        assert_eq!(judge_boot(&elsewhere, &now), Boot::Elsewhere);
    }

    #[test]
    fn a_shifted_boot_clock_falls_back_to_the_file() {
        let shifted = host("b1", "m1", 2);
        let reading =
            Reading { boot_ns: 100_900 * 1_000_000_000, awake_ns: 0, wall_us: 5000 * 1_000_000 };
        let now = Now { reading, host: &shifted };
        let times = FileTimes { mtime_us: 0, ctime_us: 4999 * 1_000_000 };
        let age = judge_age(&stamp("b1", "m1", 900, 4999), Boot::Same, times, &now);
        // A tick less: the file's time may be that of the tick before.
        assert_eq!(age, Age::Ms(990));
    }

    #[test]
    fn a_time_namespace_with_the_number_of_one_that_ended_robs_nobody() {
        let stamp = stamp("b1", "m1", 900, 4999);
        for (time_ns, boot_s, ctime_s, age_ms, own_ms) in [
            // It is the one: both clocks agree, or the wall clock was set forward.
            (1, 901, 4999, Age::Ms(990), Age::Ms(1000)),
            (1, 901, 4000, Age::Ms(1000), Age::Ms(999_990)),
            // Another one whose boot clock is ahead, or behind.
            (1, 100_900, 4999, Age::Ms(990), Age::Ms(100_000_000)),
            (1, 10, 4999, Age::Ms(990), Age::Ms(990)),
            // The wall clock was set back.
            (1, 100_900, 5001, Age::Unclear, Age::Unclear),
            // The first one has its number for ever.
            (FIRST_TIME_NS, 901, 4000, Age::Ms(1000), Age::Ms(1000)),
            (FIRST_TIME_NS, 901, 5001, Age::Ms(1000), Age::Ms(1000)),
        ] {
            let stamp = Stamp { time_ns: Some(time_ns), ..stamp.clone() };
            let here = host("b1", "m1", time_ns);
            let boot_ns = boot_s * 1_000_000_000;
            let reading = Reading { boot_ns, awake_ns: 0, wall_us: 5000 * 1_000_000 };
            let now = Now { reading, host: &here };
            let times = FileTimes { mtime_us: 0, ctime_us: ctime_s * 1_000_000 };
            let case = (time_ns, boot_s, ctime_s);
            assert_eq!(judge_age(&stamp, Boot::Same, times, &now), age_ms, "{case:?}");
            assert_eq!(judge_own_age(&stamp, Boot::Same, times, &now), own_ms, "{case:?}");
        }
    }

    #[test]
    fn times_tell_of_every_change_once_they_are_older_than_a_tick_and_a_second() {
        for (mtime_us, ctime_us, settled) in [
            (0, 8_900_000, true),
            (0, 8_900_001, false),
            (0, 10_000_000, false),
            (0, 99_000_000, false),
            (99_000_000, 1_000_000, true),
        ] {
            let times = FileTimes { mtime_us, ctime_us };
            assert_eq!(judge_settled(times, 10_000_000), settled, "{times:?}");
        }
    }

    #[test]
    fn a_forged_mtime_is_not_believed() {
        let here = host("b1", "m1", 1);
        let now =
            Now { reading: Reading { boot_ns: 0, awake_ns: 0, wall_us: 100_000_000 }, host: &here };
        let at = |mtime_us, ctime_us| age_of_foreign(FileTimes { mtime_us, ctime_us }, &now);
        assert_eq!(at(40_000_000, 40_000_000), Age::Ms(60_000));
        assert_eq!(at(200_000_000, 90_000_000), Age::Ms(10_000));
        assert_eq!(at(200_000_000, 200_000_000), Age::Unclear);
    }
}
