//! How many tests passed, failed and were skipped, read from what the test runners print.

use std::fmt;
use std::ops::AddAssign;

/// The counts of one or more runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold, or did not get to its end.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Who runs the tests. Each repeats what a failed test printed, which may look like the summary of
/// the other one, so that a line can be read only by whoever knows who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// cargo-nextest.
    Nextest,
    /// The one that is built into every test binary.
    Libtest,
}

impl Runner {
    /// Reads a line of this runner's output, if it is a summary.
    pub fn read_summary(self, line: &str) -> Option<Counts> {
        let line = without_colour(line);
        match self {
            Runner::Nextest => read_nextest(line.trim()),
            Runner::Libtest => {
                let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
                Some(add_up(results.split(';')))
            }
        }
    }
}

fn read_nextest(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("Summary [")?.split_once(']')?;
    let (run, results) = rest.split_once(" run: ")?;
    let results = without_parentheses(results);
    let mut counts = add_up(results.split(','));
    // "3/25 tests run" means that the rest never started.
    if let Some((some, all)) = run.split_whitespace().next()?.split_once('/') {
        let missing = all.parse::<u64>().ok()?.saturating_sub(some.parse().ok()?);
        counts.failed += missing;
    }
    Some(counts)
}

fn add_up<'a>(parts: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::default();
    for part in parts {
        let Some((number, what)) = part.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what.trim() {
            "passed" => counts.passed += number,
            "skipped" | "ignored" => counts.skipped += number,
            "measured" | "filtered out" => {}
            what if what.starts_with("filtered out") => {}
            // "failed", "timed out", "exec failed", and whatever a later runner calls it.
            _ => counts.failed += number,
        }
    }
    counts
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let keep = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}

/// Text without the terminal's colour codes (`ESC [ … m`).
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn summaries_of_nextest() {
        for (line, expected) in [
            ("     Summary [   0.012s] 25 tests run: 25 passed, 1 skipped", counts(25, 0, 1)),
            ("Summary [ 1s] 1 test run: 1 passed, 0 skipped", counts(1, 0, 0)),
            (
                "Summary [ 9s] 5 tests run: 2 passed (1 slow, 1 leaky), 1 failed, \
                 1 timed out, 1 exec failed, 3 skipped",
                counts(2, 3, 3),
            ),
            ("Summary [ 9s] 3/25 tests run: 2 passed, 1 failed, 0 skipped", counts(2, 23, 0)),
            (
                "\x1b[32;1m     Summary\x1b[0m [   0.1s] \x1b[1m2\x1b[0m tests run: \
                 \x1b[1m2\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m0\x1b[0m skipped",
                counts(2, 0, 0),
            ),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured", None),
            ("   Compiling zeta v0.1.0", None),
        ] {
            assert_eq!(Runner::Nextest.read_summary(line), expected, "{line:?}");
        }
    }

    #[test]
    fn summaries_of_libtest() {
        for (line, expected) in [
            (
                "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; \
                 4 filtered out; finished in 0.00s",
                counts(12, 1, 2),
            ),
            ("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured", counts(0, 0, 0)),
            ("test name::a_test ... ok", None),
            ("Summary [ 1s] 1 test run: 1 passed, 0 skipped", None),
        ] {
            assert_eq!(Runner::Libtest.read_summary(line), expected, "{line:?}");
        }
    }
}
