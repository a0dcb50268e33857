//! Releases, renews and hands over a claim.

use std::path::Path;

use zeta_core::bus::item::Item;
use zeta_core::bus::{Address, Envelope};
use zeta_core::lease::{FencingToken, Record};
use zeta_core::name::RecordName;
use zeta_core::record::quote;

use super::{ClaimRequest, extra_text, held, key, lease_place, record_of};
use crate::claim::acquire::{Acquired, ClaimContext, Granted, label};
use crate::claim::holders::scope;
use crate::claim::message::{claim_message, date_after, release_message, sent_us, set};
use crate::directory::Bus;
use crate::directory::index::INDEX_LIMIT;
use crate::directory::index::Index;
use crate::messages::{store_always, store_inside};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::HolderResult;

/// What a release did.
#[derive(Debug, Clone)]
pub struct Released {
    /// The id of the release message.
    pub message: String,
    /// Whether there was a grant, which was removed.
    pub stood: bool,
}

/// Publishes the end of a claim whose lease was not removed by its holder, but by the end of its
/// session, a cleaner or an operator. For `zeta` its messages do not count any more anyway; the
/// original would believe them for a day. An error here is not the caller's, and is ignored.
pub fn announce_end(ctx: &Context, record: &Record) {
    let publish = || -> Option<()> {
        let item = Item::new(&extra_text(record, key::ITEM)?).ok()?;
        let from = Address::new(&extra_text(record, key::FROM)?).ok()?;
        // Text from a record never becomes a path: only a caller that uses this bus publishes it.
        let bus = Bus::open(&ctx.bus_dir).ok()??;
        (extra_text(record, key::BUS)? == scope(&bus)).then_some(())?;
        let mut envelope = release_message(&from, &item).ok()?;
        let claimed_us =
            extra_text(record, key::MESSAGE).and_then(|message| sent_us(&bus, &message));
        claimed_us.into_iter().for_each(|us| date_after(&mut envelope, us));
        store_always(&bus, &envelope).ok()
    };
    let _ = publish();
}

/// Releases a claim and publishes that, as the original does, even if nothing was held.
///
/// # Errors
/// [`Kind::Refused`] if the claim is bound to another session of the same name, and no token is
/// given.
pub fn release(
    ctx: &Context,
    dir: &Path,
    from: &Address,
    item: &Item,
    token: Option<FencingToken>,
) -> HolderResult<Released> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let claims = ClaimContext { handle: &handle, bus: &bus };
    let (mut stood, mut messages) = (false, Vec::new());
    for sharer in [None, Some(from.as_str())] {
        let lease = item.lease(&scope(&bus), sharer);
        let Some(record) = claims.claim_of(&lease, from, token)? else { continue };
        messages.extend(extra_text(&record, key::MESSAGE));
        let token = token.unwrap_or(record.fencing_token);
        match handle.release(&lease, token)? {
            Ok(removed) => stood |= removed,
            // With a token, one of the two leases may have another grant.
            Err(lost) if sharer.is_none() && token == record.fencing_token => return Ok(Err(lost)),
            Err(_) => {}
        }
    }
    if let (Some(token), false) = (token, stood) {
        let lease = item.lease(&scope(&bus), None);
        if let Err(lost) = handle.release(&lease, token)? {
            return Ok(Err(lost));
        }
    }
    let mut envelope = release_message(from, item)?;
    for claimed_us in messages.iter().filter_map(|message| sent_us(&bus, message)) {
        date_after(&mut envelope, claimed_us);
    }
    // On a full disk the messages of the grant, which has ended, make room for the release.
    let stored = || store_always(&bus, &envelope);
    if stored().is_err() && stored().is_err() {
        for message in &messages {
            bus.remove(message)?;
        }
        stored()?;
    }
    Ok(Ok(Released { message: envelope.id, stood }))
}

