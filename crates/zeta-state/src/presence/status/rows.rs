//! The rows of the tables: what is shown of an agent, a lease, a claim and a marker.

use std::borrow::Cow;

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::evidence::ProcessState;
use zeta_core::hook::waiting::Waiting;
use zeta_core::lease::{Cause, Held, HeldWhy, Observed, Record, Standing};
use zeta_core::presence::{Beat, Liveness};
use zeta_core::record::{Fields, printable};
use zeta_core::time::{Now, parse_utc};

use super::{Agent, Lease, Marker, Persona};
use crate::lease::{LeaseView, report};
use crate::table::Cell;
use crate::table::{CellStyle, Column, Fit};

/// The columns of agents.
pub(super) const AGENTS: [Column; 9] = [
    ("AGENT", Fit::Keep),
    ("LIVENESS", Fit::Keep),
    ("BEAT", Fit::Drop(4)),
    ("EVIDENCE", Fit::Drop(2)),
    ("STATUS", Fit::Cut),
    ("TASK", Fit::Cut),
    ("BRANCH", Fit::Cut),
    ("SINCE", Fit::Drop(3)),
    ("PIDS", Fit::Drop(1)),
];

/// The columns of agents that wait for a person.
pub(super) const WAITING: [Column; 4] = [
    ("WAITS FOR A PERSON", Fit::Keep),
    ("NODE", Fit::Drop(1)),
    ("SINCE", Fit::Keep),
    ("QUESTION", Fit::Cut),
];

/// The columns of claims.
pub(super) const CLAIMS: [Column; 8] = [
    ("CLAIM", Fit::Cut),
    ("STANDING", Fit::Keep),
    ("HOLDER", Fit::Cut),
    ("BRANCH", Fit::Cut),
    ("WORKTREE", Fit::CutStart),
    ("EVIDENCE", Fit::Drop(1)),
    ("SINCE", Fit::Drop(2)),
    ("UNTIL", Fit::Drop(3)),
];

/// The columns of leases that are not claims.
pub(super) const LEASES: [Column; 7] = [
    ("LEASE", Fit::Keep),
    ("STANDING", Fit::Keep),
    ("HOLDER", Fit::Cut),
    ("EVIDENCE", Fit::Drop(1)),
    ("SINCE", Fit::Drop(2)),
    ("UNTIL", Fit::Drop(3)),
    ("PURPOSE", Fit::Cut),
];

/// The columns of markers.
pub(super) const MARKERS: [Column; 4] =
    [("MARKER", Fit::Keep), ("STATE", Fit::Keep), ("BY", Fit::Cut), ("CHANGED", Fit::Drop(1))];

/// Returns the cells of an agent.
pub(super) fn agent<'a>(agent: &'a Agent<'_>, now: &Now) -> [Cell<'a>; 9] {
    let (fields, pids) = match &agent.persona {
        Persona::Own(fields, beat) => (Some(fields), pids(beat).into()),
        Persona::Foreign(fields) | Persona::NoBeat(fields) => {
            (Some(fields), field(fields, "pid").into())
        }
        Persona::Damaged(_) => (None, Cell::EMPTY),
    };
    let field = |key| fields.map_or(Cow::Borrowed(""), |fields| field(fields, key));
    let started = ["started_at", "timestamp"].iter().find_map(|key| {
        let at_us = parse_utc(&fields?.text(key)?).ok()?;
        u64::try_from(now.reading.wall_us.saturating_sub(at_us)).ok()
    });
    let status = match field("status") {
        _ if agent.waiting.is_some() => Cow::Borrowed("waits for a person"),
        word if agent.judgement.liveness != Liveness::Gone || word.is_empty() => word,
        // It was the agent's last word, and is not true any more.
        word => Cow::Owned(format!("was {word}")),
    };
    [
        agent.name.into(),
        agent.judgement.liveness.word().into(),
        agent.judgement.beat_age_ms.map_or(Cell::EMPTY, Cell::Ago),
        agent.judgement.evidence.into(),
        status.into(),
        field("task").into(),
        field("branch").into(),
        started.map_or(Cell::EMPTY, |us| Cell::Ago(us / 1000)),
        pids,
    ]
}

/// Returns the cells of an agent that waits for a person.
pub(super) fn waiting<'a>(node: &'a str, agent: &'a str, waiting: &'a Waiting) -> [Cell<'a>; 4] {
    let since = waiting.age_ms.map_or(Cell::EMPTY, Cell::Ago);
    [agent.into(), node.into(), since, printable(&waiting.question).into()]
}

/// Returns the style of an agent.
pub(super) fn agent_style(agent: &Agent<'_>) -> CellStyle {
    match (&agent.persona, agent.judgement.liveness) {
        (Persona::Damaged(_), _) | (_, Liveness::Hung) => CellStyle::Bad,
        (Persona::Own(_, beat), Liveness::Gone) if !beat.ended => CellStyle::Bad,
        (Persona::Foreign(_), _) | (_, Liveness::Late | Liveness::Silent) => CellStyle::Doubt,
        (_, Liveness::Live | Liveness::Gone) => CellStyle::Plain,
    }
}

