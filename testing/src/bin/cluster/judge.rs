//! The oracle: reads the logs of a run without any code of zeta, and convicts.
//!
//! A holder counts from the moment at which it knew of its grant until it stops: at the release
//! that it sent, at its deadline, or at its death. Two of one lease must never be inside at once.
//! Tokens grow in the order of the calls. What the lease protects takes no older token after a
//! newer one. Each call has an end. A search finds an order of all calls that one lease could have
//! answered so.
//!
//! Not judged: an answer *held*. It comes from a reading, and a server that was cut off gives old
//! ones for seconds.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::Outcomes;
use super::linear::{self, Op, What};
use super::story::Story;

/// How long a call may take: what clients allow themselves, requests that wait for an answer, and a
/// stop.
const LONGEST_NS: u64 = 120_000_000_000;

/// The findings from the logs.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Grants, and those while something was disturbed.
    pub grants: usize,
    pub disturbed_grants: usize,
    pub renewals: usize,
    /// How calls ended that were no grants.
    pub ends: BTreeMap<String, usize>,
    /// Why leases were free.
    pub causes: BTreeMap<String, usize>,
    /// Calls that did not know their end at first, and those of them that knew it later.
    pub unknown: usize,
    pub resolved: usize,
    /// Writes to what the leases protect.
    pub writes: usize,
    /// Late writes that the fence refused.
    pub refused_writes: usize,
    /// Two holders at once.
    pub doubles: usize,
    /// Tokens that were granted twice, or against the order of the calls.
    pub tokens: usize,
    /// Late writes that were accepted.
    pub stale_writes: usize,
    /// Grants by a node that had not learned of a loss: nothing is promised for them.
    pub unlearned: usize,
    /// Pairs of holders of which one is such a grant.
    pub excused: usize,
    /// Epochs that were raised.
    pub epochs: usize,
    /// Calls and ends for which an order was found.
    pub ordered: usize,
    /// The longest call.
    pub longest_ns: u64,
    pub violations: Vec<String>,
}

/// What was done, as the log of the nemesis has it.
#[derive(Debug, Default)]
struct Events {
    kills: HashMap<u32, u64>,
    /// Disturbances of servers and of the network.
    disturbed: Vec<(u64, u64)>,
    /// When the store lost values, and the epoch that was raised then.
    losses: Vec<(u64, u64)>,
    /// An epoch was raised before anything was lost.
    raised_without_loss: bool,
    rest: u64,
}

/// A grant, and what became of it.
#[derive(Debug, Clone, Default)]
struct Stay {
    asked: u64,
    got: u64,
    deadline: u64,
    epoch: u64,
    pid: u32,
    renewals: Vec<(u64, u64)>,
    release: Option<u64>,
    released: Option<u64>,
    lost: Option<(u64, u64)>,
}

/// An attempt that is not a grant yet.
#[derive(Debug, Clone, Default)]
struct Attempt {
    asked: u64,
    pid: u32,
    sent: Vec<(u64, u64)>,
    unknown: bool,
    end: Option<String>,
}

/// Checks all logs of a run.
pub fn judge(dir: &Path) -> Outcomes<Verdict> {
    let mut verdict = Verdict::default();
    let epochs = Story::read(&dir.join("epochs.log")).unwrap_or_default();
    let events = events(&Story::read(&dir.join("nemesis.log"))?, &epochs);
    verdict.epochs = events.losses.len();
    if events.raised_without_loss {
        let why = "a loss was found where there was none, and nobody was granted a lease then";
        verdict.violations.push(why.to_owned());
    }
    let mut names: Vec<String> = fs::read_dir(dir)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .filter(|name| name.starts_with("lease-"))
        .collect();
    names.sort();
    for name in names {
        let log = Story::read(&dir.join(format!("{name}.log")))?;
        match name.strip_suffix("-register") {
            Some(_) => judge_register(&name, &log, &mut verdict),
            None => judge_lease(&name, &log, &events, &mut verdict),
        }
    }
    let errors = fs::read_to_string(dir.join("errors")).unwrap_or_default();
    verdict.violations.extend(errors.lines().map(str::to_owned));
    Ok(verdict)
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or(0)
}

