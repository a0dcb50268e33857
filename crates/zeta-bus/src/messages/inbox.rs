//! The inbox of an agent: what it has not read yet, and how many messages that are, cheaply.
//!
//! A message to one recipient gets a mark below `.zeta/inbox` before `zeta` publishes it, and loses
//! it when it is delivered or read. So a count costs one listing of that directory, and no message
//! is opened. It is a hint for people and not a promise: messages of other programs have no mark.
//! [`unread`] reads the messages themselves.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, unlinkat};
use zeta_core::bus::{Address, EVERYBODY, Envelope, topic};
use zeta_core::layout;
use zeta_core::time::parse_utc;

use super::{Filter, Listing, check_surface, list, read};
use crate::directory::delivery_log;
use crate::directory::{Bus, INBOX, INNER, NAMES_MAX, open_file};
use zeta_os::error::Result;
use zeta_os::host::wall_us;
use zeta_state::context::Context;
use zeta_state::directory::purpose::BUS;
use zeta_state::directory::trusted_dir::open_inner;

/// Topics of broadcasts that programs read: they would fill every inbox.
const FOR_PROGRAMS: [&str; 3] = [topic::CLAIM, "heartbeat", topic::STATE_CHANGE];

/// Returns the messages that an agent has not received or read yet, oldest first: those for it
/// alone, and broadcasts of other agents that people read.
pub fn unread(dir: &Path, agent: &str) -> Result<Listing> {
    check_surface(agent)?;
    let filter = Filter { to: Some(agent.to_owned()), ..Filter::default() };
    let mut listing = list(dir, &filter)?;
    if listing.messages.is_empty() {
        return Ok(listing);
    }
    let log = match Bus::open(dir)? {
        Some(bus) => delivery_log::peek(&bus, agent)?,
        None => BTreeMap::new(),
    };
    listing.messages.retain(|message| {
        let Envelope { id, from, to, topic, .. } = &message.envelope;
        let done = log.get(id).is_some_and(|state| state.is_done());
        let broadcast = to == EVERYBODY && (from == agent || FOR_PROGRAMS.contains(&&**topic));
        !done && !broadcast
    });
    Ok(listing)
}

/// Returns whether an agent of this name was here: it has a record on this node, or it has received
/// a message before.
pub fn is_known(ctx: &Context, dir: &Path, agent: &Address) -> Result<bool> {
    let persona = layout::persona_file(&agent.as_label());
    if let Some(handle) = ctx.find()?
        && handle.read(&persona, layout::PERSONA_MAX)?.is_some()
    {
        return Ok(true);
    }
    let Some(bus) = Bus::open(dir)? else { return Ok(false) };
    Ok(!delivery_log::peek(&bus, agent.as_str())?.is_empty())
}

/// Records that an agent has read these messages.
pub fn mark_read(dir: &Path, agent: &str, ids: &[&str]) -> Result<()> {
    ids.iter().try_for_each(|id| read(dir, id, Some(agent)).map(|_| ()))
}

/// Counts the marks of unread messages, by recipient. Where no answer can be had, there is none.
pub fn counts(dir: &Path) -> BTreeMap<String, usize> {
    let names = || -> Result<Vec<String>> {
        let Some(base) = zeta_state::directory::open(dir, &BUS)? else { return Ok(Vec::new()) };
        let path = dir.join(INNER).join(INBOX);
        let inbox = format!("{INNER}/{INBOX}");
        let opened = open_inner(base.as_fd(), &inbox, &base, || path.clone())?;
        let Some((inbox, _)) = opened else { return Ok(Vec::new()) };
        Ok(zeta_os::files::list(inbox.as_fd(), NAMES_MAX, &path)?.names)
    };
    let (mut counts, now_us) = (BTreeMap::new(), wall_us());
    for mark in names().unwrap_or_default() {
        if let Some((to, expires_us, _)) = parts(&mark)
            && expires_us > now_us
        {
            *counts.entry(to).or_insert(0) += 1;
        }
    }
    counts
}

/// Marks a message to one recipient as unread.
pub(super) fn mark(bus: &Bus, envelope: &Envelope) {
    if envelope.to == EVERYBODY {
        return;
    }
    let mark = || -> Option<()> {
        let inbox = bus.inner(INBOX).ok()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        open_file(inbox.as_fd(), &mark_of(envelope)?, flags, bus.base.sharing).ok().map(|_| ())
    };
    // A message without a mark is found all the same.
    let _ = mark();
}

/// Removes the mark of a message that its recipient has received.
pub(super) fn unmark(bus: &Bus, envelope: &Envelope) {
    if envelope.to == EVERYBODY {
        return;
    }
    if let (Ok(inbox), Some(mark)) = (bus.inner(INBOX), mark_of(envelope)) {
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
fn mark_of(envelope: &Envelope) -> Option<String> {
    let expires_us = parse_utc(&envelope.expires_at).ok()?;
    Some(format!("{},{expires_us},{}", envelope.to.replace('/', "+"), envelope.id))
}

fn parts(mark: &str) -> Option<(String, i64, &str)> {
    let (to, rest) = mark.split_once(',')?;
    let (expires_us, id) = rest.split_once(',')?;
    Some((to.replace('+', "/"), expires_us.parse().ok()?, id))
}
