//! The rows of a followed tree: read again where something changed, and put into the overview.

mod findings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use zeta_core::evidence::{Process, Processes};
use zeta_core::layout::{self, Kind};
use zeta_core::name::{Label, RecordName};
use zeta_core::overview::order::{self, put_agent, put_lease};
use zeta_core::overview::{Lease, Overview, Waiter};
use zeta_core::time::Now;

use super::agent::{self, AgentRow};
use super::lease::{self, LeaseRow};
use super::line::Line;
use super::owner::agent_of;
use super::sources::{GrantKey, LeaseKey, News, Place, Sources};
use crate::context::Context;
use crate::directory::tree::{Bytes, Node};
use crate::lease::joint::Grants;
use crate::presence::status::Finding as Found;
use crate::presence::status::findings::unsafe_file;
use crate::presence::status::gather::Evidence;

/// From so many changed rows on, the lists of the overview are made anew: each row that is put into
/// a sorted list moves those behind it.
const MANY: usize = 256;

/// An agent: its node and its name.
type AgentKey = (Label, String);

/// What is known of the agents and leases of a tree.
#[derive(Debug, Default)]
pub(super) struct Rows {
    agents: BTreeMap<AgentKey, AgentRow>,
    leases: BTreeMap<GrantKey, LeaseRow>,
    lines: BTreeMap<LeaseKey, Line>,
    /// Joint leases, each with the watcher's number for the directory of its grants.
    joint: BTreeMap<LeaseKey, Option<i32>>,
    /// Grants that cannot be read.
    faults: BTreeMap<GrantKey, Found>,
    have_findings_changed: bool,
    have_processes_changed: bool,
    /// When the first row must be judged again because of the time, by the boot clock.
    rows_until_ns: Option<u64>,
    /// When an edit is so old that two of one file are no finding any more.
    edits_until_ns: Option<u64>,
}

/// What must be read or judged again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    agents: BTreeSet<AgentKey>,
    leases: BTreeSet<LeaseKey>,
    grants: BTreeSet<GrantKey>,
    listings: BTreeSet<LeaseKey>,
    lines: BTreeSet<LeaseKey>,
}

impl Dirty {
    /// The rows that changes are about.
    fn of(news: &News) -> Dirty {
        let News { records, others, lines, grants, listings, .. } = news;
        let mut dirty = Dirty {
            lines: lines.clone(),
            grants: grants.clone(),
            listings: listings.clone(),
            ..Dirty::default()
        };
        for (node, file) in records {
            if let Kind::Persona(name) = layout::kind_of(file) {
                dirty.agents.insert((node.clone(), name.to_owned()));
            } else if let Ok(lease) = layout::into_lease(file.clone()) {
                dirty.leases.insert((node.clone(), lease));
            }
        }
        for (node, name, _) in others {
            if let Kind::Grants(lease) = layout::kind_of(name)
                && let Ok(lease) = RecordName::new("lease", lease)
            {
                dirty.listings.insert((node.clone(), lease));
            }
        }
        dirty
    }

    fn add_row(&mut self, (node, lease, file): &GrantKey) {
        match file.is_empty() {
            true => _ = self.leases.insert((node.clone(), lease.clone())),
            false => _ = self.grants.insert((node.clone(), lease.clone(), file.clone())),
        }
    }
}

impl Rows {
    /// Takes in what changed, and what the time changed; returns whether the overview did.
    pub(super) fn take(
        &mut self,
        news: &News,
        sources: &mut Sources,
        ctx: &Context,
        out: &mut Overview,
    ) -> bool {
        let mut dirty = Dirty::of(news);
        let lines = self.lines.keys().filter(|(node, _)| news.guards.contains(node));
        dirty.lines.extend(lines.cloned());
        self.add_due(&ctx.now(), &mut dirty);
        self.update(dirty, sources, ctx, out)
    }

    /// Judges the rows of these processes again, or those of all processes.
    pub(super) fn judge_again(
        &mut self,
        ended: Option<HashSet<u32>>,
        sources: &mut Sources,
        ctx: &Context,
        out: &mut Overview,
    ) -> bool {
        let is_meant =
            |process: Process| ended.as_ref().is_none_or(|pids| pids.contains(&process.pid));
        let mut dirty = Dirty::default();
        let agents = self.agents.iter();
        let agents = agents.filter(|(_, row)| row.processes.iter().copied().any(is_meant));
        dirty.agents.extend(agents.map(|(key, _)| key.clone()));
        let leases = self.leases.iter().filter(|(_, row)| row.processes().any(is_meant));
        leases.for_each(|(key, _)| dirty.add_row(key));
        let now = ctx.now();
        let lines = self.lines.iter().filter(|(_, line)| line.processes(&now).any(is_meant));
        dirty.lines.extend(lines.map(|(key, _)| key.clone()));
        self.update(dirty, sources, ctx, out)
    }

