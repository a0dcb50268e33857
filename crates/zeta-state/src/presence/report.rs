//! Beats, markers and persona states as text and as JSON, for every front end.

use std::path::Path;

use zeta_core::json::{Object, json_of};
use zeta_core::name::{Label, RecordName};
use zeta_core::record::{Fields, printable, unquote};
use zeta_core::time::{format_duration, format_utc};

use super::records::{RecordKey, RecordState};
use crate::finding;
use zeta_os::error::{Error, Kind, Result};

/// Beats that were written, the last one at `wall_us`.
pub fn beat_json(node: &Label, wall_us: i64, beats: u64) -> Object {
    let mut object = Object::new();
    object.text("outcome", "recorded").text("node", node.as_str());
    object.text("last_seen", &format_utc(wall_us)).number("beats", beats);
    object
}

/// Returns the message about a session whose state directory was removed or replaced.
pub fn came_back(dir: &Path) -> String {
    format!(
        "{} was removed or replaced: this session goes on in the new one; a lease that it held in \
         the old one is lost",
        dir.display()
    )
}

/// Returns the message about a lease that its session does not renew any more.
pub fn held_too_long(lease: &RecordName, max_hold_ms: u64) -> String {
    let limit = format_duration(max_hold_ms);
    format!("lease {lease} is held longer than {limit} and is not renewed any more (--max-hold)")
}

/// Returns the fields of a record that was read, or the reason why there are none.
pub fn fields_of(name: &RecordKey, found: Option<RecordState>) -> Result<Fields<'static>> {
    match found {
        Some(RecordState::Fields(fields)) => Ok(fields),
        Some(RecordState::Damaged(error)) => Err(error),
        None => Err(absent(name)),
    }
}

/// A record with its own keys.
pub fn record_json(fields: &Fields<'_>) -> Object {
    let mut object = Object::new();
    object.fields(fields);
    object
}

/// A record, a line for each field.
pub fn record_text(fields: &Fields<'_>) -> String {
    // Not the raw text: another program may have written control characters into it.
    let line = |(key, value)| format!("{key}: {}", json_of(value));
    let lines: Vec<String> = fields.iter().map(line).collect();
    lines.join("\n")
}

/// One field of a record as JSON and in words.
pub fn field(name: &RecordKey, fields: &Fields<'_>, key: &str) -> Result<(Object, String)> {
    let value = fields
        .raw(key)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("{}: no field {key:?}", name.file())))?;
    let safe = json_of(value).into_owned();
    let mut object = Object::new();
    object.raw(key, &safe);
    let plain = unquote(value).map_or(safe, |value| printable(&value).into_owned());
    Ok((object, plain))
}

/// The records of one kind.
#[derive(Debug)]
pub struct Records {
    kind: &'static str,
    records: Vec<(String, Fields<'static>)>,
    /// The records that could not be read.
    pub findings: Vec<Error>,
}

impl Records {
    /// Sorts the markers or personas that were found.
    pub fn new(markers: bool, found: Vec<(String, Result<RecordState>)>) -> Records {
        let kind = if markers { "markers" } else { "personas" };
        let mut sorted = Records { kind, records: Vec::new(), findings: Vec::new() };
        for (name, seen) in found {
            match seen {
                Ok(RecordState::Fields(fields)) => sorted.records.push((name, fields)),
                Ok(RecordState::Damaged(error)) | Err(error) => sorted.findings.push(error),
            }
        }
        sorted
    }

    /// Makes one object with the records and the findings.
    pub fn json(&self) -> Object {
        let mut object = Object::new();
        let records = self.records.iter();
        object.list(self.kind, records.map(|(_, fields)| record_json(fields).done()));
        finding::add_errors(&mut object, &self.findings);
        object
    }

    /// Makes a line for each record.
    pub fn text(&self) -> String {
        let lines: Vec<String> =
            self.records.iter().map(|(name, fields)| row(name, fields)).collect();
        lines.join("\n")
    }
}

/// A record that was removed.
pub fn cleared_json(name: &RecordKey) -> Object {
    let mut object = Object::new();
    object.text("outcome", "cleared").text("file", &name.file());
    object
}

/// Makes the error for a record that does not exist.
pub fn absent(name: &RecordKey) -> Error {
    let what = match name {
        RecordKey::Marker(name) => format!("marker {name}"),
        RecordKey::Persona(name) => format!("persona {name}"),
    };
    Error::new(Kind::NotFound, format!("{what} does not exist"))
}

/// Makes a line of the name and the fields that an agent sets itself.
fn row(name: &str, fields: &Fields<'_>) -> String {
    const SHOWN: [&str; 7] =
        ["agent", "status", "task", "branch", "worktree", "updated_at", "ended_at"];
    let shown = SHOWN.iter().filter_map(|key| {
        let value = fields.text(key)?;
        Some(format!("{key}={}", printable(&value)))
    });
    format!("{name:<24} {}", shown.collect::<Vec<_>>().join(" "))
}