impl ClaimContext<'_> {
    /// Returns the record of a claim of `from`, if the caller may end it.
    fn claim_of(
        &self,
        lease: &RecordName,
        from: &Address,
        token: Option<FencingToken>,
    ) -> Result<Option<Box<Record>>> {
        let Some(view) = held(self.handle, lease)? else { return Ok(None) };
        let Some(record) = record_of(&view) else { return Ok(None) };
        if extra_text(record, key::FROM).as_deref() != Some(from.as_str()) {
            return Ok(None);
        }
        let proven = token == Some(record.fencing_token)
            || record.session.is_none()
            || record.session == self.handle.ctx.session;
        match (proven, token) {
            (true, _) => Ok(Some(Box::new(record.clone()))),
            (false, Some(_)) => Ok(None),
            (false, None) => Err(Error::new(
                Kind::Refused,
                format!("{from} holds it in another session, which is running"),
            )
            .hint("do it in that session, or give the token that acquire printed: --token N")),
        }
    }
}

/// Renews a claim, and publishes it again, so that the original counts it for another day.
pub fn renew(
    ctx: &Context,
    dir: &Path,
    request: &ClaimRequest,
    token: Option<FencingToken>,
) -> Result<Option<Acquired>> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let ctx = Context { agent: label(&request.from)?, ..ctx.clone() };
    let claims = ClaimContext { handle: &NodeHandle { ctx: &ctx, ..handle }, bus: &bus };
    for shareable in [false, true] {
        let request = ClaimRequest { shareable, ..request.clone() };
        let lease = claims.lease(&request);
        let Some(record) = claims.claim_of(&lease, &request.from, token)? else { continue };
        if token.is_some_and(|token| token != record.fencing_token) {
            continue;
        }
        let request = ClaimRequest {
            branch: request.branch.clone().or_else(|| extra_text(&record, key::BRANCH)),
            worktree: request.worktree.clone().or_else(|| extra_text(&record, key::WORKTREE)),
            ..request
        };
        return claims.acquire_again(&request, &record).map(Some);
    }
    Ok(None)
}

/// Hands a claim over to another agent, without a moment in which it is free. The new holder binds
/// it to its own session by acquiring it.
pub fn hand_over(
    ctx: &Context,
    dir: &Path,
    request: &ClaimRequest,
    to: &Address,
    token: Option<FencingToken>,
) -> HolderResult<Option<Granted>> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let claims = ClaimContext { handle: &handle, bus: &bus };
    let lease = request.item.lease(&scope(&bus), None);
    let Some(record) = claims.claim_of(&lease, &request.from, token)? else { return Ok(Ok(None)) };
    let handed_over = ClaimRequest {
        from: to.clone(),
        branch: extra_text(&record, key::BRANCH),
        worktree: extra_text(&record, key::WORKTREE),
        ..request.clone()
    };
    let entered = handle.enter_as_holder(&lease, record.fencing_token, ENTER_LIMIT)?;
    let Some(holder) = entered else { return Ok(Ok(None)) };
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
    index.refresh()?;
    let messages = index.claims(&request.item, host::wall_us())?.messages;
    let after_own = |envelope: &mut Envelope, from: &Address| {
        let own = messages.iter().filter(|message| message.from == from.as_str());
        own.for_each(|message| date_after(envelope, message.order.0));
    };
    let mut message = None;
    // The new claim first: the original sees two holders for a moment, and never none.
    let handed = claims.reassign(&holder, to, None, &mut |record| {
        let mut claim = claim_message(&handed_over, record, &lease_place(&handle))?;
        after_own(&mut claim, to);
        set(record, key::MESSAGE, quote(&claim.id));
        store_inside(&bus, &mut index, &claim)?;
        message = Some((claim.id, record.fencing_token));
        Ok(())
    });
    let record = match (handed, &message) {
        (Ok(Ok(record)), _) => record,
        (Ok(Err(lost)), _) => return Ok(Err(lost)),
        (Err(error), None) => return Err(error),
        (Err(error), Some((message, token))) => {
            claims.withdraw(message, &lease, *token);
            return Err(error);
        }
    };
    let mut release = release_message(&request.from, &request.item)?;
    after_own(&mut release, &request.from);
    store_inside(&bus, &mut index, &release)?;
    let message = message.map(|(message, _)| message).unwrap_or_default();
    let (renewed, taken_from, findings) = (false, None, Vec::new());
    Ok(Ok(Some(Granted { record, message, renewed, taken_from, findings })))
}
