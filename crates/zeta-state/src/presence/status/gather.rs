//! Reads the files of one node into reusable buffers, and judges every record.

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::cluster::card::Copied;
use zeta_core::cluster::copy::copy_max;
use zeta_core::evidence::{FileTimes, ProcessState, Processes, is_same_boot};
use zeta_core::hook::waiting;
use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Cause, Observed, Standing, judge};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{self, Beat, Judgement, KIND, Liveness};
use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_core::time::{Host, Now, parse_duration, parse_utc};

use super::findings;
use super::{Agent, Finding, Keep, LastSeen, Lease, Marker, NodeStatus, Persona};
use crate::context::Context;
use crate::directory::listing;
use crate::directory::tree::{Bytes, Node, Nodes};
use crate::directory::trusted_dir::TrustedDir;
use crate::lease::joint::{Grants, standing_of};
use crate::lease::{LeaseView, observe_text};
use zeta_os::error::Result;
use zeta_os::process::Survivor;
use zeta_os::{host, process};

/// How far a time may be ahead of this machine's clock before it is a finding.
const AHEAD_US: i64 = 5_000_000;

/// The files of one node, in buffers that are reused for the next node. Of a lease whose fields are
/// not asked for, only the record is kept, and handed over with the node: the pages of hundreds of
/// files cost more than their parsing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    files: Vec<File>,
    copied: Option<Option<Copied>>,
    used: usize,
    leases: Vec<Lease<'static>>,
}

#[derive(Debug, Default)]
struct File {
    name: String,
    bytes: Vec<u8>,
    times: FileTimes,
}

/// Examines one node and passes its status to `show`.
pub(super) fn examine(
    ctx: &Context,
    base: &TrustedDir,
    nodes: &Nodes,
    name: &Label,
    keep: Keep,
    scratch: &mut Scratch,
    show: impl FnOnce(&NodeStatus<'_>),
) {
    let mut found = Vec::new();
    let mut evidence = Evidence::default();
    scratch.used = 0;
    scratch.copied = None;
    let node = match nodes.node(base, name) {
        Ok(Some(mut node)) => {
            let filled = scratch.fill(base, &mut node, keep, &ctx.host, &mut evidence, &mut found);
            if let Err(error) = filled {
                found.push(findings::unsafe_file(name.as_str(), &error));
            }
            Some(node)
        }
        Ok(None) => {
            found.push(findings::no_such_node(name));
            None
        }
        Err(error) => {
            found.push(findings::unsafe_file(name.as_str(), &error));
            None
        }
    };
    // Read after the files: their times must not be ahead of it.
    let now = ctx.now();
    let mut status = NodeStatus {
        name,
        copied: scratch.copied.take(),
        last_seen: LastSeen::Unknown,
        agents: Vec::new(),
        leases: std::mem::take(&mut scratch.leases),
        markers: Vec::new(),
        findings: found,
        now,
    };
    for file in scratch.files.iter().take(scratch.used) {
        status.add(file, base, node.as_ref(), &mut evidence);
    }
    // Those that wait for a person first, and of these the one that has waited longest.
    status
        .agents
        .sort_by_key(|agent| agent.waiting.as_ref().map(waiting::rank).unwrap_or_default());
    for lease in &mut status.leases {
        lease.view.standing = judge(&lease.view.observed, &now);
    }
    findings::of_node(&mut status, &ctx.bus_dir);
    show(&status);
}

impl Scratch {
    fn fill(
        &mut self,
        base: &TrustedDir,
        node: &mut Node,
        keep: Keep,
        host: &Host,
        evidence: &mut Evidence,
        found: &mut Vec<Finding>,
    ) -> Result<()> {
        let listed = node.list_alone()?;
        if keep == Keep::Judgements {
            self.leases.reserve_exact(listed.names.len());
        }
        for name in listed.names {
            let Some(max) = listing::limit(&name) else {
                let kind = layout::kind_of(&name);
                if kind == Kind::CopyMark {
                    let mark = node.read(base, &name, copy_max(layout::RECORD_MAX))?;
                    self.copied = Some(mark.and_then(|mark| Copied::read(&mark.bytes).ok()));
                }
                if !matches!(
                    kind,
                    Kind::Guards | Kind::Grants(_) | Kind::Note(_) | Kind::History | Kind::CopyMark
                ) {
                    found.push(findings::odd_name(&name));
                }
                continue;
            };
            if self.files.len() == self.used {
                self.files.push(File::default());
            }
            let Some(file) = self.files.get_mut(self.used) else { continue };
            match node.read_into(base, &name, max, &mut file.bytes) {
                Ok(Some(times)) => {
                    file.times = times;
                    let named = match keep {
                        Keep::Judgements => layout::into_lease(name),
                        Keep::Fields => Err(name),
                    };
                    let joint = match named {
                        Ok(name) => self.keep_lease(name, evidence, host),
                        Err(name) => {
                            file.name = name;
                            self.keep_file()
                        }
                    };
                    if let Some(name) = joint
                        && let Err(error) =
                            self.fill_grants(base, node, &name, keep, host, evidence)
                    {
                        found.push(findings::unsafe_file(name.as_str(), &error));
                    }
                }
                // Removed since the directory was listed.
                Ok(None) => {}
                Err(error) => found.push(findings::unsafe_file(&name, &error)),
            }
        }
        found.extend(listed.odd.iter().map(|name| findings::odd_name(name)));
        if listed.cut {
            found.push(findings::too_many(node.name.as_str(), layout::ENTRIES_MAX));
        }
        Ok(())
    }

    /// Keeps the record of a lease, which is the last file that was read. Returns the name of a
    /// joint lease, for whose grants it only stands.
    fn keep_lease(
        &mut self,
        name: RecordName,
        evidence: &mut Evidence,
        host: &Host,
    ) -> Option<RecordName> {
        let file = self.files.get(self.used)?;
        let text = parse(&file.bytes, layout::RECORD_MAX);
        let lease = lease(&text, file.times, name, evidence, host);
        if standing_of(&lease.view.observed).is_some() {
            return Some(lease.view.lease);
        }
        self.leases.push(lease);
        None
    }

    /// As [`Scratch::keep_lease`], for any file, which is parsed later.
    fn keep_file(&mut self) -> Option<RecordName> {
        let file = self.files.get(self.used)?;
        let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
        let stands = text.contains("\njoint: ");
        let joint = if stands { layout::into_lease(file.name.clone()).ok() } else { None };
        self.used += usize::from(joint.is_none());
        joint
    }

    /// Reads the grants of a joint lease.
    fn fill_grants(
        &mut self,
        base: &TrustedDir,
        node: &Node,
        name: &RecordName,
        keep: Keep,
        host: &Host,
        evidence: &mut Evidence,
    ) -> Result<()> {
        let Some(grants) = Grants::open(base, node, name)? else { return Ok(()) };
        for id in grants.files()? {
            let Some(Bytes { bytes, times, .. }) = grants.read(base, &id)? else { continue };
            if self.files.len() == self.used {
                self.files.push(File::default());
            }
            if let Some(file) = self.files.get_mut(self.used) {
                *file = File { name: layout::lease_file(name), bytes, times };
            }
            match keep {
                Keep::Judgements => self.keep_lease(name.clone(), evidence, host),
                Keep::Fields => self.keep_file(),
            };
        }
        Ok(())
    }
}

/// The states of processes that were read for this node: a session and its leases name the same
/// processes.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    known: Vec<(Processes, (ProcessState, Option<Survivor>))>,
}

