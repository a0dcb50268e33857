//! Removes messages; for messages about claims it also reads their leases.

use std::path::Path;

use zeta_core::bus::claim::{Action, ClaimMessage, Grant};
use zeta_core::bus::{Address, Envelope, Fate, FileSeen, is_for_many};
use zeta_core::json::Object;
use zeta_core::layout;
use zeta_os::error::Result;
use zeta_os::host;
use zeta_state::context::Context;

use crate::claim::grant_lasts;
use crate::directory::index::{Cursor, INDEX_LIMIT, Index};
use crate::directory::{Bus, delivery_log};
use crate::messages::{Filter, MessageView, limit_dead_letters, sort_out};
use crate::report::count;

/// The result of cleaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// How many messages were removed from the bus.
    pub removed: usize,
    /// How many of those became dead letters, because they had not been delivered.
    pub dead_letters: usize,
    /// How many temps of killed publishers were removed.
    pub swept: usize,
}

impl Cleaned {
    /// Returns the result as JSON.
    pub fn object(&self) -> Object {
        let mut object = Object::new();
        object.number("removed", self.removed as u64);
        object.number("dead_letters", self.dead_letters as u64);
        object.number("temps_swept", self.swept as u64);
        object
    }

    /// Returns the result as text.
    pub fn text(&self) -> String {
        match self.dead_letters {
            0 => format!("removed {}", self.removed),
            number => {
                let dead = count(number, "dead letter");
                format!("removed {}, of them undelivered: {dead}", self.removed)
            }
        }
    }
}

/// Removes messages: all of them, those of one sender, or those that do not count any more. On a
/// full disk those are removed first that leave nothing behind.
pub fn clean(ctx: &Context, dir: &Path, expired: bool, from: Option<&str>) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let Some(bus) = Bus::open(dir)? else { return Ok(cleaned) };
    let filter = Filter { expired: true, ..Filter::default() };
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
    index.refresh_partly()?;
    let snapshot = index.snapshot(&mut Cursor::default());
    drop(index);
    let (messages, _) = snapshot.messages();
    let mut undelivered = Vec::new();
    for MessageView { envelope, fate, .. } in sort_out(messages, &filter) {
        let dead = expired && (!matches!(fate, Fate::Lives(_)) || is_void(ctx, &envelope));
        let wanted = match from {
            Some(from) => envelope.from == from && (!expired || dead),
            None => !expired || dead,
        };
        if !wanted {
            continue;
        }
        if expired && from.is_none() && !is_delivered(&bus, &envelope)? {
            undelivered.push(envelope.id);
        } else {
            cleaned.removed += usize::from(bus.remove(&envelope.id)?);
        }
    }
    for id in undelivered {
        let gone = usize::from(bus.move_to_dead_letters(&id)?);
        cleaned.removed += gone;
        cleaned.dead_letters += gone;
    }
    cleaned.swept = bus.sweep(host::wall_us())?;
    crate::messages::inbox::sweep(&bus)?;
    if expired {
        crate::messages::channel::sweep(&bus, |agent| has_record(ctx, agent))?;
    }
    limit_dead_letters(&bus)?;
    Ok(cleaned)
}

/// Returns whether an agent has a record on this node. In doubt it has.
fn has_record(ctx: &Context, agent: &str) -> bool {
    let label = Address::new(agent).map(|address| address.as_label()).unwrap_or_default();
    match ctx.find() {
        Ok(Some(handle)) => {
            handle.read(&layout::persona_file(&label), layout::PERSONA_MAX).ok() != Some(None)
        }
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Returns whether the message announces a grant that has ended.
fn is_void(ctx: &Context, envelope: &Envelope) -> bool {
    let seen = FileSeen { mtime_us: 0, now_us: host::wall_us(), is_imported: false };
    let message = ClaimMessage::of(envelope, seen);
    let grant: Option<Grant> =
        message.filter(|message| message.action == Action::Claim).and_then(|message| message.grant);
    grant.is_some_and(|grant| grant_lasts(ctx, &grant) == Some(false))
}

/// Returns whether a message for one recipient was delivered to it. One for many counts as
/// delivered; a message to a recipient that nobody can be was not.
fn is_delivered(bus: &Bus, envelope: &Envelope) -> Result<bool> {
    if is_for_many(&envelope.to) {
        return Ok(true);
    }
    if !delivery_log::is_surface(&envelope.to) {
        return Ok(false);
    }
    let log = delivery_log::peek(bus, &envelope.to).unwrap_or_default();
    let known = log.states.get(&envelope.id);
    Ok(known.is_some_and(|state| state.is_done()))
}
