//! The leases of a session: its wrapper finds them in the node's directory, renews them, notices
//! that one was lost, and releases what is left at the end.

use std::time::{Duration, Instant};

use zeta_core::cluster::lease::{News, Told, decide_news};
use zeta_core::layout::{self, Kind as FileKind};
use zeta_core::lease::{FencingToken, Record, is_kept_by};
use zeta_core::name::RecordName;
use zeta_core::time::NS_PER_MS;

use super::{Event, Supervisor};
use crate::directory::guard::RENEWER_LIMIT;
use crate::lease::cluster::deadline_of;
use crate::presence::session_leases;
use zeta_os::error::{Error, Kind};
use zeta_os::host;
use zeta_os::inotify::Watch;
use zeta_os::spawn::Child;

/// A renewal that the servers of the cluster did not answer is repeated so many times before the
/// next one would be due.
const RETRIES: u32 = 3;

/// A lease of the session, as it was last seen.
#[derive(Debug)]
pub(super) struct Holding {
    every: Duration,
    pub(super) next: Instant,
    until_ns: u64,
    /// When it was renewed last, by the boot clock.
    renewed_ns: u64,
    ttl_ms: u64,
    in_cluster: bool,
    /// What was said of the cluster, which did not answer.
    told: Told,
    pub(super) too_long: bool,
    /// A record of the lease was deleted, which no release does.
    deleted: bool,
}

