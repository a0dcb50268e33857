//! Converts a lease's log into the calls that `linear` searches an order for.

use std::collections::{BTreeMap, HashMap};

use super::linear::{Op, What};
use super::stay::{Kill, Stay, Torment, end_of};

/// The longest duration of a grant that a killed command took and did not log: it may be bound to
/// no process, and other processes have to die first.
const UNSEEN_NS: u64 = 4_000_000_000;

/// The calls of a lease, and how many refusals are among them.
///
/// A refusal counts if it is of a single try (`refused`) and no unlogged holder is possible at that
/// time: a worker that was killed may have taken the lease without logging it.
pub fn ops(
    stays: &BTreeMap<u64, Stay>,
    refused: &[(u64, u64)],
    torment: &Torment,
    lease: &str,
) -> (Vec<Op>, usize) {
    let mut ops = Vec::with_capacity(stays.len() * 3);
    for (token, stay) in stays {
        let token = *token;
        ops.push(Op { what: What::Grant(token), from: stay.asked, to: stay.got });
        let renewed = |&(from, to): &(u64, u64)| Op { what: What::Renewed(token), from, to };
        ops.extend(stay.renewals.iter().map(renewed));
        if let Some((from, to)) = stay.freed {
            ops.push(Op { what: What::Released(token), from, to });
        }
        if let Some((from, to)) = stay.lost {
            ops.push(Op { what: What::Lost(token), from, to });
        }
        // The end of a grant that was lost before its record was read is not known.
        let end = end_of(stay, torment).max(stay.asked);
        if stay.freed.is_none_or(|(_, returned)| end < returned) {
            ops.push(Op { what: What::End(token), from: end, to: surely_over(stay, torment) });
        }
    }
    let unseen = unseen(stays, torment, lease);
    let doubtful = |&&(from, to): &&(u64, u64)| {
        // Those that begin before this call ends; the latest end among them is what matters.
        let before = unseen.partition_point(|&(begin, _)| begin <= to);
        before.checked_sub(1).and_then(|at| unseen.get(at)).is_some_and(|&(_, end)| end >= from)
    };
    let refused: Vec<_> = refused.iter().filter(|call| !doubtful(call)).collect();
    ops.extend(refused.iter().map(|&&(from, to)| Op { what: What::Held, from, to }));
    (ops, refused.len())
}

/// Returns when the holder was certainly dead, if no other process was bound to its lease.
fn surely_over(stay: &Stay, torment: &Torment) -> u64 {
    let [pid] = stay.pids.as_slice() else { return u64::MAX };
    let kills = torment.kills.get(pid).map_or(&[][..], Vec::as_slice);
    let of = kills.iter().find(|kill| kill.sent >= stay.got);
    // Only time ends a lease that the command line acquired.
    of.filter(|_| stay.how != "command").map_or(u64::MAX, |kill| kill.dead)
}

/// Returns the spans in which an unlogged holder is possible, by their begin; each end is the
/// latest end up to there.
fn unseen(stays: &BTreeMap<u64, Stay>, torment: &Torment, lease: &str) -> Vec<(u64, u64)> {
    let all = torment.kills.iter().flat_map(|(pid, of)| of.iter().map(move |kill| (*pid, kill)));
    let kills: Vec<(u32, &Kill)> = all.filter(|(_, kill)| kill.lease == lease).collect();
    let mut rounds: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
    for (_, kill) in &kills {
        rounds.entry(kill.worker).or_default();
    }
    for stay in stays.values() {
        // The worker is the last process, or the only one.
        if let Some(of) = stay.pids.last().and_then(|pid| rounds.get_mut(pid)) {
            of.push((stay.asked, stay.leave.unwrap_or(stay.asked)));
        }
    }
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (pid, kill) in &kills {
        let rounds = rounds.get(&kill.worker).map_or(&[][..], Vec::as_slice);
        let last = rounds.iter().filter(|(asked, _)| *asked <= kill.sent);
        // The pid may have been another process's before, which only makes the span longer.
        let begin = last.map(|(_, leave)| *leave).filter(|leave| *leave <= kill.sent).max();
        let end = match kill.is_library && *pid == kill.worker {
            true => kill.dead,
            false => kill.sent.saturating_add(UNSEEN_NS),
        };
        spans.push((begin.unwrap_or(0).max(kill.started), end));
    }
    spans.sort_unstable();
    let mut latest = 0;
    for (_, end) in &mut spans {
        latest = latest.max(*end);
        *end = latest;
    }
    spans
}
