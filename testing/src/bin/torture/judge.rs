//! The judge. It uses no code of zeta and asks no process: it reads the logs and compares them with
//! the definition of a lease.
//!
//! **What is checked.** A lease is an object with the operations grant, renew and release, whose
//! grants bear growing tokens. Its history is linearizable if every operation can be given one
//! moment between its call (ASKED) and its return (GOT), so that the operations, in the order of
//! these moments, are ones that a single lease would answer. Answers name tokens, so that order is
//! not searched for: it must be grant, renewals and end of the smallest token, then those of the
//! next, and so on. For a given order such moments exist if and only if no operation returned
//! before one that precedes it in the order was called: then the latest call so far is a moment
//! that suits. So one walk in the order of tokens that keeps the latest call so far decides it.
//!
//! The end of a stay is an operation, too. It was called when the holder wrote `leave`, and has no
//! return if no process observed it: a killed holder, an expiry. A killed holder's end was called
//! no earlier than the kill; a holder that was late has the end of its right (UNTIL) as its end.
//! From this follows that no two holders are inside within their right at once: `enter` of the
//! second would have returned before the end of the first was called.
//!
//! `linear` checks all of this once more by a search that does not use this order, together with
//! the refusals of single tries: a refusal is right only if the lease is held at a moment of that
//! call.
//!
//! The wild lease is exempt from all checks but the order of its grants: exclusion is not promised
//! if guards and records are removed, but the next token is larger even then, by the wall clock.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::Outcomes;
use super::history;
use super::item;
use super::linear;
use super::stay::{Kill, Stay, Torment, end_of, killed};
use super::story::Story;
use super::worker::WAYS;

/// The time limit of a call: a wait of 10 s, 10 s for a guard, and stops in between.
const LONGEST_NS: u64 = 40_000_000_000;
/// The shortest time after which a refusal counts as one after the whole wait.
const WHOLE_WAIT_NS: u64 = 9_900_000_000;

/// The delay of the end of a stop that is allowed for a busy machine.
const LATE_NS: u64 = 30_000_000;

/// The findings from the logs.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Grants by the way in which they were taken.
    pub grants: BTreeMap<String, usize>,
    /// Grants by lease.
    pub by_lease: BTreeMap<String, usize>,
    /// Grants of leases that were subject to robbery.
    pub wild_grants: usize,
    pub renewals: usize,
    pub refusals: usize,
    /// Refusals after the whole wait, and the longest wait that came to a grant, in ns.
    pub in_vain: usize,
    pub longest: u64,
    /// Grants that replaced a holder whose right had ended while it was inside.
    pub replaced: usize,
    /// Holders that were killed inside.
    pub killed_inside: usize,
    /// The times from the kill of a holder to the next grant, in ns, if a process waited.
    pub takeovers: Vec<u64>,
    /// Those of these times during which no process of the lease was stopped.
    pub plain_takeovers: Vec<u64>,
    /// Permitted faults, by lease and kind.
    pub faults: BTreeMap<String, usize>,
    pub reads: u64,
    pub torn: usize,
    /// Calls and ends for which an order was found, and the refusals among them.
    pub ordered: usize,
    pub judged_refusals: usize,
    /// The highest token of all, which shows how far a wall clock was ahead.
    pub highest: u64,
    pub violations: Vec<String>,
}

/// Checks all logs of a run.
pub fn judge(dir: &Path) -> Outcomes<Verdict> {
    let mut verdict = Verdict::default();
    let torment = torment(&Story::read(&dir.join("torment.log"))?);
    let mut logs: Vec<_> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    logs.sort();
    for path in logs.iter().filter(|path| path.extension().is_some_and(|end| end == "log")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = Story::read(path)?;
        match name.as_str() {
            "torment" => {}
            "readers" => judge_reads(&text, &mut verdict),
            _ => judge_lease(&name, &text, &torment, &mut verdict),
        }
    }
    verdict.takeovers.sort_unstable();
    verdict.plain_takeovers.sort_unstable();
    Ok(verdict)
}

