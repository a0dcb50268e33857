//! The lock of the original for one item: a file that contains a pid and nothing else.
//!
//! It is judged as the original judges it: stale only if it is older than five seconds *and* its
//! process has ended. A number that another process has got meanwhile looks alive. That is said,
//! and not acted on: only the wall clock tells it, and that clock may have been set.

use crate::evidence::FileTimes;

/// The age below which a lock counts without a check of its process, in µs.
const FRESH_US: i64 = 5_000_000;

/// The process whose number is in a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// No process has this number, or it is no number.
    Ended,
    /// A process has it; how long it has run, in µs, if `/proc` says so.
    Alive(Option<i64>),
}

/// What a lock means for a caller that found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be removed.
    Stale,
    /// Its process has ended; it counts for this many milliseconds more.
    Fresh(u64),
    /// Its process lives; the age of the lock in milliseconds.
    Held(u64),
    /// A process has its number that began later, by this many milliseconds.
    Outlived(u64),
}

/// Judges a lock by the times of its file and by the process whose number is in it.
pub fn judge_lock(times: FileTimes, now_us: i64, writer: Writer) -> Standing {
    // A modification time in the future is wrong; no program can set the change time.
    let us = if times.mtime_us > now_us + FRESH_US { times.ctime_us } else { times.mtime_us };
    let age_us = now_us.saturating_sub(us);
    let ms = |us: i64| u64::try_from(us / 1000).unwrap_or(0);
    match writer {
        Writer::Ended if age_us >= FRESH_US => Standing::Stale,
        Writer::Ended => Standing::Fresh(ms(FRESH_US - age_us) + 1),
        Writer::Alive(Some(ran_us)) if age_us.saturating_sub(ran_us) >= FRESH_US => {
            Standing::Outlived(ms(age_us - ran_us))
        }
        Writer::Alive(_) => Standing::Held(ms(age_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_the_original_is_stale_only_if_it_is_old_and_its_process_has_ended() {
        const S: i64 = 1_000_000;
        let now_us = 1_000 * S;
        let old = |age_us: i64| FileTimes { mtime_us: now_us - age_us, ctime_us: now_us - age_us };
        for (age_us, writer, standing) in [
            (6 * S, Writer::Ended, Standing::Stale),
            (5 * S, Writer::Ended, Standing::Stale),
            (3 * S, Writer::Ended, Standing::Fresh(2001)),
            (0, Writer::Ended, Standing::Fresh(5001)),
            (0, Writer::Alive(Some(S)), Standing::Held(0)),
            (60 * S, Writer::Alive(None), Standing::Held(60_000)),
            (60 * S, Writer::Alive(Some(61 * S)), Standing::Held(60_000)),
            // The clocks of a file and of a process differ by ticks.
            (60 * S, Writer::Alive(Some(59 * S)), Standing::Held(60_000)),
            (60 * S, Writer::Alive(Some(20 * S)), Standing::Outlived(40_000)),
        ] {
            assert_eq!(judge_lock(old(age_us), now_us, writer), standing, "{age_us} {writer:?}");
        }
        // A forged time of modification does not make it young for ever.
        let forged = FileTimes { mtime_us: now_us + 60 * S, ctime_us: now_us - 60 * S };
        assert_eq!(judge_lock(forged, now_us, Writer::Ended), Standing::Stale);
    }
}
