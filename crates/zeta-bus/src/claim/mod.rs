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
pub mod note;
pub mod paths;
pub mod place;
mod release;
pub mod report;

use std::path::Path;

use zeta_core::bus::claim::{ClaimMessage, Grant};
use zeta_core::bus::grant::{Caller, ClaimRecord, Holder, Identity, judge_identity};
use zeta_core::bus::item::Item;
use zeta_core::bus::note::Note;
use zeta_core::bus::{Address, topic};
use zeta_core::cluster::lease::{Scope, TTL_DEFAULT_MS};
use zeta_core::lease::{FencingToken, Observed, Record, Standing, TTL_SESSION_MS};
use zeta_core::name::{Label, RecordName};

use self::holders::HolderView;
use self::note::NewNote;
use crate::directory::Bus;
use zeta_os::error::{Cause, Error, Result};
use zeta_os::users;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::trusted_dir::Sharing;
use zeta_state::lease::LeaseView;
use zeta_state::lease::cluster::{CopyOf, node_of};

pub use acquire::{Acquired, Granted, Taken, acquire};
pub use release::{Released, announce_end, hand_over, release, renew};

/// A call about the claim of an item.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The agent that calls.
    pub from: Address,
    /// The item.
    pub item: Item,
    /// The branch for the work.
    pub branch: Option<String>,
    /// The worktree for the work.
    pub worktree: Option<String>,
    /// Whether other surfaces of the persona may claim it, too, if they also set this.
    pub shareable: bool,
    /// No agent of another node of the cluster may hold it, too.
    pub in_cluster: bool,
    /// The id of the attempt, to repeat one whose answer was lost; `None` is a new one.
    pub lease_id: Option<String>,
    /// The TTL; `None` is the default.
    pub ttl_ms: Option<u64>,
    /// How long to wait; `None` tries once.
    pub limit_ms: Option<u64>,
    /// The fencing token of the caller's claim.
    pub token: Option<FencingToken>,
    /// The original's rule holds: callers of one name are one caller, and a release is published in
    /// any case.
    pub by_name: bool,
    /// What a release or a handover leaves for the next holder.
    pub note: Option<NewNote>,
}

impl ClaimRequest {
    /// Makes the request of an agent about an item, with defaults for everything else.
    pub fn new(from: Address, item: Item) -> ClaimRequest {
        ClaimRequest {
            from,
            item,
            branch: None,
            worktree: None,
            shareable: false,
            in_cluster: false,
            lease_id: None,
            ttl_ms: None,
            limit_ms: None,
            token: None,
            by_name: false,
            note: None,
        }
    }

    /// Returns what the caller gives to show that it is the holder.
    fn caller<'a>(&'a self, ctx: &'a Context) -> Caller<'a> {
        Caller {
            from: self.from.as_str(),
            session: ctx.session.as_deref(),
            branch: self.branch.as_deref(),
            worktree: self.worktree.as_deref(),
            fencing_token: self.token.map(FencingToken::get),
            by_name: self.by_name,
        }
    }
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
    /// Whether it is the caller.
    pub identity: Identity,
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
            identity: Identity::Other,
        }
    }

    fn of_grant(item: &str, view: LeaseView) -> Claimant {
        let record = record_of(&view);
        let claim = record.and_then(ClaimRecord::of);
        let until_us = record.and_then(|record| {
            record.renewed.wall_us.map(|renewed_us| record.expires_us(renewed_us))
        });
        let utc = |us: Option<i64>| us.map(crate::messages::utc_ms).unwrap_or_default();
        let unnamed = || "a holder whose record cannot be read".to_owned();
        let (from, branch, worktree, shareable, message) = match claim {
            Some(c) => (Some(c.from), c.branch, c.worktree, c.shareable, c.message),
            None => (record.map(|record| record.agent.to_string()), None, None, false, None),
        };
        Claimant {
            from: from.unwrap_or_else(unnamed),
            item: item.to_owned(),
            branch,
            worktree,
            shareable,
            message,
            timestamp: utc(record.and_then(|record| record.acquired_us)),
            expires_at: utc(until_us),
            grant: Some(Box::new(view)),
            identity: Identity::Other,
        }
    }

    /// Judges whether the caller holds this claim.
    fn judge(&self, caller: &Caller<'_>) -> Identity {
        let claim = self.grant.as_deref().and_then(record_of).and_then(ClaimRecord::of);
        let holder = Holder {
            from: &self.from,
            session: self.session(),
            branch: self.branch.as_deref(),
            worktree: self.worktree.as_deref(),
            fencing_token: self.fencing_token().map(FencingToken::get),
            handed_over: claim.is_some_and(|claim| claim.handed_over),
        };
        judge_identity(&holder, caller)
    }

    /// Returns the fencing token of its grant.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        Some(record_of(self.grant.as_deref()?)?.fencing_token)
    }

    /// What is known of its grant as the copy of another machine's record.
    pub fn copy(&self) -> Option<&CopyOf> {
        self.grant.as_deref()?.copy.as_deref()
    }

    /// Returns whether it is the claim of another machine alone.
    pub fn is_alone(&self) -> bool {
        let record = self.grant.as_deref().and_then(record_of);
        self.copy().is_some() && record.is_some_and(|record| Scope::of(record).is_none())
    }

    /// The node of a claim of the cluster, or of another machine.
    pub fn node(&self) -> Option<Label> {
        node_of(self.grant.as_deref()?)
    }

    /// Returns the session that it is bound to.
    pub fn session(&self) -> Option<&str> {
        record_of(self.grant.as_deref()?)?.session.as_deref()
    }
}

