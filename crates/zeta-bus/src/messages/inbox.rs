//! The inbox of an agent: what it has not read yet, and how many messages that are, cheaply.
//!
//! A message gets a mark below `.zeta/inbox` for each of its recipients before `zeta` publishes it,
//! and loses it when it is delivered or read. So a count costs one listing of that directory, and
//! no message is opened. It is a hint and not a promise: messages of other programs have no mark.
//! [`unread`] reads the messages themselves.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, OFlags, unlinkat};
use zeta_core::bus::{EVERYBODY, Envelope, Mail, Means, Woken, judge_mail};
use zeta_core::time::parse_utc;

use super::{Filter, Listing, MessageView, channel, check_surface, list};
use crate::directory::delivery_log::{self, Delivery, DeliveryLog};
use crate::directory::{Bus, INBOX, INNER, NAMES_MAX, open_file};
use zeta_os::error::Result;
use zeta_os::host::wall_us;
use zeta_state::directory::purpose::BUS;
use zeta_state::directory::trusted_dir::open_inner;

/// The directory of the marks, below that of the bus.
pub(crate) const INBOX_PATH: &str = ".zeta/inbox";

/// How long a call waits for another one that gives an agent its messages.
pub const TAKE_LIMIT: Duration = Duration::from_millis(500);

/// Which of the unread messages are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those of this sender.
    pub from: Option<String>,
    /// Only those of the thread that begins with this message.
    pub thread: Option<String>,
    /// Only those that are for the agent now, as [`judge_mail`] says.
    pub now: bool,
    /// How long to wait for another process in the index, if not as long as other calls.
    pub busy_limit: Option<Duration>,
}

/// Returns the messages that an agent has not received or read yet, oldest first: those for it
/// alone or for a channel that it is in, and broadcasts of other agents that people read.
pub fn unread(dir: &Path, agent: &str) -> Result<Listing> {
    unread_of(dir, agent, &Selection::default())
}

/// As [`unread`], of a selection.
pub fn unread_of(dir: &Path, agent: &str, selection: &Selection) -> Result<Listing> {
    check_surface(agent)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(Listing::default()) };
    unread_in(&bus, agent, selection, |_| {
        let log = delivery_log::peek(&bus, agent)?;
        Ok(move |id: &str| log.states.get(id).copied())
    })
}

/// Finds the unread messages. The log is asked for only if there are messages for the agent.
fn unread_in<F: Fn(&str) -> Option<Delivery>>(
    bus: &Bus,
    agent: &str,
    selection: &Selection,
    log: impl FnOnce(&Bus) -> Result<F>,
) -> Result<Listing> {
    let filter = Filter {
        from: selection.from.clone(),
        to: Some(channel::reader(bus, agent)?),
        thread: selection.thread.clone(),
        busy_limit: selection.busy_limit,
        ..Filter::default()
    };
    let mut listing = list(&bus.base.path, &filter)?;
    if listing.messages.is_empty() {
        return Ok(listing);
    }
    let state_of = log(bus)?;
    let is_broadcast = |message: &MessageView| message.envelope.to == EVERYBODY;
    let marked = match listing.messages.iter().any(is_broadcast) {
        true => marked(&bus.base.path, agent),
        false => Vec::new(),
    };
    let wanted = if selection.now { Mail::Now } else { Mail::OnRequest };
    listing.messages.retain(|message| {
        let Envelope { id, from, to, topic, .. } = &message.envelope;
        judge_mail(agent, from, to, topic, marked.contains(id)) >= wanted
            && !state_of(id).is_some_and(Delivery::is_done)
    });
    Ok(listing)
}

/// How [`take`] records the messages that were given.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// Their state.
    pub as_state: Delivery,
    /// What the agent is woken by with that.
    pub wakes_by: Option<Means>,
}

/// Gives an agent its unread messages: `give` gets them and returns the ids of those that it gave,
/// which are recorded after that. Meanwhile no other call gives messages to this agent. A call that
/// is killed in between gives them again.
///
/// # Errors
/// [`zeta_os::error::Kind::Busy`] if another process delivers to the agent for longer than
/// [`TAKE_LIMIT`]; then `give` was not called. What `give` returns.
pub fn take(
    dir: &Path,
    agent: &str,
    selection: &Selection,
    record: Given,
    give: impl FnOnce(&Listing) -> Result<Vec<String>>,
) -> Result<()> {
    // Most inboxes are empty: a look at one leaves nothing behind.
    let seen = unread_of(dir, agent, selection)?;
    let Some(bus) = Bus::open(dir)?.filter(|_| !seen.messages.is_empty()) else {
        return give(&seen).map(|_| ());
    };
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    let listing = unread_in(&bus, agent, selection, |_| Ok(|id: &str| log.of(id)))?;
    let given = give(&listing)?;
    let is_given = |id: &&str| given.iter().any(|given| given == id);
    for one in listing.messages.iter().filter(|one| is_given(&one.envelope.id.as_str())) {
        log.note(&one.envelope.id, record.as_state)?;
        unmark(&bus, agent, &one.envelope);
        if let Some(by) = record.wakes_by.filter(|_| !log.has_woken(&one.envelope.id)) {
            log.note_woken(&one.envelope.id, Woken { at_us: wall_us(), by })?;
        }
    }
    log.finish()
}

/// Records that an agent has read these messages, which it was given by [`unread`].
pub fn mark_read(dir: &Path, agent: &str, read: &[Envelope]) -> Result<()> {
    let Some(bus) = Bus::open(dir)?.filter(|_| !read.is_empty()) else { return Ok(()) };
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    for envelope in read {
        log.note(&envelope.id, Delivery::Read)?;
        unmark(&bus, agent, envelope);
    }
    log.finish()
}

