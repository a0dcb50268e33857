//! Releases, renews and hands over a claim.

use std::path::Path;

use zeta_core::bus::claim::holders;
use zeta_core::bus::grant::{ClaimRecord, Identity, key};
use zeta_core::bus::item::{Item, space_of};
use zeta_core::bus::{Address, Envelope};
use zeta_core::lease::Record;
use zeta_core::name::RecordName;
use zeta_core::record::quote;

use super::{
    ClaimRequest, Claimant, bus_of, grant_view, held, identify, judge_record, lease_place,
    record_of,
};
use crate::claim::acquire::{Acquired, ClaimContext, Granted, label};
use crate::claim::holders::{leases, scope};
use crate::claim::message::{claim_message, date_after, release_message, sent_us, set};
use crate::claim::note::{self, NoteFile};
use crate::claim::paths::announce_end as announce_path_end;
use crate::directory::Bus;
use crate::directory::index::INDEX_LIMIT;
use crate::directory::index::Index;
use crate::messages::{store_always, store_inside};
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::HolderResult;

/// What a release did.
#[derive(Debug, Clone)]
pub enum Released {
    /// The release was published.
    Published {
        /// The id of the release message.
        message: String,
        /// Whether there was a grant, which was removed.
        stood: bool,
        /// The file of the note that was left.
        note_file: Option<String>,
    },
    /// The grant with the caller's token was released before, and no other since.
    Before,
    /// The caller does not hold the item: these agents do. Nothing was published.
    NotHeld(Vec<Claimant>),
}

/// Publishes the end of a claim whose lease was not removed by its holder, but by the end of its
/// session, a cleaner or an operator. For `zeta` its messages do not count any more anyway; the
/// original would believe them for a day. An error here is not the caller's, and is ignored.
pub fn announce_end(ctx: &Context, record: &Record) {
    if space_of(record.lease.as_str()).is_some() {
        return announce_path_end(ctx, record);
    }
    let publish = || -> Option<()> {
        let claim = ClaimRecord::of(record)?;
        let item = Item::new(&claim.item).ok()?;
        let from = Address::new(&claim.from).ok()?;
        // Text from a record never becomes a path: only a caller that uses this bus publishes it.
        let bus = Bus::open(&ctx.bus_dir).ok()??;
        (claim.bus_dir? == scope(&bus)).then_some(())?;
        let mut envelope = release_message(&from, &item).ok()?;
        let claimed_us = claim.message.and_then(|message| sent_us(&bus, &message));
        claimed_us.into_iter().for_each(|us| date_after(&mut envelope, us));
        store_always(&bus, &envelope).ok()
    };
    let _ = publish();
}

/// Releases the caller's claim and publishes that.
///
/// A claim that the original made, and one whose grant has ended without a release message, is
/// released by a message alone. By the original's rule a release is published in any case.
pub fn release(ctx: &Context, dir: &Path, request: &ClaimRequest) -> HolderResult<Released> {
    let handle = ctx.open()?;
    let bus = bus_of(&handle, dir)?;
    let claims = ClaimContext { handle: &handle, bus: &bus };
    let (item, mut from) = (&request.item, request.from.clone());
    let (mut stood, mut messages, mut note_file) = (false, Vec::new(), None);
    let exclusive = leases(item, &bus);
    let shared = item.lease(&scope(&bus), Some(request.from.as_str()));
    for lease in exclusive.iter().chain([&shared]) {
        let lease = lease.clone();
        let Some((record, claim)) = claims.claim_of(&lease, request)? else { continue };
        messages.extend(claim.message.clone());
        from = Address::new(&claim.from).unwrap_or(from);
        match claims.release_lease(&lease, &record, &claim, request)? {
            Ok((removed, file)) => {
                stood |= removed;
                note_file = note_file.or(file);
            }
            Err(lost) if !stood => return Ok(Err(lost)),
            // The first of two leases is released by now, so its end is published.
            Err(_) => {}
        }
    }
    if let (Some(token), false) = (request.token, stood) {
        let [of_bus, of_cluster] = &exclusive;
        let mut released = handle.release(of_bus, token)?;
        if released.is_err()
            && let Ok(removed) = handle.release(of_cluster, token)?
        {
            released = Ok(removed);
        }
        match released {
            Ok(_) if claims.is_believed(request)? => {}
            Ok(_) => return Ok(Ok(Released::Before)),
            Err(lost) => return Ok(Err(lost)),
        }
    } else if !stood && !claims.is_believed(request)? {
        let mut claimants = claims.holders().claimants(item)?;
        identify(&mut claimants, &request.caller(ctx));
        let unproven = claimants.iter().any(|holder| holder.identity == Identity::Unproven);
        if unproven || !request.by_name {
            return Ok(Ok(Released::NotHeld(claimants)));
        }
    }
    if request.note.is_some() && !stood {
        // A release that was killed before it was published has left its note already.
        match note::of_item(&handle, &bus, item).filter(|note| note.from == from.as_str()) {
            Some(_) => note_file = Some(note::path(&handle, &bus, item)),
            None => return Err(no_place_for_a_note(item)),
        }
    }
    let mut envelope = release_message(&from, item)?;
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
    Ok(Ok(Released::Published { message: envelope.id, stood, note_file }))
}