impl Evidence {
    fn session(&mut self, processes: &Processes, host: &Host) -> (ProcessState, Option<Survivor>) {
        if let Some((_, found)) = self.known.iter().find(|(known, _)| known == processes) {
            return *found;
        }
        let found = process::session(processes, host);
        self.known.push((*processes, found));
        found
    }
}

impl<'a> NodeStatus<'a> {
    fn add(
        &mut self,
        file: &'a File,
        base: &TrustedDir,
        node: Option<&Node>,
        evidence: &mut Evidence,
    ) {
        match layout::kind_of(&file.name) {
            Kind::Persona(name) => {
                let agent = agent(name, &file.bytes, file.times, &self.now, evidence);
                self.agents.push(agent);
            }
            Kind::Lease(_) => {
                if let Ok(name) = layout::into_lease(file.name.clone()) {
                    let text = parse(&file.bytes, layout::RECORD_MAX);
                    let mut lease = lease(&text, file.times, name, evidence, self.now.host);
                    if let (Ok(Text::Own(fields)), Observed::Ours(..)) =
                        (text, &lease.view.observed)
                    {
                        lease.fields = Some(Box::new(fields));
                    }
                    self.leases.push(lease);
                }
            }
            Kind::Marker(name) => self.add_marker(name, file),
            Kind::LastSeen => self.add_last_seen(file, base, node),
            Kind::Note(_) | Kind::History | Kind::Guards | Kind::Grants(_) => {}
            Kind::CopyMark | Kind::Other => {}
        }
    }

