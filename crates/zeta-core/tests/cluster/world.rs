//! A cluster in memory: one store, nodes with clocks of their own, and writes on their way.
//!
//! Time is true time, which no node knows. The rules are the core's own; here is only what a store,
//! a network and processes do with them.

use std::hash::{Hash, Hasher};

use zeta_core::cluster::epoch::Meta;
use zeta_core::cluster::lease::{Answer, Call, Entry, Grant, Observed, Op, Scope, Terms, Write};
use zeta_core::evidence::{Age, Process, ProcessState, Processes};
use zeta_core::lease::{AcquireRequest, Policy, Record};
use zeta_core::name::{Label, RecordName};
use zeta_core::time::{Host, Reading};

use super::mutant::Mutant;

/// The server's clock at the true time 0, in µs.
const SERVER_US: i64 = 1_795_000_000_000_000;
/// TTL of every lease, and the longest one.
pub const TTL_MS: u64 = 30_000;

/// A value in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub revision: u64,
    pub lease: usize,
    pub entry: Entry,
}

/// What a bridge has seen of a lease, and since when by its boot clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub epoch: u64,
    pub revision: u64,
    pub entry: Entry,
    pub since_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub label: Label,
    /// How much faster than true time its clock runs, in parts of a million.
    pub ppm: i64,
    pub boot: u64,
    pub booted_ms: u64,
    /// How far its notion of the server's clock is off.
    pub clock_error_ms: i64,
    /// What it knows of the cluster, also after a reboot.
    pub meta: Meta,
    pub last_sequence: u64,
    pub highest_token: u64,
    /// Epoch and revision of its copy of each lease.
    pub copies: Vec<(u64, u64)>,
    /// What its bridge has seen in this boot.
    pub seen: Vec<Option<Seen>>,
}

/// A grant that a process acts on until its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belief {
    pub grant: Grant,
    pub epoch: u64,
    /// For the judge: it was written after a loss that its writer did not know of.
    pub unaware: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    pub node: usize,
    pub lease: usize,
    /// No two processes ever have the same.
    pub pid: u32,
    pub call: Option<Call>,
    pub op: Option<Op>,
    /// The number of the write whose answer it waits for.
    pub waits: Option<u64>,
    pub belief: Option<Belief>,
    pub attempts: u64,
    /// The id of an attempt of which it is not known whether it was granted.
    pub unknown: Option<String>,
}

/// A write, or an answer, that has not arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    pub number: u64,
    pub proc: usize,
    pub pid: u32,
    /// The epoch that its sender knew.
    pub epoch: u64,
    pub write: Write,
    /// None while the write itself is on its way.
    pub answer: Option<Answer>,
    /// For the judge: it was accepted after a loss that its writer did not know of.
    pub unaware: bool,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub crashes: u32,
    pub reboots: u32,
    pub losses: u32,
    pub jumps: u32,
    pub ticks: u32,
    pub attempts: u64,
    pub stale: u32,
    pub timeouts: u32,
    /// Calls that begin, and writes that are sent.
    pub calls: u32,
    pub writes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    pub true_ms: u64,
    pub server_offset_ms: i64,
    pub log: Vec<Value>,
    pub meta: Meta,
    pub meta_revision: u64,
    pub nodes: Vec<Node>,
    pub procs: Vec<Proc>,
    pub flights: Vec<Flight>,
    pub next_number: u64,
    pub next_pid: u32,
    pub budget: Budget,
    /// The epoch at the last loss.
    pub lost_in_epoch: Option<u64>,
    /// The highest token that was ever granted, of each lease.
    pub highest: Vec<u64>,
    /// Ids of attempts that were refused, so that nothing of them may arrive.
    pub refused: Vec<String>,
    pub faults: Vec<&'static str>,
    pub mutant: Option<Mutant>,
    /// For the summary.
    pub grants: u64,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two ways to one state count once, whatever their writes are numbered.
        let flights: Vec<_> = self.flights.iter().map(|flight| (flight.proc, flight.pid)).collect();
        let answers: Vec<_> = self.flights.iter().map(|flight| flight.answer).collect();
        let writes: Vec<_> =
            self.flights.iter().map(|flight| key_of(&flight.write.entry)).collect();
        let log: Vec<_> =
            self.log.iter().map(|value| (value.revision, key_of(&value.entry))).collect();
        let node = |node: &Node| {
            let seen = node.seen.iter().flatten().map(|s| (s.epoch, s.revision, s.since_ns));
            (node.boot, node.meta.epoch, node.last_sequence, seen.collect::<Vec<_>>())
        };
        let proc = |proc: &Proc| {
            let belief = proc.belief.as_ref().map(|b| (b.grant.revision, b.grant.deadline_ns));
            let call = proc.call.as_ref().map(|call| format!("{call:?}"));
            (proc.pid, call, proc.waits.is_some(), belief, proc.unknown.clone())
        };
        let nodes: Vec<_> = self.nodes.iter().map(node).collect();
        let procs: Vec<_> = self.procs.iter().map(proc).collect();
        (flights, writes, log, nodes, procs, self.true_ms).hash(state);
        format!("{answers:?}{:?}{:?}{:?}", self.budget, self.faults, self.meta.epoch).hash(state);
    }
}