/// Reads the log of kills and stops. A pid may be used again, so each one has a list.
fn torment(log: &str) -> Torment {
    let mut torment = Torment::default();
    let mut started = HashMap::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, at, pid, more @ ..] = words.as_slice() else { continue };
        let (Ok(at), Ok(pid)) = (at.parse::<u64>(), pid.parse::<u32>()) else { continue };
        let of = torment.kills.entry(pid).or_default();
        match (*what, more, of.last_mut()) {
            ("start", ..) => {
                started.insert(pid, at);
            }
            ("killed", _, Some(last)) => last.sent = at,
            ("dead", _, Some(last)) => last.dead = at,
            ("kill", ..) => {
                let worker = more.first().and_then(|pid| pid.parse().ok()).unwrap_or(pid);
                let is_library = more.get(1).is_some_and(|how| is_library(how));
                let lease = more.get(2).copied().unwrap_or_default().to_owned();
                let started = started.get(&worker).copied().unwrap_or(0);
                // Replaced when the end is known.
                let (called, sent, dead) = (at, u64::MAX, u64::MAX);
                of.push(Kill { called, sent, dead, worker, started, is_library, lease });
            }
            ("stop", [ms, lease], _) => {
                let ms = ms.parse::<u64>().unwrap_or(0);
                let until = at.saturating_add(ms * 1_000_000 + LATE_NS);
                torment.stops.entry((*lease).to_owned()).or_default().push((at, until));
            }
            _ => {}
        }
    }
    torment
}

fn is_library(how: &str) -> bool {
    matches!(how, "stand" | "plain" | "renew")
}

fn judge_reads(log: &str, verdict: &mut Verdict) {
    let mut reads = BTreeMap::new();
    for line in log.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["reads", reader, count] => {
                reads.insert((*reader).to_owned(), count.parse().unwrap_or(0));
            }
            ["torn", ..] => {
                verdict.torn += 1;
                verdict.violations.push(line.to_owned());
            }
            _ => verdict.violations.push(format!("reader: {line}")),
        }
    }
    verdict.reads = reads.values().sum();
}

fn judge_lease(name: &str, log: &str, torment: &Torment, verdict: &mut Verdict) {
    let mut stays: BTreeMap<u64, Stay> = BTreeMap::new();
    let mut refused = Vec::new();
    for line in log.lines() {
        if let Err(what) = take_down(name, line, &mut stays, &mut refused, verdict) {
            verdict.violations.push(format!("{name}: {what}: {line}"));
        }
    }
    let wild = name.starts_with("wild");
    for stay in stays.values() {
        *verdict.grants.entry(stay.how.to_owned()).or_default() += 1;
    }
    verdict.wild_grants += if wild { stays.len() } else { 0 };
    verdict.highest = stays.keys().next_back().copied().unwrap_or(0).max(verdict.highest);
    *verdict.by_lease.entry(name.to_owned()).or_default() += stays.len();
    if name.starts_with("item") {
        let convicted = together(&stays);
        verdict.violations.extend(convicted.iter().map(|what| format!("{name}: {what}")));
        return;
    }
    let convicted = walk(&stays, wild, torment);
    verdict.violations.extend(convicted.iter().map(|what| format!("{name}: {what}")));
    if wild {
        return;
    }
    let (ops, refusals) = history::ops(&stays, &refused, torment, name);
    match linear::search(&ops) {
        Ok(()) => {
            verdict.ordered += ops.len();
            verdict.judged_refusals += refusals;
        }
        Err(what) => verdict.violations.push(format!("{name}: {what}")),
    }
    measure(&stays, torment, torment.stops.get(name).map_or(&[], Vec::as_slice), verdict);
}

