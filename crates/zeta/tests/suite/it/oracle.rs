//! The judge of exclusion. It knows nothing of `zeta`: it reads a log that the workers append to.
//!
//! A worker appends `enter TOKEN STAMP WHO` after it was granted the lease and `leave TOKEN STAMP
//! WHO` before it gives it back, each with one write to an `O_APPEND` file, so the order of the
//! lines is an order of events. STAMP is CLOCK_MONOTONIC in ns, or `-`.

use std::collections::BTreeSet;
use std::path::Path;

/// What a log proves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Entries of holders.
    pub grants: usize,
    /// Holders that were killed inside.
    pub killed_inside: usize,
    /// Everything that should not be.
    pub violations: Vec<String>,
}

/// Judges a log file. `killed` names the workers that were killed, who alone need not leave.
pub fn judge_file(path: &Path, killed: &BTreeSet<String>) -> Verdict {
    judge(&std::fs::read_to_string(path).unwrap(), killed)
}

pub fn judge(log: &str, killed: &BTreeSet<String>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut inside: Option<(u64, &str)> = None;
    let (mut highest, mut last_stamp) = (0, 0);
    for (at, line) in log.lines().enumerate() {
        let mut say =
            |what: &str| verdict.violations.push(format!("line {}: {what}: {line}", at + 1));
        let words: Vec<&str> = line.split(' ').collect();
        let [what, token, stamp, who] = words.as_slice() else {
            say("not a line of this log");
            continue;
        };
        let Ok(token) = token.parse::<u64>() else {
            say("no token");
            continue;
        };
        if let Ok(stamp) = stamp.parse::<u64>() {
            // Two stamps are taken in the order of their lines if only one is inside at a time.
            if stamp < last_stamp {
                say("its stamp lies before the line above");
            }
            last_stamp = stamp;
        }
        match (*what, inside) {
            ("enter", before) => {
                match before {
                    Some((_, other)) if killed.contains(other) => verdict.killed_inside += 1,
                    Some((other, _)) => say(&format!("{other} is still inside")),
                    None => {}
                }
                let mut say =
                    |what: &str| verdict.violations.push(format!("line {}: {what}", at + 1));
                if token <= highest {
                    say(&format!("token {token} after {highest}"));
                }
                highest = token;
                inside = Some((token, who));
                verdict.grants += 1;
            }
            ("leave", Some((holder, _))) if holder == token => inside = None,
            ("leave", _) => say("it was not the one inside"),
            _ => say("not a line of this log"),
        }
    }
    match inside {
        Some((_, who)) if killed.contains(who) => verdict.killed_inside += 1,
        Some((token, _)) => verdict.violations.push(format!("{token} never left")),
        None => {}
    }
    verdict
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn the_judge_sees_what_it_should() {
    let killed = BTreeSet::from(["k".to_owned()]);
    let good = "enter 1 10 a\nleave 1 20 a\nenter 2 30 k\nenter 5 40 b\nleave 5 - b\n";
    let verdict = judge(good, &killed);
    assert_eq!((verdict.grants, verdict.killed_inside), (3, 1));
    assert_eq!(verdict.violations, Vec::<String>::new());
    for bad in [
        "enter 1 10 a\nenter 2 15 b\nleave 1 20 a\nleave 2 25 b\n",
        "enter 1 10 a\nleave 1 20 a\nenter 1 30 b\nleave 1 40 b\n",
        "enter 2 10 a\nleave 2 20 a\nenter 1 30 b\nleave 1 40 b\n",
        "enter 1 10 a\nleave 1 20 a\nenter 2 15 b\nleave 2 40 b\n",
        "enter 1 10 a\nleave 2 20 a\n",
        "enter 1 10 a\n",
        "leave 1 10 a\n",
        "garbage\n",
    ] {
        assert!(!judge(bad, &killed).violations.is_empty(), "{bad}");
    }
}
