//! Acquires a claim, renews one that the caller has, and assigns it to another agent.

use std::path::Path;
use std::time::{Duration, Instant};

use zeta_core::bus::Address;
use zeta_core::bus::claim::{ClaimMessage, conflicts_with};
use zeta_core::bus::grant::{ClaimRecord, Identity, key};
use zeta_core::bus::item::PATH_ITEM;
use zeta_core::bus::note::Note;
use zeta_core::evidence::Processes;
use zeta_core::lease::{FencingToken, Record, Successor};
use zeta_core::name::{Label, RecordName};
use zeta_core::record::quote;

use super::{
    ClaimRequest, Claimant, bus_of, default_cluster_ttl_ms, default_ttl_ms, held, identify,
    judge_record, lease_place, record_of,
};
use crate::claim::holders::{HolderView, PURPOSE, findings, leases, scope};
use crate::claim::message::{claim_message, date_after, describe, set, unset};
use crate::claim::note;
use crate::directory::Bus;
use crate::directory::index::{Claims, INDEX_LIMIT, Index};
use crate::directory::legacy_lock::LegacyLock;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::acquire::{OnWait, Outcome, Refusal, WaitOptions, new_request};
use zeta_state::lease::session;
use zeta_state::lease::{BeforeCommit, HolderResult, HolderSection};

/// How long a caller waits for an acquire of the original, which takes milliseconds.
const LEGACY_LOCK_LIMIT: Duration = Duration::from_secs(2);
/// How often a waiting caller checks whether a claim of the original has ended.
const RECHECK: Duration = Duration::from_millis(200);

/// A claim that is the caller's.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The record of its grant.
    pub record: Box<Record>,
    /// The id of the claim message.
    pub message: String,
    /// Whether the caller had the claim before.
    pub renewed: bool,
    /// The dead or overdue holder that it was taken from.
    pub taken_from: Option<String>,
    /// Claims whose item cannot be seen.
    pub findings: Vec<Error>,
    /// The note of the last holder, for a caller that has the item anew.
    pub note: Option<Box<Note>>,
}

/// The result of an attempt to acquire a claim.
#[derive(Debug, Clone)]
pub enum Acquired {
    /// The claim is the caller's.
    Granted(Granted),
    /// Others hold the item.
    Taken(Taken),
}

/// The holders of an item that the caller did not get.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The holders.
    pub claimants: Vec<Claimant>,
    /// How long the caller waited; `None` for a single try.
    pub waited_ms: Option<u64>,
    /// The caller's whole time has passed in the queue of the lease.
    in_queue: bool,
}

/// The opened node and bus for a call on a claim.
pub(super) struct ClaimContext<'a> {
    pub(super) handle: &'a NodeHandle<'a>,
    pub(super) bus: &'a Bus,
}

/// A claim that was published and is not committed yet: until then no other process enters the
/// index.
struct Published<'a> {
    message: String,
    /// Messages of ended grants that the original still believes.
    void: Vec<String>,
    /// Claims whose item cannot be seen.
    findings: Vec<Error>,
    _index: Index<'a>,
}

/// The result of publishing a claim, right before its commit.
#[derive(Default)]
struct Announcement<'a> {
    published: Option<(Published<'a>, FencingToken)>,
    conflicts: Vec<Claimant>,
}

/// A claim that was committed.
struct Committed {
    record: Box<Record>,
    renewed: bool,
    /// The caller has not seen the note of the last holder.
    is_new: bool,
    taken_from: Option<String>,
}

/// Claims an item. Exactly one caller gets it; a caller that has it keeps it, with the same token.
pub fn acquire(
    ctx: &Context,
    dir: &Path,
    request: &ClaimRequest,
    on_wait: &mut OnWait<'_>,
) -> Result<Acquired> {
    let item = request.item.as_str();
    if item.starts_with(PATH_ITEM) && !request.by_name {
        let text =
            format!("item {item:?}: items that begin with {PATH_ITEM:?} are claims on paths");
        return Err(Error::usage(text).hint("claim the path: zeta claim acquire --path PATTERN"));
    }
    if request.in_cluster && request.shareable {
        let text = format!("item {item:?}: a claim of the cluster has one holder");
        return Err(Error::usage(text).hint("for a shareable claim of this node: --scope node"));
    }
    let handle = ctx.open()?;
    let bus = bus_of(&handle, dir)?;
    let ctx = Context { agent: label(&request.from)?, ..ctx.clone() };
    let claims = ClaimContext { handle: &NodeHandle { ctx: &ctx, ..handle }, bus: &bus };
    let mut request = request.clone();
    if request.in_cluster && request.lease_id.is_none() {
        // An answer that was lost is asked for by the same id.
        request.lease_id = Some(host::random_hex()?);
    }
    let request = &request;
    let started = Instant::now();
    let waited_ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    loop {
        let left_ms = request.limit_ms.map(|limit_ms| limit_ms.saturating_sub(waited_ms()));
        let mut taken = match claims.acquire(request, left_ms, on_wait) {
            Ok(Acquired::Taken(taken)) => taken,
            Ok(granted) => return Ok(granted),
            Err(busy) if busy.kind == Kind::Busy && left_ms.is_some_and(|left_ms| left_ms > 0) => {
                // Another caller is at work, or a killed one has left its lock, which ages.
                std::thread::sleep(RECHECK.min(Duration::from_millis(left_ms.unwrap_or(0))));
                continue;
            }
            Err(error) => return Err(error),
        };
        match request.limit_ms {
            // A holder that is known only by a message has no queue.
            Some(limit_ms) if !taken.in_queue && waited_ms() < limit_ms => {
                std::thread::sleep(RECHECK);
            }
            limit_ms => {
                taken.waited_ms = limit_ms.map(|_| waited_ms());
                identify(&mut taken.claimants, &request.caller(&ctx));
                return Ok(Acquired::Taken(taken));
            }
        }
    }
}

