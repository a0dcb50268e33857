//! The one way in which a test says that it, or a part of it, did not run.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Writes `SKIPPED: <test>: <why>` to stderr and to the file that `ZETA_SKIPPED_LOG` names. The
/// test runner hides what a passing test prints, so `cargo xtask test` reads that file.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    eprint!("{line}");
    if let Some(log) = std::env::var_os("ZETA_SKIPPED_LOG") {
        append(log.as_ref(), &line);
    }
}

/// Appends a line to a file with one write, so that lines of several processes do not mix.
pub fn append(path: &Path, line: &str) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
