//! Whether a store is the one that it was: wiped, made anew, rolled back, or another one.
//!
//! A store that lost its newest values answers as a healthy one does, with the same date of its
//! making. What it lost is known by those that remember it: each bridge keeps how far it has seen
//! each stream, its own last card and the highest token. Who finds a loss raises the epoch, and the
//! floor of the tokens, and forbids new grants until every grant that was lost has run out.

use super::Id;
use super::lease::TOKEN_MAX;
use super::subject::Stream;
use crate::record::{Damage, Fields};
use crate::time::TTL_MAX_MS;

/// The `kind` of the record of the cluster.
pub const KIND: &str = "cluster";
/// The major version of the wire that this code speaks.
pub const WIRE: u64 = 1;
/// No cluster has lost values so often.
const EPOCH_MAX: u64 = 1 << 53;
/// For so long beyond twice the longest TTL a record may forbid grants: clocks of servers differ.
const PAUSE_MORE_MS: u64 = 24 * 3600 * 1000;

/// What holds for the whole cluster: the record under the subject `zeta1.meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The identity of the cluster, made by `init`.
    pub cluster: Id,
    /// Grows whenever the store turned out not to be what it was.
    pub epoch: u64,
    /// Every new token is greater.
    pub floor: u64,
    /// The server's clock before which nobody is granted a lease, in µs.
    pub no_grant_before_us: i64,
    /// Longest TTL of a lease, in ms.
    pub max_ttl_ms: u64,
    /// The lowest major version of the wire that is bridged.
    pub wire_min: u64,
    /// The highest one.
    pub wire_max: u64,
    /// Keys that this program does not know, kept when it rewrites the record.
    pub extra: Vec<(String, String)>,
}

impl Meta {
    /// The record without what no loss explains. Each node may write it, so it may say that no
    /// token is left, or that there are no grants for ever.
    fn bounded(&self, server_us: i64) -> Meta {
        let max_ttl_ms = self.max_ttl_ms.min(TTL_MAX_MS);
        let pause_ms = max_ttl_ms * 2 + PAUSE_MORE_MS;
        let latest_us = server_us.saturating_add_unsigned(pause_ms * 1000);
        let unless = |value: u64, max: u64| if value > max { 0 } else { value };
        Meta {
            epoch: unless(self.epoch, EPOCH_MAX),
            floor: unless(self.floor, TOKEN_MAX),
            no_grant_before_us: match self.no_grant_before_us > latest_us {
                true => 0,
                false => self.no_grant_before_us,
            },
            max_ttl_ms,
            ..self.clone()
        }
    }
}

const KEYS: [&str; 9] = [
    "schema",
    "kind",
    "cluster",
    "epoch",
    "floor",
    "no_grant_before_us",
    "max_ttl_ms",
    "wire_min",
    "wire_max",
];

impl Meta {
    /// Reads the record.
    pub fn of(fields: &Fields<'_>) -> Result<Meta, Damage> {
        fields.expect_kind(KIND)?;
        let number = |key| fields.number(key).ok_or(Damage::BadKey(key));
        let cluster = fields.text("cluster").and_then(|text| text.parse().ok());
        let us = number("no_grant_before_us")?;
        let unknown = fields.iter().filter(|(key, _)| !KEYS.contains(key));
        Ok(Meta {
            cluster: cluster.ok_or(Damage::BadKey("cluster"))?,
            epoch: number("epoch")?,
            floor: number("floor")?,
            no_grant_before_us: us.try_into().map_err(|_| Damage::BadKey("no_grant_before_us"))?,
            max_ttl_ms: number("max_ttl_ms")?,
            wire_min: number("wire_min")?,
            wire_max: number("wire_max")?,
            extra: unknown.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
    }

    /// The record as it is written.
    pub fn to_fields(&self) -> Fields<'static> {
        let mut fields = Fields::new(KIND);
        fields.push_text("cluster", self.cluster.as_str());
        fields.push_number("epoch", self.epoch);
        fields.push_number("floor", self.floor);
        let us = u64::try_from(self.no_grant_before_us).unwrap_or(0);
        fields.push_number("no_grant_before_us", us);
        fields.push_number("max_ttl_ms", self.max_ttl_ms);
        fields.push_number("wire_min", self.wire_min);
        fields.push_number("wire_max", self.wire_max);
        for (key, value) in &self.extra {
            fields.push_raw(key, value);
        }
        fields
    }
}

impl Meta {
    /// The highest number in a stream of what an administrator may have removed in this epoch. That
    /// a value with such a number is not there is no sign of a loss.
    pub fn removed_up_to(&self, stream: Stream) -> u64 {
        let found = self.extra.iter().find(|(key, _)| Some(key.as_str()) == removed_key(stream));
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }

