//! What became of a grant that does not stand any more: given back, taken away, or never made.

use super::decide::{Lost, Observed};
use super::{FencingToken, Record};
use crate::evidence::Process;
use crate::time::Now;

/// What is known of a grant that does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It was granted, or may have been.
    Granted,
    /// It was never granted: its token lies above the highest one ever granted.
    Never {
        /// The highest token.
        highest: u64,
    },
    /// No grant of the lease is known.
    NoGrant,
}

/// Judges what is known of the grant `token`, which does not stand. `highest` is the token file's
/// number, 0 if there is none.
pub fn judge_past(lost: &Lost, token: FencingToken, highest: u64) -> Past {
    let present = lost.by.as_ref().map_or(0, |record| record.fencing_token.get());
    match highest.max(present) {
        0 => Past::NoGrant,
        highest if token.get() > highest => Past::Never { highest },
        _ => Past::Granted,
    }
}

/// Does the wrapper of a session renew and release this grant? One that another process took and
/// renews by itself (`lease exec` under `run`) is that process's, whatever its session.
pub fn is_kept_by(record: &Record, session: &str, keeper: &Process) -> bool {
    record.session.as_deref() == Some(session)
        && record.processes.own.is_none_or(|own| own == *keeper)
}

/// What became of a grant that its renewer saw last with a TTL until `until_ns` (boot clock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It stands.
    Stands,
    /// Its session gave it back.
    GivenBack,
    /// It was taken over or broken.
    Lost(Lost),
}

/// Tells a grant that was given back from one that was lost.
///
/// While the TTL runs, the lease of a living renewer is granted to no other caller, unless it was
/// given back or removed by force. `highest` is the token file's number; `by_force` says that a
/// note of a break names this token, or that its record was deleted, which no release does. After
/// the TTL, a release and a grant that followed it look like a takeover, and count as one: the
/// renewer was late.
pub fn decide_loss(
    observed: &Observed,
    token: FencingToken,
    until_ns: u64,
    highest: u64,
    by_force: bool,
    now: &Now,
) -> Loss {
    let in_time = now.reading.boot_ns <= until_ns;
    match observed {
        Observed::Ours(record, ..) if record.fencing_token == token => Loss::Stands,
        _ if by_force => Loss::Lost(Lost::to(observed)),
        Observed::Absent if in_time || highest == token.get() => Loss::GivenBack,
        Observed::Ours(record, ..) if in_time || record.acquired_boot_ns <= until_ns => {
            Loss::GivenBack
        }
        Observed::Foreign { .. } if in_time => Loss::GivenBack,
        _ => Loss::Lost(Lost::to(observed)),
    }
}