/// Adds a line to its stay.
fn take_down(
    name: &str,
    line: &str,
    stays: &mut BTreeMap<u64, Stay>,
    refused: &mut Vec<(u64, u64)>,
    verdict: &mut Verdict,
) -> Result<(), String> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().map_err(|_| "not a number".to_owned());
    let of = |stays: &mut BTreeMap<u64, Stay>, token: &str, change: &dyn Fn(&mut Stay)| {
        let stay = stays.get_mut(&number(token)?).ok_or("nobody entered with this token")?;
        change(stay);
        Ok::<(), String>(())
    };
    let brief = |ask: &str, got: &str| {
        let took = number(got)?.saturating_sub(number(ask)?);
        if took <= LONGEST_NS { Ok(took) } else { Err("it hung".to_owned()) }
    };
    match words.as_slice() {
        ["enter", token, ask, got, until, how, pids] => {
            verdict.longest = verdict.longest.max(brief(ask, got)?);
            let (ask, got, until) = (number(ask)?, number(got)?, number(until)?);
            let pids = pids.split(',').filter_map(|pid| pid.parse().ok()).collect();
            let how = way(how);
            let stay = Stay { asked: ask, got, until, how, pids, ..Stay::default() };
            match stays.insert(number(token)?, stay) {
                None => Ok(()),
                Some(_) => Err("this token was granted twice".to_owned()),
            }
        }
        ["renew", token, ask, got, until] => {
            brief(ask, got)?;
            let (ask, got, until) = (number(ask)?, number(got)?, number(until)?);
            verdict.renewals += 1;
            of(stays, token, &|stay| {
                stay.until = until;
                stay.renewals.push((ask, got));
            })
        }
        ["leave", token, at] => {
            let at = number(at)?;
            of(stays, token, &|stay| stay.leave = stay.leave.or(Some(at)))
        }
        ["freed", token, ask, got] => {
            brief(ask, got)?;
            let pair = (number(ask)?, number(got)?);
            of(stays, token, &|stay| stay.freed = Some(pair))
        }
        ["lost", token, ask, got] => {
            brief(ask, got)?;
            let pair = (number(ask)?, number(got)?);
            of(stays, token, &|stay| stay.lost = Some(stay.lost.unwrap_or(pair)))
        }
        ["refused", ask, got, why] => {
            verdict.refusals += 1;
            verdict.in_vain += usize::from(brief(ask, got)? >= WHOLE_WAIT_NS);
            let call = (number(ask)?, number(got)?);
            refused.extend((*why == "held").then_some(call));
            Ok(())
        }
        ["fault", ask, got, kind, ..] if is_legal(name, kind) => {
            brief(ask, got)?;
            let kind = name.split('-').next().unwrap_or(name).to_owned() + " " + kind;
            *verdict.faults.entry(kind).or_default() += 1;
            Ok(())
        }
        ["fault", ..] => Err("a fault that nobody is to blame for".to_owned()),
        _ => Err("not a line of this log".to_owned()),
    }
}

/// Returns the way of this name.
fn way(name: &str) -> &'static str {
    let mut ways = WAYS.iter().chain(&item::WAYS);
    ways.find(|way| **way == name).copied().unwrap_or("broken")
}

/// Reports whether a call on this lease may end with a fault of this kind. On every lease a process
/// may be stopped inside the guard. A fenced command that comes too late is refused, where a stop
/// can outlast the TTL. Where guards are removed during a call, the call must report that.
fn is_legal(name: &str, kind: &str) -> bool {
    let on = |lease: &str| name.starts_with(lease);
    match kind {
        "busy" => true,
        "lost" => ["short", "jumpy", "warped", "wild", "item"].into_iter().any(on),
        "unsafe" => on("wild"),
        _ => false,
    }
}