    /// Raises [`Meta::removed_up_to`].
    pub(super) fn raise_removed(&mut self, stream: Stream, sequence: u64) {
        let Some(key) = removed_key(stream) else { return };
        if sequence > self.removed_up_to(stream) {
            self.extra.retain(|(other, _)| other != key);
            self.extra.push((key.to_owned(), sequence.to_string()));
        }
    }
}

/// The key of [`Meta::removed_up_to`]. From the other streams nothing is removed.
fn removed_key(stream: Stream) -> Option<&'static str> {
    match stream {
        Stream::State => Some("state_removed_up_to"),
        Stream::Lease => Some("lease_removed_up_to"),
        Stream::Bus | Stream::Meta => None,
    }
}

/// A card of this node in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSeen {
    /// The run of the bridge that wrote it.
    pub instance: Id,
    /// Its counter.
    pub counter: u64,
    /// Its revision.
    pub sequence: u64,
}

/// What a bridge remembers of its cluster, also after a restart and after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What held for the cluster.
    pub meta: Meta,
    /// Each stream: when it was made, as the server says it, and the last revision that was seen.
    pub streams: Vec<(Stream, Made, u64)>,
    /// The highest token of a lease of the cluster that this node has seen.
    pub highest_token: u64,
    /// This node's last card that was accepted.
    pub card: Option<CardSeen>,
    /// The highest counter that this node has sent, accepted or not.
    pub counter_sent: u64,
}

impl Remembered {
    /// Keeps the highest token of a lease.
    pub fn see_token(&mut self, token: u64) {
        if token <= TOKEN_MAX {
            self.highest_token = self.highest_token.max(token);
        }
    }
}

/// When a stream was made, in the words of the server. Only *the same or not* counts.
pub type Made = String;

/// What is seen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Each stream that is there: when it was made, and its last revision.
    pub streams: Vec<(Stream, Made, u64)>,
    /// What holds for the cluster, and its revision.
    pub meta: Option<(Meta, u64)>,
    /// The last card under this node's subject.
    pub card: Option<CardSeen>,
    /// A subject has a lower last revision than the copy that this node has of it. Subjects of
    /// records that are gone do not count: what they keep is removed at some time.
    pub went_back: bool,
    /// The server's clock, in µs.
    pub server_us: i64,
}

/// What a store is, compared with what is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one that it was; or nothing is remembered, and it is complete.
    Same,
    /// It lacks a stream or the record of the cluster. Nobody but a person makes it again.
    Missing(Stream),
    /// It is another cluster's.
    OtherCluster {
        /// Whose.
        found: Id,
    },
    /// It is bridged in other versions of the wire only.
    OtherWire {
        /// The lowest.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// Another node has found a loss: read everything again.
    Renewed,
    /// It has lost its newest values, or a stream was made anew, and no other node has said so yet;
    /// or its record says what cannot be: read everything again.
    RolledBack,
    /// Another writer uses this node's name.
    SecondWriter(CardSeen),
}

/// The verdict, and what to write over the record of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The new record, and the revision that the write expects. If it is refused, another node was
    /// faster: look again.
    pub write: Option<(Meta, u64)>,
}

/// Judges a store.
pub fn judge_store(remembered: Option<&Remembered>, seen: &Seen) -> Judged {
    let only = |verdict| Judged { verdict, write: None };
    let is_missing = |stream: &Stream| !seen.streams.iter().any(|(there, ..)| there == stream);
    if let Some(stream) = Stream::ALL.into_iter().find(is_missing) {
        return only(Verdict::Missing(stream));
    }
    let Some((meta, revision)) = &seen.meta else { return only(Verdict::Missing(Stream::Meta)) };
    if !(meta.wire_min..=meta.wire_max).contains(&WIRE) {
        return only(Verdict::OtherWire { min: meta.wire_min, max: meta.wire_max });
    }
    let Some(remembered) = remembered else { return only(Verdict::Same) };
    if meta.cluster != remembered.meta.cluster {
        return only(Verdict::OtherCluster { found: meta.cluster.clone() });
    }
    let known = remembered.meta.bounded(seen.server_us);
    let raw = meta;
    let meta = &raw.bounded(seen.server_us);
    let floor = meta.floor.max(known.floor).max(remembered.highest_token.min(TOKEN_MAX));
    let is_false = meta != raw;
    if !is_false && meta.epoch > known.epoch {
        let raised = Meta { floor, ..meta.clone() };
        let write = (floor > meta.floor).then_some((raised, *revision));
        return Judged { verdict: Verdict::Renewed, write };
    }
    let own = judge_card(remembered, seen);
    // A stream that was made anew has lost its grants, too, and nobody has said so yet.
    let lost = was_remade(remembered, seen)
        || lost_revisions(remembered, seen)
        || seen.went_back
        || own == Own::Lost
        || is_false;
    if meta.epoch < known.epoch || lost {
        let max_ttl_ms = if is_false { known.max_ttl_ms } else { meta.max_ttl_ms };
        let right = Meta { max_ttl_ms, ..meta.clone() };
        let raised = raise(&right, &known, floor, seen.server_us);
        return Judged { verdict: Verdict::RolledBack, write: Some((raised, *revision)) };
    }
    match (own, &seen.card) {
        (Own::Other, Some(card)) => only(Verdict::SecondWriter(card.clone())),
        _ => only(Verdict::Same),
    }
}

