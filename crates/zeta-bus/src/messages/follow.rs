//! Follows the bus: every message once, as it comes, or what was not delivered to one subscriber.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use zeta_core::bus::{Envelope, is_for_many};

use super::{
    Filter, MessageView, channel, check_surface, inbox, limit_dead_letters, not_a_message, sort_out,
};
use crate::directory::index::INDEX_LIMIT;
use crate::directory::index::{Cursor, Index};
use crate::directory::{Bus, delivery_log};
use std::os::fd::AsFd;
use zeta_os::error::{Error, Result};
use zeta_os::inotify::{Watch, poll_readable};

/// How often a handler may fail before its message becomes a dead letter.
pub const FAILURES_MAX: u32 = 5;

/// Options for following.
#[derive(Debug, Clone)]
pub struct Following {
    /// The messages to follow.
    pub filter: Filter,
    /// Whether messages that are there already count, too.
    pub from_start: bool,
    /// The longest sleep between two reads of the bus.
    pub interval: Duration,
    /// When to stop; `None` follows until the caller's `take` returns false.
    pub limit: Option<Duration>,
}

/// What [`watch`] passes on.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A message.
    Message(&'a MessageView),
    /// A file that is no message.
    Finding(&'a Error),
}

/// Passes on each message as it comes; those of one read in the order in which they were sent. Ends
/// when `take` returns false, or the time is over.
///
/// Messages are known by their ids and not by a cursor in time: files appear out of the order of
/// their timestamps.
///
/// # Errors
/// [`zeta_os::error::Kind::Unsafe`] if the path leads to another directory by now.
pub fn watch(
    dir: &Path,
    following: &Following,
    mut take: impl FnMut(Seen<'_>) -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    if following.limit == Some(Duration::ZERO) {
        return Ok(());
    }
    let bus = Bus::open_or_create(dir)?;
    let notify = Watch::new();
    notify.changes_in(bus.as_fd());
    let (mut cursor, mut known) = (Cursor::default(), HashSet::new());
    let mut named = HashSet::new();
    let mut first = true;
    loop {
        bus.check_place()?;
        let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
        index.refresh()?;
        let snapshot = index.snapshot(&mut cursor);
        drop(index);
        let (messages, unread) = snapshot.messages();
        for seen in sort_out(messages, &following.filter) {
            let new = known.insert(seen.envelope.id.clone());
            let wanted = new && (!first || following.from_start);
            if wanted && !take(Seen::Message(&seen))? {
                return Ok(());
            }
        }
        for unread in unread {
            let finding = not_a_message(&bus, &unread);
            if named.insert(unread) && !take(Seen::Finding(&finding))? {
                return Ok(());
            }
        }
        first = false;
        let left = following.limit.map(|limit| limit.saturating_sub(started.elapsed()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        let sleep = following.interval.min(left.unwrap_or(Duration::MAX));
        match notify.fd() {
            Some(fd) => {
                poll_readable(&[fd], sleep);
                notify.each(|_, _| ());
            }
            None => std::thread::sleep(sleep),
        }
    }
}

/// Notices that the bus changes. It is made before a look at the bus, so that no change after that
/// look is missed.
pub struct Changes {
    notify: Watch,
    bus: Option<Bus>,
}

impl Changes {
    /// Begins to watch a bus, which need not exist yet.
    pub fn of(dir: &Path) -> Result<Changes> {
        let mut changes = Changes { notify: Watch::new(), bus: None };
        changes.open(dir)?;
        Ok(changes)
    }

    fn open(&mut self, dir: &Path) -> Result<()> {
        self.bus = Bus::open(dir)?;
        if let Some(bus) = &self.bus {
            self.notify.changes_in(bus.as_fd());
        }
        Ok(())
    }

    /// Sleeps until the bus has changed, and for at most `limit`.
    ///
    /// # Errors
    /// The bus was moved away or removed.
    pub fn wait(&mut self, dir: &Path, limit: Duration) -> Result<()> {
        match self.notify.fd() {
            Some(fd) => {
                poll_readable(&[fd], limit);
                self.notify.each(|_, _| ());
            }
            None => std::thread::sleep(limit),
        }
        match &self.bus {
            Some(bus) => bus.check_place(),
            None => self.open(dir),
        }
    }
}

/// The result of one delivery.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The handler took the message.
    Delivered(Envelope),
    /// The handler failed, so many times by now; the delivery will be retried.
    Failed(Envelope, u32),
    /// The handler failed too often: the message is a dead letter.
    DeadLetter(Envelope),
}

/// Delivers to a subscriber the messages that were not delivered yet, oldest first. `handle`
/// returns whether it took the message; otherwise the delivery is retried by later calls, a few
/// times.
///
/// # Errors
/// [`zeta_os::error::Kind::Busy`] if another process delivers to it right now.
pub fn deliver(
    dir: &Path,
    surface: &str,
    topic: Option<&str>,
    mut handle: impl FnMut(&Envelope) -> Result<bool>,
) -> Result<(Vec<Delivery>, Vec<Error>)> {
    check_surface(surface)?;
    let Some(bus) = Bus::open(dir)? else { return Ok((Vec::new(), Vec::new())) };
    let mut log = delivery_log::DeliveryLog::enter(&bus, surface, Duration::ZERO)?;
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT)?;
    index.refresh()?;
    let snapshot = index.snapshot(&mut Cursor::default());
    drop(index);
    let (messages, unread) = snapshot.messages();
    let there: HashSet<String> = messages.iter().map(|m| m.envelope.id.clone()).collect();
    let reader = channel::reader(&bus, surface)?;
    let filter = Filter { topic: topic.map(str::to_owned), to: Some(reader), ..Filter::default() };
    let findings = unread.iter().map(|unread| not_a_message(&bus, unread)).collect();
    let mut deliveries = Vec::new();
    let wanted = sort_out(messages, &filter);
    let delivered = hand_over(&bus, &mut log, surface, wanted, &mut handle, &mut deliveries);
    // What was delivered before an error is known to the original, too.
    let finished = log.finish();
    delivered.and(finished)?;
    if log.len() > 1000 {
        log.keep_only(|id| there.contains(id))?;
    }
    if deliveries.iter().any(|delivery| matches!(delivery, Delivery::DeadLetter(_))) {
        limit_dead_letters(&bus)?;
    }
    Ok((deliveries, findings))
}

fn hand_over(
    bus: &Bus,
    log: &mut delivery_log::DeliveryLog<'_>,
    surface: &str,
    wanted: Vec<MessageView>,
    handle: &mut impl FnMut(&Envelope) -> Result<bool>,
    deliveries: &mut Vec<Delivery>,
) -> Result<()> {
    for MessageView { envelope, .. } in wanted {
        let failures = match log.of(&envelope.id) {
            Some(state) if state.is_done() => continue,
            Some(delivery_log::Delivery::Failed(times)) => times,
            _ => 0,
        };
        bus.check_place()?;
        if handle(&envelope)? {
            log.note(&envelope.id, delivery_log::Delivery::Delivered)?;
            inbox::unmark(bus, surface, &envelope);
            deliveries.push(Delivery::Delivered(envelope));
            continue;
        }
        log.note(&envelope.id, delivery_log::Delivery::Failed(failures + 1))?;
        // A message for many is for other subscribers, too.
        let last = failures + 1 >= FAILURES_MAX && !is_for_many(&envelope.to);
        deliveries.push(if last && bus.move_to_dead_letters(&envelope.id)? {
            Delivery::DeadLetter(envelope)
        } else {
            Delivery::Failed(envelope, failures + 1)
        });
    }
    Ok(())
}
