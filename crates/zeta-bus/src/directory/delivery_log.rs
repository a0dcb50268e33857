//! The log of deliveries: one file per subscriber, as the original keeps it, and a copy below
//! `.zeta`.
//!
//! The original's `clean --expired` removes its `seen-*.json`, after which everything would be
//! delivered again; the copy survives that, and also counts failed deliveries.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeta_core::bus::is_id;

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
    /// The subscriber read it by its id.
    Read,
    /// The subscriber's handler failed so many times.
    Failed(u32),
}

/// The log of one subscriber; while it is open, no other process changes it.
#[derive(Debug)]
pub struct DeliveryLog<'a> {
    bus: &'a Bus,
    surface: String,
    dir: OwnedFd,
    _lock: OwnedFd,
    states: BTreeMap<String, Delivery>,
    /// The ids in the original's file, in its order.
    ids: Vec<String>,
}

/// Returns whether the text is a valid name of a subscriber, by the original's rule
/// `[a-z0-9_-]{1,64}`.
pub fn is_surface(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

fn file_of(surface: &str) -> String {
    format!("seen-{surface}.json")
}

impl<'a> DeliveryLog<'a> {
    /// Opens the log of a subscriber. Only one process at a time may deliver to it.
    pub fn enter(bus: &'a Bus, surface: &str) -> Result<DeliveryLog<'a>> {
        let dir = bus.inner(SEEN)?;
        let name = format!("{surface}.lock");
        let path = bus.path(super::INNER).join(SEEN).join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let lock = super::open_file(dir.as_fd(), &name, flags, bus.base.sharing)
            .map_err(|errno| Error::io("cannot open", &path, errno))?;
        match lock_within(&lock, Duration::ZERO) {
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
        let (states, ids) = load(bus, &dir, surface)?;
        Ok(DeliveryLog { bus, surface: surface.to_owned(), dir, _lock: lock, states, ids })
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

    /// Writes the state of a message to disk at once, so that after a crash nothing is delivered
    /// twice.
    pub fn note(&mut self, id: &str, state: Delivery) -> Result<()> {
        self.states.insert(id.to_owned(), state);
        if !matches!(state, Delivery::Failed(_)) && !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
            self.save_original()?;
        }
        self.save_copy()
    }

    /// Forgets messages that are gone.
    pub fn keep_only(&mut self, exists: impl Fn(&str) -> bool) -> Result<()> {
        let before = self.states.len() + self.ids.len();
        self.states.retain(|id, _| exists(id));
        self.ids.retain(|id| exists(id));
        if before == self.states.len() + self.ids.len() {
            Ok(())
        } else {
            self.save_original().and_then(|()| self.save_copy())
        }
    }

    fn save_original(&self) -> Result<()> {
        let file = file_of(&self.surface);
        let text = serde_json::to_string_pretty(&self.ids).unwrap_or_default();
        replace(self.bus.as_fd(), &file, text.as_bytes(), self.bus.base.sharing.file_mode())
            .map_err(|errno| Error::io("cannot write", &self.bus.path(&file), errno))
    }

    fn save_copy(&self) -> Result<()> {
        let lines = self.states.iter().map(|(id, state)| match state {
            Delivery::Delivered => format!("{id} delivered\n"),
            Delivery::Read => format!("{id} read\n"),
            Delivery::Failed(times) => format!("{id} failed {times}\n"),
        });
        let text: String = lines.collect();
        let mode = self.bus.base.sharing.file_mode();
        replace(self.dir.as_fd(), &self.surface, text.as_bytes(), mode).map_err(|errno| {
            let path = self.bus.path(super::INNER).join(SEEN).join(&self.surface);
            Error::io("cannot write", &path, errno)
        })
    }
}

/// Reads the log of a subscriber without locking it.
pub fn peek(bus: &Bus, surface: &str) -> Result<BTreeMap<String, Delivery>> {
    let dir = bus.inner(SEEN)?;
    Ok(load(bus, &dir, surface)?.0)
}

/// Lists every subscriber that has a log.
pub fn surfaces(bus: &Bus) -> Result<Vec<String>> {
    let dir = bus.inner(SEEN)?;
    let path = bus.path(super::INNER).join(SEEN);
    let logs = zeta_os::files::list(dir.as_fd(), super::NAMES_MAX, &path)?;
    Ok(logs.names.into_iter().filter(|name| is_surface(name)).collect())
}

type Loaded = (BTreeMap<String, Delivery>, Vec<String>);

fn load(bus: &Bus, dir: &OwnedFd, surface: &str) -> Result<Loaded> {
    let mut states = BTreeMap::new();
    let file = file_of(surface);
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
    let copy = || -> PathBuf { bus.path(super::INNER).join(SEEN).join(surface) };
    let read = read(dir.as_fd(), surface, SEEN_MAX, &bus.base, copy)?;
    let text = read.map(|read| read.bytes).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut words = line.split(' ');
        let Some(id) = words.next().filter(|id| is_id(id)) else { continue };
        let state = match words.next() {
            Some("delivered") => Delivery::Delivered,
            Some("read") => Delivery::Read,
            Some("failed") => {
                Delivery::Failed(words.next().and_then(|n| n.parse().ok()).unwrap_or(1))
            }
            _ => continue,
        };
        states.insert(id.to_owned(), state);
    }
    for id in &ids {
        states.entry(id.clone()).or_insert(Delivery::Delivered);
    }
    Ok((states, ids))
}
