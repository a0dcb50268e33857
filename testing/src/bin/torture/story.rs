//! The log of a lease: one line per event that a worker observed, and no conclusions.
//!
//! `enter TOKEN ASKED GOT UNTIL HOW PIDS`, `renew TOKEN ASKED GOT UNTIL`, `leave TOKEN AT`, `freed
//! TOKEN ASKED GOT`, `lost TOKEN ASKED GOT`, `refused ASKED GOT WHY`, `fault ASKED GOT TEXT`. WHY
//! is `held` for a single try that found a holder, else `waited`, `guarded` or `killed`. Times are
//! ns of CLOCK_BOOTTIME outside of all time namespaces, taken before a call begins (ASKED) and
//! after it returned (GOT). UNTIL is the time before which the lease may not be granted to others,
//! by the record of the grant. PIDS are the processes whose death ends the stay, the one inside
//! first and the worker last.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::Outcomes;

/// A log that many processes append to.
pub struct Story {
    file: File,
}

impl Story {
    /// Opens the log `name` of a run.
    pub fn open(dir: &Path, name: &str) -> Outcomes<Story> {
        let path = dir.join(format!("{name}.log"));
        Ok(Story { file: File::options().append(true).create(true).open(path)? })
    }

    /// Appends a line with one write, so that lines stay whole even if a writer is killed.
    pub fn say(&mut self, line: &str) -> Outcomes<()> {
        self.file.write_all(format!("{}\n", line.replace('\n', "; ")).as_bytes())?;
        Ok(())
    }
}
