//! The counts of passed, failed and skipped tests and the names of the failed ones, read from the
//! output of the test runners.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;

/// The counts of one or more runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or did not finish.
    pub failed: u64,
    /// Tests that did not run.
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

/// The test runner. Each one repeats the output of a failed test, which may look like the summary
/// of the other runner, so a line can be read only if its runner is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// cargo-nextest.
    Nextest,
    /// libtest, which is built into every test binary.
    Libtest,
}

/// Reads the output of one run, line by line.
#[derive(Debug)]
pub struct Reader {
    runner: Runner,
    /// The sum of all summaries so far.
    pub counts: Counts,
    /// The names of the tests that failed.
    pub failed: BTreeSet<String>,
    /// Whether the list of the failed tests is being read.
    in_list: bool,
    /// The test program that libtest reports on; nextest names it in each line.
    program: String,
}

impl Reader {
    /// Starts with no line read.
    pub fn new(runner: Runner) -> Reader {
        let (counts, failed) = Default::default();
        Reader { runner, counts, failed, in_list: false, program: String::new() }
    }

    /// Reads the next line.
    pub fn read(&mut self, line: &str) {
        let line = without_colour(line);
        match self.runner {
            Runner::Nextest => self.read_nextest(line.trim()),
            Runner::Libtest => self.read_libtest(&line),
        }
    }

    /// Reads a line of nextest, which lists the failed tests below its summary.
    fn read_nextest(&mut self, line: &str) {
        if let Some(counts) = read_nextest(line) {
            self.counts += counts;
            self.in_list = true;
        } else if self.in_list
            && let Some(name) = read_nextest_failure(line)
        {
            self.failed.insert(name.to_owned());
        }
    }

    /// Reads a line of libtest, which lists the failed tests, indented, below `failures:` and
    /// before its summary.
    fn read_libtest(&mut self, line: &str) {
        if let Some(results) = line.strip_prefix("test result: ") {
            let results = results.split_once(". ").map_or("", |(_, results)| results);
            self.counts += add_up(results.split(';'));
        }
        let started = line.trim_start().strip_prefix("Running ");
        if let Some(program) = started.or(line.trim_start().strip_prefix("Doc-tests ")) {
            // The built file is in parentheses after the source.
            let program = program.split(" (").next().unwrap_or(program);
            self.program = program.trim_start_matches("unittests ").to_owned();
        }
        let name = line.strip_prefix("    ").filter(|name| self.in_list && !name.is_empty());
        if let Some(name) = name {
            self.failed.insert(format!("{} {name}", self.program));
        }
        self.in_list = line == "failures:" || name.is_some();
    }
}

/// The program and the test in a line like `FAIL [   0.120s] (4/5) zeta::suite it::race::turns`.
fn read_nextest_failure(line: &str) -> Option<&str> {
    let (status, rest) = line.split_once(" [")?;
    let (_, rest) = rest.split_once("s] ")?;
    let rest = rest.trim_start();
    let counted = rest.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let name = counted.map_or(rest, |(_, name)| name.trim_start());
    let shouts = status.chars().all(|c| c.is_ascii_uppercase() || "-+".contains(c));
    (shouts && name.contains(' ')).then_some(name)
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
            // "failed", "timed out", "exec failed", and any term of a later runner.
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

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    fn read(runner: Runner, text: &str) -> (Counts, Vec<String>) {
        let mut reader = Reader::new(runner);
        text.lines().for_each(|line| reader.read(line));
        (reader.counts, reader.failed.into_iter().collect())
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
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured", counts(0, 0, 0)),
            ("   Compiling zeta v0.1.0", counts(0, 0, 0)),
        ] {
            assert_eq!(read(Runner::Nextest, line).0, expected, "{line:?}");
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
            ("test name::a_test ... ok", counts(0, 0, 0)),
            ("Summary [ 1s] 1 test run: 1 passed, 0 skipped", counts(0, 0, 0)),
        ] {
            assert_eq!(read(Runner::Libtest, line).0, expected, "{line:?}");
        }
    }

    /// As nextest 0.9.143 printed it, shortened; the output of a test stands indented between.
    const OF_NEXTEST: &str = "
        PASS [   0.010s] (1/5) zeta::suite it::good
        FAIL [   0.120s] (4/5) zeta::suite it::bad
  stdout ───

    failures:
        it::bad
    FAIL [   0.1s] (1/2) what a test printed

        SLOW [>  1.000s] (───) zeta::suite it::slow
 TERMINATING [>  2.000s] (───) zeta::suite it::slow
     TIMEOUT [   2.008s] (5/5) zeta::suite it::slow
────────────
     Summary [   2.041s] 5 tests run: 1 passed, 3 failed, 1 timed out, 0 skipped
     SIGABRT [   0.011s] (2/5) xtask m::aborts
\x1b[31;1m        FAIL\x1b[0m [   0.120s] (\x1b[2m4/5\x1b[0m) \x1b[35;1mzeta::suite\x1b[0m it::bad
        FAIL [   0.120s] zeta of_an_older_nextest
     TIMEOUT [   2.008s] (5/5) zeta::suite it::slow
error: test run failed
";

    #[test]
    fn nextest_names_the_failed_tests_below_its_summary() {
        let (counts_read, failed) = read(Runner::Nextest, OF_NEXTEST);
        assert_eq!(counts_read, counts(1, 4, 0));
        assert_eq!(
            failed,
            [
                "xtask m::aborts",
                "zeta of_an_older_nextest",
                "zeta::suite it::bad",
                "zeta::suite it::slow"
            ]
        );
    }

    /// As cargo 1.95 printed it, shortened.
    const OF_LIBTEST: &str = "
     Running unittests src/lib.rs (target/debug/deps/zeta-0123)
test good ... ok
test m::bad ... FAILED

failures:

---- m::bad stdout ----
    indented
hello

failures:
    bad
    m::bad

test result: FAILED. 2 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out; finished in 5.02s

error: test failed, to rerun pass `--lib`
     Running tests/suite/main.rs (target/debug/deps/suite-0123)
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 5.02s
   Doc-tests zeta
failures:
    src/lib.rs - f (line 1)

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.37s
error: 2 targets failed:
    `--lib`
";

    #[test]
    fn libtest_names_the_failed_tests_below_failures() {
        let (counts_read, failed) = read(Runner::Libtest, OF_LIBTEST);
        assert_eq!(counts_read, counts(3, 3, 0));
        let expected = ["src/lib.rs bad", "src/lib.rs m::bad", "zeta src/lib.rs - f (line 1)"];
        assert_eq!(failed, expected);
    }
}