/// Takes back what [`mark_read`] recorded: the messages did not reach the agent, and are unread.
pub fn put_back(dir: &Path, agent: &str, unread: &[Envelope]) -> Result<()> {
    let Some(bus) = Bus::open(dir)?.filter(|_| !unread.is_empty()) else { return Ok(()) };
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    for envelope in unread {
        log.put_back(&envelope.id)?;
        mark(&bus, agent, envelope);
    }
    Ok(())
}

/// Records that these messages are used to wake an agent, and returns those that may be: they are
/// unread, and woke it by no means before. A caller wakes the agent after that, and only if there
/// is one; so each message wakes once, however many means there are.
pub fn woken(dir: &Path, agent: &str, ids: &[&str], by: Means) -> Result<Vec<String>> {
    check_surface(agent)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(Vec::new()) };
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    let may_wake = |id: &str| !log.of(id).is_some_and(Delivery::is_done) && !log.has_woken(id);
    let fresh: Vec<String> =
        ids.iter().filter(|id| may_wake(id)).map(|id| (*id).to_owned()).collect();
    for id in &fresh {
        log.note_woken(id, Woken { at_us: wall_us(), by })?;
    }
    Ok(fresh)
}

/// Records that an agent was woken for these messages, which it may have received with that.
pub fn was_woken(dir: &Path, agent: &str, ids: &[&str], by: Means) -> Result<()> {
    let Some(bus) = Bus::open(dir)? else { return Ok(()) };
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    for id in ids {
        if !log.has_woken(id) {
            log.note_woken(id, Woken { at_us: wall_us(), by })?;
        }
    }
    Ok(())
}

/// Records that a turn of the agent's model has ended after a hook gave it messages: it read them.
pub fn mark_handed_read(dir: &Path, agent: &str) -> Result<()> {
    check_surface(agent)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(()) };
    let handed = |(id, state): (String, Delivery)| (state == Delivery::Handed).then_some(id);
    let ids: Vec<String> =
        delivery_log::peek(&bus, agent)?.states.into_iter().filter_map(handed).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut log = DeliveryLog::enter(&bus, agent, TAKE_LIMIT)?;
    ids.iter().try_for_each(|id| log.note(id, Delivery::Read))
}

/// Counts the marks of unread messages, by recipient. Where no answer can be had, there is none.
pub fn counts(dir: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    each_mark(dir, |to, _| *counts.entry(to).or_insert(0) += 1);
    counts
}

/// Returns the ids of the unread messages of an agent that have a mark.
pub fn marked(dir: &Path, agent: &str) -> Vec<String> {
    let mut ids = Vec::new();
    each_mark(dir, |to, id| {
        if to == agent {
            ids.push(id.to_owned());
        }
    });
    ids
}

fn each_mark(dir: &Path, mut take: impl FnMut(String, &str)) {
    let names = || -> Result<Vec<String>> {
        let Some(base) = zeta_state::directory::open(dir, &BUS)? else { return Ok(Vec::new()) };
        let path = dir.join(INBOX_PATH);
        let opened = open_inner(base.as_fd(), INBOX_PATH, &base, || path.clone())?;
        let Some((inbox, _)) = opened else { return Ok(Vec::new()) };
        Ok(zeta_os::files::list(inbox.as_fd(), NAMES_MAX, &path)?.names)
    };
    let now_us = wall_us();
    for mark in names().unwrap_or_default() {
        if let Some((to, expires_us, id)) = parts(&mark)
            && expires_us > now_us
        {
            take(to, id);
        }
    }
}

/// Marks a message as unread for one recipient.
pub(crate) fn mark(bus: &Bus, recipient: &str, envelope: &Envelope) {
    let mark = || -> Option<()> {
        let inbox = bus.inner(INBOX).ok()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mark = mark_of(recipient, envelope)?;
        open_file(inbox.as_fd(), &mark, flags, bus.base.sharing).ok().map(|_| ())
    };
    // A message without a mark is found all the same.
    let _ = mark();
}

/// Removes the mark of a message that a recipient has received.
pub(super) fn unmark(bus: &Bus, recipient: &str, envelope: &Envelope) {
    if let (Ok(inbox), Some(mark)) = (bus.inner(INBOX), mark_of(recipient, envelope)) {
        let _ = unlinkat(&inbox, mark.as_str(), AtFlags::empty());
    }
}

/// Removes the marks of messages that are gone or have expired.
pub(crate) fn sweep(bus: &Bus) -> Result<()> {
    let (inbox, path) = (bus.inner(INBOX)?, bus.path(INNER).join(INBOX));
    let now_us = wall_us();
    for mark in zeta_os::files::list(inbox.as_fd(), NAMES_MAX, &path)?.names {
        let lasts = parts(&mark).is_some_and(|(_, expires_us, id)| {
            let file = crate::directory::file_of(id);
            expires_us > now_us
                && rustix::fs::statat(bus, file.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
        });
        if !lasts {
            let _ = unlinkat(&inbox, mark.as_str(), AtFlags::empty());
        }
    }
    Ok(())
}

/// Returns the name of a mark: recipient, end in µs, id. No address has a `+` or a comma.
fn mark_of(recipient: &str, envelope: &Envelope) -> Option<String> {
    let expires_us = parse_utc(&envelope.expires_at).ok()?;
    Some(format!("{},{expires_us},{}", recipient.replace('/', "+"), envelope.id))
}

pub(crate) fn parts(mark: &str) -> Option<(String, i64, &str)> {
    let (to, rest) = mark.split_once(',')?;
    let (expires_us, id) = rest.split_once(',')?;
    Some((to.replace('+', "/"), expires_us.parse().ok()?, id))
}
