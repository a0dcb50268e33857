//! The status of a bus, as the original defines it; and the state of one message.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use zeta_core::bus::{Envelope, Fate, Woken, is_for_many, topic};

use super::{Filter, Listing, MessageView, channel, check_id, list};
use crate::directory::Bus;
use crate::directory::delivery_log::{self, Delivery};
use zeta_os::error::Result;

/// The newest heartbeats, claim messages and review requests of a bus.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Per sender, its newest valid heartbeat.
    pub agents: Vec<Envelope>,
    /// Valid claim messages, releases too.
    pub claims: Vec<Envelope>,
    /// Review requests.
    pub review_requests: Vec<Envelope>,
    /// The number of shadow catches.
    pub shadow_catches: usize,
    /// The channels, each with the agents in it.
    pub channels: BTreeMap<String, Vec<String>>,
    /// The number of messages that have not expired.
    pub messages: usize,
    /// The findings.
    pub findings: Vec<zeta_os::error::Error>,
}

/// Reads the whole bus.
pub fn status(dir: &Path) -> Result<Status> {
    let Listing { messages, findings } = list(dir, &Filter::default())?;
    let channels = Bus::open(dir)?.map(|bus| channel::all(&bus)).transpose()?.unwrap_or_default();
    let mut status = Status { findings, channels, messages: messages.len(), ..Status::default() };
    for MessageView { envelope, .. } in messages {
        let is_valid = topic::known(&envelope.topic)
            .is_some_and(|topic| topic.check(&envelope.payload).is_ok());
        match envelope.topic.as_str() {
            "heartbeat" if is_valid => {
                status.agents.retain(|other| other.from != envelope.from);
                status.agents.push(envelope);
            }
            topic::CLAIM if is_valid => status.claims.push(envelope),
            "review-request" if is_valid => status.review_requests.push(envelope),
            "shadow-catch" => status.shadow_catches += 1,
            _ => {}
        }
    }
    status.agents.sort_by(|a, b| a.from.cmp(&b.from));
    Ok(status)
}

/// Returns one field of a payload as text.
pub fn field<'a>(envelope: &'a Envelope, key: &str) -> Option<&'a str> {
    envelope.payload.get(key).and_then(Value::as_str)
}

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is on the bus, and was not delivered yet.
    Stored,
    /// It was used to wake a recipient, which has not received it yet.
    Woken,
    /// A subscriber's handler took it, it was printed for one, or a hook gave it to a recipient's
    /// tool.
    Delivered,
    /// A recipient read it, or its model's turn ended after it was delivered.
    Read,
    /// A handler failed so many times; the delivery will be retried.
    Failed(u32),
    /// It has expired.
    Expired,
    /// It is a dead letter: it was not delivered in time, or its handler failed too often.
    Dead,
}

impl DeliveryState {
    /// Returns the word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            DeliveryState::Stored => "stored",
            DeliveryState::Woken => "woken",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Read => "read",
            DeliveryState::Failed(_) => "failed",
            DeliveryState::Expired => "expired",
            DeliveryState::Dead => "dead",
        }
    }
}

/// The state of a message at one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The recipient.
    pub surface: String,
    /// The state.
    pub state: DeliveryState,
    /// When it was used to wake the recipient.
    pub woken: Option<Woken>,
}

/// The state of a message as a whole, and at each recipient that it was delivered to.
pub type DeliveryReport = (DeliveryState, Vec<At>);

/// Returns the state of a message, as a whole and at each recipient that it is for; `None` if it
/// is not known, or was removed by cleaning.
pub fn fate(dir: &Path, id: &str) -> Result<Option<DeliveryReport>> {
    check_id(id)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(None) };
    let Some(message) = super::read(dir, id, None)? else {
        let file = crate::directory::file_of(id);
        let is_dead = bus.dead_letters()?.iter().any(|(name, _)| *name == file);
        return Ok(is_dead.then_some((DeliveryState::Dead, Vec::new())));
    };
    let to = &message.envelope.to;
    let mut at = Vec::new();
    for surface in delivery_log::surfaces(&bus)? {
        if *to != surface && !is_for_many(to) {
            continue;
        }
        let log = delivery_log::peek(&bus, &surface).unwrap_or_default();
        let (logged, woken) = (log.states.get(id), log.woken.get(id).copied());
        let state = match logged {
            Some(Delivery::Delivered | Delivery::Handed) => DeliveryState::Delivered,
            Some(Delivery::Read) => DeliveryState::Read,
            Some(Delivery::Failed(times)) => DeliveryState::Failed(*times),
            None | Some(Delivery::PutBack) if woken.is_some() => DeliveryState::Woken,
            None | Some(Delivery::PutBack) => continue,
        };
        at.push(At { surface, state, woken });
    }
    let any = |wanted: DeliveryState| at.iter().any(|at| at.state == wanted);
    let whole = match message.fate {
        _ if any(DeliveryState::Read) => DeliveryState::Read,
        _ if any(DeliveryState::Delivered) => DeliveryState::Delivered,
        Fate::Expired => DeliveryState::Expired,
        Fate::Lives(_) if any(DeliveryState::Woken) => DeliveryState::Woken,
        Fate::Lives(_) => DeliveryState::Stored,
    };
    Ok(Some((whole, at)))
}
