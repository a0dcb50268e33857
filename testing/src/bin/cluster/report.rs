//! The table at the end, and the check that enough happened for a valid result.

use super::arena::Arena;
use super::judge::Verdict;
use super::nemesis::Done;

/// The number of violations that are printed; the others are only counted.
const SHOWN: usize = 20;

fn row(what: &str, value: &str) {
    println!("{what:<42} {value}");
}

fn list<K: std::fmt::Display>(map: &std::collections::BTreeMap<K, usize>) -> String {
    let parts: Vec<String> = map.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// Prints what the judge found.
pub fn table(verdict: &Verdict) {
    row("grants (while disturbed)", &format!("{} ({})", verdict.grants, verdict.disturbed_grants));
    row("  why the lease was free", &list(&verdict.causes));
    row("renewals", &verdict.renewals.to_string());
    row("other ends of calls", &list(&verdict.ends));
    row("unknown, and known later", &format!("{}, {}", verdict.unknown, verdict.resolved));
    row("longest call", &format!("{:.1} s", verdict.longest_ns as f64 / 1e9));
    row("writes, late ones refused", &format!("{}, {}", verdict.writes, verdict.refused_writes));
    row("an order was found for", &format!("{} calls and ends", verdict.ordered));
    row("epochs raised after a loss", &verdict.epochs.to_string());
    row("  granted before a node knew of it", &verdict.unlearned.to_string());
    row("  two at once, one of them such a grant", &verdict.excused.to_string());
    row("DOUBLE HOLDERS", &verdict.doubles.to_string());
    row("TOKENS REUSED OR BACKWARDS", &verdict.tokens.to_string());
    row("STALE WRITES ACCEPTED", &verdict.stale_writes.to_string());
    row("violations of all kinds", &verdict.violations.len().to_string());
    for violation in verdict.violations.iter().take(SHOWN) {
        println!("  {violation}");
    }
}

/// Prints the whole table; returns whether the run came to what was expected.
pub fn print(arena: &Arena, done: &Done, verdict: &Verdict) -> bool {
    println!();
    row("seed", &arena.seed.to_string());
    row("length", &format!("{:.0} s", arena.seconds));
    row("server", &arena.server.display().to_string());
    row("servers, replicas", &format!("{0}, {0}", arena.replicas));
    row("events", &list(&done.events));
    table(verdict);
    for complaint in &done.complaints {
        println!("  {complaint}");
    }
    if arena.expects_double {
        return verdict.doubles > 0;
    }
    let enough = verdict.grants >= 50 && (arena.calm || done.events.len() >= 4);
    if !enough {
        println!("too little happened to mean anything");
    }
    enough && verdict.violations.is_empty() && done.complaints.is_empty()
}