/// Walks through the calls in the order of tokens; returns the violations.
fn walk(stays: &BTreeMap<u64, Stay>, wild: bool, torment: &Torment) -> Vec<String> {
    let mut convicted = Vec::new();
    // The latest call so far, and what was called.
    let mut latest = (0, "nothing".to_owned());
    let mut step = |called: u64, returned: u64, what: &dyn Fn() -> String| {
        if returned < latest.0 {
            convicted.push(format!(
                "{} returned at {returned}, before {} was called at {}",
                what(),
                latest.1,
                latest.0
            ));
        }
        if called > latest.0 {
            latest = (called, what());
        }
    };
    let mut never_left = Vec::new();
    let mut early = Vec::new();
    for (token, stay) in stays {
        step(stay.asked, stay.got, &|| format!("the grant of {token} ({})", stay.how));
        if wild {
            continue;
        }
        if let (Some((_, first_got)), Some((last_asked, _))) =
            (stay.renewals.first().copied(), stay.renewals.last().copied())
        {
            // Those in between are in order: one process made them, one after the other.
            step(0, first_got, &|| format!("the first renewal of {token}"));
            step(last_asked, u64::MAX, &|| format!("the last renewal of {token}"));
        }
        match stay.freed {
            Some((called, returned)) => {
                step(called, returned, &|| format!("the release of {token}"));
            }
            None => step(end_of(stay, torment), u64::MAX, &|| format!("the end of {token}")),
        }
        if stay.leave.is_none() && killed(stay, torment).is_none() {
            never_left.push(format!("{token} never left, and nobody killed it"));
        }
        if let Some((_, returned)) = stay.lost
            && returned < stay.until
        {
            early.push(format!("{token} was told at {returned} that it is lost, within its right"));
        }
    }
    convicted.extend(never_left);
    convicted.extend(early);
    convicted
}

/// Convicts claims of an item that were held at the same time. A claim by a message has no token,
/// so there is no order of tokens to walk in; what is left is that no two stays overlap, each from
/// the moment after its grant to its end by its own log, or to the end of its right.
///
/// A kill ends no stay here: the claims are bound to no process, and count until they expire.
fn together(stays: &BTreeMap<u64, Stay>) -> Vec<String> {
    let mut inside: Vec<(u64, u64, u64)> = Vec::new();
    for (token, stay) in stays {
        let end = stay.leave.unwrap_or(u64::MAX).min(stay.until);
        inside.extend((stay.got < end).then_some((stay.got, end, *token)));
    }
    inside.sort_unstable();
    let mut convicted = Vec::new();
    let mut latest: Option<(u64, u64)> = None;
    for (got, end, token) in inside {
        if let Some((until, holder)) = latest
            && got < until
        {
            convicted.push(format!(
                "{token} was granted before {got}, while {holder} had the item until {until}"
            ));
        }
        if latest.is_none_or(|(until, _)| end > until) {
            latest = Some((end, token));
        }
    }
    // The tokens of zeta grow.
    let granted: BTreeMap<u64, Stay> = stays
        .iter()
        .filter(|(_, stay)| stay.how == "claim")
        .map(|(token, stay)| (*token, stay.clone()))
        .collect();
    convicted.extend(walk(&granted, true, &Torment::default()));
    convicted
}

/// Measures the takeovers after kills, and counts the replaced holders.
fn measure(
    stays: &BTreeMap<u64, Stay>,
    torment: &Torment,
    stops: &[(u64, u64)],
    verdict: &mut Verdict,
) {
    let in_order: Vec<&Stay> = stays.values().collect();
    for (at, stay) in in_order.iter().enumerate() {
        let next = in_order.get(at + 1);
        if let Some(killed) = killed(stay, torment) {
            verdict.killed_inside += 1;
            // Only time ends a grant that is bound to no process.
            if let Some(next) = next
                && next.asked < killed
                && killed < stay.until
                && stay.how != "command"
            {
                let took = next.got.saturating_sub(killed);
                verdict.takeovers.push(took);
                if !stops.iter().any(|(from, until)| *from < next.got && killed < *until) {
                    verdict.plain_takeovers.push(took);
                }
            }
        } else if let (Some(next), Some(leave)) = (next, stay.leave)
            && next.got < leave
        {
            verdict.replaced += 1;
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
