//! What a lease's log says, as the calls that the search for an order is made over.

use std::collections::{BTreeMap, HashMap};

use super::linear::{Op, What};
use super::stay::{Kill, Stay, Torment, end_of};

/// How long a grant lasts at most that a killed command took and nobody wrote down: it may be bound
/// to no process, and others have to die first.
const UNSEEN_NS: u64 = 4_000_000_000;

/// The calls of a lease, and how many refusals are among them.
///
/// Of refusals those count that are of single tries (`refused`), while nobody can have had the
/// lease unseen: a worker that was killed may have taken it and not written that down.
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
        // No right is known of a grant that was lost before it could be read.
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

/// When the holder was certainly dead, if no other process was bound to its lease.
fn surely_over(stay: &Stay, torment: &Torment) -> u64 {
    let [pid] = stay.pids.as_slice() else { return u64::MAX };
    let kills = torment.kills.get(pid).map_or(&[][..], Vec::as_slice);
    let of = kills.iter().find(|kill| kill.sent >= stay.got);
    // Nothing but time ends what the command line acquired.
    of.filter(|_| stay.how != "command").map_or(u64::MAX, |kill| kill.dead)
}

/// Spans in which somebody may have had the lease unseen, by their begin; each end is the latest
/// one up to there.
fn unseen(stays: &BTreeMap<u64, Stay>, torment: &Torment, lease: &str) -> Vec<(u64, u64)> {
    let all = torment.kills.iter().flat_map(|(pid, of)| of.iter().map(move |kill| (*pid, kill)));
    let kills: Vec<(u32, &Kill)> = all.filter(|(_, kill)| kill.lease == lease).collect();
    let mut rounds: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
    for (_, kill) in &kills {
        rounds.entry(kill.worker).or_default();
    }
    for stay in stays.values() {
        // The worker is the last one, or the only one.
        if let Some(of) = stay.pids.last().and_then(|pid| rounds.get_mut(pid)) {
            of.push((stay.asked, stay.leave.unwrap_or(stay.asked)));
        }
    }
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (pid, kill) in &kills {
        let rounds = rounds.get(&kill.worker).map_or(&[][..], Vec::as_slice);
        let last = rounds.iter().filter(|(asked, _)| *asked <= kill.sent);
        // Its number may have been another's before, which only makes the span longer.
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