/// Makes the refusal of a note about a claim without a grant of its own.
fn no_place_for_a_note(item: &Item) -> Error {
    let text = format!("item {:?}: a note needs an exclusive grant of zeta's", item.as_str());
    Error::usage(format!("{text}; nothing was changed"))
        .hint("release it without --note, and write to the next agent: zeta bus send AGENT TEXT")
}

impl ClaimContext<'_> {
    /// Releases the lease of a claim; returns whether the grant was there, and the file of the note
    /// that was left. The note of an earlier holder goes: its work is done.
    fn release_lease(
        &self,
        lease: &RecordName,
        record: &Record,
        claim: &ClaimRecord,
        request: &ClaimRequest,
    ) -> HolderResult<(bool, Option<String>)> {
        let token = record.fencing_token;
        if claim.shareable {
            return match request.note {
                Some(_) => Err(no_place_for_a_note(&request.item)),
                None => Ok(self.handle.release(lease, token)?.map(|removed| (removed, None))),
            };
        }
        let Some(holder) = self.handle.enter_as_holder(lease, token, ENTER_LIMIT)? else {
            return Ok(self.handle.release(lease, token)?.map(|removed| (removed, None)));
        };
        let new = request.note.as_ref().map(|new| note::new(new, record, claim, None));
        let note_file = NoteFile::leave_at_release(&holder, new.as_ref())?;
        Ok(holder.release(false)?.map(|removed| (removed, note_file)))
    }

    /// Returns the claim on a lease, if the caller is its holder. The token alone shows that, too.
    fn claim_of(
        &self,
        lease: &RecordName,
        request: &ClaimRequest,
    ) -> Result<Option<(Box<Record>, ClaimRecord)>> {
        let Some(view) = held(self.handle, lease)? else { return Ok(None) };
        let Some(record) = record_of(&view) else { return Ok(None) };
        let Some(claim) = ClaimRecord::of(record) else { return Ok(None) };
        let caller = request.caller(self.handle.ctx);
        let own = request.token == Some(record.fencing_token)
            || judge_record(&claim, record, &caller) == Identity::Same;
        Ok(own.then(|| (Box::new(record.clone()), claim)))
    }

    /// Returns whether the original believes that the caller's name holds the item, and no grant
    /// stands behind that.
    fn is_believed(&self, request: &ClaimRequest) -> Result<bool> {
        let mut index = Index::enter_or_fail(self.bus, INDEX_LIMIT)?;
        index.refresh()?;
        let messages = index.claims(&request.item, host::wall_us())?.messages;
        let believed = holders(&messages, request.item.as_str(), |_| None);
        Ok(believed.into_iter().filter(|message| message.from == request.from.as_str()).any(
            |message| match &message.grant {
                None => true,
                Some(grant) => matches!(grant_view(self.handle, grant), Some(None)),
            },
        ))
    }
}