/// Returns the cells of a claim.
pub(super) fn claim<'a>(lease: &'a Lease<'_>, claim: &'a ClaimRecord, now: &Now) -> [Cell<'a>; 8] {
    let [_, standing, _, evidence, since, until, _] = self::lease(lease, now);
    let text = |text: Option<&'a str>| text.map_or(Cell::EMPTY, |text| printable(text).into());
    [
        printable(&claim.item).into(),
        standing,
        printable(&claim.from).into(),
        text(claim.branch.as_deref()),
        text(claim.worktree.as_deref()),
        evidence,
        since,
        until,
    ]
}

/// Returns the cells of a lease.
pub(super) fn lease<'a>(lease: &'a Lease<'_>, now: &Now) -> [Cell<'a>; 7] {
    let view = &lease.view;
    let (holder, record) = match &view.observed {
        Observed::Ours(record, ..) => (Cell::Holder(record), Some(record)),
        Observed::Foreign { said, .. } => {
            let holder = report::foreign_holder(said);
            (printable(&holder).into_owned().into(), None)
        }
        Observed::Damaged(..) => ("unknown".into(), None),
        Observed::Absent => (Cell::EMPTY, None),
    };
    let evidence = evidence_of(&view.observed);
    let (since, until) = match record {
        Some(record) => since_until(record, view, now),
        None => {
            let apart = |at_us: Option<i64>| at_us.map_or(Cell::EMPTY, |at_us| apart(at_us, now));
            let (since, until) = report::times(&view.observed, now);
            (apart(since), apart(until))
        }
    };
    let purpose = record.and_then(|record| record.purpose.as_deref());
    let purpose = purpose.map_or(Cell::EMPTY, |purpose| printable(purpose).into());
    let standing = report::standing_word(&view.standing);
    [view.lease.as_str().into(), standing.into(), holder, evidence.into(), since, until, purpose]
}

/// Returns the evidence about the holder of a lease, in words.
pub(crate) fn evidence_of(observed: &Observed) -> &'static str {
    match observed {
        Observed::Ours(_, _, ProcessState::Alive) => "process runs",
        Observed::Ours(_, _, ProcessState::Dead) => "processes have ended",
        Observed::Ours(_, _, ProcessState::Unknown) => "not tied to a process",
        Observed::Foreign { .. } => "another program's record",
        Observed::Damaged(..) => "its record is damaged",
        Observed::Absent => "",
    }
}

/// Returns the style of a lease or claim.
pub(super) fn lease_style(standing: &Standing) -> CellStyle {
    match standing {
        Standing::Held(held) => match held.why {
            HeldWhy::InTime => CellStyle::Plain,
            HeldWhy::InGrace | HeldWhy::Foreign => CellStyle::Doubt,
            HeldWhy::OverdueForever | HeldWhy::Damaged => CellStyle::Bad,
        },
        Standing::Grantable(Cause::Free) => CellStyle::Plain,
        Standing::Grantable(_) | Standing::MustKill(_) => CellStyle::Bad,
    }
}

/// Returns the cells of a marker.
pub(super) fn marker<'a>(marker: &'a Marker<'_>, now: &Now) -> [Cell<'a>; 4] {
    let age_us = now.reading.wall_us.saturating_sub(marker.times.mtime_us);
    let changed = match u64::try_from(age_us) {
        Ok(us) => Cell::Ago(us / 1000),
        Err(_) => "in the future".into(),
    };
    let by = field(&marker.fields, "agent");
    [marker.name.into(), marker.state.into(), by.into(), changed]
}

/// Returns the style of a marker.
pub(super) fn marker_style(marker: &Marker<'_>) -> CellStyle {
    if marker.state == "set" { CellStyle::Plain } else { CellStyle::Doubt }
}

/// Returns the value of a key as text for a terminal.
fn field<'a>(fields: &'a Fields<'_>, key: &str) -> Cow<'a, str> {
    match fields.text(key) {
        Some(Cow::Owned(value)) => Cow::Owned(printable(&value).into_owned()),
        Some(Cow::Borrowed(value)) => printable(value),
        None => fields.raw(key).map_or(Cow::Borrowed(""), printable),
    }
}

fn pids(beat: &Beat) -> String {
    let all = [beat.processes.own, beat.processes.child];
    let all: Vec<String> = all.iter().flatten().map(|process| process.pid.to_string()).collect();
    all.join("+")
}

fn apart(at_us: i64, now: &Now) -> Cell<'static> {
    let here = now.reading.wall_us;
    let ms = at_us.abs_diff(here) / 1000;
    if at_us <= here { Cell::Ago(ms) } else { Cell::In(ms) }
}

fn since_until(record: &Record, view: &LeaseView, now: &Now) -> (Cell<'static>, Cell<'static>) {
    if !report::has_same_clock(record, now) {
        return ("another clock".into(), "another clock".into());
    }
    let apart = |boot_ns| apart(report::wall_of(boot_ns, now), now);
    let until = match view.standing {
        // The TTL is over; what frees the lease is the end of the grace.
        Standing::Held(Held { why: HeldWhy::InGrace, rest_ms: Some(rest_ms), .. }) => {
            Cell::InGrace(rest_ms)
        }
        _ => apart(record.expires_boot_ns()),
    };
    (apart(record.acquired_boot_ns), until)
}