fn events(log: &str, epochs: &str) -> Events {
    let mut events = Events { rest: u64::MAX, ..Events::default() };
    let mut lost = Vec::new();
    let mut since = None;
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["fault", at, "client", "killed", pid, ..] => {
                events.kills.insert(pid.parse().unwrap_or(0), number(at));
            }
            ["fault", _, "client" | "clock" | "bridge", ..] => {}
            ["fault", at, what, back, ..] => {
                since = since.or(Some(number(at)));
                if (*what, *back) == ("rolled", "back") {
                    lost.push(number(at));
                }
            }
            ["over", at] => events.disturbed.extend(since.take().map(|from| (from, number(at)))),
            ["rest", at] => events.rest = number(at),
            _ => {}
        }
    }
    // The epoch that ends a loss is the first one that was raised after it.
    for line in epochs.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        // One whose answer was lost may stand, too.
        let ["raise", at, epoch, _, "stored" | "unknown"] = words.as_slice() else { continue };
        if !events.losses.iter().any(|(_, raised)| *raised == number(epoch)) {
            events.raised_without_loss |= !lost.iter().any(|lost| *lost < number(at));
            let begun = lost.iter().copied().filter(|lost| *lost < number(at)).max();
            events.losses.push((begun.unwrap_or(number(at)), number(epoch)));
        }
    }
    events
}

/// Convicts the register if it took an older token after a newer one.
fn judge_register(name: &str, log: &str, verdict: &mut Verdict) {
    let mut highest = 0;
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["accepted", token, ..] => {
                verdict.writes += 1;
                if number(token) < highest {
                    verdict.stale_writes += 1;
                    verdict.violations.push(format!("{name}: a stale write: {line}"));
                }
                highest = highest.max(number(token));
            }
            ["refused", token, ..] if number(token) < highest => verdict.refused_writes += 1,
            _ => verdict.violations.push(format!("{name}: {line}")),
        }
    }
}

fn judge_lease(name: &str, log: &str, events: &Events, verdict: &mut Verdict) {
    let mut attempts: BTreeMap<String, Attempt> = BTreeMap::new();
    let mut stays: BTreeMap<u64, Stay> = BTreeMap::new();
    for line in log.lines() {
        if let Err(why) = take_down(line, &mut attempts, &mut stays, verdict) {
            verdict.violations.push(format!("{name}: {why}: {line}"));
        }
    }
    verdict.grants += stays.len();
    let is_disturbed =
        |at: u64| events.disturbed.iter().any(|(from, until)| (*from..*until).contains(&at));
    verdict.disturbed_grants += stays.values().filter(|stay| is_disturbed(stay.got)).count();
    verdict.unlearned += stays.values().filter(|stay| is_unlearned(stay, events)).count();
    let mut found = overlaps(&stays, events, verdict);
    found.extend(backwards(&stays, events, verdict));
    found.extend(unended(&attempts, events, verdict));
    found.extend(early(&stays, events));
    if !stays.values().any(|stay| stay.got > events.rest) && events.rest < u64::MAX {
        found.push("nobody was granted it after all was well again".to_owned());
    }
    // After a loss the lease is not one that has a history. Without the writes, the grants of calls
    // that were killed are not known.
    if events.losses.is_empty() && log.contains("\nsent ") {
        let ops = ops(&attempts, &stays, events);
        match linear::search(&ops) {
            Ok(()) => verdict.ordered += ops.len(),
            Err(what) => found.push(what),
        }
    }
    verdict.violations.extend(found.iter().map(|what| format!("{name}: {what}")));
}

