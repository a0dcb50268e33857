//! What `zeta marker` and `zeta persona` share: set, get, list and clear of one record.

use zeta_core::record::{Fields, printable, quote, unquote};

use super::Call;
use zeta_core::json::{Object, json_of};
use zeta_os::error::{Error, Kind, Result};
use zeta_state::presence::records as ops;
use zeta_state::presence::records::{RecordKey, RecordState};

/// Sets the fields of options and of `K=V` words.
pub(super) fn set(
    call: &Call,
    name: &RecordKey,
    said: Vec<(&'static str, String)>,
    words: &[String],
) -> Result<u8> {
    let mut pairs: Vec<(String, String)> =
        said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    for word in words {
        pairs.push(ops::parse_pair(name, word)?);
    }
    let fields = ops::set(&call.context()?, name, &pairs)?;
    if call.out.json {
        call.out.data(&object(&fields).done())?;
    }
    Ok(0)
}

/// Prints a record, or one field of it.
pub(super) fn get(call: &Call, name: &RecordKey, key: Option<&str>) -> Result<u8> {
    let fields = match ops::get(&call.context()?, name)? {
        Some(RecordState::Fields(fields)) => fields,
        Some(RecordState::Damaged(error)) => return Err(error),
        None => return Err(absent(name)),
    };
    match key {
        None => call.out.either(|| object(&fields), || text(&fields))?,
        Some(key) => {
            let value = fields.raw(key).ok_or_else(|| {
                Error::new(Kind::NotFound, format!("{}: no field {key:?}", name.file()))
            })?;
            let safe = || json_of(value).into_owned();
            let plain = || unquote(value).map_or_else(safe, |v| printable(&v).into_owned());
            call.out.either(
                || {
                    let mut object = Object::new();
                    object.raw(key, &safe());
                    object
                },
                plain,
            )?;
        }
    }
    Ok(0)
}

/// Lists the records of one kind.
pub(super) fn list(call: &Call, markers: bool) -> Result<u8> {
    let found = ops::list(&call.context()?, markers)?;
    let mut findings = Vec::new();
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for (name, seen) in found {
        match seen {
            Ok(RecordState::Fields(fields)) => {
                rows.push(row(&name, &fields));
                objects.push(object(&fields).done());
            }
            Ok(RecordState::Damaged(error)) | Err(error) => findings.push(error),
        }
    }
    let plural = if markers { "markers" } else { "personas" };
    call.out.either(
        || {
            let mut object = Object::new();
            object.list(plural, objects.iter().cloned());
            object.list("findings", findings.iter().map(|error| quote(&error.text)));
            object
        },
        || rows.join("\n"),
    )?;
    if !call.out.json {
        findings.iter().for_each(|finding| call.out.error(finding, None));
    }
    Ok(if findings.is_empty() { 0 } else { Kind::Unsafe.status() })
}

/// Removes a record.
pub(super) fn clear(call: &Call, name: &RecordKey) -> Result<u8> {
    if !ops::clear(&call.context()?, name)? {
        return Err(absent(name));
    }
    if call.out.json {
        let mut object = Object::new();
        object.text("outcome", "cleared").text("file", &name.file());
        call.out.data(&object.done())?;
    }
    Ok(0)
}

fn absent(name: &RecordKey) -> Error {
    let what = match name {
        RecordKey::Marker(name) => format!("marker {name}"),
        RecordKey::Persona(name) => format!("persona {name}"),
    };
    Error::new(Kind::NotFound, format!("{what} is not there"))
}

fn object(fields: &Fields<'_>) -> Object {
    let mut object = Object::new();
    object.fields(fields);
    object
}

fn text(fields: &Fields<'_>) -> String {
    // Not as it stands: another hand may have left in it what plays tricks on a terminal.
    let line = |(key, value)| format!("{key}: {}", json_of(value));
    let lines: Vec<String> = fields.iter().map(line).collect();
    lines.join("\n")
}

/// The name and the fields that somebody wrote on purpose.
fn row(name: &str, fields: &Fields<'_>) -> String {
    const SHOWN: [&str; 7] =
        ["agent", "status", "task", "branch", "worktree", "updated_at", "ended_at"];
    let shown = SHOWN.iter().filter_map(|key| {
        let value = fields.text(key)?;
        Some(format!("{key}={}", printable(&value)))
    });
    format!("{name:<24} {}", shown.collect::<Vec<_>>().join(" "))
}
