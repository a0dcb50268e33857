//! A stay at a lease, and what was done to its processes, as the logs say.

use std::collections::HashMap;

/// One stay of a holder.
#[derive(Debug, Default, Clone)]
pub struct Stay {
    pub asked: u64,
    pub got: u64,
    pub until: u64,
    pub how: &'static str,
    /// The processes whose death ends it, the one inside first and the worker last.
    pub pids: Vec<u32>,
    pub leave: Option<u64>,
    pub renewals: Vec<(u64, u64)>,
    pub freed: Option<(u64, u64)>,
    pub lost: Option<(u64, u64)>,
}

/// One kill: before and after the signal, and when the process was seen dead.
#[derive(Debug, Clone)]
pub struct Kill {
    pub called: u64,
    pub sent: u64,
    pub dead: u64,
    /// The worker that it was or was below, since when there was one, its way and its lease.
    pub worker: u32,
    pub started: u64,
    pub is_library: bool,
    pub lease: String,
}

/// What was done to whom.
#[derive(Debug, Default)]
pub struct Torment {
    pub kills: HashMap<u32, Vec<Kill>>,
    /// From when to when somebody at a lease was stopped.
    pub stops: HashMap<String, Vec<(u64, u64)>>,
}

/// When the stay ended at the earliest: left, killed, or past its right.
pub fn end_of(stay: &Stay, torment: &Torment) -> u64 {
    // What no process is bound to outlives who took it.
    let killed = killed(stay, torment).filter(|_| stay.how != "command");
    let left = stay.leave.or(killed).unwrap_or(u64::MAX);
    left.min(stay.until)
}

/// When a holder that never left was killed.
pub fn killed(stay: &Stay, torment: &Torment) -> Option<u64> {
    if stay.leave.is_some() {
        return None;
    }
    let of = |pid: &u32| torment.kills.get(pid)?.iter().find(|kill| kill.sent >= stay.asked);
    let called = stay.pids.iter().filter_map(of).map(|kill| kill.called).min();
    // Whoever wrote that it is inside was alive then.
    called.map(|called| called.max(stay.got))
}
