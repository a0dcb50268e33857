//! Examines the tree: its directories, its records, and what killed processes left in it.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, statat};
use zeta_core::bus::note::Note;
use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Held, HeldWhy, Observed, Standing, judge};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{self, Beat, Liveness};
use zeta_core::record::{Text, parse};

use super::{Diagnosis, Severity};
use crate::context::Context;
use crate::directory::anchor;
use crate::directory::anchor::Anchored;
use crate::directory::purpose::STATE;
use crate::directory::tree::{Bytes, Node, Tree};
use crate::directory::trusted_dir::{Sharing, open_inner};
use crate::directory::{group, probe};
use crate::history::reader::{Entries, Reader};
use crate::lease::joint::Grants;
use crate::lease::observe;
use crate::upkeep::clean::{clean_in, life_of};
use zeta_os::error::READ_ONLY;
use zeta_os::files::{Listing, list};
use zeta_os::{host, users};

/// How many seconds the time of a file may be ahead of the clock.
const AHEAD_S: i64 = 5;

pub(super) fn examine(ctx: &Context, tree: &Tree, diagnosis: &mut Diagnosis) {
    base(tree, diagnosis);
    let nodes = match tree.nodes() {
        Ok(nodes) => nodes,
        Err(error) => return diagnosis.add_error("nodes", &error),
    };
    nodes_dir(tree, diagnosis);
    odd_names("nodes", &tree.base.path.join(layout::NODES), &nodes, diagnosis);
    diagnosis.fact("nodes", nodes.names.len().to_string());
    for name in &nodes.names {
        match Label::new("node", name).map(|name| tree.node(&name)) {
            Ok(Ok(Some(node))) => NodeExamination { ctx, tree, node: &node, diagnosis }.examine(),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => diagnosis.add_error("node", &error),
            // The names of unfinished directories are among the leftovers.
            Err(_) if name.starts_with(layout::NEW_PREFIX) => {}
            Err(_) => diagnosis.add(
                Severity::Note,
                "odd_name",
                format!("nodes/{name} is not the name of a node"),
                "zeta does not touch it: find out who made it",
            ),
        }
    }
}

fn base(tree: &Tree, diagnosis: &mut Diagnosis) {
    let readme = statat(&tree.base, layout::README, AtFlags::SYMLINK_NOFOLLOW);
    if readme.is_err() {
        let remedy = "zeta doctor --fix (in a group's tree: as root)";
        let reason = "the operator's page README.md is missing";
        diagnosis.add(Severity::Warning, "readme", reason, remedy);
    }
    match tree.read_local_node() {
        Ok(Some(name)) => diagnosis.fact("local_node", name.to_string()),
        Ok(None) => diagnosis.add(
            Severity::Warning,
            "local_node",
            "this machine's node has no name yet",
            "zeta doctor --fix (in a group's tree: as root)",
        ),
        Err(error) => diagnosis.add_error("local_node", &error),
    }
    if let Ok(stat) = fstat(&tree.base)
        && stat.st_ctime > host::reading().wall_us / 1_000_000 + AHEAD_S
    {
        diagnosis.add(
            Severity::Warning,
            "clock",
            "the last change of the tree has a time in the future: the clock was set back since",
            "wait, or set the clock; leases of this boot do not depend on it",
        );
    }
    if let Sharing::Group { .. } = tree.base.sharing
        && let Ok(Anchored::Absent) = anchor::check(&tree.base, &STATE)
    {
        diagnosis.add(
            Severity::Note,
            "anchor",
            format!("{} is missing", anchor::path_for(&tree.base.path).display()),
            "as root: 'zeta init --group NAME' writes it, for this boot",
        );
    }
}

fn nodes_dir(tree: &Tree, diagnosis: &mut Diagnosis) {
    let path = || tree.base.path.join(layout::NODES);
    match open_inner(tree.base.as_fd(), layout::NODES, &tree.base, path) {
        Ok(Some((_, stat))) => shared_mode(tree, &path(), &stat, group::NODES_MODE, diagnosis),
        Ok(None) => {}
        Err(error) => diagnosis.add_error("nodes", &error),
    }
}

