//! Claims: the lease of an item of work, with its branch and worktree, announced on the bus.
//!
//! The lease decides. It is free at once when its holder's session has ended, and its fencing token
//! grows. The messages inform all other agents, also those of the original tool, which does not
//! know leases. Claims of the original are respected. A claim message of `zeta` announces a grant,
//! and counts only while that grant lasts. An acquire checks both, inside the lease's guard and the
//! bus's index.

mod acquire;
mod holders;
mod message;
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

/// The request of a claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The agent that claims.
    pub from: Address,
    /// The item.
    pub item: Item,
    /// The branch for the work.
    pub branch: Option<String>,
    /// The worktree for the work.
    pub worktree: Option<String>,
    /// Whether other surfaces of the persona may claim it, too, if they also set this.
    pub shareable: bool,
    /// The TTL; `None` is the default.
    pub ttl_ms: Option<u64>,
    /// How long to wait; `None` tries once.
    pub limit_ms: Option<u64>,
}

/// A holder of an item.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// The agent that holds it.
    pub from: String,
    /// The item.
    pub item: String,
    /// The branch of the work.
    pub branch: Option<String>,
    /// The worktree of the work.
    pub worktree: Option<String>,
    /// Whether other surfaces of the persona may claim it, too.
    pub shareable: bool,
    /// The id of its newest claim message, if there is one.
    pub message: Option<String>,
    /// Since when, from its message or its lease.
    pub timestamp: String,
    /// Until when, from its message or its lease.
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

/// Returns the text of a key that only records of claims have.
fn extra_text(record: &Record, key: &str) -> Option<String> {
    let (_, value) = record.extra.iter().find(|(known, _)| known == key)?;
    Some(unquote(value)?.into_owned())
}

/// Returns the lease record of a view, if it is one of the standard.
fn record_of(view: &LeaseView) -> Option<&Record> {
    match &view.observed {
        Observed::Ours(record, ..) => Some(record),
        _ => None,
    }
}

impl Claimant {
    fn of_message(message: &ClaimMessage, grant: Option<LeaseView>) -> Claimant {
        Claimant {
            from: message.from.clone(),
            item: message.item.clone(),
            branch: message.branch.clone(),
            worktree: message.worktree.clone(),
            shareable: message.shareable,
            message: Some(message.id.clone()),
            timestamp: message.timestamp.clone(),
            expires_at: message.expires_at.clone(),
            grant: grant.map(Box::new),
        }
    }

    fn of_grant(item: &str, view: LeaseView) -> Claimant {
        let record = record_of(&view);
        let text = |key: &str| record.and_then(|record| extra_text(record, key));
        let until_us = record.and_then(|record| {
            record.renewed.wall_us.map(|renewed_us| record.expires_us(renewed_us))
        });
        let utc = |us: Option<i64>| us.map(crate::messages::utc_ms).unwrap_or_default();
        let unnamed = || "a holder whose record cannot be read".to_owned();
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
            grant: Some(Box::new(view)),
        }
    }

    /// Returns the fencing token of its grant.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        Some(record_of(self.grant.as_deref()?)?.fencing_token)
    }

    /// Returns the session that it is bound to.
    pub fn session(&self) -> Option<&str> {
        record_of(self.grant.as_deref()?)?.session.as_deref()
    }
}

fn is_shareable(record: &Record) -> bool {
    record.extra.iter().any(|(known, value)| known == key::SHAREABLE && value == "true")
}

/// Returns the default TTL of a claim: a session renews it; without one it lasts as long as a claim
/// of the original.
fn default_ttl_ms(ctx: &Context) -> u64 {
    match ctx.session {
        Some(_) => TTL_SESSION_MS,
        None => topic::known(topic::CLAIM).map_or(TTL_SESSION_MS, |topic| topic.life_ms),
    }
}

/// Names the tree and node of a lease, for messages.
fn lease_place(handle: &NodeHandle<'_>) -> String {
    let (dev, ino) = handle.tree.base.identity;
    format!("{dev:x}-{ino:x}/{}", handle.node.name)
}

/// Returns whether a grant that a message announces still lasts; `None` if it is in another tree.
pub fn grant_lasts(ctx: &Context, grant: &Grant) -> Option<bool> {
    let handle = ctx.find().ok().flatten()?;
    grant_view(&handle, grant).map(|view| view.is_some())
}

/// As [`grant_lasts`], with the view of the lease.
fn grant_view(handle: &NodeHandle<'_>, grant: &Grant) -> Option<Option<LeaseView>> {
    if lease_place(handle) != grant.place {
        return None;
    }
    let lease = RecordName::new("lease", &grant.lease).ok()?;
    let held = held(handle, &lease).ok()?;
    Some(held.filter(|view| match record_of(view) {
        Some(record) => record.fencing_token.get() == grant.fencing_token,
        // A damaged record may be of this very grant.
        None => true,
    }))
}

/// Returns the view of a lease that is held; `None` if it can be granted.
fn held(handle: &NodeHandle<'_>, lease: &RecordName) -> Result<Option<LeaseView>> {
    let view = handle.view(lease)?;
    Ok(view.filter(|view| !matches!(view.standing, Standing::Grantable(_))))
}

/// The holders of one item or of all, and claims that cannot be read as they should.
#[derive(Debug, Default)]
pub struct Holders {
    /// The holders.
    pub claimants: Vec<Claimant>,
    /// Claims that count although they cannot be read, and claims whose item cannot be seen.
    pub findings: Vec<Error>,
}

/// Returns the holders of an item, or of all items, by item.
pub fn holders(ctx: &Context, dir: &Path, item: Option<&Item>) -> Result<Holders> {
    let bus = Bus::open(dir)?;
    let found = ctx.find()?;
    let view = HolderView::new(bus.as_ref(), found.as_ref());
    item.map_or_else(|| view.of_all(), |item| view.of_item(item))
}

/// Returns the holders of an item; empty if it is free.
pub fn check(ctx: &Context, dir: &Path, item: &Item) -> Result<Vec<Claimant>> {
    Ok(holders(ctx, dir, Some(item))?.claimants)
}

/// Returns the holders of all items, by item.
pub fn list(ctx: &Context, dir: &Path) -> Result<Vec<Claimant>> {
    Ok(holders(ctx, dir, None)?.claimants)
}

/// Parses an address as typed.
pub fn address(what: &str, text: &str) -> Result<Address> {
    Address::new(text).map_err(|rule| Error::usage(format!("{what} {text:?} is not valid: {rule}")))
}