/// Returns the record after a loss: a higher epoch, a floor of the tokens that is no lower than any
/// that is known, and no grant until each one that was lost has run out.
pub(super) fn raise(meta: &Meta, known: &Meta, highest_token: u64, server_us: i64) -> Meta {
    let max_ttl_ms = meta.max_ttl_ms.max(known.max_ttl_ms);
    let until_us = server_us.saturating_add_unsigned(max_ttl_ms.saturating_mul(1000));
    let before_us = meta.no_grant_before_us.max(known.no_grant_before_us);
    let mut extra = meta.extra.clone();
    extra.retain(|(key, _)| Stream::ALL.iter().all(|s| removed_key(*s) != Some(key.as_str())));
    Meta {
        extra,
        epoch: meta.epoch.max(known.epoch).saturating_add(1),
        floor: meta.floor.max(known.floor).max(highest_token),
        no_grant_before_us: before_us.max(until_us),
        max_ttl_ms,
        ..meta.clone()
    }
}

fn was_remade(remembered: &Remembered, seen: &Seen) -> bool {
    remembered.streams.iter().any(|(stream, made, _)| {
        seen.streams.iter().any(|(there, now, _)| there == stream && now != made)
    })
}

fn lost_revisions(remembered: &Remembered, seen: &Seen) -> bool {
    remembered.streams.iter().any(|(stream, _, last)| {
        seen.streams.iter().any(|(there, _, now)| there == stream && now < last)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// It stands, or none was written.
    Stands,
    /// It is gone, or an older one stands there.
    Lost,
    /// Another writer has written over it.
    Other,
}

/// Judges this node's own card. A card whose answer was lost may stand too: its counter lies
/// between the accepted one and the last that was sent.
fn judge_card(remembered: &Remembered, seen: &Seen) -> Own {
    let Some(last) = &remembered.card else { return Own::Stands };
    let Some(card) = &seen.card else {
        let meta = seen.meta.as_ref().map(|(meta, _)| meta);
        let removed = meta.map_or(0, |meta| meta.removed_up_to(Stream::State));
        return if last.sequence <= removed { Own::Stands } else { Own::Lost };
    };
    let is_own = card.instance == last.instance
        && (last.counter..=remembered.counter_sent).contains(&card.counter);
    match card.sequence.cmp(&last.sequence) {
        std::cmp::Ordering::Less => Own::Lost,
        std::cmp::Ordering::Equal if card.counter == last.counter && is_own => Own::Stands,
        std::cmp::Ordering::Equal => Own::Lost,
        std::cmp::Ordering::Greater if is_own => Own::Stands,
        std::cmp::Ordering::Greater => Own::Other,
    }
}

/// Believes what another node wrote about the cluster only as far as it raises what is known: a
/// floor, an epoch and the end of a time without grants never sink, and the rest stays while the
/// epoch does.
pub fn decide_meta(known: &Meta, read: &Meta) -> Option<Meta> {
    let is_false = read.epoch > EPOCH_MAX || read.floor > TOKEN_MAX || read.max_ttl_ms > TTL_MAX_MS;
    if known.cluster != read.cluster || read.epoch < known.epoch || is_false {
        return None;
    }
    Some(Meta {
        floor: known.floor.max(read.floor),
        no_grant_before_us: known.no_grant_before_us.max(read.no_grant_before_us),
        ..read.clone()
    })
}

#[cfg(test)]
mod tests;
