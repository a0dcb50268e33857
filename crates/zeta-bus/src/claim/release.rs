//! Giving a claim back, keeping it, and handing it on.

use std::path::Path;

use zeta_core::bus::item::Item;
use zeta_core::bus::{Address, Envelope};
use zeta_core::lease::{FencingToken, Record};
use zeta_core::name::RecordName;
use zeta_core::record::quote;

use super::{ClaimRequest, extra_text, held, key, place_of, record_of};
use crate::claim::acquire::{Acquired, ClaimContext, Granted, label};
use crate::claim::holders::scope;
use crate::claim::notice::{claim_message, date_after, release_message, sent_us, set};
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
    /// Id of the message that tells everybody.
    pub message: String,
    /// A grant stood and was removed.
    pub stood: bool,
}

/// Tells that a claim has ended whose lease somebody else took away: the end of its session, a
/// cleaner, an operator. To us its messages count no more anyway; the original would believe them
/// for a day. What cannot be told is no fault of the caller.
pub fn announce_end(ctx: &Context, record: &Record) {
    let told = || -> Option<()> {
        let item = Item::new(&extra_text(record, key::ITEM)?).ok()?;
        let from = Address::new(&extra_text(record, key::FROM)?).ok()?;
        // Nothing on disk becomes a path: only who uses that bus anyway tells it there.
        let bus = Bus::open(&ctx.bus_dir).ok()??;
        (extra_text(record, key::BUS)? == scope(&bus)).then_some(())?;
        let mut envelope = release_message(&from, &item).ok()?;
        let claimed_us =
            extra_text(record, key::MESSAGE).and_then(|message| sent_us(&bus, &message));
        claimed_us.into_iter().for_each(|us| date_after(&mut envelope, us));
        store_always(&bus, &envelope).ok()
    };
    let _ = told();
}

/// Gives a claim back and tells everybody, as the original does even where nothing was held.
///
/// # Errors
/// [`Kind::Refused`] if it is bound to another session of the same name, and no token is given.
pub fn release(
    ctx: &Context,
    dir: &Path,
    from: &Address,
    item: &Item,
    token: Option<FencingToken>,
) -> HolderResult<Released> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let place = ClaimContext { handle: &handle, bus: &bus };
    let (mut stood, mut told) = (false, Vec::new());
    for sharer in [None, Some(from.as_str())] {
        let lease = item.lease(&scope(&bus), sharer);
        let Some(record) = place.claim_of(&lease, from, token)? else { continue };
        told.extend(extra_text(&record, key::MESSAGE));
        let token = token.unwrap_or(record.fencing_token);
        match handle.release(&lease, token)? {
            Ok(removed) => stood |= removed,
            // With a token one of the two may be another grant.
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
    for claimed_us in told.iter().filter_map(|message| sent_us(&bus, message)) {
        date_after(&mut envelope, claimed_us);
    }
    store_always(&bus, &envelope)?;
    Ok(Ok(Released { message: envelope.id, stood }))
}

impl ClaimContext<'_> {
    /// The record of a claim of `from`, if whoever calls may end it.
    fn claim_of(
        &self,
        lease: &RecordName,
        from: &Address,
        token: Option<FencingToken>,
    ) -> Result<Option<Box<Record>>> {
        let Some(look) = held(self.handle, lease)? else { return Ok(None) };
        let Some(record) = record_of(&look) else { return Ok(None) };
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
                format!("{from} holds it in another session, which is alive"),
            )
            .hint("from that session, or with the token that acquire printed: --token N")),
        }
    }
}

/// Starts the life of a claim again, and tells it anew, so that the original sees it for a day.
pub fn renew(
    ctx: &Context,
    dir: &Path,
    asked: &ClaimRequest,
    token: Option<FencingToken>,
) -> Result<Option<Acquired>> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let ctx = Context { agent: label(&asked.from)?, ..ctx.clone() };
    let place = ClaimContext { handle: &NodeHandle { ctx: &ctx, ..handle }, bus: &bus };
    for shareable in [false, true] {
        let asked = ClaimRequest { shareable, ..asked.clone() };
        let lease = place.lease(&asked);
        let Some(record) = place.claim_of(&lease, &asked.from, token)? else { continue };
        if token.is_some_and(|token| token != record.fencing_token) {
            continue;
        }
        let asked = ClaimRequest {
            branch: asked.branch.clone().or_else(|| extra_text(&record, key::BRANCH)),
            worktree: asked.worktree.clone().or_else(|| extra_text(&record, key::WORKTREE)),
            ..asked
        };
        return place.acquire_again(&asked, &record).map(Some);
    }
    Ok(None)
}

/// Gives a claim to somebody else, without a moment in which it is free. The new holder takes it
/// into its own session by acquiring it.
pub fn hand_over(
    ctx: &Context,
    dir: &Path,
    asked: &ClaimRequest,
    to: &Address,
    token: Option<FencingToken>,
) -> HolderResult<Option<Granted>> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let place = ClaimContext { handle: &handle, bus: &bus };
    let lease = asked.item.lease(&scope(&bus), None);
    let Some(record) = place.claim_of(&lease, &asked.from, token)? else { return Ok(Ok(None)) };
    let told = ClaimRequest {
        from: to.clone(),
        branch: extra_text(&record, key::BRANCH),
        worktree: extra_text(&record, key::WORKTREE),
        ..asked.clone()
    };
    let entered = handle.enter_as_holder(&lease, record.fencing_token, ENTER_LIMIT)?;
    let Some(holder) = entered else { return Ok(Ok(None)) };
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
    index.refresh()?;
    let notices = index.notices(&asked.item, host::wall_us())?;
    let after_own = |envelope: &mut Envelope, from: &Address| {
        let own = notices.iter().filter(|notice| notice.from == from.as_str());
        own.for_each(|notice| date_after(envelope, notice.order.0));
    };
    let mut message = None;
    // The new word first: until both stand the original sees two holders, and never none.
    let given = place.reassign(&holder, &record, to, None, &mut |record| {
        let mut claim = claim_message(&told, record, &place_of(&handle))?;
        after_own(&mut claim, to);
        set(record, key::MESSAGE, quote(&claim.id));
        store_inside(&bus, &mut index, &claim)?;
        message = Some((claim.id, record.fencing_token));
        Ok(())
    });
    let record = match (given, &message) {
        (Ok(Ok(record)), _) => record,
        (Ok(Err(lost)), _) => return Ok(Err(lost)),
        (Err(error), None) => return Err(error),
        (Err(error), Some((message, token))) => {
            place.take_back(message, &lease, *token);
            return Err(error);
        }
    };
    let mut release = release_message(&asked.from, &asked.item)?;
    after_own(&mut release, &asked.from);
    store_inside(&bus, &mut index, &release)?;
    let message = message.map(|(message, _)| message).unwrap_or_default();
    Ok(Ok(Some(Granted { record, message, renewed: false, taken_from: None })))
}
