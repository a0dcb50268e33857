//! The log of a lease: one line per event that a worker observed, and no conclusions.
//!
//! `enter TOKEN ASKED GOT UNTIL HOW PIDS`, `renew TOKEN ASKED GOT UNTIL`, `leave TOKEN AT`, `freed
//! TOKEN ASKED GOT`, `lost TOKEN ASKED GOT`, `refused ASKED GOT WHY`, `fault ASKED GOT TEXT`. WHY
//! is `held` for a single try that found a holder, else `waited`, `guarded` or `killed`. Times are
//! ns of CLOCK_BOOTTIME outside of all time namespaces, taken before a call begins (ASKED) and
//! after it returned (GOT). UNTIL is the time before which the lease may not be granted to others,
//! by the record of the grant. PIDS are the processes whose death ends the stay, the one inside
//! first and the worker last.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::Outcomes;

/// Lines are filled with spaces up to a multiple of this. The kernel writes page by page, and a
/// kill cuts a write between two pages: lines of this length never lie on both sides of such a
/// place.
const UNIT: usize = 128;

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

    /// Appends a line with one write within one page, so that it stays whole even if its writer is
    /// killed. Only the text of a long fault can be cut.
    pub fn say(&mut self, line: &str) -> Outcomes<()> {
        let mut line = line.replace('\n', "; ").into_bytes();
        line.resize((line.len() + 1).next_multiple_of(UNIT) - 1, b' ');
        line.push(b'\n');
        Ok(self.file.write_all(&line)?)
    }

    /// Reads the lines of a log, without what fills them.
    pub fn read(path: &Path) -> Outcomes<String> {
        let text = fs::read_to_string(path)?;
        Ok(text.lines().flat_map(|line| [line.trim_end_matches(' '), "\n"]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_lies_on_both_sides_of_the_place_where_a_kill_cuts() {
        let dir = std::env::temp_dir().join(format!("zeta-torture-story-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let lines = [1, 95, 127, 128, 300].map(|len| "x".repeat(len));
        let mut story = Story::open(&dir, "a").unwrap();
        lines.iter().for_each(|line| story.say(line).unwrap());
        let path = dir.join("a.log");
        let text = fs::read_to_string(&path).unwrap();
        let read = Story::read(&path);
        fs::remove_dir_all(&dir).unwrap();
        assert!(text.split_inclusive('\n').all(|line| line.len() % UNIT == 0), "{text}");
        assert_eq!(text.len() / UNIT, 1 + 1 + 1 + 2 + 3);
        assert_eq!(read.unwrap().lines().collect::<Vec<_>>(), lines);
    }
}
