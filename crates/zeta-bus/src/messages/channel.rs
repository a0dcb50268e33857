//! Channels: which agents are in one, as files below `.zeta/channels` that anyone can list.
//!
//! The file `<channel>,<agent>` says that the agent is in the channel, and its modification time
//! since when. A message to a channel is one file, as any other.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, statat, unlinkat};
use rustix::io::Errno;
use zeta_core::bus::{Channel, Reader};

use super::check_surface;
use crate::directory::delivery_log::{name_of, surface_of};
use crate::directory::{Bus, CHANNELS, INNER, NAMES_MAX, open_file};
use zeta_os::error::{Error, Result};
use zeta_os::files::{list, times};
use zeta_os::host::wall_us;

/// How long an agent that has no record stays in a channel, in µs.
const UNKNOWN_MAX_US: i64 = 24 * 3_600_000_000;

/// Puts an agent into a channel; false if it is in there already.
pub fn join(dir: &Path, agent: &str, channel: &Channel) -> Result<bool> {
    check_surface(agent)?;
    let bus = Bus::open_or_create(dir)?;
    let channels = bus.inner(CHANNELS)?;
    let file = file_of(channel, agent);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    match open_file(channels.as_fd(), &file, flags, bus.base.sharing) {
        Ok(_) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => {
            let path = bus.path(INNER).join(CHANNELS).join(file);
            Err(Error::io("cannot join the channel: cannot make", &path, errno))
        }
    }
}

/// Takes an agent out of a channel; false if it is not in there.
pub fn leave(dir: &Path, agent: &str, channel: &Channel) -> Result<bool> {
    check_surface(agent)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(false) };
    let Some(channels) = bus.inner_if_there(CHANNELS)? else { return Ok(false) };
    let file = file_of(channel, agent);
    match unlinkat(&channels, file.as_str(), AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => {
            let path = bus.path(INNER).join(CHANNELS).join(file);
            Err(Error::io("cannot leave the channel: cannot remove", &path, errno))
        }
    }
}

/// Returns the agents in a channel, sorted.
pub fn members(bus: &Bus, channel: &Channel) -> Result<Vec<String>> {
    Ok(all(bus)?.remove(channel.as_str()).unwrap_or_default())
}

/// Returns the channels of a bus, each with the agents in it.
pub fn all(bus: &Bus) -> Result<BTreeMap<String, Vec<String>>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names(bus)? {
        if let Some((channel, agent)) = parts(&name) {
            all.entry(channel.as_str().to_owned()).or_default().push(agent);
        }
    }
    all.values_mut().for_each(|agents| agents.sort());
    Ok(all)
}

/// Returns an agent as a reader: its name and the channels that it is in.
pub fn reader(bus: &Bus, agent: &str) -> Result<Reader> {
    let mut reader = Reader::named(agent);
    let Some(channels) = bus.inner_if_there(CHANNELS)? else { return Ok(reader) };
    for name in names(bus)? {
        let Some((channel, _)) = parts(&name).filter(|(_, member)| member == agent) else {
            continue;
        };
        if let Ok(stat) = statat(&channels, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            reader.channels.push((channel.as_str().to_owned(), times(&stat).mtime_us));
        }
    }
    Ok(reader)
}

/// Takes those agents out of all channels that are not `known` and joined more than a day ago.
pub(crate) fn sweep(bus: &Bus, known: impl Fn(&str) -> bool) -> Result<()> {
    let Some(channels) = bus.inner_if_there(CHANNELS)? else { return Ok(()) };
    for name in names(bus)? {
        let Some((_, agent)) = parts(&name) else { continue };
        let is_old = |us: i64| us < wall_us() - UNKNOWN_MAX_US;
        let stat = statat(&channels, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| is_old(times(&stat).mtime_us)) && !known(&agent) {
            let _ = unlinkat(&channels, name.as_str(), AtFlags::empty());
        }
    }
    Ok(())
}

fn names(bus: &Bus) -> Result<Vec<String>> {
    let Some(channels) = bus.inner_if_there(CHANNELS)? else { return Ok(Vec::new()) };
    Ok(list(channels.as_fd(), NAMES_MAX, &bus.path(INNER).join(CHANNELS))?.names)
}

/// The file of an agent in a channel. No name of a channel has a comma.
fn file_of(channel: &Channel, agent: &str) -> String {
    format!("{},{}", channel.name(), name_of(agent))
}

fn parts(file: &str) -> Option<(Channel, String)> {
    let (channel, agent) = file.split_once(',')?;
    Some((Channel::new(&format!("#{channel}")).ok()?, surface_of(agent)?))
}
