//! Claims: the lease of an item of work, with its branch and worktree, told on the bus.
//!
//! The lease decides. It is free at once when its holder's session has ended, and its fencing token
//! grows. The messages tell everybody else, the original tool included, which knows nothing of
//! leases: what *it* wrote is respected, and what we write mirrors a grant and counts only while
//! that stands. Who acquires looks at both, inside the lease's guard and the bus's index.

mod acquire;
mod holders;
mod notice;
mod release;
pub mod report;

use std::path::Path;

use zeta_core::bus::claim::{ClaimMessage, Grant};
use zeta_core::bus::item::Item;
use zeta_core::bus::{Address, topic};
use zeta_core::lease::{FencingToken, Observed, Record, Standing, TTL_SESSION_MS};
use zeta_core::name::RecordName;
use zeta_core::record::unquote;

use self::holders::HolderView;
use crate::directory::Bus;
use zeta_os::error::{Error, Result};
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::LeaseView;

pub use acquire::{Acquired, Granted, acquire};
pub use release::{Released, announce_end, hand_over, release, renew};

/// Who wants what.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Who.
    pub from: Address,
    /// What.
    pub item: Item,
    /// Branch that it will be worked on.
    pub branch: Option<String>,
    /// Worktree that it will be worked in.
    pub worktree: Option<String>,
    /// Other surfaces of the persona may claim it, too, if they say the same.
    pub shareable: bool,
    /// Life without renewal.
    pub ttl_ms: Option<u64>,
    /// For how long to wait; `None` tries once.
    pub limit_ms: Option<u64>,
}

/// Somebody who holds an item.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Who.
    pub from: String,
    /// What.
    pub item: String,
    /// Branch that it is worked on.
    pub branch: Option<String>,
    /// Worktree that it is worked in.
    pub worktree: Option<String>,
    /// Others of the persona may claim it, too.
    pub shareable: bool,
    /// The newest message about it, if one stands.
    pub message: Option<String>,
    /// Since when, as its message or its lease says.
    pub timestamp: String,
    /// Until when, as its message or its lease says.
    pub expires_at: String,
    /// The grant behind it; a claim of the original has none.
    pub grant: Option<Box<LeaseView>>,
}

/// Keys of a claim in the record of its lease.
mod key {
    pub const ITEM: &str = "item";
    pub const FROM: &str = "claim_from";
    pub const BRANCH: &str = "branch";
    pub const WORKTREE: &str = "worktree";
    pub const SHAREABLE: &str = "shareable";
    pub const MESSAGE: &str = "message";
    pub const BUS: &str = "bus_dir";
}

/// A text that the record of a claim has beyond those of a lease.
fn extra_text(record: &Record, key: &str) -> Option<String> {
    let (_, value) = record.extra.iter().find(|(known, _)| known == key)?;
    Some(unquote(value)?.into_owned())
}

/// The lease record in a look, if it is one of ours.
fn record_of(look: &LeaseView) -> Option<&Record> {
    match &look.observed {
        Observed::Ours(record, ..) => Some(record),
        _ => None,
    }
}

impl Claimant {
    fn of_notice(notice: &ClaimMessage, grant: Option<LeaseView>) -> Claimant {
        Claimant {
            from: notice.from.clone(),
            item: notice.item.clone(),
            branch: notice.branch.clone(),
            worktree: notice.worktree.clone(),
            shareable: notice.shareable,
            message: Some(notice.id.clone()),
            timestamp: notice.timestamp.clone(),
            expires_at: notice.expires_at.clone(),
            grant: grant.map(Box::new),
        }
    }

    fn of_grant(item: &str, look: LeaseView) -> Claimant {
        let record = record_of(&look);
        let text = |key: &str| record.and_then(|record| extra_text(record, key));
        let until_us = record.and_then(|record| {
            record.renewed.wall_us.map(|renewed_us| record.expires_us(renewed_us))
        });
        let utc = |us: Option<i64>| us.map(crate::messages::utc_ms).unwrap_or_default();
        let unnamed = || "somebody whose record cannot be read".to_owned();
        Claimant {
            from: text(key::FROM)
                .or_else(|| record.map(|record| record.agent.to_string()))
                .unwrap_or_else(unnamed),
            item: item.to_owned(),
            branch: text(key::BRANCH),
            worktree: text(key::WORKTREE),
            shareable: record.is_some_and(is_shareable),
            message: text(key::MESSAGE),
            timestamp: utc(record.and_then(|record| record.acquired_us)),
            expires_at: utc(until_us),
            grant: Some(Box::new(look)),
        }
    }

    /// Number of its grant.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        Some(record_of(self.grant.as_deref()?)?.fencing_token)
    }

    /// The session that it is bound to.
    pub fn session(&self) -> Option<&str> {
        record_of(self.grant.as_deref()?)?.session.as_deref()
    }
}

fn is_shareable(record: &Record) -> bool {
    record.extra.iter().any(|(known, value)| known == key::SHAREABLE && value == "true")
}

/// How long a claim lives without renewal, if nobody says: a session renews it, and without one it
/// lives as long as the original's.
fn default_ttl_ms(ctx: &Context) -> u64 {
    match ctx.session {
        Some(_) => TTL_SESSION_MS,
        None => topic::known(topic::CLAIM).map_or(TTL_SESSION_MS, |topic| topic.life_ms),
    }
}

/// Where the leases of a tree and node are, as messages name it.
fn place_of(handle: &NodeHandle<'_>) -> String {
    let (dev, ino) = handle.tree.base.identity;
    format!("{dev:x}-{ino:x}/{}", handle.node.name)
}

/// Does a grant that a message mirrors still stand? `None` if it lies in another tree.
pub fn grant_stands(ctx: &Context, grant: &Grant) -> Option<bool> {
    let handle = ctx.find().ok().flatten()?;
    look_at(&handle, grant).map(|look| look.is_some())
}

/// As [`grant_stands`], with what stands there.
fn look_at(handle: &NodeHandle<'_>, grant: &Grant) -> Option<Option<LeaseView>> {
    if place_of(handle) != grant.place {
        return None;
    }
    let lease = RecordName::new("lease", &grant.lease).ok()?;
    let held = held(handle, &lease).ok()?;
    Some(held.filter(|look| match record_of(look) {
        Some(record) => record.fencing_token.get() == grant.fencing_token,
        // Nobody can say that it is not this one.
        None => true,
    }))
}

/// What stands in the way of a grant of this lease.
fn held(handle: &NodeHandle<'_>, lease: &RecordName) -> Result<Option<LeaseView>> {
    let look = handle.view(lease)?;
    Ok(look.filter(|look| !matches!(look.standing, Standing::Grantable(_))))
}

/// Who holds an item; empty if it is free. Files of the bus that are no messages come along.
pub fn check(ctx: &Context, dir: &Path, item: &Item) -> Result<Vec<Claimant>> {
    let bus = Bus::open(dir)?;
    let found = ctx.find()?;
    HolderView::new(bus.as_ref(), found.as_ref()).claimants(item)
}

/// All items that somebody holds, by item.
pub fn list(ctx: &Context, dir: &Path) -> Result<Vec<Claimant>> {
    let bus = Bus::open(dir)?;
    let found = ctx.find()?;
    HolderView::new(bus.as_ref(), found.as_ref()).all_claimants()
}

/// Reads an address as typed.
pub fn address(what: &str, text: &str) -> Result<Address> {
    Address::new(text).map_err(|rule| Error::usage(format!("{what} {text:?} is not valid: {rule}")))
}
