//! Removing messages: it needs to know messages and the claims that some of them mirror.

use std::path::Path;

use zeta_core::bus::claim::{Action, ClaimMessage, Grant};
use zeta_core::bus::{EVERYBODY, Envelope, Fate, FileSeen};
use zeta_core::json::Object;
use zeta_os::error::Result;
use zeta_os::host;
use zeta_state::context::Context;

use crate::claim::grant_stands;
use crate::directory::index::{Cursor, INDEX_LIMIT, Index};
use crate::directory::{Bus, delivery_log};
use crate::messages::{Filter, MessageView, bound_dead, sort_out};
use crate::report::count;

/// What cleaning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Messages that are on the bus no more.
    pub removed: usize,
    /// Of those: put away, because nobody had told them to whom they were for.
    pub buried: usize,
    /// Left behind by publishers that were killed.
    pub swept: usize,
}

impl Cleaned {
    /// The same as JSON.
    pub fn object(&self) -> Object {
        let mut object = Object::new();
        object.number("removed", self.removed as u64);
        object.number("dead_letters", self.buried as u64);
        object.number("temps_swept", self.swept as u64);
        object
    }

    /// The same in words.
    pub fn text(&self) -> String {
        match self.buried {
            0 => format!("removed {}", self.removed),
            buried => {
                let dead = count(buried, "dead letter");
                format!("removed {}, of them undelivered: {dead}", self.removed)
            }
        }
    }
}

/// Removes messages: all of them, those of one sender, or those that count no more.
pub fn clean(ctx: &Context, dir: &Path, expired: bool, from: Option<&str>) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let Some(bus) = Bus::open(dir)? else { return Ok(cleaned) };
    let filter = Filter { expired: true, ..Filter::default() };
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
    index.refresh_partly()?;
    let snapshot = index.snapshot(&mut Cursor::default())?;
    drop(index);
    let (messages, _) = snapshot.messages();
    for MessageView { envelope, fate, .. } in sort_out(messages, &filter) {
        let dead = expired && (!matches!(fate, Fate::Lives(_)) || is_void(ctx, &envelope));
        let wanted = match from {
            Some(from) => envelope.from == from && (!expired || dead),
            None => !expired || dead,
        };
        if !wanted {
            continue;
        }
        let undelivered = expired && from.is_none() && !is_delivered(&bus, &envelope)?;
        let gone = if undelivered {
            bus.move_to_dead_letters(&envelope.id)?
        } else {
            bus.remove(&envelope.id)?
        };
        cleaned.removed += usize::from(gone);
        cleaned.buried += usize::from(gone && undelivered);
    }
    cleaned.swept = bus.sweep(host::wall_us())?;
    bound_dead(&bus)?;
    Ok(cleaned)
}

/// Does it mirror a grant that stands no more?
fn is_void(ctx: &Context, envelope: &Envelope) -> bool {
    let seen = FileSeen { mtime_us: 0, now_us: host::wall_us() };
    let notice = ClaimMessage::of(envelope, seen);
    let grant: Option<Grant> =
        notice.filter(|notice| notice.action == Action::Claim).and_then(|notice| notice.grant);
    grant.is_some_and(|grant| grant_stands(ctx, &grant) == Some(false))
}

/// Was a message that is for one recipient handed to it? A broadcast is for whoever comes by.
fn is_delivered(bus: &Bus, envelope: &Envelope) -> Result<bool> {
    if envelope.to == EVERYBODY || !delivery_log::is_surface(&envelope.to) {
        return Ok(true);
    }
    let told = delivery_log::peek(bus, &envelope.to).unwrap_or_default();
    let known = told.get(&envelope.id);
    Ok(matches!(known, Some(delivery_log::Delivery::Delivered | delivery_log::Delivery::Read)))
}
