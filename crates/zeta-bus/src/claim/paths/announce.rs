//! Announces claims on paths on the bus: for each pattern one message of the original, as the claim
//! of an item. The bus is not read for it: the grants decide who has a path, and the messages are
//! for readers that know no grants.

use zeta_core::bus::grant::key;
use zeta_core::bus::item::path_item;
use zeta_core::bus::{Address, Envelope};
use zeta_core::layout;
use zeta_core::lease::{FencingToken, Observed, Record};
use zeta_core::name::RecordName;
use zeta_core::pattern::{PathClaim, Pattern};
use zeta_core::record::{quote, unquote};
use zeta_core::time::parse_utc;

use super::super::holders::{HolderView, scope};
use super::super::message::{date_after, path_claim_message, release_message, set, unset};
use super::super::{bus_of, lease_place};
use crate::directory::Bus;
use crate::directory::index::{INDEX_LIMIT, Index};
use crate::messages::{store_all_always, utc_ms};
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::lease::RENEWAL_RESERVE;

/// A claim is dated so much later than it is made, in µs: after the end of one before it.
const AHEAD_US: i64 = 1_000;

/// The claim messages of one call, and the grant that they are of.
#[derive(Default)]
pub(super) struct Announcement {
    published: Option<(Bus, Vec<Envelope>, FencingToken)>,
}

impl Announcement {
    /// Publishes the claim in a record that is about to be committed. If that fails, the record
    /// says that the claim is not announced: no claim on paths waits for the bus.
    pub(super) fn publish(&mut self, handle: &NodeHandle<'_>, record: &mut Record) {
        self.withdraw();
        let before_us = announced_us(record);
        unset(record, key::ANNOUNCED);
        unset(record, key::BUS);
        let Ok((bus, envelopes)) = prepare(handle, record, before_us) else { return };
        let dated = envelopes.first().and_then(|envelope| parse_utc(&envelope.timestamp).ok());
        let mut announced = record.clone();
        set(&mut announced, key::BUS, quote(&scope(&bus)));
        set(&mut announced, key::ANNOUNCED, dated.unwrap_or(0).to_string());
        let fits = announced.to_fields().render().len() + RENEWAL_RESERVE <= layout::RECORD_MAX;
        if !fits {
            return;
        }
        let stored = store_all_always(&bus, &envelopes);
        self.published = Some((bus, envelopes, record.fencing_token));
        match stored {
            Ok(()) => *record = announced,
            Err(_) => self.withdraw(),
        }
    }

    /// Removes the messages, unless their grant is there: it may be in spite of an error, as when
    /// only its guard was replaced.
    pub(super) fn withdraw_unless_there(&mut self, handle: &NodeHandle<'_>, lease: &RecordName) {
        let Some((.., token)) = &self.published else { return };
        if matches!(handle.record(lease, *token), Ok(None)) {
            self.withdraw();
        }
    }

    fn withdraw(&mut self) {
        let Some((bus, envelopes, _)) = self.published.take() else { return };
        for envelope in envelopes {
            let _ = bus.remove(&envelope.id);
        }
    }
}

fn prepare(
    handle: &NodeHandle<'_>,
    record: &Record,
    before_us: Option<i64>,
) -> Result<(Bus, Vec<Envelope>)> {
    let from = address(record)?;
    let bus = bus_of(handle, &handle.ctx.bus_dir)?;
    let place = lease_place(handle);
    let dated = utc_ms(host::wall_us().saturating_add(AHEAD_US));
    let message = |pattern: &Pattern| {
        let item = path_item(&record.lease, pattern);
        let mut envelope = path_claim_message(&from, &item, record, &place)?;
        envelope.timestamp.clone_from(&dated);
        before_us.into_iter().for_each(|us| date_after(&mut envelope, us));
        Ok(envelope)
    };
    let envelopes: Result<_> = patterns_of(record).iter().map(message).collect();
    Ok((bus, envelopes?))
}

/// Publishes the end of a claim on paths. An error is ignored: the messages of the claim name a
/// grant that has ended.
pub fn announce_end(ctx: &Context, record: &Record) {
    end_of(ctx, record, &patterns_of(record));
}

/// As [`announce_end`], after a release: a pattern that another grant of the agent has stays.
pub(super) fn announce_release(handle: &NodeHandle<'_>, record: &Record) {
    let released = PathClaim::of(&record.extra);
    let left = handle.claims_naming(&record.lease, &released).unwrap_or_default();
    let left = left.iter().filter_map(|view| match &view.observed {
        Observed::Ours(other, ..) if other.agent == record.agent => Some(patterns_of(other)),
        _ => None,
    });
    let left: Vec<Pattern> = left.flatten().collect();
    let ended: Vec<Pattern> =
        released.patterns.into_iter().filter(|pattern| !left.contains(pattern)).collect();
    end_of(handle.ctx, record, &ended);
}

fn end_of(ctx: &Context, record: &Record, patterns: &[Pattern]) {
    let publish = || -> Option<()> {
        let claimed_us = announced_us(record)?;
        let from = address(record).ok()?;
        // Text from a record never becomes a path: only a caller that uses this bus publishes it.
        let bus = Bus::open(&ctx.bus_dir).ok()??;
        (value(record, key::BUS).and_then(unquote)? == scope(&bus)).then_some(())?;
        let message = |pattern: &Pattern| {
            let mut envelope = release_message(&from, &path_item(&record.lease, pattern))?;
            date_after(&mut envelope, claimed_us);
            Ok(envelope)
        };
        let envelopes: Result<Vec<Envelope>> = patterns.iter().map(message).collect();
        store_all_always(&bus, &envelopes.ok()?).ok()
    };
    let _ = publish();
}

/// Removes the claim messages of a release that was killed before it published the end.
pub(super) fn remove_void(handle: &NodeHandle<'_>, lease: &RecordName, claim: &PathClaim) {
    let remove = || -> Result<()> {
        let Some(bus) = Bus::open(&handle.ctx.bus_dir)? else { return Ok(()) };
        let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
        index.refresh()?;
        let view = HolderView::new(Some(&bus), Some(handle));
        for item in claim.patterns.iter().map(|pattern| path_item(lease, pattern)) {
            let messages = index.claims(&item, host::wall_us())?.messages;
            for void in view.void(&messages, &item) {
                bus.remove(&void)?;
            }
        }
        Ok(())
    };
    let _ = remove();
}

fn address(record: &Record) -> Result<Address> {
    Address::new(record.agent.as_str()).map_err(Error::usage)
}

fn patterns_of(record: &Record) -> Vec<Pattern> {
    PathClaim::of(&record.extra).patterns
}

fn announced_us(record: &Record) -> Option<i64> {
    value(record, key::ANNOUNCED)?.parse().ok()
}

fn value<'r>(record: &'r Record, key: &str) -> Option<&'r str> {
    record.extra.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}