/// Reports a mode of a group's tree that locks members out.
fn shared_mode(tree: &Tree, path: &Path, stat: &Stat, wanted: u32, diagnosis: &mut Diagnosis) {
    let Sharing::Group { gid } = tree.base.sharing else { return };
    let bits = stat.st_mode & 0o7777;
    if bits & wanted != wanted || stat.st_gid != gid {
        diagnosis.add(
            Severity::Broken,
            "mode",
            format!(
                "{} is {bits:04o} of {}, and members of {} cannot work in it",
                path.display(),
                users::group(stat.st_gid),
                users::group(gid)
            ),
            format!("its owner or root: chgrp {gid} and chmod {wanted:04o} on it"),
        );
    }
}

fn odd_names(what: &'static str, path: &Path, listing: &Listing, diagnosis: &mut Diagnosis) {
    for name in &listing.odd {
        let reason = format!("{}: no record can have the name {name}", path.display());
        diagnosis.add(Severity::Note, "odd_name", reason, "zeta does not touch it");
    }
    if listing.cut {
        let reason = format!("{} has more entries than zeta reads", path.display());
        diagnosis.add(
            Severity::Warning,
            what,
            reason,
            "find out what fills it; results are partial",
        );
    }
}

/// Reports what `zeta clean` would remove.
pub(super) fn leftovers(ctx: &Context, tree: &Tree, diagnosis: &mut Diagnosis) {
    let cleaned = match clean_in(ctx, tree, true) {
        Ok(cleaned) => cleaned,
        Err(error) => return diagnosis.add_error("leftovers", &error),
    };
    for item in cleaned.removed {
        diagnosis.add(
            Severity::Warning,
            "leftover",
            format!("{} {}: {}", item.what, item.path, item.reason.replace('_', " ")),
            "zeta clean, or zeta doctor --fix",
        );
    }
}

/// One node under examination.
struct NodeExamination<'a> {
    ctx: &'a Context,
    tree: &'a Tree,
    node: &'a Node,
    diagnosis: &'a mut Diagnosis,
}

