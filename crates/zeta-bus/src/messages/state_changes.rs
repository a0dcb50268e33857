//! Publishes the changes of a state directory on the bus: one message per record, on request.
//!
//! The records that were published last are kept below `.zeta`, per node. Beats and renewals are
//! not published.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use zeta_core::bus::{Address, Envelope, Recipient, topic};
use zeta_core::layout::{self, Kind};
use zeta_core::record::{Fields, Text, parse};

use super::{NewMessage, store};
use crate::directory::Bus;
use crate::directory::index::INDEX_LIMIT;
use zeta_os::error::Result;
use zeta_state::context::{Context, NodeHandle};

/// Keys that change with every beat or renewal.
const UNPUBLISHED: [&str; 11] = [
    "timestamp",
    "acquired_boot_ns",
    "renewed_boot_ns",
    "renew_seq",
    "renewed_at",
    "expires_at",
    "updated_at",
    "beat_at",
    "beat_boot_ns",
    "beat_awake_ns",
    "beat_seq",
];

/// Publishes one message for each record of the node that changed since the last call.
pub fn publish_changes(ctx: &Context, dir: &Path, from: &Address) -> Result<Vec<Envelope>> {
    let Some(NodeHandle { tree, node, .. }) = ctx.find()? else { return Ok(Vec::new()) };
    let bus = Bus::open_or_create(dir)?;
    // Two calls at once would publish each change twice.
    let _lock = bus.enter_changes(INDEX_LIMIT)?;
    let before = bus.published_changes(node.name.as_str())?;
    let known: BTreeMap<String, String> = before
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(file, text)| (file.to_owned(), text.to_owned()))
        .collect();
    let mut now = BTreeMap::new();
    let mut published = Vec::new();
    let mut publish = |file: &str, change: &str, kind: &str, fields: Map<String, Value>| {
        let mut payload = Map::new();
        for (key, text) in
            [("node", node.name.as_str()), ("record", file), ("change", change), ("kind", kind)]
        {
            payload.insert(key.to_owned(), text.into());
        }
        payload.insert("fields".to_owned(), Value::Object(fields));
        let message = NewMessage {
            from: from.clone(),
            to: Recipient::All,
            topic: topic::STATE_CHANGE.to_owned(),
            payload: Value::Object(payload),
            life_ms: None,
            unchecked: false,
            reply: None,
        };
        let envelope = message.envelope()?;
        store(&bus, &envelope)?;
        published.push(envelope);
        Ok::<(), zeta_os::error::Error>(())
    };
    for file in node.list()?.names {
        let (kind, max) = match layout::kind_of(&file) {
            Kind::Lease(_) => ("lease", layout::RECORD_MAX),
            Kind::Marker(_) => ("marker", layout::RECORD_MAX),
            Kind::Persona(_) => ("persona", layout::PERSONA_MAX),
            _ => continue,
        };
        let Ok(Some(read)) = node.read(&tree.base, &file, max) else { continue };
        let Ok(Text::Own(fields)) = parse(&read.bytes, max) else { continue };
        let fields = lasting(&fields);
        let text = Value::Object(fields.clone()).to_string();
        if known.get(&file) != Some(&text) {
            publish(&file, "set", kind, fields)?;
        }
        now.insert(file, text);
    }
    for file in known.keys().filter(|file| !now.contains_key(*file)) {
        let kind = match layout::kind_of(file) {
            Kind::Lease(_) => "lease",
            Kind::Marker(_) => "marker",
            _ => "persona",
        };
        publish(file, "gone", kind, Map::new())?;
    }
    let text: String = now.iter().map(|(file, text)| format!("{file} {text}\n")).collect();
    bus.remember_changes(node.name.as_str(), &text)?;
    Ok(published)
}

/// Returns the fields of a record whose changes are published.
fn lasting(fields: &Fields<'_>) -> Map<String, Value> {
    fields
        .iter()
        .filter(|(key, _)| !UNPUBLISHED.contains(key) && *key != "schema" && *key != "kind")
        .filter_map(|(key, value)| Some((key.to_owned(), serde_json::from_str(value).ok()?)))
        .collect()
}