pub(super) fn label(from: &Address) -> Result<Label> {
    Ok(Label::new("agent", &from.as_label())?)
}

impl ClaimContext<'_> {
    pub(super) fn lease(&self, request: &ClaimRequest) -> RecordName {
        let sharer = request.shareable.then_some(request.from.as_str());
        match (request.in_cluster, leases(&request.item, self.bus)) {
            (true, [_, of_cluster]) => of_cluster,
            (false, _) => request.item.lease(&scope(self.bus), sharer),
        }
    }

    /// The leases by which the caller may hold what it asks for.
    pub(super) fn own_leases(&self, request: &ClaimRequest) -> Vec<RecordName> {
        let [_, of_cluster] = leases(&request.item, self.bus);
        let mut own = vec![self.lease(request)];
        if !request.shareable && !request.in_cluster {
            own.push(of_cluster);
        }
        own
    }

    pub(super) fn holders(&self) -> HolderView<'_> {
        HolderView::new(Some(self.bus), Some(self.handle))
    }

    fn acquire(
        &self,
        request: &ClaimRequest,
        limit_ms: Option<u64>,
        on_wait: &mut OnWait<'_>,
    ) -> Result<Acquired> {
        let lease = self.lease(request);
        for lease in self.own_leases(request) {
            if let Some((record, claim)) = self.own(&lease, request)? {
                return self.acquire_again(request, &record, &claim);
            }
        }
        let default_ms = match request.in_cluster {
            true => default_cluster_ttl_ms(self.handle.ctx),
            false => default_ttl_ms(self.handle.ctx),
        };
        let ttl_ms = request.ttl_ms.unwrap_or(default_ms);
        let mut lease_request = new_request(self.handle.ctx, lease, ttl_ms)?;
        lease_request.in_cluster = request.in_cluster;
        if let Some(id) = &request.lease_id {
            lease_request.lease_id.clone_from(id);
        }
        lease_request.purpose = Some([PURPOSE, request.item.as_str()].concat());
        let mut announcement = Announcement::default();
        let mut wait = WaitOptions { limit_ms, on_wait };
        let granted = self.handle.acquire(&lease_request, &mut wait, &mut |record| {
            describe(record, request, self.bus);
            self.announce(request, record, false, &mut announcement)
        });
        // A process that stays in the guard says nothing about who holds the item.
        let guarded = |busy: Error| {
            let kind = if limit_ms.is_some() { Kind::Busy } else { Kind::Refused };
            Error { kind, ..busy }
        };
        let granted = granted.and_then(|outcome| match outcome {
            Outcome::Refused(Refusal { guarded: Some(busy), .. }) => Err(guarded(*busy)),
            outcome => Ok(outcome),
        });
        if let Ok(Outcome::Refused(refusal)) = &granted
            && let Some(elsewhere) = self.held_elsewhere(request, refusal)
        {
            return Ok(taken(vec![elsewhere], true));
        }
        let committed = granted.map(|outcome| match outcome {
            Outcome::Refused(_) => None,
            Outcome::Granted { record, from, .. } => {
                let name = |from: Box<Record>| {
                    ClaimRecord::of(&from).map_or_else(|| from.agent.to_string(), |c| c.from)
                };
                let taken_from = from.map(name);
                Some(Committed { record, renewed: false, is_new: true, taken_from })
            }
        });
        self.conclude(request, &lease_request.lease, announcement, committed)
    }

    /// Returns the holder on another node, of which nothing stands here.
    fn held_elsewhere(&self, request: &ClaimRequest, refusal: &Refusal) -> Option<Claimant> {
        let lease = self.lease(request);
        if !request.in_cluster || self.handle.view(&lease).ok()?.is_some() {
            return None;
        }
        let view = refusal.views(&lease, &self.handle.ctx.now()).into_iter().next()?;
        Some(Claimant::of_grant(request.item.as_str(), view))
    }

    /// Publishes a claim that is about to be committed; refuses it if another agent holds the item.
    /// `renewal` says that the caller holds it by its lease.
    fn announce<'s>(
        &'s self,
        request: &ClaimRequest,
        record: &mut Record,
        renewal: bool,
        announcement: &mut Announcement<'s>,
    ) -> Result<()> {
        match self.publish(request, record, renewal)? {
            Ok(published) => {
                set(record, key::MESSAGE, quote(&published.message));
                announcement.published = Some((published, record.fencing_token));
                Ok(())
            }
            Err(claimants) => {
                announcement.conflicts = claimants;
                Err(Error::new(Kind::Refused, "taken"))
            }
        }
    }

    /// Makes the result, after the commit or an error.
    fn conclude(
        &self,
        request: &ClaimRequest,
        lease: &RecordName,
        announcement: Announcement<'_>,
        committed: Result<Option<Committed>>,
    ) -> Result<Acquired> {
        let Announcement { published, conflicts } = announcement;
        match (committed, published) {
            (Ok(Some(committed)), Some((mut published, _))) => {
                let findings = std::mem::take(&mut published.findings);
                let message = self.remove_void(published);
                let Committed { record, renewed, is_new, taken_from } = committed;
                let own = || note::of_item(self.handle, self.bus, &request.item);
                let note = is_new.then(own).flatten().map(Box::new);
                let granted = Granted { record, message, renewed, taken_from, findings, note };
                Ok(Acquired::Granted(granted))
            }
            (_, None) if !conflicts.is_empty() => Ok(taken(conflicts, false)),
            (Ok(_), published) => {
                // The list of holders needs the index, which this call must leave first.
                drop(published);
                Ok(taken(self.holders().claimants(&request.item)?, true))
            }
            (Err(error), published) => {
                if let Some((published, token)) = published {
                    self.withdraw(&published.message, lease, token);
                }
                Err(error)
            }
        }
    }

    /// Removes the message of a grant that was not committed. If the record is there in spite of an
    /// error, as when only its guard was replaced, the message stays for the original, and the
    /// result is false.
    pub(super) fn withdraw(&self, message: &str, lease: &RecordName, token: FencingToken) -> bool {
        let exists = match held(self.handle, lease) {
            Ok(Some(view)) => record_of(&view).is_none_or(|record| record.fencing_token == token),
            Ok(None) => false,
            Err(_) => true,
        };
        if !exists {
            let _ = self.bus.remove(message);
        }
        !exists
    }

    /// Removes the messages of ended grants, which the original would believe for a day; returns
    /// the id of the new message.
    fn remove_void(&self, published: Published<'_>) -> String {
        for void in &published.void {
            let _ = self.bus.remove(void);
        }
        published.message
    }

    /// Returns the record of a claim that the caller already has.
    fn own(
        &self,
        lease: &RecordName,
        request: &ClaimRequest,
    ) -> Result<Option<(Box<Record>, ClaimRecord)>> {
        let Some(view) = held(self.handle, lease)? else { return Ok(None) };
        let Some(record) = record_of(&view) else { return Ok(None) };
        let Some(claim) = ClaimRecord::of(record) else { return Ok(None) };
        let identity = judge_record(&claim, record, &request.caller(self.handle.ctx));
        Ok((identity == Identity::Same).then(|| (Box::new(record.clone()), claim)))
    }

    /// Acquires a claim that the caller has: the token stays, unless the session is a new one.
    /// Branch and worktree stay, too, unless the caller names others.
    pub(super) fn acquire_again(
        &self,
        request: &ClaimRequest,
        record: &Record,
        claim: &ClaimRecord,
    ) -> Result<Acquired> {
        let request = &ClaimRequest {
            branch: request.branch.clone().or_else(|| claim.branch.clone()),
            worktree: request.worktree.clone().or_else(|| claim.worktree.clone()),
            ..request.clone()
        };
        let into_session = self.handle.ctx.session.is_some() && record.session.is_none();
        let (lease, token) = (&record.lease, record.fencing_token);
        let mut announcement = Announcement::default();
        let mut announce = |record: &mut Record| {
            unset(record, key::HANDED_OVER);
            describe(record, request, self.bus);
            self.announce(request, record, true, &mut announcement)
        };
        // The guard first and the index in it, as in every call.
        let entered = self.handle.enter_as_holder(lease, token, ENTER_LIMIT)?;
        let taken = match &entered {
            None => Ok(None),
            Some(holder) if into_session => self
                .reassign(holder, &request.from, Some(request.ttl_ms), &mut announce)
                .map(|taken| taken.ok()),
            Some(holder) => holder
                .renew(request.ttl_ms, &mut announce)
                .map(|renewed| renewed.ok().map(|(record, _)| record)),
        };
        let is_new = claim.handed_over;
        let committed = |record| Committed { record, renewed: true, is_new, taken_from: None };
        self.conclude(request, lease, announcement, taken.map(|taken| taken.map(committed)))
    }

    /// Publishes that the item is the caller's, unless another agent holds it. The index stays
    /// entered until the caller has committed.
    fn publish(
        &self,
        request: &ClaimRequest,
        record: &Record,
        renewal: bool,
    ) -> Result<std::result::Result<Published<'_>, Vec<Claimant>>> {
        let started = Instant::now();
        loop {
            let mut index = Index::enter_or_fail(self.bus, INDEX_LIMIT)?;
            let legacy_lock = match LegacyLock::try_enter(self.bus, &request.item)? {
                Ok(legacy_lock) => legacy_lock,
                Err(_) if started.elapsed() < LEGACY_LOCK_LIMIT => {
                    drop(index);
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(occupied) => return Err(occupied.error(&request.item)),
            };
            // The original cannot claim it from here on; what it claimed before is seen.
            index.refresh()?;
            // A caller that waited may hold a directory that was moved away meanwhile.
            self.bus.check_place()?;
            let Claims { messages, broken } = index.claims(&request.item, host::wall_us())?;
            let conflicts = self.conflicts(request, (&record.lease, renewal), &messages)?;
            if !conflicts.is_empty() {
                return Ok(Err(conflicts));
            }
            let mut envelope = claim_message(request, record, &lease_place(self.handle))?;
            for own in messages.iter().filter(|message| message.from == request.from.as_str()) {
                date_after(&mut envelope, own.order.0);
            }
            let void = self.holders().void(&messages, &request.item);
            let mtime_us = self.bus.publish(&envelope.id, &envelope.render())?;
            drop(legacy_lock);
            index.remember(&envelope, mtime_us);
            let findings = findings(self.bus, &broken);
            return Ok(Ok(Published { message: envelope.id, void, findings, _index: index }));
        }
    }

    /// Returns the holders of the item because of which the caller may not claim it.
    fn conflicts(
        &self,
        request: &ClaimRequest,
        (lease, renewal): (&RecordName, bool),
        messages: &[ClaimMessage],
    ) -> Result<Vec<Claimant>> {
        let (from, shareable) = (&request.from, request.shareable);
        let holders = self.holders();
        let mut claimants = holders.by_messages(messages, request.item.as_str());
        // Those that share it, and whose messages are gone.
        holders.add_sharers(self.bus, Some(&request.item), &mut claimants)?;
        let exclusive = leases(&request.item, self.bus);
        // The guard of its own lease is entered. A claim of the node and one of the cluster have
        // two.
        for other in exclusive.iter().filter(|other| !shareable && *other != lease) {
            holders.add(&request.item, other, &mut claimants)?;
        }
        let caller = request.caller(self.handle.ctx);
        claimants.retain(|claimant| match claimant.judge(&caller) {
            Identity::Same => false,
            Identity::Unproven => !renewal,
            Identity::Other => conflicts_with(&claimant.from, claimant.shareable, from, shareable),
        });
        // A shareable claim has its own lease, whose guard is entered: check the exclusive one,
        // too.
        if shareable {
            for exclusive in &exclusive {
                holders.add(&request.item, exclusive, &mut claimants)?;
            }
        }
        Ok(claimants)
    }

    /// Assigns a claim to another agent, or to the caller's own session with a new TTL, without a
    /// moment in which it is free; its token grows.
    pub(super) fn reassign(
        &self,
        holder: &HolderSection<'_>,
        to: &Address,
        bind: Option<Option<u64>>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> HolderResult<Box<Record>> {
        let ctx = self.handle.ctx;
        let successor = Successor {
            lease_id: host::random_hex()?,
            agent: label(to)?,
            session: bind.and(ctx.session.clone()),
            processes: match bind {
                Some(_) => session::processes(self.handle)?,
                None => Processes::default(),
            },
            ttl_ms: bind.flatten(),
            extra: vec![(key::FROM.to_owned(), quote(to.as_str()))],
        };
        holder.pass_on(successor, before_commit)
    }
}

fn taken(claimants: Vec<Claimant>, in_queue: bool) -> Acquired {
    Acquired::Taken(Taken { claimants, waited_ms: None, in_queue })
}
