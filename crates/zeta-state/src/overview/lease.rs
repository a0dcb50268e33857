//! A lease of an overview, from the record of a grant and what the kernel shows of its holder.

use zeta_core::evidence::{Process, ProcessState};
use zeta_core::layout;
use zeta_core::lease::joint::{Joint, slots_of};
use zeta_core::lease::{FOREIGN_TTL_MS, Held, Observed, Record, Standing, judge};
use zeta_core::name::{Label, RecordName};
use zeta_core::overview::{Lease, LeaseKind};
use zeta_core::record::{parse, unquote};
use zeta_core::time::Now;

use super::agent::until_ns;
use crate::directory::tree::Bytes;
use crate::lease::joint::standing_of;
use crate::lease::report::{foreign_holder, standing_word, times};
use crate::presence::status;
use crate::presence::status::gather::{self, Evidence};
use crate::presence::status::rows::evidence_of;

/// A grant, and what is needed to know when it must be judged again.
#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) row: Lease,
    pub(super) lease: status::Lease<'static>,
    /// When its judgement can change by time alone, by the boot clock.
    pub(super) until_ns: Option<u64>,
}

impl LeaseRow {
    /// The holder's record, if it is one of the standard.
    pub(super) fn record(&self) -> Option<&Record> {
        match &self.lease.view.observed {
            Observed::Ours(record, ..) => Some(record),
            _ => None,
        }
    }

    /// Returns whether both lead to the same findings: one is only renewed.
    pub(super) fn has_findings_of(&self, other: &LeaseRow) -> bool {
        let facts = |row: &LeaseRow| {
            let view = &row.lease.view;
            let standing = match &view.standing {
                Standing::Held(held) => Some(held.why),
                _ => None,
            };
            let session = row.record().and_then(|record| record.session.clone());
            (row.row.token, row.row.standing.clone(), standing, session, row.row.waiters.len())
        };
        facts(self) == facts(other) && self.lease.claim == other.lease.claim
    }

    /// The processes of a holder that lives.
    pub(super) fn processes(&self) -> impl Iterator<Item = Process> {
        let processes = match &self.lease.view.observed {
            Observed::Ours(record, _, ProcessState::Alive) => record.processes,
            _ => Default::default(),
        };
        processes.own.into_iter().chain(processes.child)
    }
}

/// Reads and judges the record of a grant; `None` if it only stands for the grants of a joint
/// lease. `file` is that of a grant of a joint lease, which is named after its token.
pub(super) fn read(
    node: &Label,
    name: &RecordName,
    file: &str,
    bytes: &Bytes,
    now: &Now,
    evidence: &mut Evidence,
) -> Option<LeaseRow> {
    let text = parse(&bytes.bytes, layout::RECORD_MAX);
    let mut lease = gather::lease(&text, bytes.times, name.clone(), evidence, now.host);
    if standing_of(&lease.view.observed).is_some() {
        return None;
    }
    lease.view.standing = judge(&lease.view.observed, now);
    let until_ns = match &lease.view.standing {
        Standing::Held(Held { rest_ms, .. }) => rest_ms.map(|ms| until_ns(now, ms)),
        _ => None,
    };
    let digits = file.split('.').next().unwrap_or_default();
    let token = u64::from_str_radix(digits, 16).unwrap_or(0);
    Some(LeaseRow { row: row(node, token, &lease, now), lease, until_ns })
}

fn row(node: &Label, token: u64, lease: &status::Lease<'_>, now: &Now) -> Lease {
    let view = &lease.view;
    let name = view.lease.to_string();
    let (acquired_at_us, expires_at_us) = steady_times(&view.observed, now);
    let mut row = Lease {
        node: node.to_string(),
        subject: name.clone(),
        name,
        token,
        kind: LeaseKind::Lease,
        agent: String::new(),
        standing: standing_word(&view.standing).to_owned(),
        evidence: evidence_of(&view.observed).to_owned(),
        is_free: matches!(view.standing, Standing::Grantable(_)),
        acquired_at_us,
        expires_at_us,
        grace_until_us: None,
        ttl_ms: 0,
        purpose: None,
        branch: None,
        worktree: None,
        waiters: Vec::new(),
    };
    match &view.observed {
        Observed::Ours(record, _, life) => {
            row.token = record.fencing_token.get();
            row.agent = record.agent.to_string();
            row.ttl_ms = record.ttl_ms;
            row.purpose.clone_from(&record.purpose);
            if *life == ProcessState::Alive {
                let grace_us = record.grace_ms.saturating_mul(1000);
                row.grace_until_us = expires_at_us.map(|us| us.saturating_add_unsigned(grace_us));
            }
            add_subject(&mut row, record, lease);
        }
        Observed::Foreign { ttl_ms, said, .. } => {
            row.agent = foreign_holder(said);
            row.ttl_ms = ttl_ms.unwrap_or(FOREIGN_TTL_MS);
        }
        Observed::Damaged(..) | Observed::Absent => {}
    }
    row
}

fn add_subject(row: &mut Lease, record: &Record, lease: &status::Lease<'_>) {
    let text = |key: &str| {
        let (_, value) = record.extra.iter().find(|(known, _)| known == key)?;
        Some(unquote(value)?.into_owned())
    };
    (row.branch, row.worktree) = (text("branch"), text("worktree"));
    match (&lease.claim, Joint::of(record)) {
        (Some(claim), _) => {
            (row.kind, row.subject) = (LeaseKind::Claim, claim.item.clone());
        }
        (None, Some(Joint::Paths(claim))) => {
            let paths: Vec<String> = claim.patterns.iter().map(ToString::to_string).collect();
            (row.kind, row.subject) = (LeaseKind::Paths, paths.join(" "));
        }
        (None, _) if slots_of(record).is_some() => row.kind = LeaseKind::Slot,
        (None, _) => {}
    }
    // That of a claim says its subject once more.
    if matches!(row.kind, LeaseKind::Claim | LeaseKind::Paths) {
        row.purpose = None;
    }
}

/// Since when and until when a record counts. Where it has no time of the wall clock, one is
/// calculated, which differs by microseconds from look to look, and is rounded.
fn steady_times(observed: &Observed, now: &Now) -> (Option<i64>, Option<i64>) {
    let (since, until) = times(observed, now);
    let whole = |us: i64| us - us.rem_euclid(10_000);
    match observed {
        Observed::Ours(record, ..) => (
            record.acquired_us.or(since.map(whole)),
            match record.renewed.wall_us {
                Some(_) => until,
                None => until.map(whole),
            },
        ),
        _ => (since, until),
    }
}
