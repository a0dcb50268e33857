//! Taking, keeping, giving back and handing on a claim.

use std::path::Path;
use std::time::{Duration, Instant};

use zeta_core::bus::Address;
use zeta_core::bus::claim::{ClaimMessage, conflicts_with};
use zeta_core::layout;
use zeta_core::lease::{Checked, FencingToken, Record, decide_check, stamp_now};
use zeta_core::name::{Label, RecordName};
use zeta_core::record::quote;

use super::{ClaimRequest, Claimant, default_ttl_ms, extra_text, held, key, place_of, record_of};
use crate::claim::holders::{HolderView, scope};
use crate::claim::notice::{claim_message, date_after, describe, set};
use crate::directory::Bus;
use crate::directory::index::INDEX_LIMIT;
use crate::directory::index::Index;
use crate::directory::legacy_lock::LegacyLock;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::acquire::{OnWait, Outcome, WaitOptions, new_request};
use zeta_state::lease::session;
use zeta_state::lease::{
    BeforeCommit, HolderResult, HolderSection, LostTo, RENEWAL_RESERVE, publish, read_only,
};

/// How long an acquire of the original, which takes milliseconds, is waited for.
const GATE_LIMIT: Duration = Duration::from_secs(2);
/// How often somebody who waits looks whether a claim of the original has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A claim that is the caller's.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The record of its grant.
    pub record: Box<Record>,
    /// Id of the message that tells everybody.
    pub message: String,
    /// It was the caller's before.
    pub renewed: bool,
    /// The dead or overdue holder that it was taken from.
    pub taken_from: Option<String>,
}

/// The answer to somebody who wants an item.
#[derive(Debug, Clone)]
pub enum Acquired {
    /// It is theirs.
    Granted(Granted),
    /// These have it.
    Taken(Vec<Claimant>),
}

/// Everything that is open while a claim is worked on.
pub(super) struct ClaimContext<'a> {
    pub(super) handle: &'a NodeHandle<'a>,
    pub(super) bus: &'a Bus,
}

/// A claim that was told and is not committed yet: until then nobody else may look.
struct Published<'a> {
    message: String,
    /// Messages that mirror grants that stand no more, and that the original believes.
    void: Vec<String>,
    _index: Index<'a>,
}

/// What came of telling of a claim, right before its commit.
#[derive(Default)]
struct Telling<'a> {
    told: Option<(Published<'a>, FencingToken)>,
    in_the_way: Vec<Claimant>,
}

/// A claim that was committed.
struct Committed {
    record: Box<Record>,
    renewed: bool,
    taken_from: Option<String>,
}

/// Claims an item. Exactly one caller gets it; one that has it keeps it, with the same token.
pub fn acquire(
    ctx: &Context,
    dir: &Path,
    asked: &ClaimRequest,
    on_wait: &mut OnWait<'_>,
) -> Result<Acquired> {
    let bus = Bus::open_or_create(dir)?;
    let handle = ctx.open()?;
    let ctx = Context { agent: label(&asked.from)?, ..ctx.clone() };
    let place = ClaimContext { handle: &NodeHandle { ctx: &ctx, ..handle }, bus: &bus };
    let started = Instant::now();
    let left = |limit_ms: u64| {
        let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        limit_ms.saturating_sub(waited_ms)
    };
    loop {
        let limit_ms = asked.limit_ms.map(left);
        match place.acquire(asked, limit_ms, on_wait)? {
            // Whoever is in the way by a message alone cannot be waited for in line.
            Acquired::Taken(_) if limit_ms.is_some_and(|left| left > 0) => {
                std::thread::sleep(LOOK_AGAIN);
            }
            acquired => return Ok(acquired),
        }
    }
}

pub(super) fn label(from: &Address) -> Result<Label> {
    Ok(Label::new("agent", &from.as_label())?)
}

