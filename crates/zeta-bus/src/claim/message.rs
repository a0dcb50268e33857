//! The data of a claim: in the record of its lease, and in the messages that announce it.

use serde_json::{Map, Value};
use zeta_core::bus::grant::key;
use zeta_core::bus::item::Item;
use zeta_core::bus::{Address, Envelope, Recipient, SKEW_US, topic};
use zeta_core::lease::Record;
use zeta_core::record::quote;
use zeta_core::time::parse_utc;

use super::ClaimRequest;
use crate::claim::holders::scope;
use crate::directory::{Bus, file_of};
use crate::messages::{NewMessage, utc_ms};
use zeta_os::error::Result;
use zeta_os::host;

/// Removes a key of a record that only claims have.
pub(super) fn unset(record: &mut Record, key: &str) {
    record.extra.retain(|(known, _)| known != key);
}

/// Sets a key of a record that only claims have.
pub(super) fn set(record: &mut Record, key: &str, value: String) {
    unset(record, key);
    record.extra.push((key.to_owned(), value));
}

/// Writes the data of the claim into the record of its lease.
pub(super) fn describe(record: &mut Record, request: &ClaimRequest, bus: &Bus) {
    set(record, key::ITEM, quote(request.item.as_str()));
    set(record, key::FROM, quote(request.from.as_str()));
    for (key, text) in [(key::BRANCH, &request.branch), (key::WORKTREE, &request.worktree)] {
        if let Some(text) = text {
            set(record, key, quote(text));
        }
    }
    if request.shareable {
        set(record, key::SHAREABLE, "true".to_owned());
    }
    set(record, key::BUS, quote(&scope(bus)));
}

fn message(from: &Address, payload: Map<String, Value>, life_ms: Option<u64>) -> Result<Envelope> {
    let message = NewMessage {
        from: from.clone(),
        to: Recipient::All,
        topic: topic::CLAIM.to_owned(),
        payload: Value::Object(payload),
        life_ms,
        unchecked: false,
        reply: None,
    };
    message.envelope()
}

/// Makes the message that an agent has claimed an item.
pub(super) fn claim_message(
    request: &ClaimRequest,
    record: &Record,
    place: &str,
) -> Result<Envelope> {
    let mut payload = Map::new();
    let mut put = |key: &str, value: Value| payload.insert(key.to_owned(), value);
    put("action", "claim".into());
    put("itemId", request.item.as_str().into());
    for (key, text) in [("branch", &request.branch), ("worktree", &request.worktree)] {
        if let Some(text) = text {
            put(key, text.as_str().into());
        }
    }
    if request.shareable {
        put("shareable", true.into());
    }
    add_grant(&mut payload, record, place);
    message(&request.from, payload, None)
}

/// Makes the message that an agent has claimed paths, as an item. A session renews its claims for
/// any time; without one the message lasts as long as the grant.
pub(super) fn path_claim_message(
    from: &Address,
    item: &Item,
    record: &Record,
    place: &str,
) -> Result<Envelope> {
    let mut payload = Map::new();
    payload.insert("action".to_owned(), "claim".into());
    payload.insert("itemId".to_owned(), item.as_str().into());
    add_grant(&mut payload, record, place);
    let lasts_ms = record.ttl_ms.saturating_add(record.grace_ms).clamp(1, topic::LIFE_MAX_MS);
    message(from, payload, record.session.is_none().then_some(lasts_ms))
}

fn add_grant(payload: &mut Map<String, Value>, record: &Record, place: &str) {
    let mut put = |key: &str, value: Value| payload.insert(key.to_owned(), value);
    put("fencingToken", record.fencing_token.get().into());
    put("lease", record.lease.as_str().into());
    put("leasePlace", place.into());
}

/// Makes the message that an agent has released an item.
pub(super) fn release_message(from: &Address, item: &Item) -> Result<Envelope> {
    let mut payload = Map::new();
    payload.insert("action".to_owned(), "release".into());
    payload.insert("itemId".to_owned(), item.as_str().into());
    message(from, payload, None)
}

/// Dates a message after another of its sender: of two messages of the same millisecond, no reader
/// could decide which one is newer.
pub(super) fn date_after(message: &mut Envelope, other_us: i64) {
    let dated_us = parse_utc(&message.timestamp).unwrap_or(i64::MAX);
    if dated_us <= other_us && other_us - host::wall_us() < SKEW_US {
        message.timestamp = utc_ms(other_us + 1000);
    }
}

/// Returns when a message was sent; `None` if it is gone.
pub(super) fn sent_us(bus: &Bus, message: &str) -> Option<i64> {
    let read = bus.read(&file_of(message)).ok()??;
    let envelope = Envelope::parse(&read.bytes, message).ok()?;
    parse_utc(&envelope.timestamp).ok()
}
