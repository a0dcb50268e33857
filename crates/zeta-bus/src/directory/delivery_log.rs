//! The log of deliveries: one file per subscriber, as the original keeps it, and one of our own
//! below `.zeta`.
//!
//! Ours grows by a line with each delivery, so that a delivery costs one small write however many
//! there are. The original's file is an array and is written once, at the end. The original's
//! `clean --expired` removes it, after which everything would be delivered again; our log survives
//! that, and also counts failed deliveries.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeta_core::bus::{Address, Means, Woken, is_id};

use super::{Bus, replace};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::lock_owner::flock_holder;
use zeta_state::directory::tree::read;

/// The directory below `.zeta` with the logs of all subscribers.
pub(super) const SEEN: &str = "seen";
/// Most bytes of one log.
const SEEN_MAX: usize = 16 << 20;

/// The state of a message at one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The message was delivered.
    Delivered,
    /// A hook gave it to the subscriber's tool, for its model.
    Handed,
    /// The subscriber read it by its id.
    Read,
    /// The subscriber's handler failed so many times.
    Failed(u32),
    /// The subscriber was given it, and did not take it.
    PutBack,
}

/// The log of one subscriber; while it is open, no other process changes it.
#[derive(Debug)]
pub struct DeliveryLog<'a> {
    bus: &'a Bus,
    /// What the subscriber is called in names of files.
    name: String,
    dir: OwnedFd,
    _lock: OwnedFd,
    /// The log below `.zeta`, once something was added to it.
    file: Option<OwnedFd>,
    states: BTreeMap<String, Delivery>,
    woken: BTreeMap<String, Woken>,
    /// The ids in the original's file, in its order.
    ids: Vec<String>,
    /// The ids that the original's file does not have yet.
    unsaved: bool,
    /// The log must be written anew, because its last line has no end.
    torn: bool,
}

/// Returns whether the text is a valid name of a subscriber: an address, or a name by the
/// original's rule `[a-z0-9_-]{1,64}`.
pub fn is_surface(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    Address::new(text).is_ok() || ((1..=64).contains(&text.len()) && text.bytes().all(good))
}

/// What a subscriber is called in names of files. The letters that are exchanged are in no address.
pub(crate) fn name_of(surface: &str) -> String {
    surface.replace('/', "+").replace('.', ",")
}

/// The subscriber whose log has this name.
pub(crate) fn surface_of(name: &str) -> Option<String> {
    let surface = name.replace('+', "/").replace(',', ".");
    (is_surface(&surface) && name_of(&surface) == name).then_some(surface)
}

fn file_of(name: &str) -> String {
    format!("seen-{name}.json")
}