impl ClaimContext<'_> {
    pub(super) fn lease(&self, asked: &ClaimRequest) -> RecordName {
        let sharer = asked.shareable.then_some(asked.from.as_str());
        asked.item.lease(&scope(self.bus), sharer)
    }

    fn desk(&self) -> HolderView<'_> {
        HolderView::new(Some(self.bus), Some(self.handle))
    }

    fn acquire(
        &self,
        asked: &ClaimRequest,
        limit_ms: Option<u64>,
        on_wait: &mut OnWait<'_>,
    ) -> Result<Acquired> {
        let lease = self.lease(asked);
        if let Some(record) = self.own(&lease, &asked.from)? {
            return self.acquire_again(asked, &record);
        }
        let ttl_ms = asked.ttl_ms.unwrap_or_else(|| default_ttl_ms(self.handle.ctx));
        let mut ask = new_request(self.handle.ctx, lease, ttl_ms)?;
        ask.purpose = Some(format!("claim of {}", asked.item.as_str()));
        let mut telling = Telling::default();
        let mut patience = WaitOptions { limit_ms, on_wait };
        let granted = self.handle.acquire(&ask, &mut patience, &mut |record| {
            describe(record, asked, self.bus);
            self.tell(asked, record, &mut telling)
        });
        let committed = granted.map(|outcome| match outcome {
            Outcome::Refused(_) => None,
            Outcome::Granted { record, from, .. } => {
                let name = |from: Box<Record>| {
                    extra_text(&from, key::FROM).unwrap_or_else(|| from.agent.to_string())
                };
                Some(Committed { record, renewed: false, taken_from: from.map(name) })
            }
        });
        self.conclude(asked, &ask.lease, telling, committed)
    }

    /// Tells of a claim that is about to be committed; it is refused if somebody is in the way.
    fn tell<'s>(
        &'s self,
        asked: &ClaimRequest,
        record: &mut Record,
        telling: &mut Telling<'s>,
    ) -> Result<()> {
        match self.announce(asked, record)? {
            Ok(told) => {
                set(record, key::MESSAGE, quote(&told.message));
                telling.told = Some((told, record.fencing_token));
                Ok(())
            }
            Err(claimants) => {
                telling.in_the_way = claimants;
                Err(Error::new(Kind::Refused, "taken"))
            }
        }
    }

    /// The answer, after the commit or in its place.
    fn conclude(
        &self,
        asked: &ClaimRequest,
        lease: &RecordName,
        telling: Telling<'_>,
        committed: Result<Option<Committed>>,
    ) -> Result<Acquired> {
        let Telling { told, in_the_way } = telling;
        match (committed, told) {
            (Ok(Some(committed)), Some((told, _))) => {
                let message = self.dismiss_void(told);
                let Committed { record, renewed, taken_from } = committed;
                Ok(Acquired::Granted(Granted { record, message, renewed, taken_from }))
            }
            (_, None) if !in_the_way.is_empty() => Ok(Acquired::Taken(in_the_way)),
            (Ok(_), told) => {
                // Who holds it is asked of the index, which must not be occupied by ourselves.
                drop(told);
                Ok(Acquired::Taken(self.desk().claimants(&asked.item)?))
            }
            (Err(error), told) => {
                if let Some((told, token)) = told {
                    self.take_back(&told.message, lease, token);
                }
                Err(error)
            }
        }
    }

    /// Removes a message that told of a grant which does not stand. Where it stands in spite of an
    /// error, as when only its guard was replaced, the original must go on to see it.
    pub(super) fn take_back(&self, message: &str, lease: &RecordName, token: FencingToken) {
        let stands = match held(self.handle, lease) {
            Ok(Some(look)) => record_of(&look).is_none_or(|record| record.fencing_token == token),
            Ok(None) => false,
            Err(_) => true,
        };
        if !stands {
            let _ = self.bus.remove(message);
        }
    }

    /// Removes what the original would believe for a day of holders that are gone; the id of the
    /// message that stands.
    fn dismiss_void(&self, told: Published<'_>) -> String {
        for void in &told.void {
            let _ = self.bus.remove(void);
        }
        told.message
    }

    /// The record of a claim that is the caller's own already.
    fn own(&self, lease: &RecordName, from: &Address) -> Result<Option<Box<Record>>> {
        let Some(look) = held(self.handle, lease)? else { return Ok(None) };
        let record = record_of(&look).filter(|record| {
            extra_text(record, key::FROM).as_deref() == Some(from.as_str())
                && (record.session.is_none() || record.session == self.handle.ctx.session)
        });
        Ok(record.map(|record| Box::new(record.clone())))
    }

    /// Claims again what is the caller's: the token stays, unless its session is a new one.
    pub(super) fn acquire_again(&self, asked: &ClaimRequest, record: &Record) -> Result<Acquired> {
        let into_session = self.handle.ctx.session.is_some() && record.session.is_none();
        let (lease, token) = (&record.lease, record.fencing_token);
        let mut telling = Telling::default();
        let mut tell = |record: &mut Record| self.tell(asked, record, &mut telling);
        // The guard first and the index in it, as everybody does.
        let entered = self.handle.enter_as_holder(lease, token, ENTER_LIMIT)?;
        let taken = match &entered {
            None => Ok(None),
            Some(holder) if into_session => self
                .reassign(holder, record, &asked.from, Some(asked.ttl_ms), &mut tell)
                .map(|taken| taken.ok()),
            Some(holder) => holder
                .renew(asked.ttl_ms, &mut tell)
                .map(|renewed| renewed.ok().map(|(record, _)| record)),
        };
        let committed = |record| Committed { record, renewed: true, taken_from: None };
        self.conclude(asked, lease, telling, taken.map(|taken| taken.map(committed)))
    }

    /// Tells everybody that the item is the caller's, if nobody else has told so before. The index
    /// stays entered until the caller has committed.
    fn announce(
        &self,
        asked: &ClaimRequest,
        record: &Record,
    ) -> Result<std::result::Result<Published<'_>, Vec<Claimant>>> {
        let started = Instant::now();
        loop {
            let mut index = Index::enter_or_fail(self.bus, INDEX_LIMIT)?;
            let gate = match LegacyLock::try_enter(self.bus, &asked.item)? {
                Ok(gate) => gate,
                Err(_) if started.elapsed() < GATE_LIMIT => {
                    drop(index);
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(occupied) => {
                    let text = format!(
                        "item {:?}: somebody claims it right now ({}, process {})",
                        asked.item.as_str(),
                        occupied.file,
                        occupied.pid
                    );
                    return Err(Error::new(Kind::Busy, text)
                        .hint("try again; a lock whose process is gone counts no more after 5 s"));
                }
            };
            // From here on the original cannot claim it; an earlier claim is seen now.
            index.refresh()?;
            let notices = index.notices(&asked.item, host::wall_us())?;
            let in_the_way = self.in_the_way(asked, record, &notices)?;
            if !in_the_way.is_empty() {
                return Ok(Err(in_the_way));
            }
            let mut envelope = claim_message(asked, record, &place_of(self.handle))?;
            for said in notices.iter().filter(|notice| notice.from == asked.from.as_str()) {
                date_after(&mut envelope, said.order.0);
            }
            let void = self.desk().void(&notices, &asked.item);
            self.bus.publish(&envelope.id, &envelope.render())?;
            drop(gate);
            index.remember(&envelope);
            return Ok(Ok(Published { message: envelope.id, void, _index: index }));
        }
    }

    /// Who holds the item so that the caller may not claim it.
    fn in_the_way(
        &self,
        asked: &ClaimRequest,
        record: &Record,
        notices: &[ClaimMessage],
    ) -> Result<Vec<Claimant>> {
        let (from, shareable) = (&asked.from, asked.shareable);
        let desk = self.desk();
        let mut claimants = desk.by_notices(notices, asked.item.as_str());
        claimants.retain(|claimant| {
            let notice = notices.iter().find(|n| Some(&n.id) == claimant.message.as_ref());
            notice.is_some_and(|notice| conflicts_with(notice, from, shareable))
        });
        // Those who share it, and whose messages are gone.
        let told = claimants.len();
        desk.add_sharers(self.bus, Some(&asked.item), &mut claimants)?;
        let untold = claimants.split_off(told).into_iter().filter(|claimant| {
            let holder = Address::new(&claimant.from).ok();
            let same = holder.is_some_and(|holder| holder.persona() == from.persona());
            claimant.from != from.as_str() && !(shareable && same)
        });
        claimants.extend(untold);
        // Who shares stands beside the exclusive lease, and looks at it; its own guard is entered.
        let exclusive = asked.item.lease(&scope(self.bus), None);
        if shareable
            && record.lease != exclusive
            && let Some(look) = held(self.handle, &exclusive)?
        {
            claimants.push(Claimant::of_grant(asked.item.as_str(), look));
        }
        Ok(claimants)
    }

    /// Gives a claim to somebody else (or to the caller's own session, with a new life) without a
    /// moment in which it is free; its token grows.
    pub(super) fn reassign(
        &self,
        holder: &HolderSection<'_>,
        record: &Record,
        to: &Address,
        bind: Option<Option<u64>>,
        before_commit: &mut BeforeCommit<'_>,
    ) -> HolderResult<Box<Record>> {
        let HolderSection { section, lease, token, .. } = holder;
        let (ctx, token) = (self.handle.ctx, *token);
        let seen = read_only(section.read(layout::RECORD_MAX)?, lease);
        let now = ctx.at(host::reading());
        if let Checked::Lost(lost) = decide_check(&seen, token, &now) {
            return Ok(Err(LostTo::new(lease, lost)));
        }
        let highest = section.highest_token()?;
        let next = FencingToken::after(highest, Some(token), now.reading.wall_us);
        let next = next.ok_or_else(|| Error::new(Kind::Unsafe, "no fencing token is left"))?;
        let mut record = record.clone();
        record.fencing_token = next;
        record.lease_id = host::random_hex()?;
        record.agent = label(to)?;
        record.session = bind.and(ctx.session.clone());
        record.processes = match bind {
            Some(_) => session::processes(self.handle)?,
            None => Default::default(),
        };
        if let Some(Some(ttl_ms)) = bind {
            record.ttl_ms = ttl_ms;
        }
        record.renewed = stamp_now(now.reading, &ctx.host);
        record.acquired_boot_ns = now.reading.boot_ns;
        record.acquired_us = Some(now.reading.wall_us);
        record.renew_seq = 0;
        set(&mut record, key::FROM, quote(to.as_str()));
        before_commit(&mut record)?;
        section.remember(next.get())?;
        publish(section, &record, true, RENEWAL_RESERVE)?;
        Ok(Ok(Box::new(record)))
    }
}