    /// Forgets everything; returns whether there was anything.
    pub(super) fn clear(&mut self, out: &mut Overview) -> bool {
        *self = Rows { have_findings_changed: true, ..Rows::default() };
        let had = !out.agents.is_empty() || !out.leases.is_empty();
        (out.agents, out.leases) = Default::default();
        had
    }

    /// The processes whose ends change a row.
    pub(super) fn processes(&self, now: &Now) -> Vec<Process> {
        let agents = self.agents.values().flat_map(|row| row.processes.iter().copied());
        let leases = self.leases.values().flat_map(LeaseRow::processes);
        let lines = self.lines.values().flat_map(|line| line.processes(now));
        agents.chain(leases).chain(lines).collect()
    }

    /// Returns whether the processes changed since the last call.
    pub(super) fn take_processes_changed(&mut self) -> bool {
        std::mem::take(&mut self.have_processes_changed)
    }

    /// Adds what must be judged again because of the time.
    fn add_due(&mut self, now: &Now, dirty: &mut Dirty) {
        let is_due = |at: Option<u64>| at.is_some_and(|at_ns| at_ns <= now.reading.boot_ns);
        self.have_findings_changed |= is_due(self.edits_until_ns);
        if !is_due(self.rows_until_ns) {
            return;
        }
        let agents = self.agents.iter().filter(|(_, row)| is_due(row.until_ns));
        dirty.agents.extend(agents.map(|(key, _)| key.clone()));
        let leases = self.leases.iter().filter(|(_, row)| is_due(row.until_ns));
        leases.for_each(|(key, _)| dirty.add_row(key));
        let lines = self.lines.iter().filter(|(_, line)| is_due(line.until_ns));
        dirty.lines.extend(lines.map(|(key, _)| key.clone()));
    }

    fn update(
        &mut self,
        mut dirty: Dirty,
        sources: &mut Sources,
        ctx: &Context,
        out: &mut Overview,
    ) -> bool {
        let mut nodes = OpenedNodes::default();
        let mut touched: BTreeSet<LeaseKey> = dirty.lines.clone();
        let mut read: Vec<(GrantKey, Option<Bytes>)> = Vec::new();
        for key in std::mem::take(&mut dirty.leases) {
            self.find_kind(&key, &mut dirty, &mut read, sources);
            touched.insert(key);
        }
        for key in std::mem::take(&mut dirty.listings) {
            self.list(&key, &mut dirty, sources, &mut nodes);
        }
        for key in std::mem::take(&mut dirty.grants) {
            let lease = (key.0.clone(), key.1.clone());
            if self.joint.contains_key(&lease) {
                let bytes = self.read_grant(&key, sources, &mut nodes);
                read.push((key, bytes));
                touched.insert(lease);
            }
        }
        for key in &touched {
            self.read_line(key, dirty.lines.contains(key), sources, &mut nodes, &ctx.now());
        }
        // Read after the files: their times must not be ahead of it.
        let now = ctx.now();
        let mut evidence = Evidence::default();
        let mut put = Put { out, many: read.len() + dirty.agents.len() > MANY, changed: false };
        for key in &dirty.agents {
            self.judge_agent(key, sources, &now, &mut evidence, &mut put);
        }
        for (key, bytes) in read {
            self.judge_grant(key, bytes, &now, &mut evidence, &mut put);
        }
        if self.have_processes_changed {
            // A process may belong to another agent by now.
            let waited = self.lines.iter().filter(|(_, line)| !line.is_empty());
            touched.extend(waited.map(|(key, _)| key.clone()));
        }
        self.put_waiters(&touched, &now, &mut put);
        let changed = put.changed;
        if put.many && changed {
            put.out.agents = self.agents.values().map(|row| row.row.clone()).collect();
            put.out.leases = self.leases.values().map(|row| row.row.clone()).collect();
            order::sort(put.out);
        }
        let agents = self.agents.values().filter_map(|row| row.until_ns);
        let leases = self.leases.values().filter_map(|row| row.until_ns);
        let lines = self.lines.values().filter_map(|line| line.until_ns);
        self.rows_until_ns = agents.chain(leases).chain(lines).min();
        changed
    }

