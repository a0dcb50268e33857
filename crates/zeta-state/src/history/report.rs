//! The history as text and as JSON, for every front end.

use std::borrow::Cow;

use zeta_core::history::{Ended, Entry, Event, Span, json};
use zeta_core::json::Object;
use zeta_core::record::printable;
use zeta_core::time::{format_duration, format_utc};

use super::log::{Log, Row};
use crate::finding;
use crate::table::{CellStyle, Column, Fit, Table};

const COLUMNS: [Column; 7] = [
    ("FROM", Fit::Keep),
    ("UNTIL", Fit::Drop(1)),
    ("HELD FOR", Fit::Drop(2)),
    ("HOLDER", Fit::Keep),
    ("LEASE", Fit::Cut),
    ("END", Fit::Keep),
    ("NOTE", Fit::Drop(0)),
];

/// The history as a table: a line for each span. `limit` is the terminal's width.
pub fn text(log: &Log, now_us: i64, limit: Option<usize>, colour: bool) -> String {
    let mut text = String::new();
    if log.rows.is_empty() {
        return text;
    }
    let mut table = Table::new(COLUMNS, log.rows.len());
    for Row { span, lease_state } in &log.rows {
        let until_us = span.until_us.or((span.ended.is_none()).then_some(now_us));
        let held = span.from_us.zip(until_us);
        let held = held.map(|(from, until)| format_duration(until.abs_diff(from) / 1000));
        let (end, style) = end(span, *lease_state);
        let from = span.from_us.map_or_else(|| "not recorded".to_owned(), moment);
        let until = match (span.until_us, span.from_us) {
            (Some(until), Some(from)) if until / DAY_US == from / DAY_US => time_of_day(until),
            (Some(until), _) => moment(until),
            (None, _) => String::new(),
        };
        let agent = span.grant.agent.clone().unwrap_or_default();
        let subject = printable(&span.grant.subject).into_owned();
        let end = printable(&end).into_owned();
        let note = span.ended_reason.as_ref().or(span.grant.purpose.as_ref());
        let note = note.map_or_else(String::new, |note| printable(note).into_owned());
        let cells = [from, until, held.unwrap_or_default(), agent, subject, end, note];
        table.row(cells.map(Into::into), style);
    }
    table.write(&mut text, limit, colour);
    text
}

const DAY_US: i64 = 86_400_000_000;

/// `2026-11-29 18:43:51Z`
fn moment(at_us: i64) -> String {
    let text = format_utc(at_us);
    let (date, time) = text.split_once('T').unwrap_or_default();
    format!("{date} {}Z", time.get(..8).unwrap_or_default())
}

fn time_of_day(at_us: i64) -> String {
    moment(at_us).split_once(' ').map_or_else(String::new, |(_, time)| time.to_owned())
}

/// Says how a grant ended, or how it stands.
fn end(span: &Span, lease_state: Option<&str>) -> (String, CellStyle) {
    let by = |verb: &str| match &span.ended_by {
        Some(by) => format!("{verb} by {by}"),
        None => verb.to_owned(),
    };
    let to = span.to_agent.as_deref().unwrap_or("?");
    let cause = span.ended_cause.as_deref().map(|cause| cause.replace('_', " "));
    let because = |text: String| match &cause {
        Some(cause) => format!("{cause}, {text}"),
        None => text,
    };
    let style = match span.ended_cause.as_deref() {
        Some("holder_dead" | "killed" | "damaged_expired") => CellStyle::Bad,
        Some(_) => CellStyle::Doubt,
        None => CellStyle::Plain,
    };
    match (span.ended, lease_state) {
        (None, None | Some("held")) => ("holds it".to_owned(), CellStyle::Plain),
        (None, Some(state)) => (state.replace('_', " "), CellStyle::Doubt),
        (Some(Ended::Released), _) => (by("released"), CellStyle::Plain),
        (Some(Ended::HandedOver), _) => (format!("handed over to {to}"), CellStyle::Plain),
        (Some(Ended::TakenOver), _) => (because(format!("taken over by {to}")), style),
        (Some(Ended::Removed), _) => (because(by("removed")), style),
        (Some(Ended::Broken), _) => (by("broken"), CellStyle::Bad),
        (Some(Ended::Unrecorded), _) => ("ended, not recorded".to_owned(), CellStyle::Doubt),
    }
}

/// An entry in a line: when, and what happened.
pub fn line(entry: &Entry) -> String {
    format!("{}  {}", moment(entry.at_us), sentence(entry))
}

/// An entry in a few words, as in `otto acquired deploy`.
pub fn sentence(entry: &Entry) -> String {
    let agent = entry.agent.as_deref().unwrap_or("an unknown holder");
    let subject = &entry.subject;
    let from = entry.from_agent.as_deref().unwrap_or("an unknown holder");
    let because = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => format!(": {text}"),
        _ => String::new(),
    };
    let cause = entry.cause.as_deref().map(|cause| cause.replace('_', " "));
    let cause = because(cause.as_deref());
    let by = entry.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let text = match entry.event {
        Event::Acquired => format!("{agent} acquired {subject}"),
        Event::TakenOver => format!("{agent} took {subject} over from {from}{cause}"),
        Event::HandedOver if agent == from => format!("{agent} took {subject} into its session"),
        Event::HandedOver => format!("{from} handed {subject} over to {agent}"),
        Event::Released => match &entry.by {
            Some(by) => format!("{by} released {subject} of {agent}"),
            None => format!("{agent} released {subject}"),
        },
        Event::Broken => {
            format!("{subject} of {agent} was broken{by}{}", because(entry.reason.as_deref()))
        }
        Event::Removed => format!("{subject} of {agent} was removed{by}{cause}"),
    };
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(text) => text,
    }
}

/// The history as JSON.
pub fn log_json(log: &Log) -> Object {
    let mut object = Object::new();
    object.objects("spans", &log.rows, |object, row| {
        json::span(object, &row.span);
        row.lease_state.iter().for_each(|state| {
            object.text("lease_state", state);
        });
    });
    object.number("left_out", log.left_out as u64);
    object.objects("entries", &log.entries, json::entry);
    object.number("unread_lines", log.unread as u64);
    finding::add_errors(&mut object, &log.findings);
    object
}

/// An entry as JSON.
pub fn entry_json(entry: &Entry) -> Object {
    let mut object = Object::new();
    json::entry(&mut object, entry);
    object
}