impl Supervisor<'_> {
    pub(super) fn check_all_leases(&mut self, on_event: &mut dyn FnMut(Event<'_>), child: &Child) {
        let Ok(listing) = self.handle.node.list() else { return };
        let mut names: Vec<RecordName> =
            self.holdings.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        for file in &listing.names {
            if let FileKind::Lease(name) = layout::kind_of(file)
                && let Ok(name) = RecordName::new("lease", name)
                && !self.holds(&name)
            {
                names.push(name);
            }
        }
        for name in names {
            self.check_lease(&name, on_event, child);
        }
    }

    fn holds(&self, name: &RecordName) -> bool {
        self.holdings.keys().any(|(held, _)| held == name)
    }

    /// Checks the leases whose records arrived, or were deleted, since the last call.
    pub(super) fn check_changed_leases(
        &mut self,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let mut names: Vec<RecordName> = Vec::new();
        let own = self.persona().file();
        let mut own_changed = false;
        let whole = watch.each(|name, deleted| {
            let text = name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
            own_changed |= text == own;
            if let FileKind::Lease(name) = layout::kind_of(text)
                && let Ok(name) = RecordName::new("lease", name)
            {
                let held =
                    self.holdings.iter_mut().filter(|((held, _), _)| deleted && *held == name);
                held.for_each(|(_, held)| held.deleted = true);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        });
        if own_changed || !whole {
            self.record_changed();
        }
        if !whole {
            self.check_all_leases(on_event, child);
            return self.check_unseen_breaks(on_event, child);
        }
        for name in names {
            self.check_lease(&name, on_event, child);
            if !self.holds(&name) {
                self.check_unseen_break(&name, on_event, child);
            }
        }
    }

    /// Reports the grants of the session that came and were broken while no watch saw it.
    pub(super) fn check_unseen_breaks(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let names = match self.handle.guarded_leases() {
            Ok(names) => names,
            Err(error) => return self.report_error(Err(error), on_event),
        };
        for name in names {
            if !self.holds(&name) {
                self.check_unseen_break(&name, on_event, child);
            }
        }
    }

    /// Reports a grant of the session that was broken before this process saw it.
    fn check_unseen_break(
        &mut self,
        name: &RecordName,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let Some(own) = self.processes.own else { return };
        let seen = self.seen.get(name).copied().unwrap_or(0);
        match self.handle.find_unseen_break(name, &self.session, &own, seen) {
            Ok(Some(lost)) => {
                let token = lost.broken.as_ref().and_then(|note| note.number("fencing_token"));
                self.seen.insert(name.clone(), token.unwrap_or(seen));
                self.report_loss(&lost, on_event, child);
            }
            Ok(None) => {}
            Err(error) => self.report_error(Err(error), on_event),
        }
    }

    /// Checks whether a lease is the session's, still or again.
    fn check_lease(
        &mut self,
        name: &RecordName,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let mut after = self.scanned.get(name).cloned().unwrap_or_default();
        let Ok(mut own) = self.handle.records(name, &mut after) else { return };
        // What was seen before is looked at by its token: a space may have thousands of claims.
        for (held, token) in self.holdings.keys().filter(|(held, _)| held == name) {
            if own.iter().all(|record| record.fencing_token != *token) {
                let Ok(record) = self.handle.record(held, *token) else { return };
                own.extend(record);
            }
        }
        if !after.is_empty() {
            self.scanned.insert(name.clone(), after);
        }
        own.retain(|record| self.owns(record));
        // Another grant of the same session ended the one before, too.
        let gone: Vec<FencingToken> = self
            .holdings
            .keys()
            .filter(|(held, token)| {
                held == name && !own.iter().any(|record| record.fencing_token == *token)
            })
            .map(|(_, token)| *token)
            .collect();
        for token in gone {
            let Some(held) = self.holdings.remove(&(name.clone(), token)) else { continue };
            match self.handle.find_loss(name, token, held.until_ns, held.deleted) {
                Ok(Err(lost)) => self.report_loss(&lost, on_event, child),
                Ok(Ok(_)) => {}
                Err(error) => self.report_error(Err(error), on_event),
            }
        }
        own.iter().for_each(|record| self.track(record));
    }

    /// Returns whether this supervisor renews and releases a grant.
    fn owns(&self, record: &Record) -> bool {
        self.processes.own.is_some_and(|own| is_kept_by(record, &self.session, &own))
    }

    fn track(&mut self, record: &Record) {
        let until_ns = record.expires_boot_ns();
        let every = Duration::from_millis((record.ttl_ms / 4).max(1));
        let now_ns = host::reading().boot_ns;
        let age = Duration::from_nanos(now_ns.saturating_sub(record.renewed.boot_ns));
        let next = Instant::now() + every.saturating_sub(age);
        let key = (record.lease.clone(), record.fencing_token);
        let known = self.holdings.get(&key);
        let holding = Holding {
            every,
            next,
            until_ns,
            renewed_ns: record.renewed.boot_ns,
            ttl_ms: record.ttl_ms,
            in_cluster: deadline_of(record).is_some(),
            told: known.map(|known| known.told).unwrap_or_default(),
            too_long: known.is_some_and(|known| known.too_long),
            deleted: false,
        };
        let seen = self.seen.entry(record.lease.clone()).or_default();
        *seen = record.fencing_token.get().max(*seen);
        self.holdings.insert(key, holding);
    }

    pub(super) fn renew_due(
        &mut self,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let now = Instant::now();
        let due: Vec<(RecordName, FencingToken)> = self
            .holdings
            .iter()
            .filter(|(_, held)| !held.too_long && held.next <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for (name, token) in due {
            self.renew(&name, token, watch, on_event, child);
        }
    }

    fn renew(
        &mut self,
        name: &RecordName,
        token: FencingToken,
        watch: &Watch,
        on_event: &mut dyn FnMut(Event<'_>),
        child: &Child,
    ) {
        let key = (name.clone(), token);
        if let Some(held) = self.holdings.get_mut(&key) {
            held.next = Instant::now() + held.every;
        }
        match self.handle.renew(name, token, None, RENEWER_LIMIT) {
            Ok(Ok((record, _))) => {
                let held_ns = record.renewed.boot_ns.saturating_sub(record.acquired_boot_ns);
                self.track(&record);
                self.say(&key, Ok(()), on_event);
                if held_ns / NS_PER_MS > self.plan.max_hold_ms
                    && let Some(held) = self.holdings.get_mut(&key)
                {
                    held.too_long = true;
                    on_event(Event::HeldTooLong(name));
                }
            }
            // Released or lost: the check finds out which, by what was deleted, too.
            Ok(Err(_)) => {
                self.check_changed_leases(watch, on_event, child);
                self.check_lease(name, on_event, child);
            }
            // Other machines count its TTL, so it is asked again soon.
            Err(error) if self.holdings.get(&key).is_some_and(|held| held.in_cluster) => {
                if let Some(held) = self.holdings.get_mut(&key) {
                    held.next = Instant::now() + (held.every / RETRIES);
                }
                self.say(&key, Err(&error), on_event);
            }
            // No other process can be granted it meanwhile: most likely a fenced command runs.
            Err(error) if error.kind == Kind::Busy => {}
            Err(error) => self.report_error(Err(error), on_event),
        }
    }

    /// Says what an attempt to renew a lease of the cluster came to, where that is to be said.
    fn say(
        &mut self,
        key: &(RecordName, FencingToken),
        renewed: std::result::Result<(), &Error>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) {
        let Some(held) = self.holdings.get_mut(key).filter(|held| held.in_cluster) else { return };
        let age_ms = host::reading().boot_ns.saturating_sub(held.renewed_ns) / NS_PER_MS;
        match (decide_news(&mut held.told, renewed.is_ok(), age_ms, held.ttl_ms), renewed) {
            (Some(News::Unrenewed), Err(error)) => on_event(Event::Unrenewed(error)),
            (Some(News::Renewed), _) => on_event(Event::Renewed(&key.0)),
            _ => {}
        }
    }

    /// Releases the leases that the session still holds.
    pub(super) fn release_all(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        for record in session_leases::of(&self.handle, |record| self.owns(record)) {
            match self.handle.release(&record.lease, record.fencing_token) {
                Ok(_) => (self.handle.ctx.lease_ended)(self.handle.ctx, &record),
                Err(error) => on_event(Event::Trouble(&error)),
            }
        }
    }
}
