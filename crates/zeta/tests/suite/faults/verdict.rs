//! The judge: what stands after a fault, whether the answer is true, and whether life goes on.
//!
//! The verdict compares bytes with the state before and with the clean run, and asks `zeta` only
//! whether it can read what is new.

use std::time::Duration;

use super::fault::{EINTR, Fault};
use super::sandbox::Sandbox;
use super::scene::{Scene, words};
use super::trace::Point;
use super::tree::{Entry, Tree, is_unpublished};
use crate::support::Out;

/// Keys whose values differ from one run to the next.
const VARYING: [&str; 13] = [
    "fencing_token",
    "timestamp",
    "acquired_at",
    "renewed_at",
    "expires_at",
    "acquired_boot_ns",
    "renewed_boot_ns",
    "set_at",
    "updated_at",
    "beat_boot_ns",
    "beat_awake_ns",
    "beat_at",
    "started_at",
];

/// How soon the next call must have gone through.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A scene with what stood there before, and what a clean run made of it.
pub struct Run<'a> {
    pub sandbox: &'a Sandbox,
    pub scene: &'a Scene,
    pub args: &'a [String],
    pub old: &'a Tree,
    pub new: &'a Tree,
}

/// One fault, and what came of it.
struct Case<'a> {
    run: &'a Run<'a>,
    fault: Fault,
    /// The call that it struck.
    call: &'a str,
    of_history: bool,
    out: &'a Out,
    after: Tree,
    wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Old,
    New,
}

/// Everything that is wrong after a fault.
pub fn judge(run: &Run<'_>, fault: Fault, point: &Point, out: &Out) -> Vec<String> {
    // As it was in the clean run, with what it read.
    let call = point.line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    let after = Tree::read(&run.sandbox.world);
    let of_history = point.of_history;
    let mut case = Case { run, fault, call, of_history, out, after, wrong: Vec::new() };
    case.ending();
    case.files();
    case.history();
    if let Some(stands) = case.record() {
        case.answer(stands);
        case.token(stands);
        case.next_call(stands);
    }
    case.wrong
}