    /// Finds out whether a lease has one holder, or is a joint one.
    fn find_kind(
        &mut self,
        key: &LeaseKey,
        dirty: &mut Dirty,
        read: &mut Vec<(GrantKey, Option<Bytes>)>,
        sources: &mut Sources,
    ) {
        let own = (key.0.clone(), key.1.clone(), String::new());
        if sources.is_joint(key) {
            if !self.joint.contains_key(key) {
                self.joint.insert(key.clone(), None);
                dirty.listings.insert(key.clone());
            }
            read.push((own, None));
            return;
        }
        if let Some(followed) = self.joint.remove(key) {
            sources.leave(followed, &Place::Grants(key.clone()));
            sources.forget(key);
            read.extend(self.grants_of(key).into_iter().map(|grant| (grant, None)));
        }
        read.push((own, sources.lease(key).cloned()));
    }

    /// Lists the grants of a joint lease. Those that are known are read again, too: they may be
    /// gone.
    fn list(
        &mut self,
        key: &LeaseKey,
        dirty: &mut Dirty,
        sources: &mut Sources,
        nodes: &mut OpenedNodes,
    ) {
        let Some(before) = self.joint.get(key).copied() else { return };
        let listed = nodes.get(sources, &key.0).map(|node| sources.list_grants(node, key));
        let (followed, files) = listed.unwrap_or_default();
        if before != followed {
            sources.leave(before, &Place::Grants(key.clone()));
        }
        self.joint.insert(key.clone(), followed);
        dirty.grants.extend(self.grants_of(key));
        let new = files.into_iter().map(|file| (key.0.clone(), key.1.clone(), file));
        dirty.grants.extend(new);
    }

    /// The grants of a joint lease that are known.
    fn grants_of(&self, key: &LeaseKey) -> Vec<GrantKey> {
        self.rows_of(key)
            .filter(|((.., file), _)| !file.is_empty())
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn rows_of<'r>(&'r self, key: &LeaseKey) -> impl Iterator<Item = (&'r GrantKey, &'r LeaseRow)> {
        let (node, lease) = key.clone();
        let from = (node.clone(), lease.clone(), String::new());
        self.leases.range(from..).take_while(move |(key, _)| key.0 == node && key.1 == lease)
    }

    fn read_grant(
        &mut self,
        key: &GrantKey,
        sources: &Sources,
        nodes: &mut OpenedNodes,
    ) -> Option<Bytes> {
        let (node, lease, file) = key;
        let node = nodes.get(sources, node)?;
        let read = Grants::open(sources.base(), node, lease)
            .and_then(|grants| grants.map_or(Ok(None), |grants| grants.read(sources.base(), file)));
        let fault = read.as_ref().err().map(|error| unsafe_file(file, error));
        if self.faults.get(key) != fault.as_ref() {
            self.have_findings_changed = true;
            self.faults.remove(key);
            self.faults.extend(fault.map(|fault| (key.clone(), fault)));
        }
        read.ok().flatten()
    }

    /// Reads the line for a lease that has a record, if it is new or changed.
    fn read_line(
        &mut self,
        key: &LeaseKey,
        is_changed: bool,
        sources: &mut Sources,
        nodes: &mut OpenedNodes,
        now: &Now,
    ) {
        let known = self.lines.get(key).map(|line| line.followed);
        let is_there = sources.lease(key).is_some();
        if is_there && known.is_some() && !is_changed {
            return;
        }
        let line = match nodes.get(sources, &key.0) {
            Some(node) if is_there => Some(sources.read_line(node, key, now)),
            _ => None,
        };
        let followed = line.as_ref().and_then(|line| line.followed);
        if let Some(before) = known.flatten()
            && followed != Some(before)
        {
            sources.leave(Some(before), &Place::Line(key.clone()));
        }
        self.have_processes_changed |= line.as_ref().is_some_and(|line| !line.is_empty());
        match line {
            Some(line) => _ = self.lines.insert(key.clone(), line),
            None => _ = self.lines.remove(key),
        }
    }

