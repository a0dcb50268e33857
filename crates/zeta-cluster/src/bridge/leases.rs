//! The leases of the cluster: copies for the short verbs, and the word of this node about its own:
//! a holder that is dead, or gone, is told at once. Only a node speaks for its dead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use zeta_core::cluster::copy::{self, About, copy_max};
use zeta_core::cluster::envelope::Trust;
use zeta_core::cluster::lease::{Call, Entry, Observed, Op, Step, Terms, Write};
use zeta_core::cluster::peer::Writer;
use zeta_core::cluster::subject::{Stream, Subject};
use zeta_core::evidence::{Age, Process, ProcessState, Processes, is_same_boot};
use zeta_core::layout::{self, RECORD_MAX};
use zeta_core::lease::{FencingToken, Observed as LocalObserved, Record};
use zeta_core::name::RecordName;
use zeta_os::ends::Ends;
use zeta_os::error::{Kind, Result as OsResult};
use zeta_os::process;
use zeta_state::directory::copied::BridgeDir;
use zeta_state::directory::guard::{self, Section};
use zeta_state::lease::cluster::deadline_of;
use zeta_state::lease::{HolderSection, observe};

use super::copies::{FORGED, Place};
use super::readable::Readable;
use super::wire::{Put, Result, Wire};
use super::{Bridge, Level};
use crate::api::Stored;
use crate::signer::Received;

/// How long the bridge waits for a process inside of a guard, before it looks again later.
const ENTER: Duration = Duration::from_millis(2);
/// When it looks again.
const AGAIN: Duration = Duration::from_millis(20);

/// The last value of a lease, under the subjects of all nodes.
#[derive(Debug)]
struct Known {
    sequence: u64,
    entry: Entry,
    /// The newest value that was taken, if this one is older and was sent again, or cannot be read.
    newest: Option<Entry>,
}

impl Known {
    fn newest(&self) -> &Entry {
        self.newest.as_ref().unwrap_or(&self.entry)
    }

    /// It was refused as one that was sent again.
    fn is_replayed(&self) -> bool {
        self.newest.is_some() && self.entry != Entry::Unreadable
    }
}

/// The leases that the store has.
#[derive(Debug)]
pub(super) struct Leases {
    dir: BridgeDir,
    known: BTreeMap<RecordName, Known>,
    ends: Ends,
    readable: Readable,
    /// When the leases of this node are looked at.
    pub(super) look_at: Option<Instant>,
}

impl Leases {
    pub(super) fn new(dir: BridgeDir) -> OsResult<Leases> {
        let ends = Ends::new();
        let readable = Readable::new(ends.fd())?;
        dir.sweep();
        Ok(Leases { dir, known: BTreeMap::new(), ends, readable, look_at: None })
    }

    /// Waits until a process has ended that holds a lease of the cluster.
    pub(super) async fn process_ended(&self) {
        self.readable.changed().await;
    }

    /// Takes the ends, so that the next one is noticed.
    pub(super) fn take_ends(&mut self) {
        while !self.ends.take().is_empty() {}
        self.look_soon();
    }

    /// Looks at the leases of this node as soon as there is nothing else to do.
    pub(super) fn look_soon(&mut self) {
        self.look_at = Some(Instant::now());
    }

    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// How many there are, and how many of them are granted.
    pub(super) fn count(&self) -> (usize, usize) {
        let is_grant = |known: &&Known| matches!(known.entry, Entry::Grant(..));
        (self.known.len(), self.known.values().filter(is_grant).count())
    }
}

