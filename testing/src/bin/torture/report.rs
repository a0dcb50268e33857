//! The table at the end, and the check that enough happened for a valid result.

use std::fs::File;
use std::path::Path;

use super::Outcomes;
use super::arena::{Arena, Options};
use super::judge::Verdict;
use super::tormentor::Torment;

/// The number of violations that are printed; the others are only counted.
const SHOWN: usize = 20;

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// The violations.
    pub violations: usize,
    /// Every role did something.
    pub enough: bool,
    /// A token was ahead of the real time, which only a wall clock that jumps causes.
    pub jumped: bool,
    /// Processes that lived in time namespaces of their own; `None` where that is not permitted.
    pub warped: Option<usize>,
    /// The number of refusals that were checked.
    pub refusals: usize,
}

/// Prints the table; returns the result.
pub fn print(
    arena: &Arena,
    options: &Options,
    torment: &Torment,
    verdict: &Verdict,
) -> Outcomes<Came> {
    let grants: usize = verdict.grants.values().sum();
    let judged = grants - verdict.wild_grants;
    let of = |map: &std::collections::BTreeMap<String, usize>| {
        let parts: Vec<String> =
            map.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let row = |what: &str, value: &str| println!("{what:<34} {value}");
    println!();
    row("seed", &options.seed.to_string());
    row("torment, s", &format!("{:.0}", options.length.as_secs_f64()));
    row("file system", &file_system(&arena.dir)?);
    row("workers, leases", &format!("{}, {}", options.workers, options.leases));
    row("grants", &format!("{grants} ({})", of(&verdict.grants)));
    row("  by lease", &of(&verdict.by_lease));
    row("renewals, refusals", &format!("{}, {}", verdict.renewals, verdict.refusals));
    row("waited in vain, longest wait", &format!("{}, {}", verdict.in_vain, ms(verdict.longest)));
    row("kills (of holders)", &format!("{} ({})", torment.kills, verdict.killed_inside));
    row("stops (long ones)", &format!("{} ({})", torment.stops, torment.long_stops));
    row("replaced past their right", &verdict.replaced.to_string());
    row("robberies, cleanings", &format!("{}, {}", torment.robberies, torment.cleanings));
    row("done to the bus", &torment.spoilt.to_string());
    let loudly = |what: Option<usize>, why: &str| what.map_or(why.to_owned(), |n| n.to_string());
    row("jumps of the wall clock", &loudly(torment.jumps, "NONE: NO SEAM IN THIS BUILD"));
    row("put into time namespaces", &loudly(torment.warped, "NONE: NOT PERMITTED HERE"));
    row("legal faults", &of(&verdict.faults));
    row("takeover, kill to next grant", &spread(&verdict.takeovers));
    row("  with nobody stopped there", &spread(&verdict.plain_takeovers));
    row("torn reads", &format!("{} of {}", verdict.torn, verdict.reads));
    let mut violations = verdict.violations.clone();
    violations.extend(torment.complaints.iter().cloned());
    let judged_refusals = verdict.judged_refusals;
    row("an order was found for", &format!("{} calls and ends", verdict.ordered));
    row("  refusals among them", &judged_refusals.to_string());
    row("violations", &violations.len().to_string());
    if violations.is_empty() {
        row("95 % bound, per grant", &format!("{} (3 / {judged})", bound(judged as f64)));
        row("95 % bound, per read", &bound(verdict.reads as f64));
    }
    for violation in violations.iter().take(SHOWN) {
        println!("VIOLATION: {violation}");
    }
    // Low numbers, so that a slow machine reaches them: they only show that each role did
    // something.
    let both = ["claim", "foreign"].iter().all(|way| verdict.grants.contains_key(*way));
    let at_item = both || options.broken || options.leases < 8;
    let enough =
        at_item && judged >= 50 && torment.kills >= 5 && torment.stops >= 5 && verdict.reads >= 100;
    if !enough {
        println!("too little happened to mean anything");
    }
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Came {
        violations: violations.len(),
        enough,
        jumped: u128::from(verdict.highest) > wall.as_micros() + 600_000_000,
        warped: torment.warped,
        refusals: judged_refusals,
    })
}

fn spread(sorted: &[u64]) -> String {
    let [half, most, max] = [0.5, 0.99, 1.0].map(|part| ms(quantile(sorted, part)));
    match sorted.len() {
        0 => "none".to_owned(),
        count => format!("n = {count}: p50 {half}, p99 {most}, max {max}"),
    }
}

/// Applies the rule of three: with no event in n tries, the rate is below 3/n with 95 % confidence.
fn bound(tries: f64) -> String {
    format!("{:.1e}", 3.0 / tries)
}

fn quantile(sorted: &[u64], part: f64) -> u64 {
    let at = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(0)
}

fn ms(ns: u64) -> String {
    format!("{:.2} ms", ns as f64 / 1e6)
}

/// Returns the name of the file system that `path` is on.
fn file_system(path: &Path) -> Outcomes<String> {
    let magic = rustix::fs::fstatfs(File::open(path)?)?.f_type as u64 & 0xffff_ffff;
    Ok(match magic {
        0x0102_1994 => "tmpfs".to_owned(),
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        other => format!("{other:#x}"),
    })
}
