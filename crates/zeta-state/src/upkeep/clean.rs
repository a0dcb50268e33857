//! Removes what is provably dead. Each record is read and judged again inside its guard.
//!
//! [`zeta_core::clean`] decides what may be removed. Guards stay: they hold the highest fencing
//! token, and another process may just have entered one.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use zeta_core::clean::{
    UNPUBLISHED_KEEP_MS, Verdict, is_old, judge_lease, judge_note, judge_persona,
};
use zeta_core::evidence::{Boot, FileTimes, ProcessState, judge_boot};
use zeta_core::history::Event;
use zeta_core::layout::{self, Kind};
use zeta_core::lease::Observed;
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::Beat;
use zeta_core::record::{Text, parse};
use zeta_core::time::Now;

use crate::context::Context;
use crate::directory::copied::{is_copied, refuse_copied};
use crate::directory::guard;
use crate::directory::guard::Section;
use crate::directory::orphans;
use crate::directory::orphans::Orphan;
use crate::directory::tree::{Bytes, Node, Tree};
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use crate::history;
use crate::history::entry;
use crate::lease::joint::{Grants, settle, standing_of};
use crate::lease::queue::Queue;
use crate::lease::{observe, read_only};
use zeta_os::error::{Error, Result};
use zeta_os::files::list;
use zeta_os::{host, process, temp_dir};

/// How long cleaning waits for a process inside a guard; the next cleaning tries again.
const ENTER_LIMIT: Duration = Duration::from_millis(200);

/// One thing that was removed, or stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The kind: lease, persona, note, ticket, temp, unpublished, scratch.
    pub what: &'static str,
    /// The path, below the state directory; that of scratch is whole.
    pub path: String,
    /// The reason: a word of the core, or a sentence about what is wrong.
    pub reason: String,
    /// The last change of the file, by the wall clock in microseconds, if it was examined.
    pub changed_us: Option<i64>,
}

impl Item {
    fn new(what: &'static str, path: String, reason: &str, times: Option<FileTimes>) -> Item {
        let changed_us = times.map(|times| times.mtime_us);
        Item { what, path, reason: reason.to_owned(), changed_us }
    }
}

/// The result of cleaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The things that were removed, or would be.
    pub removed: Vec<Item>,
    /// The things that were checked and stay.
    pub kept: Vec<Item>,
}

/// Cleans all nodes of the tree, or the one that the caller named. `dry` only lists what would be
/// removed.
pub fn clean(ctx: &Context, dry: bool) -> Result<Cleaned> {
    let Some(tree) = Tree::open(&ctx.state_dir)? else {
        let mut done = Cleaned::default();
        beside(ctx, &mut done);
        scratch(dry, &mut done);
        return Ok(done);
    };
    clean_in(ctx, &tree, dry)
}

/// Removes what killed calls left in the directory for temporary files.
fn scratch(dry: bool, done: &mut Cleaned) {
    for left in temp_dir::abandoned() {
        let removed = if dry { Ok(()) } else { left.remove() };
        let item =
            |reason: &str| Item::new("scratch", left.path.display().to_string(), reason, None);
        match removed {
            Ok(()) => done.removed.push(item("orphan")),
            Err(error) => done.kept.push(item(&error.to_string())),
        }
    }
}

/// Lists unpublished trees beside the state directory. They are never removed: other programs use
/// the parent directory too.
fn beside(ctx: &Context, done: &mut Cleaned) {
    for name in orphans::beside(&ctx.state_dir) {
        let path = format!("../{name}");
        done.kept.push(Item::new("unpublished", path, "beside_the_tree", None));
    }
}

/// As [`clean`], in an opened tree.
pub fn clean_in(ctx: &Context, tree: &Tree, dry: bool) -> Result<Cleaned> {
    let mut cleaner = Cleaner { ctx, base: &tree.base, dry, done: Cleaned::default() };
    beside(ctx, &mut cleaner.done);
    scratch(dry, &mut cleaner.done);
    cleaner.sweep_dir(tree.base.as_fd(), "");
    let nodes = tree.nodes()?;
    let path = tree.base.path.join(layout::NODES);
    if let Ok(Some((dir, _))) =
        open_inner(tree.base.as_fd(), layout::NODES, &tree.base, || path.clone())
    {
        cleaner.sweep_dir(dir.as_fd(), "nodes/");
    }
    for name in nodes.names {
        let Ok(name) = Label::new("node", &name) else { continue };
        if ctx.node.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let found = tree.node(&name).and_then(|node| match node {
            Some(node) => Ok(Some((is_copied(&node)?, node))),
            None => Ok(None),
        });
        match found {
            // What another machine's records say is for that machine to clean.
            Ok(Some((true, node))) => {
                if ctx.node.is_some() {
                    refuse_copied(&node)?;
                }
            }
            Ok(Some((false, node))) => cleaner.sweep_node(&node),
            Ok(None) => {}
            Err(error) => cleaner.keep("node", format!("nodes/{name}"), &error.text),
        }
    }
    Ok(cleaner.done)
}

