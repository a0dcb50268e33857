//! Records that agents write for each other: markers and persona states. A call keeps the fields
//! that it does not name, and never overwrites a record that it cannot read.

use rustix::process::getuid;
use zeta_core::evidence::ProcessState;
use zeta_core::layout::{self, Kind};
use zeta_core::name::{Label, RecordName};
use zeta_core::presence::{self, Beat, forget_session, judge_session_over, set_beat};
use zeta_core::record::{Fields, KEYS_MAX, Text, is_key, parse};
use zeta_core::time::format_utc;

use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::directory::listing;
use crate::directory::tree::{Bytes, Node};
use crate::upkeep::clean::life_of;
use zeta_os::error::{Error, Result};
use zeta_os::host;

/// The `kind` of a marker record.
const MARKER: &str = "marker";
/// Keys of a marker that the program itself writes.
const MARKER_KEYS: [&str; 10] =
    ["schema", "kind", "marker", "agent", "session", "uid", "set_at", "updated_at", "file", "end"];

/// The name of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    /// `<name>.marker`
    Marker(RecordName),
    /// `persona-<name>.state`
    Persona(Label),
}

impl RecordKey {
    /// Returns the record's file.
    pub fn file(&self) -> String {
        match self {
            RecordKey::Marker(name) => layout::marker_file(name),
            RecordKey::Persona(name) => layout::persona_file(name.as_str()),
        }
    }

    /// Returns the maximum length of the record, in bytes.
    pub fn max(&self) -> usize {
        match self {
            RecordKey::Marker(_) => layout::RECORD_MAX,
            RecordKey::Persona(_) => layout::PERSONA_MAX,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            RecordKey::Marker(_) => MARKER,
            RecordKey::Persona(_) => presence::KIND,
        }
    }

    fn own_keys(&self) -> &'static [&'static str] {
        match self {
            RecordKey::Marker(_) => &MARKER_KEYS,
            RecordKey::Persona(_) => &presence::OWN_KEYS,
        }
    }
}