    fn add_marker(&mut self, name: &'a str, file: &'a File) {
        let text = parse(&file.bytes, layout::RECORD_MAX).and_then(|text| match text {
            Text::Own(fields) => fields.expect_kind("marker").map(|()| ("set", fields)),
            Text::Foreign(fields) => Ok(("foreign", fields)),
        });
        let (state, fields) = text.unwrap_or_else(|damage| {
            self.findings.push(findings::damaged_marker(name, &damage));
            ("damaged", Fields::default())
        });
        self.markers.push(Marker { name, state, fields, times: file.times });
    }

    /// Adds `last-seen.iso`. The line is written in place, so an odd one may be half written and is
    /// read once more.
    fn add_last_seen(&mut self, file: &File, base: &TrustedDir, node: Option<&Node>) {
        let mut line = last_seen(&file.bytes, self.now.reading.wall_us);
        if line.is_err()
            && let Some(node) = node
        {
            let mut bytes = Vec::new();
            match node.read_into(base, layout::LAST_SEEN, layout::LINE_MAX, &mut bytes) {
                Ok(Some(_)) => line = last_seen(&bytes, host::reading().wall_us),
                Ok(None) => return,
                Err(_) => {}
            }
        }
        match line {
            Ok(at_us) => self.last_seen = LastSeen::At(at_us),
            Err(why) => self.findings.push(findings::odd_last_seen(self.name, why)),
        }
    }
}

fn last_seen(bytes: &[u8], wall_us: i64) -> std::result::Result<i64, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let at_us = parse_utc(text.trim_end()).map_err(|_| "it is not a time in ISO 8601")?;
    if at_us.saturating_sub(wall_us) > AHEAD_US { Err("it lies in the future") } else { Ok(at_us) }
}

/// Judges the record of an agent.
pub(crate) fn agent<'a>(
    name: &'a str,
    bytes: &'a [u8],
    times: FileTimes,
    now: &Now,
    evidence: &mut Evidence,
) -> Agent<'a> {
    let damaged = |damage: Damage| Agent {
        name,
        persona: Persona::Damaged(damage),
        life: ProcessState::Unknown,
        survivor: None,
        waiting: None,
        judgement: Judgement {
            liveness: Liveness::Silent,
            beat_age_ms: None,
            evidence: "its record is damaged",
        },
    };
    let fields = match parse(bytes, layout::PERSONA_MAX) {
        Err(damage) => return damaged(damage),
        Ok(Text::Foreign(fields)) => {
            let ttl_ms = fields.text("ttl").and_then(|t| parse_duration("ttl", &t).ok());
            let judgement = presence::judge_foreign(times, ttl_ms, now);
            let persona = Persona::Foreign(fields);
            return without_beat(name, persona, judgement);
        }
        Ok(Text::Own(fields)) => fields,
    };
    let beat = match Beat::from_fields(&fields) {
        Ok(beat) => beat,
        Err(_) if fields.raw("beat_boot_ns").is_none() && fields.expect_kind(KIND).is_ok() => {
            let evidence = "it has no heartbeat";
            let judgement = Judgement { liveness: Liveness::Silent, beat_age_ms: None, evidence };
            return without_beat(name, Persona::NoBeat(fields), judgement);
        }
        Err(damage) => return damaged(damage),
    };
    let (life, survivor) = if !beat.ended && is_same_boot(&beat.stamp.boot_id, now.host) {
        evidence.session(&beat.processes, now.host)
    } else {
        (ProcessState::Unknown, None)
    };
    let judgement = presence::judge(&beat, times, life, now);
    let waiting = waiting::judge(&fields, judgement.liveness, now.reading.wall_us);
    let persona = Persona::Own(fields, Box::new(beat));
    Agent { name, persona, life, survivor, waiting, judgement }
}

fn without_beat<'a>(name: &'a str, persona: Persona<'a>, judgement: Judgement) -> Agent<'a> {
    let life = ProcessState::Unknown;
    Agent { name, persona, life, survivor: None, waiting: None, judgement }
}

/// Returns the lease of a record. It is judged later, when the clock is read.
pub(crate) fn lease(
    text: &std::result::Result<Text<'_>, Damage>,
    times: FileTimes,
    lease: RecordName,
    evidence: &mut Evidence,
    host: &Host,
) -> Lease<'static> {
    let life = |processes: &Processes| evidence.session(processes, host).0;
    let observed = observe_text(text, times, &lease, host, life);
    let claim = match &observed {
        Observed::Ours(record, ..) => ClaimRecord::of(record).map(Box::new),
        _ => None,
    };
    let standing = Standing::Grantable(Cause::Free);
    Lease { view: LeaseView { lease, observed, standing, copy: None }, fields: None, claim }
}