/// Writes down which of the holders is the caller. An agent of another machine is never it.
fn identify(claimants: &mut [Claimant], caller: &Caller<'_>) {
    for claimant in claimants.iter_mut().filter(|claimant| claimant.copy().is_none()) {
        claimant.identity = claimant.judge(caller);
    }
}

/// Judges whether the caller holds the claim in this record.
fn judge_record(claim: &ClaimRecord, record: &Record, caller: &Caller<'_>) -> Identity {
    let holder = Holder {
        from: &claim.from,
        session: record.session.as_deref(),
        branch: claim.branch.as_deref(),
        worktree: claim.worktree.as_deref(),
        fencing_token: Some(record.fencing_token.get()),
        handed_over: claim.handed_over,
    };
    judge_identity(&holder, caller)
}

/// The TTL of a claim of the cluster that no session renews. A cluster may have a shorter longest
/// one, and says so.
const TTL_CLUSTER_MS: u64 = 15 * 60 * 1000;

/// Returns the default TTL of a claim in the cluster, as [`default_ttl_ms`] for this node.
fn default_cluster_ttl_ms(ctx: &Context) -> u64 {
    match ctx.session {
        Some(_) => TTL_DEFAULT_MS,
        None => TTL_CLUSTER_MS,
    }
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
    let token = FencingToken::new(grant.fencing_token)?;
    let view = handle.view_of(&lease, token).ok()?;
    let held = view.filter(|view| !matches!(view.standing, Standing::Grantable(_)));
    Some(held.filter(|view| match record_of(view) {
        Some(record) => record.fencing_token.get() == grant.fencing_token,
        // A damaged record may be of this very grant.
        None => true,
    }))
}

/// Opens the bus for a call that changes claims, or creates it. The claims of a group's tree are
/// announced on a bus that the group shares: on another one, other members would not see them.
fn bus_of(handle: &NodeHandle<'_>, dir: &Path) -> Result<Bus> {
    let base = &handle.tree.base;
    let Sharing::Group { gid } = base.sharing else { return Bus::open_or_create(dir) };
    let group = users::group(gid);
    let hint = format!(
        "as root: 'zeta init --group NAME', with these directories, makes a bus for {group}; \
         --replace moves another one aside"
    );
    let refuse = |reason: &str| {
        let shared = base.path.display();
        let text = format!("it {reason}, and {shared} is shared by {group}");
        Err(Error::not_safe(dir, text).hint(hint.clone()))
    };
    match Bus::open(dir) {
        Ok(Some(bus)) if bus.base.sharing != Sharing::Private => Ok(bus),
        Ok(Some(_)) => refuse("is yours alone"),
        Ok(None) => refuse("does not exist"),
        // A bus of one's own would keep this member apart from the others.
        Err(error) if error.cause == Cause::ForeignOwner => {
            Err(Error { hints: Vec::new(), ..error }.hint(hint))
        }
        Err(error) => Err(error),
    }
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
    /// Who has claimed the item on another machine alone, by the copies of this one: a claim about
    /// the work there, which holds nothing here.
    pub alone: Vec<Claimant>,
    /// Claims that count although they cannot be read, and claims whose item cannot be seen.
    pub findings: Vec<Error>,
    /// The note of the last holder of the item, for the one that comes next.
    pub note: Option<Note>,
}

/// Returns the holders of the item of a request, or those of all items, by item.
pub fn holders(ctx: &Context, dir: &Path, request: Option<&ClaimRequest>) -> Result<Holders> {
    let bus = Bus::open(dir)?;
    let found = ctx.find()?;
    let view = HolderView::new(bus.as_ref(), found.as_ref());
    let Some(request) = request else { return view.of_all() };
    let mut holders = view.of_item(&request.item)?;
    let by_item = |(handle, bus)| note::of_item(handle, bus, &request.item);
    holders.note = found.as_ref().zip(bus.as_ref()).and_then(by_item);
    identify(&mut holders.claimants, &request.caller(ctx));
    Ok(holders)
}

/// Returns the holders of an item; empty if it is free.
pub fn check(ctx: &Context, dir: &Path, request: &ClaimRequest) -> Result<Vec<Claimant>> {
    Ok(holders(ctx, dir, Some(request))?.claimants)
}

/// Returns the holders of all items, by item.
pub fn list(ctx: &Context, dir: &Path) -> Result<Vec<Claimant>> {
    Ok(holders(ctx, dir, None)?.claimants)
}

/// Parses an address as typed.
pub fn address(what: &str, text: &str) -> Result<Address> {
    Address::new(text).map_err(|rule| Error::usage(format!("{what} {text:?} is not valid: {rule}")))
}