impl Bridge<'_> {
    /// Takes a value of a lease: the copy that the short verbs read.
    pub(super) fn take_lease(&mut self, wire: &Wire, value: &Received) {
        let Subject::Lease { name, .. } = &value.subject else { return };
        let (sequence, node) = (value.sequence, &value.envelope.node);
        let seen = self.leases.known.get(name).map(|known| (known.sequence, known.is_replayed()));
        if seen.is_some_and(|(last, again)| last > sequence || (last == sequence && again)) {
            return;
        }
        let is_new = seen.is_none_or(|(last, _)| last < sequence);
        // What its node did not sign holds the lease for a while, and frees nothing.
        let entry = match value.trust.is_verified() {
            true => Entry::read(&value.body, name, node),
            false => Entry::Unreadable,
        };
        if value.trust == Trust::Forged && is_new {
            self.refuse(node, Writer::Unknown, format!("the lease {name}: {FORGED}"));
        }
        let copy = self.lease_copy(name);
        let known = self.known_lease(wire, name, copy.as_ref());
        let again =
            known.as_ref().is_some_and(|(last, known)| sequence > *last && entry.is_before(known));
        let newest = known.filter(|_| again || entry == Entry::Unreadable).map(|(_, known)| known);
        if again {
            // It is judged once, and what comes after it must still be newer than what was known.
            self.leases.known.insert(name.clone(), Known { sequence, entry, newest });
            let reason = format!("it is an older value of the lease {name}, sent again");
            return self.refuse(node, Writer::Unknown, reason);
        }
        if let (Some(token), Some(known)) = (entry.fencing_token(), &mut self.memory.known) {
            known.see_token(token.get());
        }
        let is_own = matches!(&entry, Entry::Grant(_, scope) if scope.node == self.own);
        self.leases.known.insert(name.clone(), Known { sequence, entry, newest });
        if is_own {
            self.leases.look_soon();
        }
        let before = copy.as_ref().map(|(about, _)| about);
        if let Err(error) = self.write_lease_copy(wire, name, value, before) {
            self.missed(&error);
        }
    }

    /// Reads the copy of a lease.
    fn lease_copy(&self, name: &RecordName) -> Option<(About, Vec<u8>)> {
        let (tree, dir) = (&self.directory.tree, &self.leases.dir);
        let file = layout::cluster_lease_file(name);
        let read = dir.read(tree, &file, copy_max(RECORD_MAX)).ok().flatten()?;
        copy::read(&read.bytes, RECORD_MAX).ok()
    }

    /// Returns the newest value of a lease that is known, and the number up to which it is: by this
    /// run, or by the copy that one before it has left.
    fn known_lease(
        &self,
        wire: &Wire,
        name: &RecordName,
        copy: Option<&(About, Vec<u8>)>,
    ) -> Option<(u64, Entry)> {
        if let Some(known) = self.leases.known.get(name) {
            return Some((known.sequence, known.newest().clone()));
        }
        let (about, bytes) = copy?;
        let held = &wire.meta.held;
        let mark = about.mark(&held.cluster)?;
        let entry = || (mark.sequence, Entry::read(bytes, name, &about.node));
        (mark.store_epoch == held.epoch).then(entry)
    }

    fn write_lease_copy(
        &self,
        wire: &Wire,
        name: &RecordName,
        value: &Received,
        before: Option<&About>,
    ) -> OsResult<()> {
        let (tree, dir) = (&self.directory.tree, &self.leases.dir);
        let file = layout::cluster_lease_file(name);
        let held = &wire.meta.held;
        let now = self.ctx.now();
        let at =
            Place { tree, cluster: &held.cluster, epoch: held.epoch, now, card_every_ms: None };
        let about = at.about(value, before);
        if before == Some(&about) {
            return Ok(());
        }
        match copy::write(&value.body, RECORD_MAX, &about) {
            Ok(text) => dir.put(tree, &file, &text),
            // A copy of an older value would lie.
            Err(_) => dir.remove(&file),
        }
    }

    /// Takes all leases that the store has.
    pub(super) async fn take_leases(&mut self, wire: &Wire, values: Vec<Stored>) -> Result<()> {
        let mut there = BTreeSet::new();
        for stored in values {
            let Ok(value) = wire.open(stored)? else { continue };
            if let Subject::Lease { name, .. } = &value.subject {
                there.insert(name.clone());
            }
            self.take_lease(wire, &value);
        }
        for file in self.leases.dir.list()?.names {
            let Some(name) = layout::cluster_lease_of(&file) else { continue };
            // One that was not listed may have been written meanwhile.
            if there.contains(&name) || wire.has_lease(&name).await? {
                continue;
            }
            self.leases.known.remove(&name);
            if let Err(error) = self.leases.dir.remove(&file) {
                self.missed(&error);
            }
        }
        self.leases.look_soon();
        Ok(())
    }

    /// Compares the leases that the store says this node holds with the records of this node, and
    /// ends those whose holder is gone.
    pub(super) async fn speak_for_node(&mut self, wire: &Wire) -> Result<()> {
        self.leases.look_at = None;
        // After the values came that are spoken about: a new tree was there before its leases.
        self.expect_directory()?;
        let mut alive: Vec<Process> = Vec::new();
        let terms = self.terms(wire)?;
        let own: Vec<(RecordName, u64, Box<Record>, bool)> = self
            .leases
            .known
            .iter()
            .filter_map(|(name, known)| match &known.entry {
                Entry::Grant(record, scope) if scope.node == self.own => {
                    let is_here = terms.is_own_tree(scope);
                    Some((name.clone(), known.sequence, record.clone(), is_here))
                }
                _ => None,
            })
            .collect();
        for (name, sequence, record, is_here) in own {
            let holder = match is_here {
                true => self.find_holder(&name, &record),
                // Its record stands in another tree of this machine, which alone knows it.
                false if is_same_boot(&record.renewed.boot_id, &self.ctx.host) => continue,
                false => Holder::Dead,
            };
            match holder {
                Holder::Alive(known) => alive.extend(self.living(known)),
                Holder::Dead => self.end_lease(wire, &name, sequence, Op::End).await?,
                Holder::Gone => {
                    let op = Op::Release { token: record.fencing_token };
                    self.end_lease(wire, &name, sequence, op).await?;
                }
                Holder::Unclear => self.leases.look_at = Some(Instant::now() + AGAIN),
            }
        }
        // One that has ended meanwhile is looked at again.
        if !self.leases.ends.watch_only(&alive).ended.is_empty() {
            self.leases.look_soon();
        }
        Ok(())
    }

    /// Looks for the holder of a lease in the records of this node. A process that is in the middle
    /// of an acquire, or of a release, is inside of the guard, and the answer is not clear.
    fn find_holder(&self, name: &RecordName, granted: &Record) -> Holder {
        let file = layout::lease_file(name);
        let (base, node) = (&self.directory.tree.base, &self.directory.node);
        let section = match guard::try_enter(base, node, &*file, ENTER) {
            Ok(section) => section,
            Err(error) if error.kind == Kind::Busy => return Holder::Unclear,
            Err(error) => {
                (self.log)(Level::Warning, &format!("the lease {name}: {}", error.text));
                return Holder::Alive(Processes::default());
            }
        };
        let read = match &section {
            Some(section) => section.read(RECORD_MAX),
            // A cleaner may have taken the guard alone.
            None => node.read(base, &file, RECORD_MAX),
        };
        let Ok(bytes) = read else { return Holder::Alive(Processes::default()) };
        match observe(bytes, name, &self.ctx.host) {
            LocalObserved::Ours(record, _, life) if record.lease_id == granted.lease_id => {
                let same = is_same_boot(&record.renewed.boot_id, &self.ctx.host);
                match (same, life) {
                    (true, ProcessState::Dead) => Holder::Dead,
                    // Whether it is one of an earlier boot is for the decision to say.
                    (false, _) => Holder::Dead,
                    // The store does not know the child that was started after the grant.
                    _ => Holder::Alive(record.processes),
                }
            }
            LocalObserved::Ours(record, ..) if is_replaced(&record, granted) => {
                match section.map(|section| self.remove_replaced(section, &record)) {
                    Some(Ok(())) => Holder::Gone,
                    // It counts here, so that no other node may be granted the lease.
                    _ => Holder::Alive(Processes::default()),
                }
            }
            LocalObserved::Ours(..) | LocalObserved::Absent => Holder::Gone,
            // What cannot be read may be the holder's.
            LocalObserved::Foreign { .. } | LocalObserved::Damaged(..) => {
                Holder::Alive(Processes::default())
            }
        }
    }

    /// Removes the record of a grant that the store has replaced.
    fn remove_replaced(&self, section: Section<'_>, record: &Record) -> OsResult<()> {
        let (lease, token) = (&record.lease, record.fencing_token);
        HolderSection { ctx: self.ctx, section, lease, token, limit: ENTER }.remove_replaced()
    }

    /// The processes of a holder that have not ended, one of which may have.
    fn living(&self, known: Processes) -> impl Iterator<Item = Process> {
        let lives = move |process: &Process| {
            let alone = Processes { own: Some(*process), child: None, ..known };
            process::life(&alone, &self.ctx.host) != ProcessState::Dead
        };
        known.own.into_iter().chain(known.child).filter(lives)
    }

    /// What this node knows of the cluster.
    pub(super) fn terms(&self, wire: &Wire) -> OsResult<Terms> {
        let held = &wire.meta.held;
        let highest = self.memory.known.as_ref().map_or(0, |known| known.highest_token);
        let wall_us = zeta_os::host::wall_us();
        let server_us = self.status.server_us.map_or(wall_us, |(server_us, then_us)| {
            server_us.saturating_add(wall_us.saturating_sub(then_us))
        });
        Ok(Terms {
            node: self.own.clone(),
            tree: self.directory.node.mark()?,
            epoch: held.epoch,
            floor: held.floor.max(highest),
            no_grant_before_us: held.no_grant_before_us,
            max_ttl_ms: held.max_ttl_ms,
            removed_up_to: held.removed_up_to(Stream::Lease),
            server_us,
        })
    }

    /// Ends a lease of this node, if it stands as it was seen. A refusal means that a newer value
    /// is on its way here.
    async fn end_lease(
        &mut self,
        wire: &Wire,
        name: &RecordName,
        sequence: u64,
        op: Op,
    ) -> Result<()> {
        let terms = self.terms(wire)?;
        let Some(known) = self.leases.known.get(name) else { return Ok(()) };
        let Entry::Grant(record, _) = &known.entry else { return Ok(()) };
        let observed = Observed {
            epoch: terms.epoch,
            revision: sequence,
            entry: known.entry.clone(),
            unchanged: Age::Unclear,
            // As the record of this tree says, which names more processes than the store.
            life: ProcessState::Dead,
        };
        let token = record.fencing_token;
        let step = Call::new(op).observe(&observed, &terms, &self.ctx.now());
        let Step::Write(Write { expected, entry }) = step else { return Ok(()) };
        let Some(body) = entry.render() else { return Ok(()) };
        match wire.write_lease(name, expected, body.as_bytes()).await? {
            Put::Stored(sequence) => {
                self.tell_end(name, token, &entry);
                self.leases.known.insert(name.clone(), Known { sequence, entry, newest: None });
            }
            Put::Conflict => {}
            Put::Unknown => self.relist_soon(),
            Put::Full(why) => {
                self.fault(&format!("ZETA1_LEASE takes no end of a lease now: {why}"));
                self.leases.look_at = Some(Instant::now() + Duration::from_secs(1));
            }
        }
        Ok(())
    }

    fn tell_end(&self, name: &RecordName, token: FencingToken, entry: &Entry) {
        if let Entry::End(end) = entry {
            let text = format!("the lease {name} (token {token}) has ended: {}", end.how.word());
            (self.log)(Level::Info, &text);
        }
    }
}

/// Reports whether a record is that of an earlier grant of the cluster than the one in the store.
/// The node that passed it on was stopped before it wrote the new record, or had no answer.
fn is_replaced(record: &Record, granted: &Record) -> bool {
    deadline_of(record).is_some() && record.fencing_token < granted.fencing_token
}

/// What the records of this node say of the holder of a lease.
enum Holder {
    /// These are its processes, as far as they are known.
    Alive(Processes),
    /// It stands in the record, and has ended, or is of another boot.
    Dead,
    /// The record is gone, or another one's.
    Gone,
    Unclear,
}
