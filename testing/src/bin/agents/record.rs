//! What was tried, with what was seen, as lines of a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::Outcome;
use crate::tool::Tool;

/// A capability: its key in the results.
pub type Capability = &'static str;

/// The agent is in `zeta status`.
pub const PRESENCE: Capability = "presence";
/// The model reads in its first request who is here.
pub const GREETING: Capability = "greeting";
/// What a command of the agent claims is the agent's, and of its session.
pub const NAME: Capability = "name";
/// A message for the agent is in the next request of its model.
pub const MAIL: Capability = "mail";
/// Mail at the end of a turn lets the turn go on.
pub const GOES_ON: Capability = "goes_on";
/// An edit of a path that another agent claimed is refused, and the model reads who has it.
pub const EDIT: Capability = "edit";
/// So is the push of a branch.
pub const PUSH: Capability = "push";
/// A commit to it goes through, and the model reads a warning.
pub const WARNING: Capability = "warning";
/// The model calls a tool of the server `zeta mcp`, and reads its answer.
pub const SERVER: Capability = "server";
/// When the holder was killed, the same edit goes through at once.
pub const KILLED: Capability = "killed";
/// When the program zeta is gone, no tool is blocked.
pub const REMOVED: Capability = "removed";
/// A message begins a turn of an agent that waits for a prompt in a terminal of zeta's.
pub const WOKEN: Capability = "woken";
/// `zeta status --waiting` shows an agent that asks its person, until it is answered.
pub const WAITS: Capability = "waits";
/// When the tool has ended, the agent does not live any more.
pub const END: Capability = "end";
/// After an uninstall, the files of the tool are as they were.
pub const UNINSTALL: Capability = "uninstall";

/// The results of this run.
pub struct Record {
    file: File,
    tool: &'static str,
    seen: Vec<Capability>,
    good: bool,
}

impl Record {
    /// Creates the file.
    pub fn create(path: &Path) -> Outcome<Record> {
        Ok(Record { file: File::create(path)?, tool: "", seen: Vec::new(), good: true })
    }

    /// Begins with a tool.
    pub fn begin(&mut self, tool: &'static str) {
        self.tool = tool;
        self.seen.clear();
    }

    /// Records whether a capability works; a second look at the same one must be good, too.
    pub fn add(&mut self, what: Capability, works: bool, seen: &str) -> Outcome<()> {
        let word = if works { "ok" } else { "FAILED" };
        // A line of the file is a line.
        let seen = seen.split_whitespace().collect::<Vec<_>>().join(" ");
        let seen: String = seen.chars().take(if works { 300 } else { 3000 }).collect();
        println!("{word:<7} {:<9} {what:<10} {seen}", self.tool);
        writeln!(self.file, "{}\t{what}\t{word}\t{seen}", self.tool)?;
        self.seen.push(what);
        self.good &= works;
        Ok(())
    }

    /// Records that a scene ended early: what it did not come to has failed.
    pub fn broken(&mut self, tool: &Tool, why: &str) -> Outcome<()> {
        let missed = tool.tried().into_iter().filter(|what| !self.seen.contains(what));
        for (at, what) in missed.collect::<Vec<_>>().into_iter().enumerate() {
            self.add(what, false, if at == 0 { why } else { "the scene did not come so far" })?;
        }
        Ok(())
    }

    /// Reports whether all that was tried works.
    pub fn good(&self) -> bool {
        self.good
    }
}