    fn judge_agent(
        &mut self,
        key: &AgentKey,
        sources: &Sources,
        now: &Now,
        evidence: &mut Evidence,
        put: &mut Put<'_>,
    ) {
        let (node, name) = key;
        let bytes = sources.record(node, &layout::persona_file(name));
        let new = bytes.map(|bytes| agent::read(node, name, bytes, now, evidence));
        let old = self.agents.remove(key);
        put.agent(old.as_ref(), new.as_ref());
        if !old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.processes == new.processes)
        {
            self.have_processes_changed = true;
        }
        if !old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.has_findings_of(new)) {
            self.have_findings_changed = true;
        }
        self.agents.extend(new.map(|new| (key.clone(), new)));
    }

    fn judge_grant(
        &mut self,
        key: GrantKey,
        bytes: Option<Bytes>,
        now: &Now,
        evidence: &mut Evidence,
        put: &mut Put<'_>,
    ) {
        let (node, name, file) = &key;
        let mut new = bytes.and_then(|bytes| lease::read(node, name, file, &bytes, now, evidence));
        let old = self.leases.remove(&key);
        if let (Some(old), Some(new)) = (&old, &mut new) {
            new.row.waiters.clone_from(&old.row.waiters);
        }
        put.lease(old.as_ref().map(|old| &old.row), new.as_ref().map(|new| &new.row));
        if !old
            .as_ref()
            .zip(new.as_ref())
            .is_some_and(|(old, new)| old.processes().eq(new.processes()))
        {
            self.have_processes_changed |= old.is_some() || new.is_some();
        }
        if !old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.has_findings_of(new)) {
            self.have_findings_changed |= old.is_some() || new.is_some();
        }
        self.leases.extend(new.map(|new| (key, new)));
    }

    /// Puts those who wait for a lease into its row; of a joint one, into that of its first grant.
    fn put_waiters(&mut self, touched: &BTreeSet<LeaseKey>, now: &Now, put: &mut Put<'_>) {
        let mut by_pid: Option<HashMap<u32, String>> = None;
        for key in touched {
            let line = self.lines.get(key).filter(|line| !line.is_empty());
            let mut waiters: Vec<Waiter> = line.map_or_else(Vec::new, |line| {
                let holders: Vec<Processes> = self
                    .rows_of(key)
                    .filter_map(|(_, row)| Some(row.record()?.processes))
                    .collect();
                let by_pid = by_pid.get_or_insert_with(|| pids_of(&self.agents));
                line.waiters(&holders, now, |ticket| agent_of(ticket, by_pid, now.host))
            });
            let (node, lease) = key.clone();
            let from = (node.clone(), lease.clone(), String::new());
            let rows = self.leases.range_mut(from..);
            for (_, row) in rows.take_while(|(key, _)| key.0 == node && key.1 == lease) {
                let waiters = std::mem::take(&mut waiters);
                if row.row.waiters != waiters {
                    let new = Lease { waiters, ..row.row.clone() };
                    put.lease(Some(&row.row), Some(&new));
                    row.row = new;
                    self.have_findings_changed = true;
                }
            }
        }
    }
}

/// The agents by the ids of their processes.
fn pids_of(agents: &BTreeMap<AgentKey, AgentRow>) -> HashMap<u32, String> {
    let mut pids = HashMap::new();
    for ((_, name), row) in agents {
        pids.extend(row.processes.iter().map(|process| (process.pid, name.clone())));
    }
    pids
}

/// Puts rows into the overview.
struct Put<'o> {
    out: &'o mut Overview,
    many: bool,
    changed: bool,
}

impl Put<'_> {
    fn agent(&mut self, old: Option<&AgentRow>, new: Option<&AgentRow>) {
        let (old, new) = (old.map(|old| &old.row), new.map(|new| &new.row));
        if old != new {
            self.changed = true;
            if !self.many {
                put_agent(&mut self.out.agents, old, new.cloned());
            }
        }
    }

    fn lease(&mut self, old: Option<&Lease>, new: Option<&Lease>) {
        if old != new {
            self.changed = true;
            if !self.many {
                put_lease(&mut self.out.leases, old, new.cloned());
            }
        }
    }
}

/// The nodes that were opened for one update.
#[derive(Debug, Default)]
struct OpenedNodes(BTreeMap<Label, Option<Node>>);

impl OpenedNodes {
    fn get(&mut self, sources: &Sources, name: &Label) -> Option<&Node> {
        let open = || sources.view().open_node(name).ok().flatten();
        self.0.entry(name.clone()).or_insert_with(open).as_ref()
    }
}
