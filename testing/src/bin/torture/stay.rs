//! A stay at a lease, and the kills and stops of its processes, from the logs.

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
    /// The worker (the killed process or an ancestor of it), its start, its way and its lease.
    pub worker: u32,
    pub started: u64,
    pub is_library: bool,
    pub lease: String,
}

/// The kills and stops of a run.
#[derive(Debug, Default)]
pub struct Torment {
    pub kills: HashMap<u32, Vec<Kill>>,
    /// The spans in which a process of a lease was stopped.
    pub stops: HashMap<String, Vec<(u64, u64)>>,
}

/// Returns when the stay ended at the earliest: left, killed, or past its right.
pub fn end_of(stay: &Stay, torment: &Torment) -> u64 {
    // A lease that is bound to no process outlives the process that took it.
    let killed = killed(stay, torment).filter(|_| stay.how != "command");
    let left = stay.leave.or(killed).unwrap_or(u64::MAX);
    left.min(stay.until)
}

/// Returns when a holder that never left was killed.
pub fn killed(stay: &Stay, torment: &Torment) -> Option<u64> {
    if stay.leave.is_some() {
        return None;
    }
    let of = |pid: &u32| torment.kills.get(pid)?.iter().find(|kill| kill.sent >= stay.asked);
    let called = stay.pids.iter().filter_map(of).map(|kill| kill.called).min();
    // A process was alive when it logged that it is inside.
    called.map(|called| called.max(stay.got))
}