/// Parses `K=V` as typed, and refuses keys that zeta itself writes.
pub fn parse_pair(name: &RecordKey, pair: &str) -> Result<(String, String)> {
    let (key, value) = pair.split_once('=').ok_or_else(|| {
        Error::usage(format!("{pair:?} is not of the form key=value, as in branch=main"))
    })?;
    if !is_key(key) {
        return Err(Error::usage(format!(
            "key {key:?} is not valid: use a to z, 0 to 9 and '_', starting with a letter"
        )));
    }
    if name.own_keys().contains(&key) {
        return Err(Error::usage(format!(
            "key {key:?} is written by zeta itself: choose another name"
        )));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Sets fields of a record, and creates it if there is none; returns the new record.
pub fn set(ctx: &Context, name: &RecordKey, pairs: &[(String, String)]) -> Result<Fields<'static>> {
    let handle = ctx.open()?;
    let section = handle.enter(name.file(), ENTER_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, &handle.node, name)?;
    let reading = host::reading();
    match name {
        RecordKey::Marker(marker) => {
            fields.set_text("marker", marker.as_str());
            fields.set_text("agent", ctx.agent.as_str());
            if let Some(session) = &ctx.session {
                fields.set_text("session", session);
            }
            fields.set_number("uid", getuid().as_raw().into());
            if !exists {
                fields.set_text("set_at", &format_utc(reading.wall_us));
            }
        }
        RecordKey::Persona(persona) => {
            let over = session_over(ctx, &fields);
            let session = fields.text("session").filter(|_| !over);
            // An agent that writes its own record is alive; a record by another agent proves
            // nothing.
            let itself = match session {
                Some(session) => ctx.session.as_deref() == Some(&*session),
                None => ctx.agent_named && ctx.agent == *persona,
            };
            if fields.raw("agent").is_none() {
                fields.set_text("persona", persona.as_str());
                fields.set_text("agent", persona.as_str());
            }
            if itself {
                if over {
                    forget_session(&mut fields);
                }
                let every_ms = fields.number("beat_every_ms").unwrap_or(presence::SPOKEN_MS);
                set_beat(&mut fields, reading, &ctx.host, every_ms);
            }
        }
    }
    fields.set_text("updated_at", &format_utc(reading.wall_us));
    for (key, value) in pairs {
        fields.set_text(key, value);
    }
    publish(&section, &handle.node, name, &fields, exists)?;
    Ok(fields)
}

/// Writes a record within its limit.
pub fn publish(
    section: &Section<'_>,
    node: &Node,
    name: &RecordKey,
    fields: &Fields<'_>,
    exists: bool,
) -> Result<()> {
    let text = fields.render();
    if text.len() > name.max() {
        return Err(Error::usage(format!(
            "{}: the record would be {} bytes long, and may have {}: nothing was changed",
            node.path.join(name.file()).display(),
            text.len(),
            name.max()
        )));
    }
    let keys = fields.iter().count();
    if keys > KEYS_MAX {
        return Err(Error::usage(format!(
            "{}: the record would have {keys} keys, and may have {KEYS_MAX}: nothing was changed",
            node.path.join(name.file()).display()
        )));
    }
    section.publish(&text, exists)
}

/// Returns whether the session that a record names has ended, as far as its processes show.
pub fn session_over(ctx: &Context, fields: &Fields<'_>) -> bool {
    let now = ctx.now();
    let life = Beat::from_fields(fields).map_or(ProcessState::Unknown, |beat| life_of(&beat, &now));
    judge_session_over(fields, life, &now)
}

/// Reads the fields of the record inside its guard, or makes those of a new one; true if there is a
/// record.
pub fn read_or_new(
    section: &Section<'_>,
    node: &Node,
    name: &RecordKey,
) -> Result<(bool, Fields<'static>)> {
    let Some(Bytes { bytes, .. }) = section.read(name.max())? else {
        return Ok((false, Fields::new(name.kind())));
    };
    match parse(&bytes, name.max()) {
        Ok(Text::Own(fields)) => {
            fields.expect_kind(name.kind()).map_err(|damage| damaged(node, name, &damage))?;
            Ok((true, fields.into_owned()))
        }
        Ok(Text::Foreign(found)) => {
            // What another program wrote is kept, in the grammar of the standard.
            let mut fields = Fields::new(name.kind());
            for (key, value) in found.iter().filter(|(key, _)| !name.own_keys().contains(key)) {
                fields.push_raw(key, value);
            }
            Ok((true, fields))
        }
        Err(damage) => Err(damaged(node, name, &damage)),
    }
}

fn damaged(node: &Node, name: &RecordKey, damage: &zeta_core::record::Damage) -> Error {
    let path = node.path.join(name.file());
    let verb = match name {
        RecordKey::Marker(marker) => format!("zeta marker clear {marker}"),
        RecordKey::Persona(persona) => format!("zeta persona clear {persona}"),
    };
    Error::not_safe(&path, format!("the record is damaged: {damage}"))
        .hint("read it first: its text may still be useful")
        .hint(format!("then: {verb}"))
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub enum RecordState {
    /// A record, by zeta or by another program.
    Fields(Fields<'static>),
    /// A damaged one, with the reason.
    Damaged(Error),
}

impl RecordState {
    /// Returns the fields, if the record could be read.
    pub fn own(self) -> Option<Fields<'static>> {
        match self {
            RecordState::Fields(fields) => Some(fields),
            RecordState::Damaged(_) => None,
        }
    }
}

/// Reads a record; `None` if it is not there.
pub fn get(ctx: &Context, name: &RecordKey) -> Result<Option<RecordState>> {
    let Some(handle) = ctx.find()? else { return Ok(None) };
    get_in(&handle, name)
}

fn get_in(handle: &NodeHandle<'_>, name: &RecordKey) -> Result<Option<RecordState>> {
    let Some(Bytes { bytes, .. }) = handle.read(&name.file(), name.max())? else {
        return Ok(None);
    };
    Ok(Some(match parse(&bytes, name.max()) {
        Ok(Text::Own(fields) | Text::Foreign(fields)) => RecordState::Fields(fields.into_owned()),
        Err(damage) => RecordState::Damaged(damaged(&handle.node, name, &damage)),
    }))
}

/// Returns all markers (or personas) of the node by name, each with its record or an error.
pub fn list(ctx: &Context, markers: bool) -> Result<Vec<(String, Result<RecordState>)>> {
    let mut found = Vec::new();
    let Some(handle) = ctx.find()? else { return Ok(found) };
    let listing = handle.node.list()?;
    let findings = listing::findings(&handle.node, &listing, |kind| match (kind, markers) {
        (Kind::Marker(text), true) => Some(RecordName::new(MARKER, text).is_ok()),
        (Kind::Persona(text), false) => Some(Label::new("persona", text).is_ok()),
        _ => None,
    });
    found.extend(findings.into_iter().map(|finding| (String::new(), Err(finding))));
    for file in listing.names {
        let (text, name) = match (layout::kind_of(&file), markers) {
            (Kind::Marker(text), true) => {
                (text, RecordName::new(MARKER, text).map(RecordKey::Marker))
            }
            (Kind::Persona(text), false) => {
                (text, Label::new("persona", text).map(RecordKey::Persona))
            }
            _ => continue,
        };
        let Ok(name) = name else { continue };
        match get_in(&handle, &name) {
            Ok(Some(seen)) => found.push((text.to_owned(), Ok(seen))),
            Ok(None) => {}
            Err(error) => found.push((text.to_owned(), Err(error))),
        }
    }
    Ok(found)
}

/// Removes a record; false if it was not there.
pub fn clear(ctx: &Context, name: &RecordKey) -> Result<bool> {
    let Some(handle) = ctx.find()? else { return Ok(false) };
    let file = name.file();
    if handle.read(&file, name.max())?.is_none() {
        return Ok(false);
    }
    let section = handle.enter(file, ENTER_LIMIT)?;
    let exists = section.read(name.max())?.is_some();
    section.remove()?;
    Ok(exists)
}