struct Cleaner<'a> {
    ctx: &'a Context,
    base: &'a TrustedDir,
    dry: bool,
    done: Cleaned,
}

impl Cleaner<'_> {
    fn keep(&mut self, what: &'static str, path: String, reason: &str) {
        self.done.kept.push(Item::new(what, path, reason, None));
    }

    fn removed(&mut self, what: &'static str, path: String, reason: &str) {
        self.done.removed.push(Item::new(what, path, reason, None));
    }

    /// Lists a thing whose times are known by what was decided about it.
    fn decided(&mut self, what: &'static str, path: String, verdict: Verdict, times: FileTimes) {
        let (list, reason) = match verdict {
            Verdict::Remove(reason) => (&mut self.done.removed, reason),
            Verdict::Keep(reason) => (&mut self.done.kept, reason),
        };
        list.push(Item::new(what, path, reason, Some(times)));
    }

    /// Removes unpublished directories and temps from a directory that has no guard.
    fn sweep_dir(&mut self, dir: BorrowedFd<'_>, prefix: &str) {
        self.sweep_some(dir, prefix, |_| true);
    }

    fn sweep_some(&mut self, dir: BorrowedFd<'_>, prefix: &str, which: impl Fn(&Orphan) -> bool) {
        let Ok(listing) = list(dir, layout::NODES_MAX, Path::new(prefix)) else { return };
        let found = orphans::find(dir, self.base, &listing.names);
        for orphan in found.into_iter().filter(which) {
            let path = format!("{prefix}{}", orphan.name);
            let what = if orphan.is_dir { "unpublished" } else { "temp" };
            if !is_old(orphan.times, UNPUBLISHED_KEEP_MS, &self.ctx.now()) {
                self.decided(what, path, Verdict::Keep("young"), orphan.times);
                continue;
            }
            let gone = Verdict::Remove("never_published");
            match if self.dry { Ok(()) } else { orphans::remove(dir, &orphan) } {
                Ok(()) => self.decided(what, path, gone, orphan.times),
                Err(errno) => self.keep(what, path, &errno.to_string()),
            }
        }
    }

    fn sweep_node(&mut self, node: &Node) {
        let prefix = format!("nodes/{}/", node.name);
        self.sweep_dir(node.as_fd(), &prefix);
        let path = || node.path.join(layout::GUARDS);
        match open_inner(node.as_fd(), layout::GUARDS, self.base, path) {
            Ok(Some((guards, _))) => self.sweep_guards(node, guards.as_fd(), &prefix),
            Ok(None) => {}
            Err(error) => self.keep("guard", format!("{prefix}{}", layout::GUARDS), &error.text),
        }
        let names = match node.list() {
            Ok(listing) => listing.names,
            Err(error) => return self.keep("node", prefix, &error.text),
        };
        for file in names {
            match layout::kind_of(&file) {
                Kind::Lease(name) if RecordName::new("lease", name).is_ok() => {
                    self.sweep_record(node, &file, "lease", layout::RECORD_MAX);
                }
                Kind::Grants(name) => {
                    if let Ok(name) = RecordName::new("lease", name)
                        && let Err(error) = self.sweep_grants(node, &name)
                    {
                        self.keep("lease", format!("{prefix}{file}"), &error.text);
                    }
                }
                Kind::Persona(name) if Label::new("persona", name).is_ok() => {
                    self.sweep_record(node, &file, "persona", layout::PERSONA_MAX);
                }
                Kind::Note(name) => {
                    if let Ok(name) = RecordName::new("lease", name)
                        && let Err(error) = self.sweep_note(node, &name, &file)
                    {
                        self.keep("note", format!("{prefix}{file}"), &error.text);
                    }
                }
                _ => {}
            }
        }
    }

    /// Removes the note of a claim, in the guard of its lease: the next holder may just take it up.
    fn sweep_note(&mut self, node: &Node, name: &RecordName, file: &str) -> Result<()> {
        let path = format!("nodes/{}/{file}", node.name);
        let lease = layout::lease_file(name);
        let section = match self.dry {
            true => None,
            false => Some(guard::enter(self.base, node, lease.as_str(), ENTER_LIMIT)?),
        };
        let Some(note) = node.read(self.base, file, layout::NOTE_MAX)? else { return Ok(()) };
        let seen = read_only(node.read(self.base, &lease, layout::RECORD_MAX)?, name);
        let verdict = judge_note(note.times, &seen, &self.ctx.now());
        if let (Verdict::Remove(_), Some(section)) = (verdict, section) {
            section
                .take_in(node.as_fd(), file)
                .map_err(|errno| Error::io("cannot remove", &node.path.join(file), errno))?;
        }
        self.decided("note", path, verdict, note.times);
        Ok(())
    }

    fn sweep_guards(&mut self, node: &Node, guards: BorrowedFd<'_>, prefix: &str) {
        let prefix = format!("{prefix}{}/", layout::GUARDS);
        self.sweep_dir(guards, &prefix);
        let Ok(listing) = list(guards, layout::ENTRIES_MAX, Path::new(&prefix)) else { return };
        for file in listing.names {
            let known = matches!(
                layout::kind_of(&file),
                Kind::Lease(_) | Kind::Marker(_) | Kind::Persona(_)
            );
            if !known {
                continue;
            }
            if let Err(error) = self.sweep_guard(node, &file, &prefix) {
                self.keep("guard", format!("{prefix}{file}"), &error.text);
            }
        }
    }

    /// Removes orphan temps and void tickets under the flock, which proves that they are.
    fn sweep_guard(&mut self, node: &Node, file: &str, prefix: &str) -> Result<()> {
        let Some(section) = guard::try_enter(self.base, node, file, ENTER_LIMIT)? else {
            return Ok(());
        };
        for temp in section.orphans()? {
            let path = format!("{prefix}{file}/{temp}");
            match if self.dry { Ok(()) } else { section.remove_orphan(&temp) } {
                Ok(()) => self.removed("temp", path, "orphan"),
                Err(errno) => self.keep("temp", path, &errno.to_string()),
            }
        }
        // Temps are done already; an unpublished queue directory may be left.
        self.sweep_some(section.as_fd(), &format!("{prefix}{file}/"), |orphan| orphan.is_dir);
        let Some(queue) = Queue::open(&section)? else { return Ok(()) };
        for ticket in queue.void(host::reading(), &self.ctx.host)? {
            if !self.dry {
                queue.remove(&ticket);
            }
            let path = format!("{prefix}{file}/{}/{}", layout::QUEUE, ticket.file());
            self.removed("ticket", path, "void");
        }
        Ok(())
    }

    /// Removes grants of joint leases that count no more, and what stands for none.
    fn sweep_grants(&mut self, node: &Node, name: &RecordName) -> Result<()> {
        let now = self.ctx.now();
        let Some(grants) = Grants::open(self.base, node, name)? else { return Ok(()) };
        let file = layout::lease_file(name);
        let section = match self.dry {
            true => guard::try_enter(self.base, node, file.as_str(), ENTER_LIMIT)?,
            false => Some(guard::enter(self.base, node, file.as_str(), ENTER_LIMIT)?),
        };
        let Some(section) = section else { return Ok(()) };
        let record = read_only(section.read(layout::RECORD_MAX)?, name);
        let standing = standing_of(&record);
        let mut gone = 0;
        let all = grants.read_all(self.base, |bytes| observe(bytes, name, &self.ctx.host))?;
        for grant in &all {
            let Some(file) = &grant.file else { continue };
            let path = format!("nodes/{}/{}/{file}", node.name, layout::grants_dir(name));
            let verdict = match standing {
                Some(_) => judge_lease(&grant.observed, &now),
                None => Verdict::Remove("broken"),
            };
            let times = match &grant.observed {
                Observed::Ours(_, times, _)
                | Observed::Foreign { times, .. }
                | Observed::Damaged(_, times) => *times,
                Observed::Absent => continue,
            };
            if let Verdict::Remove(cause) = verdict {
                gone += 1;
                if !self.dry {
                    grants.end(&section, self.ctx, name, grant, cause)?;
                    if let Observed::Ours(record, ..) = &grant.observed {
                        Queue::remove_tickets_of(&section, &record.processes);
                    }
                }
            }
            self.decided("lease", path, verdict, times);
        }
        if gone < all.len() {
            return Ok(());
        }
        let (file, is_gone) = match standing {
            Some(standing) => {
                (file.clone(), self.dry || settle(&section, self.ctx, &grants, standing, &now)?)
            }
            // A killed release has left the directory.
            None => (layout::grants_dir(name), self.dry || grants.remove_empty(&section)),
        };
        if is_gone {
            self.removed("lease", format!("nodes/{}/{file}", node.name), "no_grant");
        }
        Ok(())
    }

    fn sweep_record(&mut self, node: &Node, file: &str, what: &'static str, max: usize) {
        let path = format!("nodes/{}/{file}", node.name);
        // First without the guard, so that a record that stays is never disturbed.
        let outside = node.read(self.base, file, max).map(|bytes| self.judge(what, file, bytes));
        match outside {
            Err(error) => return self.keep(what, path, &error.text),
            Ok(None) => return,
            Ok(Some((verdict, times))) if self.dry || matches!(verdict, Verdict::Keep(_)) => {
                return self.decided(what, path, verdict, times);
            }
            Ok(Some(_)) => {}
        }
        let inside = guard::enter(self.base, node, file, ENTER_LIMIT)
            .and_then(|section| self.remove_inside(&section, what, file, max));
        match inside {
            Ok(Some((verdict, times))) => self.decided(what, path, verdict, times),
            Ok(None) => {}
            Err(error) => self.keep(what, path, &error.text),
        }
    }

    fn remove_inside(
        &self,
        section: &Section<'_>,
        what: &'static str,
        file: &str,
        max: usize,
    ) -> Result<Option<(Verdict, FileTimes)>> {
        let bytes = section.read(max)?;
        let verdict = self.judge(what, file, bytes.clone());
        if let Some((Verdict::Remove(cause), _)) = verdict {
            section.remove()?;
            if let Kind::Lease(name) = layout::kind_of(file)
                && let Ok(name) = RecordName::new("lease", name)
            {
                let observed = read_only(bytes, &name);
                let entry = entry::of_end(section, Event::Removed, &name, &observed, None);
                history::append(section, &entry.because(cause).by(self.ctx.agent.as_str()));
                if let Observed::Ours(record, ..) = observed {
                    Queue::remove_tickets_of(section, &record.processes);
                    (self.ctx.lease_ended)(self.ctx, &record);
                }
            }
        }
        Ok(verdict)
    }

    fn judge(&self, what: &str, file: &str, bytes: Option<Bytes>) -> Option<(Verdict, FileTimes)> {
        let (now, bytes) = (self.ctx.now(), bytes?);
        let times = bytes.times;
        let verdict = match (what, layout::kind_of(file)) {
            ("lease", Kind::Lease(name)) => {
                let name = RecordName::new("lease", name).ok()?;
                let observed = observe(Some(bytes), &name, &self.ctx.host);
                match standing_of(&observed) {
                    // Its grants are judged, not its own time.
                    Some(_) => Verdict::Keep("joint"),
                    None => judge_lease(&observed, &now),
                }
            }
            _ => persona_verdict(&bytes, &now),
        };
        Some((verdict, times))
    }
}

fn persona_verdict(bytes: &Bytes, now: &Now) -> Verdict {
    let fields = match parse(&bytes.bytes, layout::PERSONA_MAX) {
        Ok(Text::Own(fields)) => fields,
        Ok(Text::Foreign(_)) => return Verdict::Keep("foreign"),
        Err(_) => return Verdict::Keep("damaged"),
    };
    match Beat::from_fields(&fields) {
        // Other agents wrote it, and no agent beats for it: nothing proves it dead.
        Err(_) => Verdict::Keep("no_beat"),
        Ok(beat) => judge_persona(&beat, bytes.times, life_of(&beat, now), now),
    }
}

/// Returns the state of the processes of a beat; pids of another boot mean nothing.
pub fn life_of(beat: &Beat, now: &Now) -> ProcessState {
    match judge_boot(&beat.stamp, now) {
        Boot::Same => process::life(&beat.processes, now.host),
        _ => ProcessState::Unknown,
    }
}