/// Adds a line to its attempt or its stay.
fn take_down(
    line: &str,
    attempts: &mut BTreeMap<String, Attempt>,
    stays: &mut BTreeMap<u64, Stay>,
    verdict: &mut Verdict,
) -> Result<(), &'static str> {
    let words: Vec<&str> = line.split(' ').collect();
    let call = match words.as_slice() {
        ["ask" | "sent" | "refused" | "release", ..] => None,
        ["granted", _, _, asked, got, ..] | [_, _, asked, got, ..] => Some((asked, got)),
        _ => None,
    };
    if let Some((asked, got)) = call {
        let took = number(got).saturating_sub(number(asked));
        verdict.longest_ns = verdict.longest_ns.max(took);
        if took > LONGEST_NS {
            return Err("it hung");
        }
    }
    match words.as_slice() {
        ["ask", id, asked, pid] => {
            let (asked, pid) = (number(asked), pid.parse().unwrap_or(0));
            attempts.insert((*id).to_owned(), Attempt { asked, pid, ..Attempt::default() });
            Ok(())
        }
        ["sent", id, token, at] => {
            // A renewal has the id of its grant.
            if let Some(attempt) = attempts.get_mut(*id).filter(|it| it.end.is_none()) {
                attempt.sent.push((number(token), number(at)));
            }
            Ok(())
        }
        ["refused", id, token] => {
            if let Some(attempt) = attempts.get_mut(*id) {
                attempt.sent.retain(|(sent, _)| *sent != number(token));
            }
            Ok(())
        }
        ["granted" | "done" | "unknown", id, ..] => {
            let attempt = attempts.get_mut(*id).ok_or("nobody asked for it")?;
            end_attempt(&words, attempt, stays, verdict)
        }
        [_, token, ..] => {
            let stay = stays.get_mut(&number(token)).ok_or("nobody was granted this token")?;
            add_to_stay(&words, stay, verdict)
        }
        _ => Err("not a line of this log"),
    }
}

fn end_attempt(
    words: &[&str],
    attempt: &mut Attempt,
    stays: &mut BTreeMap<u64, Stay>,
    verdict: &mut Verdict,
) -> Result<(), &'static str> {
    match words {
        ["granted", _, token, asked, got, deadline, epoch, cause, _] => {
            attempt.end = Some("granted".to_owned());
            *verdict.causes.entry((*cause).to_owned()).or_default() += 1;
            let stay = Stay {
                asked: number(asked),
                got: number(got),
                deadline: number(deadline),
                epoch: number(epoch),
                pid: attempt.pid,
                ..Stay::default()
            };
            if stays.insert(number(token), stay).is_some() {
                verdict.tokens += 1;
                return Err("this token was granted twice");
            }
        }
        ["done", _, _, _, why, ..] => attempt.end = Some((*why).to_owned()),
        ["unknown", _, _, _] => attempt.unknown = true,
        _ => return Err("not a line of this log"),
    }
    Ok(())
}

fn add_to_stay(words: &[&str], stay: &mut Stay, verdict: &mut Verdict) -> Result<(), &'static str> {
    match words {
        ["renewed", _, asked, got, deadline] => {
            verdict.renewals += 1;
            stay.renewals.push((number(asked), number(got)));
            stay.deadline = number(deadline);
        }
        ["lost", _, asked, got] => stay.lost = Some((number(asked), number(got))),
        ["release", _, at] => stay.release = Some(number(at)),
        ["released", _, _, got] => stay.released = Some(number(got)),
        ["late" | "unfreed", ..] => {}
        _ => return Err("not a line of this log"),
    }
    Ok(())
}