/// What tells two entries apart.
fn key_of(entry: &Entry) -> (u64, u64, u64, u32) {
    let token = entry.fencing_token().map_or(0, |token| token.get());
    let Some(record) = record_of(entry) else { return (token, u64::MAX, 0, 0) };
    let pid = record.processes.own.map_or(0, |own| own.pid);
    (token, record.renew_seq, record.renewed.boot_ns, pid)
}

impl World {
    pub fn new(ppm: &[i64], leases: usize, procs: &[(usize, usize)], budget: Budget) -> World {
        let meta = Meta {
            cluster: "0".repeat(32).parse().expect("it is an id"),
            epoch: 1,
            floor: 0,
            no_grant_before_us: 0,
            max_ttl_ms: TTL_MS,
            wire_min: 1,
            wire_max: 1,
            extra: Vec::new(),
        };
        let node = |(at, ppm): (usize, &i64)| Node {
            label: format!("node-{at}").parse().expect("it is a label"),
            ppm: *ppm,
            boot: 0,
            booted_ms: 0,
            clock_error_ms: 0,
            meta: meta.clone(),
            last_sequence: 0,
            highest_token: 0,
            copies: vec![(0, 0); leases],
            seen: vec![None; leases],
        };
        let proc = |(at, (node, lease)): (usize, &(usize, usize))| Proc {
            node: *node,
            lease: *lease,
            pid: at as u32 + 1,
            call: None,
            op: None,
            waits: None,
            belief: None,
            attempts: 0,
            unknown: None,
        };
        World {
            true_ms: 1_000,
            server_offset_ms: 0,
            log: Vec::new(),
            meta: meta.clone(),
            meta_revision: 1,
            nodes: ppm.iter().enumerate().map(node).collect(),
            procs: procs.iter().enumerate().map(proc).collect(),
            flights: Vec::new(),
            next_number: 0,
            next_pid: procs.len() as u32 + 1,
            budget,
            lost_in_epoch: None,
            highest: vec![0; leases],
            refused: Vec::new(),
            faults: Vec::new(),
            mutant: None,
            grants: 0,
        }
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn fault(&mut self, claim: &'static str) {
        if !self.faults.contains(&claim) {
            self.faults.push(claim);
        }
    }

    /// The boot clock of a node at this true time.
    pub fn boot_ns(&self, node: usize) -> u64 {
        let node = &self.nodes[node];
        let elapsed_ms = self.true_ms - node.booted_ms;
        elapsed_ms * 1_000_000u64.saturating_add_signed(node.ppm)
    }

    pub fn server_us(&self) -> i64 {
        SERVER_US + (self.true_ms as i64 + self.server_offset_ms) * 1000
    }

    pub fn host(&self, node: usize) -> Host {
        let Node { label, boot, .. } = &self.nodes[node];
        Host {
            boot_id: format!("{label}-boot-{boot}"),
            machine_id: Some(format!("machine-{label}")),
            pid_ns: Some(1),
            time_ns: Some(1),
        }
    }

    pub fn reading(&self, node: usize) -> Reading {
        let wall_us = SERVER_US + self.true_ms as i64 * 1000;
        Reading { boot_ns: self.boot_ns(node), awake_ns: 0, wall_us }
    }

    pub fn terms(&self, node: usize) -> Terms {
        let Node { label, meta, highest_token, clock_error_ms, .. } = &self.nodes[node];
        let ignored = self.is(Mutant::NoQuarantine);
        Terms {
            node: label.clone(),
            tree: "one".to_owned(),
            epoch: meta.epoch,
            floor: if ignored { 0 } else { meta.floor.max(*highest_token) },
            no_grant_before_us: if ignored { 0 } else { meta.no_grant_before_us },
            max_ttl_ms: meta.max_ttl_ms,
            removed_up_to: 0,
            server_us: self.server_us() + clock_error_ms * 1000,
        }
    }

    pub fn sequence(&self) -> u64 {
        self.log.last().map_or(0, |value| value.revision)
    }

    /// The last value of a lease, or the one `back` before it.
    pub fn last(&self, lease: usize, back: usize) -> Option<&Value> {
        self.log.iter().rev().filter(|value| value.lease == lease).nth(back)
    }

    /// What the node's process table says about the processes of a record.
    fn life(&self, node: usize, entry: &Entry) -> ProcessState {
        let Entry::Grant(record, _) = entry else { return ProcessState::Unknown };
        let pid = record.processes.own.map_or(0, |own| own.pid);
        let runs = self.procs.iter().any(|proc| proc.node == node && proc.pid == pid);
        if runs { ProcessState::Alive } else { ProcessState::Dead }
    }

    /// What a node knows of a lease.
    pub fn observed(&self, node: usize, lease: usize) -> Observed {
        let epoch = self.nodes[node].meta.epoch;
        let Some(seen) = &self.nodes[node].seen[lease] else { return Observed::nothing(epoch) };
        let age_ns = self.boot_ns(node) - seen.since_ns;
        Observed {
            epoch: seen.epoch,
            revision: seen.revision,
            entry: seen.entry.clone(),
            unchanged: Age::Ms(age_ns / 1_000_000),
            life: self.life(node, &seen.entry),
        }
    }

    /// A node sees a value; the time of a revision counts from when it was seen first.
    pub fn see(&mut self, node: usize, lease: usize, (epoch, revision): (u64, u64), entry: Entry) {
        let since_ns = self.boot_ns(node);
        let by_name = self.is(Mutant::AgeByName);
        let node = &mut self.nodes[node];
        let token = entry.fencing_token().map_or(0, |token| token.get());
        node.highest_token = node.highest_token.max(token);
        if epoch < node.meta.epoch {
            return;
        }
        node.last_sequence = node.last_sequence.max(revision);
        node.copies[lease] = node.copies[lease].max((epoch, revision));
        match &mut node.seen[lease] {
            Some(seen) if (epoch, revision) < (seen.epoch, seen.revision) => {}
            Some(seen) if (epoch, revision) == (seen.epoch, seen.revision) => {}
            Some(seen) if by_name => *seen = Seen { epoch, revision, entry, ..*seen },
            seen => *seen = Some(Seen { epoch, revision, entry, since_ns }),
        }
    }

    /// Does a process act on its grant now?
    pub fn believes(&self, proc: usize) -> bool {
        let Proc { belief, node, .. } = &self.procs[proc];
        belief.as_ref().is_some_and(|belief| self.boot_ns(*node) < belief.grant.deadline_ns)
    }

    pub fn ask(&self, proc: usize) -> AcquireRequest {
        let Proc { lease, pid, unknown, attempts, .. } = &self.procs[proc];
        let fresh = || format!("proc-{proc}-attempt-{attempts}");
        AcquireRequest {
            lease: lease_name(*lease),
            lease_id: unknown.clone().unwrap_or_else(fresh),
            agent: format!("agent-{proc}").parse().expect("it is a label"),
            session: None,
            processes: Processes {
                own: Some(Process { pid: *pid, start_ticks: None, pidfs_ino: None }),
                ..Processes::default()
            },
            pr: None,
            uid: 0,
            ttl_ms: TTL_MS,
            grace_ms: None,
            policy: Policy::Reclaim,
            purpose: None,
            joint: None,
            in_cluster: false,
        }
    }

    /// The store's part of a write: it is accepted if it expects the last revision of the lease.
    pub fn land(&mut self, at: usize) {
        let Flight { proc, write, .. } = self.flights[at].clone();
        let lease = self.procs[proc].lease;
        let last = self.last(lease, 0).map_or(0, |value| value.revision);
        if last != write.expected && !self.is(Mutant::NoCas) {
            self.flights[at].answer = Some(Answer::Refused);
            return;
        }
        let revision = self.sequence() + 1;
        let mut entry = write.entry;
        if self.is(Mutant::TokenIsRevision)
            && let Entry::Grant(record, _) = &mut entry
        {
            let token = if record.renew_seq == 0 { revision } else { record.fencing_token.get() };
            record.fencing_token = token.to_string().parse().expect("it is in range");
        }
        let unaware = self.judge_landing(lease, &entry);
        let flight = &mut self.flights[at];
        flight.write.entry = entry.clone();
        flight.answer = Some(Answer::Accepted { revision });
        flight.unaware = unaware;
        self.log.push(Value { revision, lease, entry });
    }

    /// The judge's part: what may be written at all.
    fn judge_landing(&mut self, lease: usize, entry: &Entry) -> bool {
        let Entry::Grant(record, Scope { epoch, .. }) = entry else { return false };
        let unaware = self.lost_in_epoch.is_some_and(|lost| *epoch <= lost);
        if self.refused.contains(&record.lease_id) && self.lost_in_epoch.is_none() {
            self.fault("nothing of a refused attempt arrives");
        }
        if record.renew_seq > 0 {
            return unaware;
        }
        let token = record.fencing_token.get();
        // A write that was on its way while the store lost values may still arrive there.
        if token <= self.highest[lease] && !unaware {
            self.fault("each token is greater than all before it");
        }
        self.highest[lease] = self.highest[lease].max(token);
        if *epoch == self.meta.epoch && self.server_us() < self.meta.no_grant_before_us {
            self.fault("nobody is granted a lease in a time without grants");
        }
        unaware
    }

    /// The judge's part: a process begins to act on a grant, or goes on.
    pub fn judge_belief(&mut self, proc: usize) {
        self.grants += 1;
        let unaware = |at: usize| self.procs[at].belief.as_ref().is_some_and(|b| b.unaware);
        let other = (0..self.procs.len()).find(|other| {
            *other != proc
                && self.procs[*other].lease == self.procs[proc].lease
                && self.believes(*other)
                && !unaware(*other)
                && !unaware(proc)
        });
        if self.believes(proc) && other.is_some() {
            self.fault("at most one process acts on a lease");
        }
    }
}

pub fn lease_name(lease: usize) -> RecordName {
    format!("lease-{lease}").parse().expect("it is a name")
}

/// The record of a grant.
pub fn record_of(entry: &Entry) -> Option<&Record> {
    match entry {
        Entry::Grant(record, _) => Some(record),
        _ => None,
    }
}