impl Case<'_> {
    fn say(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    fn struck(&self, call: &str) -> bool {
        self.call.starts_with(call)
    }

    /// Checks that the call ends in time, with the right exit status, and with a message.
    fn ending(&mut self) {
        let (status, err) = (self.out.status, &self.out.err);
        if err.contains("panicked") {
            self.say("it panicked");
        }
        match self.fault {
            _ if status == -9 => self.say("it hung"),
            Fault::Kill if status == 137 => {}
            Fault::Kill => self.say("it was not killed"),
            Fault::Error { .. } if status == 0 => {
                if !self.is_harmless() {
                    self.say("it went on as if nothing had failed");
                }
            }
            Fault::Error { errno, status: honest, .. } => {
                // If the answer cannot be printed, the work may be done: this is no kind of its
                // own.
                let honest = if self.struck("write(1,") { 1 } else { honest };
                if status != honest {
                    self.say(format!("it should have ended with {honest}"));
                }
                if !err.contains(&format!("(os error {errno})")) {
                    self.say("it does not name the error");
                }
                if self.must_repeat() {
                    self.say("it was interrupted and did not repeat the call");
                }
            }
        }
    }

    /// Reports whether the whole may succeed although a system call fails.
    fn is_harmless(&self) -> bool {
        self.of_history
            // Closing what was read, or a file system without a flush: the bytes are in the kernel.
            || self.struck("close(")
            // The kernel frees the flock with the process, and next calls find the orphan.
            || (self.struck("flock(") && self.call.contains("LOCK_UN"))
            || self.struck("unlinkat(")
            // Looking for orphans: what is left is found next time.
            || self.struck("getdents64(")
            // A ticket that stays costs the line a look, after the record is what it shall be.
            || (self.struck("openat") && self.call.contains("\"queue\""))
            // A node's name that cannot be kept in the home is in the tree alone.
            || self.call.contains("/home/.local") || self.call.contains("/home\", 0700")
            || (self.struck("openat(") && self.call.contains("\".new-"))
            || (self.struck("write(") && self.call.contains("\"node: node-"))
            || self.struck("linkat(")
            // A note that could not be printed cannot be reported. Data is on stdout.
            || self.struck("write(2,")
            // How much room std reserves for a file of /proc.
            || self.struck("statx(")
            || (self.fault == EINTR && (self.must_repeat() || self.may_repeat()))
    }

    /// Do our own loops, or those of std, make this call again after a signal?
    fn must_repeat(&self) -> bool {
        let of_the_tree = self.call.contains("\"schema: ") || self.call.contains("\"node-");
        self.fault == EINTR
            && (self.struck("write(")
                || (self.struck("read(") && of_the_tree)
                || (self.struck("flock(") && self.call.contains("LOCK_EX")))
    }

    /// Files of the system are read by std, which repeats, or with one read, which does not.
    fn may_repeat(&self) -> bool {
        self.struck("read(") || (self.struck("openat(") && self.call.contains("/proc/"))
    }

    /// Nothing but the record, its guard, unpublished names and what a first use makes has changed.
    fn files(&mut self) {
        let (run, after) = (self.run, &self.after);
        let mut wrong = Vec::new();
        for path in run.old.differences(after) {
            let stood = run.old.0.contains_key(path);
            let allowed = self.may_change(path) || (!stood && self.may_appear(path));
            if !allowed {
                wrong.push(format!("{path} has changed"));
            }
            if let Some(Entry::Other) = after.0.get(path) {
                wrong.push(format!("{path} is no plain file"));
            }
        }
        if matches!(self.fault, Fault::Error { .. }) && !self.struck("unlinkat(") {
            let left = after.leftovers().into_iter().filter(|path| !run.old.0.contains_key(*path));
            wrong.extend(left.map(|path| format!("it lives and left {path} behind")));
        }
        if let Some(Entry::File { bytes, .. }) =
            after.0.iter().find(|(path, _)| path.ends_with("/last-seen.iso")).map(|(_, e)| e)
            && (bytes.len() != 28 || !bytes.ends_with(b"Z\n"))
        {
            wrong.push("last-seen.iso is no line of its width".to_owned());
        }
        self.wrong.extend(wrong);
    }

    /// The history has the entry of the change whole, or not at all.
    fn history(&mut self) {
        let file = |tree: &Tree| tree.file("history.log").unwrap_or_default().to_vec();
        let (old, now) = (file(self.run.old), file(&self.after));
        let added = now.strip_prefix(old.as_slice()).map(String::from_utf8_lossy);
        let is_line = |text: &str| text.ends_with('\n') && text.lines().count() == 1;
        match added.as_deref() {
            Some("") => {}
            Some(line) if is_line(line) && line.contains(" job fencing_token=") => {}
            added => self.say(format!("the history has {added:?}")),
        }
        let is_lost = added.as_deref() == Some("") && self.out.status == 0;
        if is_lost && self.run.scene.record.ends_with(".lock") && !self.of_history {
            let was_done = file(self.run.new).len() > old.len();
            if was_done {
                self.say("the history has no entry, and nothing was wrong with it");
            }
        }
    }

    fn may_change(&self, path: &str) -> bool {
        let record = self.run.scene.record;
        let in_node = path.strip_prefix("state/nodes/").and_then(|rest| rest.split_once('/'));
        let Some((_, inside)) = in_node else { return false };
        inside == record
            || inside == "history.log"
            || inside == format!(".guard/{record}/fencing_token")
            || (self.run.scene.beats && inside == "last-seen.iso")
    }

    fn may_appear(&self, path: &str) -> bool {
        if path.split('/').any(is_unpublished) {
            return true;
        }
        // A directory, or a file, of the tree that a clean run makes. A node's name is random.
        let depth = |path: &str| path.split('/').count();
        let is_node = self.run.scene.first && path.starts_with("state/nodes/") && depth(path) == 3;
        let name = |path: &str| match path.strip_prefix("state/nodes/") {
            Some(rest) => rest.split_once('/').map_or(String::new(), |(_, rest)| rest.to_owned()),
            None => path.to_owned(),
        };
        is_node || self.run.new.0.keys().any(|made| name(made) == name(path))
    }

    /// The record is the old one to the byte, or the new one but for its times and its token.
    fn record(&mut self) -> Option<Stands> {
        let name = self.run.scene.record;
        let [old, new] = [self.run.old.file(name), self.run.new.file(name)];
        let now = self.after.file(name);
        if now == old {
            return Some(Stands::Old);
        }
        let lines = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes);
            let masked = text.split_inclusive('\n').map(|line| match line.split_once(": ") {
                Some((key, _)) if VARYING.contains(&key) => format!("{key}: \n"),
                _ => line.to_owned(),
            });
            masked.collect()
        };
        if now.map(lines) == new.map(lines) {
            return Some(Stands::New);
        }
        let text = now.map(String::from_utf8_lossy);
        self.wrong.push(format!("the record is neither old nor new: {text:?}"));
        None
    }

    /// Status 0 only for the new state; and who says that nothing was changed has changed nothing.
    fn answer(&mut self, stands: Stands) {
        let whole = match self.run.scene.beats {
            true => stands == Stands::New && self.seen_is_new(),
            false => stands == Stands::New,
        };
        if self.out.status == 0 && !whole {
            self.say("it said that it was done, and it was not");
        }
        let denies = ["nothing was changed", "nothing was granted"]
            .iter()
            .any(|words| self.out.err.contains(words));
        let denies_record = denies || self.out.err.contains("the record is unchanged");
        if denies_record && stands == Stands::New
            || denies && self.run.scene.beats && self.seen_is_new()
        {
            self.say("it said that nothing was changed, and something was");
        }
        if stands == Stands::New && !self.run.scene.removes {
            let read = self.run.sandbox.zeta(self.run.scene.read);
            let json = serde_json::from_str::<serde_json::Value>(&read.out);
            if read.status != 0 || json.is_err() {
                self.say(format!("the new record cannot be read: {read:?}"));
            }
        }
    }

    fn seen_is_new(&self) -> bool {
        self.after.file("last-seen.iso") != self.run.old.file("last-seen.iso")
    }

    /// Tokens only grow, and none is granted that the token file does not remember.
    fn token(&mut self, stands: Stands) {
        let name = self.run.scene.record;
        let [before, after] = [self.run.old, &self.after].map(|tree| tree.token(name));
        if after.unwrap_or(0) < before.unwrap_or(0) {
            self.say(format!("the token file went from {before:?} to {after:?}"));
        }
        let granted = self.after.file(name).and_then(token_of);
        if granted > after {
            self.say(format!("token {granted:?} stands, the token file has {after:?}"));
        }
        let printed = self.out.out.trim().parse::<u64>().ok();
        let grants = self.run.args.iter().any(|word| word == "acquire");
        if grants && stands == Stands::New {
            if granted <= before {
                self.say(format!("token {granted:?} after {before:?}"));
            }
            if printed.is_some() && printed != granted {
                self.say(format!("it printed token {printed:?}, granted {granted:?}"));
            }
        } else if grants && printed.is_some() {
            self.say(format!("it printed token {printed:?}, and granted none"));
        }
    }

    /// The same call, without a fault, goes through at once and finds the answer that was lost.
    fn next_call(&mut self, stands: Stands) {
        let (run, name) = (self.run, self.run.scene.record);
        let next = run.sandbox.zeta(&words(run.args));
        if next.status != 0 || next.took > AT_ONCE {
            return self.say(format!("the next call did not go through: {next:?}"));
        }
        let end = Tree::read(&run.sandbox.world);
        let [granted, now] = [&self.after, &end].map(|tree| tree.file(name).and_then(token_of));
        if run.args.iter().any(|word| word == "acquire") {
            let remembered = self.after.token(name);
            let right = match stands {
                Stands::New => now == granted,
                Stands::Old => now > remembered && now > granted,
            };
            if !right || next.out.trim().parse().ok() != now {
                self.say(format!("the next token is {now:?}, after {granted:?}/{remembered:?}"));
            }
            if now != end.token(name) {
                self.say(format!("token {now:?}, the token file has {:?}", end.token(name)));
            }
        }
        if end.file(name).is_some() == run.scene.removes {
            self.say("the next call did not do its work");
        }
        self.swept(end);
    }

    /// Checks that the next call or `zeta clean` handles what is left: orphans in a guard are
    /// removed, and what another process may be creating now is named until it is old.
    fn swept(&mut self, mut end: Tree) {
        if end.leftovers().is_empty() {
            return;
        }
        let cleaned = self.run.sandbox.zeta(&["clean", "--json"]);
        end = Tree::read(&self.run.sandbox.world);
        for path in end.leftovers() {
            let name = path.rsplit('/').next().unwrap_or_default();
            let in_guard = path.contains("/.guard/") && name.starts_with(".tmp-");
            // What is inside of something unpublished goes with it.
            let inner = path.split('/').rev().skip(1).any(is_unpublished);
            if in_guard || (!inner && !cleaned.out.contains(name)) {
                self.wrong.push(format!("{path} is never removed: {}", cleaned.out));
            }
        }
        if cleaned.status != 0 {
            self.say(format!("clean failed: {cleaned:?}"));
        }
    }
}

fn token_of(record: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(record).ok()?;
    text.lines().find_map(|line| line.strip_prefix("fencing_token: "))?.parse().ok()
}