impl NodeExamination<'_> {
    fn examine(mut self) {
        if let Ok(stat) = fstat(self.node) {
            shared_mode(self.tree, &self.node.path, &stat, group::NODE_MODE, self.diagnosis);
        }
        let own = self.tree.read_local_node().ok().flatten();
        // The check creates a directory, which only an owner of the tree may do.
        if fstatvfs(self.node).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            let reason = format!("{} is on a read-only file system", self.node.path.display());
            self.diagnosis.add(Severity::Warning, "read_only", reason, READ_ONLY);
        } else if own.as_ref() == Some(&self.node.name)
            && Tree::open(&self.tree.base.path).is_ok()
            && let Err(error) = probe::flock_excludes(self.node.as_fd(), &self.node.path)
        {
            self.diagnosis.add_error("flock", &error);
        }
        self.guards();
        let listing = match self.node.list() {
            Ok(listing) => listing,
            Err(error) => return self.diagnosis.add_error("node", &error),
        };
        odd_names("node", &self.node.path, &listing, self.diagnosis);
        for file in &listing.names {
            self.file(file);
        }
        self.history();
    }

    /// Examines the history. No verb reports that it cannot add to it.
    fn history(&mut self) {
        match Reader::default().read(&self.tree.base, self.node) {
            Ok(Entries { unread: 0, .. }) => {}
            Ok(Entries { unread, .. }) => {
                let reason = format!("{unread} lines cannot be read");
                let reason = format!("{}: {reason}", self.path(layout::HISTORY));
                let remedy = "nothing: they are passed over, and go with the log";
                self.diagnosis.add(Severity::Note, "history", reason, remedy);
            }
            Err(error) => self.diagnosis.add_error("history", &error),
        }
    }

    fn guards(&mut self) {
        let base = &self.tree.base;
        let path = self.node.path.join(layout::GUARDS);
        let guards = match open_inner(self.node.as_fd(), layout::GUARDS, base, || path.clone()) {
            Ok(Some((guards, _))) => guards,
            Ok(None) => return,
            Err(error) => return self.diagnosis.add_error("guard", &error),
        };
        let Ok(listing) = list(guards.as_fd(), layout::ENTRIES_MAX, &path) else { return };
        odd_names("guard", &path, &listing, self.diagnosis);
        for name in listing.names.iter().filter(|name| !name.starts_with(layout::NEW_PREFIX)) {
            match open_inner(guards.as_fd(), name, base, || path.join(name)) {
                Ok(Some((_, stat))) => {
                    let path = path.join(name);
                    shared_mode(self.tree, &path, &stat, group::NODE_MODE, self.diagnosis);
                }
                Ok(None) => {}
                Err(error) => self.diagnosis.add_error("guard", &error),
            }
        }
    }

    fn file(&mut self, file: &str) {
        let max = match layout::kind_of(file) {
            Kind::Lease(_) | Kind::Marker(_) => layout::RECORD_MAX,
            Kind::Persona(_) => layout::PERSONA_MAX,
            Kind::LastSeen => layout::LINE_MAX,
            Kind::Note(_) => layout::NOTE_MAX,
            Kind::Guards | Kind::History | Kind::CopyMark => return,
            Kind::Grants(name) => return self.grants(name),
            Kind::Other if file.starts_with(layout::NEW_PREFIX) => return,
            Kind::Other => {
                let reason = format!("{} is not a file of the standard", self.path(file));
                let remedy = "zeta does not touch it: find out who made it";
                return self.diagnosis.add(Severity::Note, "odd_name", reason, remedy);
            }
        };
        match self.node.read(&self.tree.base, file, max) {
            Ok(Some(bytes)) => self.content(file, bytes, max),
            Ok(None) => {}
            Err(error) => self.diagnosis.add_error("record", &error),
        }
    }

    fn content(&mut self, file: &str, bytes: Bytes, max: usize) {
        match layout::kind_of(file) {
            Kind::LastSeen | Kind::History | Kind::Guards | Kind::Grants(_) => {}
            Kind::CopyMark | Kind::Other => {}
            Kind::Note(_) => self.note(file, &bytes),
            Kind::Lease(name) => match RecordName::new("lease", name) {
                Ok(name) => self.lease(file, &name, bytes),
                Err(error) => self.bad_name(file, &error.to_string()),
            },
            Kind::Marker(name) => match RecordName::new("marker", name) {
                Ok(_) => self.text(file, &bytes, max),
                Err(error) => self.bad_name(file, &error.to_string()),
            },
            Kind::Persona(name) => match Label::new("persona", name) {
                Ok(_) => self.text(file, &bytes, max),
                Err(error) => self.bad_name(file, &error.to_string()),
            },
        }
    }

    /// Examines the note of a claim: one that cannot be read is not shown to the next holder.
    fn note(&mut self, file: &str, bytes: &Bytes) {
        if Note::parse(&bytes.bytes).is_none() {
            let reason = format!("{} is not a note that can be read", self.path(file));
            let remedy = "the next holder of the item does not see it; the next note replaces it";
            self.diagnosis.add(Severity::Note, "note", reason, remedy);
        }
    }

    /// Examines the grants of a joint lease.
    fn grants(&mut self, name: &str) {
        let dir = format!("{name}.grants");
        let name = match RecordName::new("lease", name) {
            Ok(name) => name,
            Err(error) => return self.bad_name(&dir, &error.to_string()),
        };
        let base = &self.tree.base;
        let grants = match Grants::open(base, self.node, &name) {
            Ok(Some(grants)) => grants,
            Ok(None) => return,
            Err(error) => return self.diagnosis.add_error("record", &error),
        };
        let files = grants.files().unwrap_or_default();
        for file in files {
            match grants.read(base, &file) {
                Ok(Some(bytes)) => self.lease(&format!("{dir}/{file}"), &name, bytes),
                Ok(None) => {}
                Err(error) => self.diagnosis.add_error("record", &error),
            }
        }
    }

    fn text(&mut self, file: &str, bytes: &Bytes, max: usize) {
        match parse(&bytes.bytes, max) {
            Ok(Text::Own(_)) => {}
            Ok(Text::Foreign(_)) => self.foreign(file),
            Err(damage) => {
                let reason = format!("{} is damaged: {damage}", self.path(file));
                let remedy = "read it, then write it again with 'zeta marker' or 'zeta persona'";
                self.diagnosis.add(Severity::Broken, "damaged", reason, remedy);
            }
        }
    }

    fn lease(&mut self, file: &str, name: &RecordName, bytes: Bytes) {
        let now = self.ctx.now();
        let observed = observe(Some(bytes), name, &self.ctx.host);
        match &observed {
            Observed::Absent => {}
            Observed::Foreign { .. } => self.foreign(file),
            Observed::Damaged(damage, _) => {
                let reason = format!("{} is damaged: {damage}", self.path(file));
                let remedy = format!("zeta lease break {name} --damaged --reason TEXT");
                self.diagnosis.add(Severity::Broken, "damaged", reason, remedy);
            }
            Observed::Ours(record, ..) => {
                let standing = judge(&observed, &now);
                if let Some(session) = &record.session
                    && matches!(standing, Standing::Held(_))
                    && !self.renewed_by(record.agent.as_str(), session)
                {
                    let reason = format!(
                        "lease {name} of {}: no process beats for its session: it is not renewed",
                        record.agent
                    );
                    let remedy = format!("wait for its TTL, or see: zeta lease show {name}");
                    self.diagnosis.add(Severity::Warning, "no_renewer", reason, remedy);
                }
                let forever = Held { why: HeldWhy::OverdueForever, rest_ms: None };
                if standing == Standing::Held(forever) {
                    let token = record.fencing_token;
                    let reason = format!(
                        "lease {name} of {} is overdue, its process is alive, and its policy is \
                         never",
                        record.agent
                    );
                    let remedy =
                        format!("ask its holder; zeta lease break {name} --expect {token}");
                    self.diagnosis.add(Severity::Warning, "overdue", reason, remedy);
                }
            }
        }
    }

    /// Returns whether the session's own record shows a process that renews.
    fn renewed_by(&self, agent: &str, session: &str) -> bool {
        let file = layout::persona_file(agent);
        let Ok(Some(bytes)) = self.node.read(&self.tree.base, &file, layout::PERSONA_MAX) else {
            return false;
        };
        let Ok(Text::Own(fields)) = parse(&bytes.bytes, layout::PERSONA_MAX) else { return false };
        let Ok(beat) = Beat::from_fields(&fields) else { return false };
        let now = self.ctx.now();
        let life = life_of(&beat, &now);
        beat.session.as_deref() == Some(session)
            && presence::judge(&beat, bytes.times, life, &now).liveness != Liveness::Gone
    }

    fn foreign(&mut self, file: &str) {
        let reason = format!("{} was written by another program than zeta", self.path(file));
        let remedy = "nothing, if it follows the standard; it is judged by its age";
        self.diagnosis.add(Severity::Note, "foreign", reason, remedy);
    }

    fn bad_name(&mut self, file: &str, rule: &str) {
        let reason = format!("{}: {rule}", self.path(file));
        self.diagnosis.add(Severity::Note, "odd_name", reason, "zeta does not touch it");
    }

    fn path(&self, file: &str) -> String {
        self.node.path.join(file).display().to_string()
    }
}
