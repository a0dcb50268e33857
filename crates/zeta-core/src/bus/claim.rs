//! What the claim messages of an item mean together: per sender the newest message counts, and a
//! sender whose newest message is a *claim* holds the item.
//!
//! That is the original's rule. A message of `zeta` also carries the fencing token and the lease
//! that it mirrors, and counts only while that grant stands. So a dead holder blocks no other
//! agent, whatever its messages say.

use serde_json::Value;

use super::address::Address;
use super::envelope::{Envelope, Fate, FileSeen};
use super::topic;

/// What a claim message does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// I have it.
    Claim,
    /// I have it no more.
    Release,
}

/// What a claim message says, read from a whole envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMessage {
    /// Id of the message.
    pub id: String,
    /// Who says it.
    pub from: String,
    /// What is said.
    pub action: Action,
    /// About what.
    pub item: String,
    /// Branch that it is worked on.
    pub branch: Option<String>,
    /// Worktree that it is worked in.
    pub worktree: Option<String>,
    /// Others of the persona may claim it, too, if they say the same.
    pub shareable: bool,
    /// The grant that it mirrors; the original's mirror none.
    pub grant: Option<Grant>,
    /// As it stands in the message.
    pub timestamp: String,
    /// As it stands in the message.
    pub expires_at: String,
    /// What orders it among the messages of its sender: when it was sent, then when it was stored.
    pub order: (i64, i64),
    /// Until when it counts, in µs; `None` if it does not any more.
    pub until_us: Option<i64>,
}

/// What a file of the bus says about claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// This.
    Claim(Box<ClaimMessage>),
    /// It is a claim, and nobody can see of which item.
    Untold,
}

/// The grant of a lease that a message mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The tree and the node that its lease is in.
    pub place: String,
    /// Its lease.
    pub lease: String,
    /// Its number.
    pub fencing_token: u64,
}

/// Judges what a message says about claims.
pub fn judge_said(envelope: &Envelope, seen: FileSeen) -> Said {
    if let Some(message) = ClaimMessage::of(envelope, seen) {
        return Said::Claim(Box::new(message));
    }
    let action = envelope.payload.get("action").and_then(Value::as_str);
    match envelope.topic == topic::CLAIM
        && action == Some("claim")
        && matches!(envelope.when().fate(seen), Fate::Lives(_))
    {
        true => Said::Untold,
        false => Said::Nothing,
    }
}

impl ClaimMessage {
    /// Reads a claim message; `None` if it is none, or says nothing that can be understood.
    pub fn of(envelope: &Envelope, seen: FileSeen) -> Option<ClaimMessage> {
        if envelope.topic != topic::CLAIM {
            return None;
        }
        let text = |key: &str| envelope.payload.get(key).and_then(Value::as_str).map(str::to_owned);
        let action = match text("action")?.as_str() {
            "claim" => Action::Claim,
            "release" => Action::Release,
            _ => return None,
        };
        let grant = || {
            Some(Grant {
                place: text("leasePlace")?,
                lease: text("lease")?,
                fencing_token: envelope.payload.get("fencingToken")?.as_u64()?,
            })
        };
        Some(ClaimMessage {
            id: envelope.id.clone(),
            from: envelope.from.clone(),
            action,
            item: text("itemId")?,
            branch: text("branch"),
            worktree: text("worktree"),
            shareable: envelope.payload.get("shareable") == Some(&Value::Bool(true)),
            grant: grant(),
            timestamp: envelope.timestamp.clone(),
            expires_at: envelope.expires_at.clone(),
            order: (envelope.when().sent_us(seen), seen.mtime_us),
            until_us: match envelope.when().fate(seen) {
                Fate::Lives(until_us) => Some(until_us),
                Fate::Expired | Fate::NoExpiry => None,
            },
        })
    }
}

/// Who holds `item` by these messages, in the order in which they were sent. Of two messages with
/// the same times the one whose id sorts later is the newer, as in a directory that was listed by
/// name. `stands` tells whether a grant that a message mirrors still stands; `None` where this
/// cannot be known, because it lies in another tree, and then the message is believed.
pub fn holders<'a>(
    notices: &'a [ClaimMessage],
    item: &str,
    mut stands: impl FnMut(&Grant) -> Option<bool>,
) -> Vec<&'a ClaimMessage> {
    let mut newest: Vec<&ClaimMessage> = Vec::new();
    for notice in notices.iter().filter(|n| n.item == item && n.until_us.is_some()) {
        match newest.iter_mut().find(|other| other.from == notice.from) {
            Some(other) if (other.order, &other.id) <= (notice.order, &notice.id) => {
                *other = notice;
            }
            Some(_) => {}
            None => newest.push(notice),
        }
    }
    newest.retain(|notice| {
        notice.action == Action::Claim
            && notice.grant.as_ref().is_none_or(|grant| stands(grant).unwrap_or(true))
    });
    newest.sort_by(|a, b| (a.order, &a.id).cmp(&(b.order, &b.id)));
    newest
}

/// Judges whether a holder keeps another agent from claiming the item: all do, except another
/// surface of the same persona if both say that they share.
pub fn conflicts_with(holder: &str, holder_shares: bool, from: &Address, shareable: bool) -> bool {
    let same_persona = Address::new(holder).is_ok_and(|holder| holder.persona() == from.persona());
    !(same_persona && shareable && holder_shares)
}