/// Renews the caller's claim, and publishes it again, so that the original counts it for another
/// day; `None` if the caller does not hold the item.
pub fn renew(ctx: &Context, dir: &Path, request: &ClaimRequest) -> Result<Option<Acquired>> {
    let handle = ctx.open()?;
    let bus = bus_of(&handle, dir)?;
    let ctx = Context { agent: label(&request.from)?, ..ctx.clone() };
    let claims = ClaimContext { handle: &NodeHandle { ctx: &ctx, ..handle }, bus: &bus };
    for shareable in [false, true] {
        let request = ClaimRequest { shareable, ..request.clone() };
        for lease in claims.own_leases(&request) {
            let Some((record, claim)) = claims.claim_of(&lease, &request)? else { continue };
            let from = Address::new(&claim.from).unwrap_or_else(|_| request.from.clone());
            let request = ClaimRequest { from, ..request };
            return claims.acquire_again(&request, &record, &claim).map(Some);
        }
    }
    Ok(None)
}

/// Hands the caller's claim over to another agent, without a moment in which it is free; `None` if
/// the caller does not hold the item. The new holder binds it to its own session by acquiring it.
pub fn hand_over(
    ctx: &Context,
    dir: &Path,
    request: &ClaimRequest,
    to: &Address,
) -> HolderResult<Option<Granted>> {
    let handle = ctx.open()?;
    let bus = bus_of(&handle, dir)?;
    let claims = ClaimContext { handle: &handle, bus: &bus };
    let mut own = None;
    for lease in leases(&request.item, &bus) {
        own = own.or(claims.claim_of(&lease, request)?);
    }
    let Some((record, claim)) = own else { return Ok(Ok(None)) };
    let lease = record.lease.clone();
    let giver = Address::new(&claim.from).unwrap_or_else(|_| request.from.clone());
    let note = request.note.as_ref();
    let note = note.map(|new| Box::new(note::new(new, &record, &claim, Some(to.as_str()))));
    let handed_over = ClaimRequest {
        from: to.clone(),
        branch: claim.branch,
        worktree: claim.worktree,
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
    let mut release = release_message(&giver, &request.item)?;
    after_own(&mut release, &giver);
    let mut left = None;
    let mut message = None;
    // The new claim first: the original sees two holders for a moment, and never none.
    let handed = claims.reassign(&holder, to, None, &mut |record| {
        left = NoteFile::leave_at_handover(&holder, note.as_deref())?;
        let mut claim = claim_message(&handed_over, record, &lease_place(&handle))?;
        after_own(&mut claim, to);
        set(record, key::MESSAGE, quote(&claim.id));
        set(record, key::HANDED_OVER, "true".to_owned());
        store_inside(&bus, &mut index, &claim)?;
        message = Some((claim.id, record.fencing_token));
        Ok(())
    });
    let record = match (handed, &message) {
        (Ok(Ok(record)), _) => record,
        (Ok(Err(lost)), _) => return Ok(Err(lost)),
        (Err(error), message) => {
            let is_old =
                message.as_ref().is_none_or(|(id, token)| claims.withdraw(id, &lease, *token));
            left.filter(|_| is_old).iter().for_each(NoteFile::restore);
            return Err(error);
        }
    };
    // The item is handed over, and an error would say that it is not. On a full disk the giver's
    // messages end instead, as they do in a release.
    if store_inside(&bus, &mut index, &release).is_err() {
        for own in messages.iter().filter(|message| message.from == giver.as_str()) {
            let _ = bus.remove(&own.id);
        }
    }
    let message = message.map(|(message, _)| message).unwrap_or_default();
    let (renewed, taken_from, findings) = (false, None, Vec::new());
    Ok(Ok(Some(Granted { record, message, renewed, taken_from, findings, note })))
}