impl<'a> DeliveryLog<'a> {
    /// Opens the log of a subscriber, and waits for another process in it for at most `limit`. Only
    /// one process at a time may deliver to a subscriber.
    pub fn enter(bus: &'a Bus, surface: &str, limit: Duration) -> Result<DeliveryLog<'a>> {
        let dir = bus.inner(SEEN)?;
        let name = name_of(surface);
        let file = format!("{name}.lock");
        let path = bus.path(super::INNER).join(SEEN).join(&file);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let lock = super::open_file(dir.as_fd(), &file, flags, bus.base.sharing)
            .map_err(|errno| Error::io("cannot open", &path, errno))?;
        match lock_within(&lock, limit) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let stat = rustix::fs::fstat(&lock).ok();
                let holder = stat.and_then(|stat| flock_holder((stat.st_dev, stat.st_ino)));
                let who =
                    holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                let text = format!("{surface}: {who} already delivers its messages");
                return Err(Error::new(Kind::Busy, text)
                    .hint("one process per subscriber, or messages would be handled twice"));
            }
            Err(errno) => return Err(Error::io("cannot lock", &path, errno)),
        }
        let Loaded { states, woken, ids, torn } = load(bus, Some(&dir), &name)?;
        let known: HashSet<&String> = ids.iter().collect();
        let unsaved = states.iter().any(|(id, state)| state.is_done() && !known.contains(id));
        let (file, _lock) = (None, lock);
        Ok(DeliveryLog { bus, name, dir, _lock, file, states, woken, ids, unsaved, torn })
    }

    /// Returns the state of a message; `None` if it was not delivered yet.
    pub fn of(&self, id: &str) -> Option<Delivery> {
        self.states.get(id).copied()
    }

    /// Returns how many messages the log knows.
    #[expect(clippy::len_without_is_empty, reason = "no caller needs it")]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns whether a message was used to wake the subscriber.
    pub fn has_woken(&self, id: &str) -> bool {
        self.woken.contains_key(id)
    }

    /// Writes the state of a message to disk at once, so that after a crash no message that was
    /// delivered before is delivered again. Call [`DeliveryLog::finish`] at the end.
    pub fn note(&mut self, id: &str, state: Delivery) -> Result<()> {
        let before = self.states.insert(id.to_owned(), state);
        self.unsaved |= state.is_done() && !before.is_some_and(Delivery::is_done);
        self.append(&line_of(id, state))
    }

    /// Writes to disk that a message is not delivered after all.
    pub fn put_back(&mut self, id: &str) -> Result<()> {
        self.note(id, Delivery::PutBack)?;
        let before = self.ids.len();
        self.ids.retain(|known| known != id);
        if before == self.ids.len() { Ok(()) } else { self.save_original() }
    }

    /// Writes to disk that a message is used to wake the subscriber.
    pub fn note_woken(&mut self, id: &str, woken: Woken) -> Result<()> {
        self.woken.insert(id.to_owned(), woken);
        self.append(&woken_line(id, woken))
    }

    fn append(&mut self, line: &str) -> Result<()> {
        if self.torn {
            return self.save_own();
        }
        let path = self.path();
        let cannot = |errno| Error::io("cannot write", &path, errno);
        if self.file.is_none() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
            let (dir, sharing) = (self.dir.as_fd(), self.bus.base.sharing);
            let opened = super::open_file(dir, &self.name, flags, sharing).map_err(cannot)?;
            self.file = Some(opened);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let written = rustix::io::write(file, line.as_bytes()).map_err(cannot)?;
        if written == line.len() {
            return Ok(());
        }
        self.torn = true;
        self.save_own()
    }

    /// Writes the original's file, if messages were delivered that it does not have.
    pub fn finish(&mut self) -> Result<()> {
        if !self.unsaved {
            return Ok(());
        }
        let known: HashSet<&String> = self.ids.iter().collect();
        let done = self.states.iter().filter(|(_, state)| state.is_done());
        let more: Vec<String> =
            done.map(|(id, _)| id).filter(|id| !known.contains(id)).cloned().collect();
        self.ids.extend(more);
        self.save_original()?;
        self.unsaved = false;
        Ok(())
    }

    /// Forgets messages that are gone.
    pub fn keep_only(&mut self, exists: impl Fn(&str) -> bool) -> Result<()> {
        let before = self.states.len() + self.ids.len();
        self.states.retain(|id, _| exists(id));
        self.woken.retain(|id, _| exists(id));
        self.ids.retain(|id| exists(id));
        if before == self.states.len() + self.ids.len() {
            Ok(())
        } else {
            self.save_original().and_then(|()| self.save_own())
        }
    }

    fn path(&self) -> PathBuf {
        self.bus.path(super::INNER).join(SEEN).join(&self.name)
    }

    fn save_original(&self) -> Result<()> {
        let file = file_of(&self.name);
        let text = serde_json::to_string_pretty(&self.ids).unwrap_or_default();
        replace(self.bus.as_fd(), &file, text.as_bytes(), self.bus.base.sharing.file_mode())
            .map_err(|errno| Error::io("cannot write", &self.bus.path(&file), errno))
    }

    fn save_own(&mut self) -> Result<()> {
        let states = self.states.iter().map(|(id, state)| line_of(id, *state));
        let woken = self.woken.iter().map(|(id, woken)| woken_line(id, *woken));
        let text: String = states.chain(woken).collect();
        let mode = self.bus.base.sharing.file_mode();
        replace(self.dir.as_fd(), &self.name, text.as_bytes(), mode)
            .map_err(|errno| Error::io("cannot write", &self.path(), errno))?;
        (self.file, self.torn) = (None, false);
        Ok(())
    }
}

impl Delivery {
    /// Returns whether the message is not delivered any more.
    pub fn is_done(self) -> bool {
        !matches!(self, Delivery::Failed(_) | Delivery::PutBack)
    }
}

fn line_of(id: &str, state: Delivery) -> String {
    match state {
        Delivery::Delivered => format!("{id} delivered\n"),
        Delivery::Handed => format!("{id} delivered hook\n"),
        Delivery::Read => format!("{id} read\n"),
        Delivery::Failed(times) => format!("{id} failed {times}\n"),
        Delivery::PutBack => format!("{id} unread\n"),
    }
}

/// Makes the line about a wake. Readers that do not know it skip it.
fn woken_line(id: &str, Woken { at_us, by }: Woken) -> String {
    format!("{id} woken {at_us} {}\n", by.word())
}