/// When the holder was surely not inside any more.
fn end_of(stay: &Stay, events: &Events) -> u64 {
    let killed = events.kills.get(&stay.pid).copied().filter(|at| *at >= stay.got);
    [Some(stay.deadline), stay.release, killed].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// Was it granted after a loss by a node that did not know of it?
fn is_unlearned(stay: &Stay, events: &Events) -> bool {
    events.losses.iter().any(|(lost, epoch)| stay.epoch < *epoch && stay.got > *lost)
}

fn overlaps(stays: &BTreeMap<u64, Stay>, events: &Events, verdict: &mut Verdict) -> Vec<String> {
    let mut inside: Vec<(u64, u64, u64, bool)> = stays
        .iter()
        .map(|(token, stay)| (stay.got, end_of(stay, events), *token, is_unlearned(stay, events)))
        .filter(|(got, end, ..)| got < end)
        .collect();
    inside.sort_unstable();
    let mut found = Vec::new();
    // The latest end of those that count, and of those that do not.
    let mut latest: [Option<(u64, u64)>; 2] = [None, None];
    for (got, end, token, unlearned) in inside {
        for (at, last) in latest.into_iter().enumerate() {
            let Some((until, holder)) = last.filter(|(until, _)| got < *until) else { continue };
            if unlearned || at == 1 {
                verdict.excused += 1;
                continue;
            }
            verdict.doubles += 1;
            found.push(format!("{token} was inside from {got}, and {holder} until {until}"));
        }
        let place = &mut latest[usize::from(unlearned)];
        if place.is_none_or(|(until, _)| end > until) {
            *place = Some((end, token));
        }
    }
    found
}

/// Convicts tokens against the order of the calls: a later call has a greater one.
fn backwards(stays: &BTreeMap<u64, Stay>, events: &Events, verdict: &mut Verdict) -> Vec<String> {
    let mut found = Vec::new();
    let mut latest = (0, 0);
    for (token, stay) in stays {
        if is_unlearned(stay, events) {
            continue;
        }
        if stay.got < latest.0 {
            verdict.tokens += 1;
            found.push(format!("{token} was granted before {} was asked for", latest.1));
        }
        latest = latest.max((stay.asked, *token));
    }
    found
}

/// Convicts calls that have no end, though their process was not killed.
fn unended(
    attempts: &BTreeMap<String, Attempt>,
    events: &Events,
    verdict: &mut Verdict,
) -> Vec<String> {
    let mut found = Vec::new();
    for (id, attempt) in attempts {
        let killed = events.kills.contains_key(&attempt.pid);
        let end = attempt.end.as_deref();
        verdict.unknown += usize::from(attempt.unknown);
        verdict.resolved += usize::from(attempt.unknown && end.is_some_and(|end| end != "unknown"));
        match end {
            Some("granted") => {}
            Some(end) => *verdict.ends.entry(end.to_owned()).or_default() += 1,
            None if killed => *verdict.ends.entry("killed".to_owned()).or_default() += 1,
            None => found.push(format!("the call {id} of {} has no end", attempt.asked)),
        }
    }
    found
}

/// Convicts answers *lost* to a holder within its right.
fn early(stays: &BTreeMap<u64, Stay>, events: &Events) -> Vec<String> {
    let robbed = stays.iter().filter(|(_, stay)| {
        let lost = stay.lost.filter(|(_, got)| *got < stay.deadline);
        lost.is_some() && events.losses.is_empty()
    });
    robbed.map(|(token, _)| format!("{token} was lost within its right")).collect()
}

/// The history of a lease, for the search.
fn ops(
    attempts: &BTreeMap<String, Attempt>,
    stays: &BTreeMap<u64, Stay>,
    events: &Events,
) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut add = |what, from, to| ops.push(Op { what, from, to });
    for (token, stay) in stays {
        let token = *token;
        add(What::Grant(token), stay.asked, stay.got);
        for (asked, got) in &stay.renewals {
            add(What::Renewed(token), *asked, *got);
        }
        if let Some((asked, got)) = stay.lost {
            add(What::Lost(token), asked, got);
        }
        if let (Some(asked), Some(got)) = (stay.release, stay.released) {
            add(What::Released(token), asked, got);
        }
        let end = end_of(stay, events);
        if stay.released.is_none_or(|_| stay.deadline <= stay.release.unwrap_or(0)) {
            add(What::End(token), end, u64::MAX);
        }
    }
    // What was sent may stand where the sender does not know, or did not live to say so.
    for attempt in attempts.values() {
        if attempt.end.as_deref().is_none_or(|end| end == "unknown") {
            for (token, at) in &attempt.sent {
                add(What::Grant(*token), *at, u64::MAX);
                add(What::End(*token), *at, u64::MAX);
            }
        }
    }
    ops
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
