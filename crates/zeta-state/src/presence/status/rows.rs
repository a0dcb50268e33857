//! The rows of the tables: what is shown of an agent, a lease, a claim and a marker.

use std::borrow::Cow;

use zeta_core::bus::grant::ClaimRecord;
use zeta_core::evidence::ProcessState;
use zeta_core::lease::{Cause, Held, HeldWhy, Observed, Record, Standing};
use zeta_core::presence::{Beat, Liveness};
use zeta_core::record::{Fields, printable};
use zeta_core::time::{Now, format_duration, parse_utc};

use super::table::{CellStyle, Column, Fit};
use super::{Agent, Lease, Marker, Persona};
use crate::lease::report;

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

/// The text of a cell.
pub(super) type Cell<'a> = Cow<'a, str>;

const EMPTY: Cell<'static> = Cow::Borrowed("");

/// Returns the cells of an agent.
pub(super) fn agent(agent: &Agent<'_>, now: &Now) -> [Cell<'static>; 9] {
    let none = Fields::default();
    let (fields, pids) = match &agent.persona {
        Persona::Own(fields, beat) => (fields, pids(beat)),
        Persona::Foreign(fields) | Persona::NoBeat(fields) => (fields, field(fields, "pid")),
        Persona::Damaged(_) => (&none, EMPTY),
    };
    let started = ["started_at", "timestamp"].iter().find_map(|key| {
        let at_us = parse_utc(&fields.text(key)?).ok()?;
        u64::try_from(now.reading.wall_us.saturating_sub(at_us)).ok()
    });
    let status = match field(fields, "status") {
        word if agent.judgement.liveness != Liveness::Gone || word.is_empty() => word,
        // It was the agent's last word, and is not true any more.
        word => Cow::Owned(format!("was {word}")),
    };
    [
        Cow::Owned(agent.name.to_owned()),
        Cow::Borrowed(agent.judgement.liveness.word()),
        agent.judgement.beat_age_ms.map_or(EMPTY, ago),
        Cow::Borrowed(agent.judgement.evidence),
        status,
        field(fields, "task"),
        field(fields, "branch"),
        started.map_or(EMPTY, |us| ago(us / 1000)),
        pids,
    ]
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
    let text = |text: Option<&'a str>| text.map_or(EMPTY, printable);
    [
        printable(&claim.item),
        standing,
        printable(&claim.from),
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
    let name = Cow::Borrowed(view.lease.as_str());
    let standing = Cow::Borrowed(report::standing_word(&view.standing));
    let (holder, evidence, record) = match &view.observed {
        Observed::Ours(record, _, life) => {
            let evidence = match life {
                ProcessState::Alive => "process runs",
                ProcessState::Dead => "processes have ended",
                ProcessState::Unknown => "not tied to a process",
            };
            (Cow::Owned(report::holder(record)), evidence, Some(record))
        }
        Observed::Foreign { said, .. } => {
            let holder = report::foreign_holder(said);
            (Cow::Owned(printable(&holder).into_owned()), "another program's record", None)
        }
        Observed::Damaged(..) => (Cow::Borrowed("unknown"), "its record is damaged", None),
        Observed::Absent => (EMPTY, "", None),
    };
    let (since, until) = match record {
        Some(record) => since_until(record, view, now),
        None => {
            let apart = |at_us: Option<i64>| at_us.map_or(EMPTY, |at_us| apart(at_us, now));
            let (since, until) = report::times(&view.observed, now);
            (apart(since), apart(until))
        }
    };
    let purpose = record.and_then(|record| record.purpose.as_deref()).map_or(EMPTY, printable);
    [name, standing, holder, Cow::Borrowed(evidence), since, until, purpose]
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
pub(super) fn marker(marker: &Marker<'_>, now: &Now) -> [Cell<'static>; 4] {
    let age_us = now.reading.wall_us.saturating_sub(marker.times.mtime_us);
    let changed = match u64::try_from(age_us) {
        Ok(us) => ago(us / 1000),
        Err(_) => Cow::Borrowed("in the future"),
    };
    let by = field(&marker.fields, "agent");
    [Cow::Owned(marker.name.to_owned()), Cow::Borrowed(marker.state), by, changed]
}

/// Returns the style of a marker.
pub(super) fn marker_style(marker: &Marker<'_>) -> CellStyle {
    if marker.state == "set" { CellStyle::Plain } else { CellStyle::Doubt }
}

/// Returns the value of a key as a cell.
fn field(fields: &Fields<'_>, key: &str) -> Cell<'static> {
    match fields.text(key) {
        Some(value) => shown(&value),
        None => fields.raw(key).map_or(EMPTY, shown),
    }
}

fn shown(text: &str) -> Cell<'static> {
    Cow::Owned(printable(text).into_owned())
}

fn ago(ms: u64) -> Cell<'static> {
    Cow::Owned(format_duration(ms) + " ago")
}

fn pids(beat: &Beat) -> Cell<'static> {
    let all = [beat.processes.own, beat.processes.child];
    let all: Vec<String> = all.iter().flatten().map(|process| process.pid.to_string()).collect();
    Cow::Owned(all.join("+"))
}

fn apart(at_us: i64, now: &Now) -> Cell<'static> {
    let here = now.reading.wall_us;
    let ms = at_us.abs_diff(here) / 1000;
    if at_us <= here {
        return ago(ms);
    }
    let mut text = format_duration(ms);
    text.insert_str(0, "in ");
    Cow::Owned(text)
}

fn since_until(
    record: &Record,
    view: &crate::lease::LeaseView,
    now: &Now,
) -> (Cell<'static>, Cell<'static>) {
    if !report::has_same_clock(record, now) {
        return (Cow::Borrowed("another clock"), Cow::Borrowed("another clock"));
    }
    let apart = |boot_ns| apart(report::wall_of(boot_ns, now), now);
    let until = match view.standing {
        // The TTL is over; what frees the lease is the end of the grace.
        Standing::Held(Held { why: HeldWhy::InGrace, rest_ms: Some(rest_ms), .. }) => {
            Cow::Owned(format!("in {} (grace)", format_duration(rest_ms)))
        }
        _ => apart(record.expires_boot_ns()),
    };
    (apart(record.acquired_boot_ns), until)
}