/// What the log of a subscriber says.
#[derive(Debug, Default)]
pub struct Peeked {
    /// The state of each message that was delivered or failed.
    pub states: BTreeMap<String, Delivery>,
    /// The messages that were used to wake the subscriber.
    pub woken: BTreeMap<String, Woken>,
}

/// Reads the log of a subscriber without locking it.
pub fn peek(bus: &Bus, surface: &str) -> Result<Peeked> {
    let dir = bus.inner_if_there(SEEN)?;
    let Loaded { states, woken, .. } = load(bus, dir.as_ref(), &name_of(surface))?;
    Ok(Peeked { states, woken })
}

/// Lists every subscriber that has a log.
pub fn surfaces(bus: &Bus) -> Result<Vec<String>> {
    let Some(dir) = bus.inner_if_there(SEEN)? else { return Ok(Vec::new()) };
    let path = bus.path(super::INNER).join(SEEN);
    let logs = zeta_os::files::list(dir.as_fd(), super::NAMES_MAX, &path)?;
    Ok(logs.names.iter().filter_map(|name| surface_of(name)).collect())
}

struct Loaded {
    states: BTreeMap<String, Delivery>,
    woken: BTreeMap<String, Woken>,
    /// The ids in the original's file.
    ids: Vec<String>,
    torn: bool,
}

fn load(bus: &Bus, dir: Option<&OwnedFd>, name: &str) -> Result<Loaded> {
    let (mut states, mut woken) = (BTreeMap::new(), BTreeMap::new());
    let file = file_of(name);
    let path = || bus.path(&file);
    let mut ids = Vec::new();
    if let Some(read) = read(bus.as_fd(), &file, SEEN_MAX, &bus.base, path)? {
        let value: serde_json::Value = serde_json::from_slice(&read.bytes).map_err(|error| {
            Error::not_safe(&path(), format!("it is not JSON: {error}"))
                .hint("it lists what was delivered; nothing is delivered until it is repaired")
                .hint(format!("to deliver everything again: rm {}", path().display()))
        })?;
        // As the original: JSON that is not an array counts as empty.
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        ids = all.iter().filter_map(|id| id.as_str()).map(str::to_owned).collect();
    }
    let mut bytes = Vec::new();
    if let Some(dir) = dir {
        let own = || bus.path(super::INNER).join(SEEN).join(name);
        let read = read(dir.as_fd(), name, SEEN_MAX, &bus.base, own)?;
        bytes = read.map(|read| read.bytes).unwrap_or_default();
    }
    let torn = !bytes.is_empty() && !bytes.ends_with(b"\n");
    let text = String::from_utf8_lossy(&bytes);
    // A line without an end was not written whole: it says nothing.
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    for line in whole {
        let mut words = line.split(' ');
        let Some(id) = words.next().filter(|id| is_id(id)) else { continue };
        let state = match words.next() {
            Some("delivered") if words.next() == Some("hook") => Delivery::Handed,
            Some("delivered") => Delivery::Delivered,
            Some("read") => Delivery::Read,
            Some("unread") => Delivery::PutBack,
            Some("failed") => {
                Delivery::Failed(words.next().and_then(|n| n.parse().ok()).unwrap_or(1))
            }
            Some("woken") => {
                let at_us = words.next().and_then(|us| us.parse().ok());
                if let (Some(at_us), Some(by)) = (at_us, words.next().and_then(Means::of)) {
                    woken.insert(id.to_owned(), Woken { at_us, by });
                }
                continue;
            }
            _ => continue,
        };
        states.insert(id.to_owned(), state);
    }
    for id in &ids {
        states.entry(id.clone()).or_insert(Delivery::Delivered);
    }
    Ok(Loaded { states, woken, ids, torn })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_file_of_its_own() {
        let mut names = Vec::new();
        for surface in ["otto-cli", "otto/cli", "otto/cli/1@n-1.x", "my.agent", "_x", "a.lock"] {
            assert!(is_surface(surface), "{surface}");
            let name = name_of(surface);
            assert!(!name.contains(['/', '.']), "{name}");
            assert_eq!(surface_of(&name).as_deref(), Some(surface));
            names.push(name);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
        for bad in ["", "*", "../x", "Otto", "a b", "a@b", ".x", "x+y", "x,y"] {
            assert!(!is_surface(bad), "{bad}");
        }
        assert!(["otto-cli.lock", "a.b", ".tmp-1"].iter().all(|name| surface_of(name).is_none()));
        assert!(is_surface(&format!("{}/x", "a.".repeat(60))));
    }
}
