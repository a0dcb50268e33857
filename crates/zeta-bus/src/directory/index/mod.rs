//! The index of a bus: what was read before, so that a call does not read ten thousand messages to
//! look at one.
//!
//! Below `.zeta/index`, `names` has a line for every message that was read and where its text lies
//! in `pack`. `items/` has, for each item, the messages that concern its claims. `state` is a line
//! that says how much of `names` and `pack` is valid. All of it is changed under one flock, and
//! `state` last, so what a killed process leaves is not counted.
//!
//! *The directory decides which messages exist.* Every look lists its names: a message that is not
//! in `names` is read, and a line whose name is gone does not count. No modification time is used:
//! two changes within a tick of the kernel's clock may leave the same one. The index only saves
//! reading the files again. No program changes a message after it is whole.

mod items;
mod snapshot;
mod state;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{
    Access, AtFlags, FlockOperation, Mode, OFlags, Stat, accessat, flock, fstat, openat, statat,
};
use rustix::io::Errno;
use zeta_core::bus::claim::ClaimMessage;
use zeta_core::bus::{BadEnvelope, Envelope, FileSeen};

pub(super) use self::items::path_of_items;
use self::snapshot::{Extent, NO_MESSAGE};
pub use self::snapshot::{Message, Snapshot, Unread};
use self::state::{Batch, State};
use super::{Bus, file_of, id_of};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::lock_owner::flock_holder;
use zeta_os::{files, host};
use zeta_state::directory::tree;

/// How long a caller waits for the index, if it cannot do without it.
pub const INDEX_LIMIT: Duration = Duration::from_secs(5);

const INDEX: &str = "index";
const STATE: &str = "state";
const NAMES: &str = "names";
const PACK: &str = "pack";

/// Most bytes of a file of the index that are read.
const OWN_MAX: u64 = 1 << 30;
/// More bytes than the line of `state` has.
const STATE_MAX: u64 = 1 << 10;
/// The age, in µs, from which on a file that is not a message counts as one that never will be.
const BROKEN_AFTER_US: i64 = 10_000_000;
/// About as long is a line of `names`.
const NAME_LINE: u64 = 64;

/// How far a reader has read in the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    names: u64,
    epoch: u64,
}

/// The index, entered: no other process changes it meanwhile.
#[derive(Debug)]
pub struct Index<'a> {
    bus: &'a Bus,
    dir: OwnedFd,
    state: State,
    /// Files that may still be being written, as of the last look.
    pending: Vec<String>,
}

impl Drop for Index<'_> {
    fn drop(&mut self) {
        let _ = flock(&self.dir, FlockOperation::Unlock);
    }
}

impl<'a> Index<'a> {
    /// Enters the index, waiting for at most `limit`; `None` if another process was inside all the
    /// time.
    pub fn enter(bus: &'a Bus, limit: Duration) -> Result<Option<Index<'a>>> {
        let mut dir = bus.inner(INDEX)?;
        let path = bus.base.path.join(super::INNER).join(INDEX);
        let started = Instant::now();
        loop {
            match lock_within(&dir, limit.saturating_sub(started.elapsed())) {
                // A process that waited at one that was removed meanwhile goes to the new one.
                Ok(()) if fstat(&dir).is_ok_and(|stat| stat.st_nlink == 0) => {
                    dir = bus.inner(INDEX)?;
                }
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(Error::io("cannot lock", &path, errno)),
            }
        }
        let mut index = Index { bus, dir, state: State::default(), pending: Vec::new() };
        index.state = index.read_state();
        Ok(Some(index))
    }

    /// As [`Index::enter`]; it is an error if another process stays inside.
    pub fn enter_or_fail(bus: &'a Bus, limit: Duration) -> Result<Index<'a>> {
        Index::enter(bus, limit)?.ok_or_else(|| {
            let path = bus.base.path.join(super::INNER).join(INDEX);
            let open = bus.inner(INDEX).ok().and_then(|dir| fstat(dir).ok());
            let holder = open.and_then(|stat| flock_holder((stat.st_dev, stat.st_ino)));
            let who = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
            let text = format!("{}: {who} is inside for more than {limit:?}", path.display());
            Error::new(Kind::Busy, text).hint("try again; if it lasts, look for a stopped zeta")
        })
    }

    /// How many messages the bus had when it was looked at last.
    pub fn count(&self) -> u64 {
        self.state.count
    }

    /// Makes the index true: lists the directory, and reads every message that is not known yet.
    ///
    /// # Errors
    /// [`Kind::Unsafe`] if the directory has more names than are looked at: what was left out could
    /// be a claim.
    pub fn refresh(&mut self) -> Result<()> {
        match self.refresh_partly()? {
            true => Ok(()),
            false => Err(Error::not_safe(
                &self.bus.base.path,
                format!("it has more than {} names", super::NAMES_MAX),
            )
            .hint("remove messages whose time is over: zeta bus clean --expired")),
        }
    }

    /// As [`Index::refresh`], for a caller that can use a part of the names; false if it got a
    /// part.
    pub fn refresh_partly(&mut self) -> Result<bool> {
        let text = self.read_names(0)?;
        let mut known = text.as_deref().map(parse_names).unwrap_or_default();
        // Names that are long gone are left out as soon as they are the greater part.
        let too_long = self.state.names / NAME_LINE > 4 * known.len() as u64 + 256;
        if self.state.epoch == 0 || text.is_none() || too_long {
            self.begin_anew()?;
            known.clear();
        }
        let mut next = State { count: 0, ..self.state };
        let mut new = Vec::new();
        let whole = self.bus.each_name(|name| {
            let Ok(name) = name.to_str() else { return };
            match known.remove(name) {
                Some(extent) => next.count += u64::from(extent.len > 0),
                None if id_of(name).is_some() => new.push(name.to_owned()),
                None => {}
            }
        })?;
        let mut batch = Batch::default();
        // What is left was not listed: it is gone, unless not all was listed.
        known.keys().filter(|_| whole).for_each(|gone| batch.forget(gone));
        self.pending.clear();
        let now_us = host::wall_us();
        new.sort_unstable();
        for file in &new {
            self.take_in(file, now_us, &mut next, &mut batch)?;
        }
        self.save(&batch, &mut next)?;
        if next != self.state {
            self.write_state(next)?;
        }
        Ok(whole)
    }

    /// Forgets everything that was read; a cursor of before says nothing from here on.
    fn begin_anew(&mut self) -> Result<()> {
        // What is overwritten must not be believed if this process is killed meanwhile.
        let epoch = State::anew(host::random()?);
        self.write_state(State { epoch, ..State::default() })
    }

    /// Returns whether a file that cannot be read is at fault itself, so that it is not a message.
    /// A fault that passes must never hide a message, or a claim, for longer.
    fn no_message(&self, file: &str, error: Error) -> Result<Option<Stat>> {
        let stat = match statat(self.bus, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(_) => return Err(error),
        };
        let denied = || {
            let may = accessat(self.bus, file, Access::READ_OK, AtFlags::EACCESS);
            matches!(may, Err(Errno::ACCESS | Errno::PERM))
        };
        match tree::check_file(&stat, &self.bus.base).is_err() || denied() {
            true => Ok(Some(stat)),
            false => Err(error),
        }
    }

    /// Reads one message that is new.
    fn take_in(
        &mut self,
        file: &str,
        now_us: i64,
        next: &mut State,
        batch: &mut Batch,
    ) -> Result<()> {
        let Some(id) = id_of(file) else { return Ok(()) };
        let read = match self.bus.read(file) {
            Ok(None) => return Ok(()),
            Ok(Some(read)) => read,
            Err(error) => {
                let Some(stat) = self.no_message(file, error)? else { return Ok(()) };
                // It may be on its way, as one with a second link is while it is moved.
                match now_us - files::times(&stat).ctime_us < BROKEN_AFTER_US {
                    true => self.pending.push(file.to_owned()),
                    false => batch.add(next, file, &[], 0),
                }
                return Ok(());
            }
        };
        let mtime_us = read.times.mtime_us;
        match Envelope::parse(&read.bytes, id) {
            Ok(envelope) => {
                batch.add(next, file, &read.bytes, mtime_us);
                next.count += 1;
                let seen = FileSeen { mtime_us, now_us };
                if let Some(notice) = ClaimMessage::of(&envelope, seen) {
                    self.add_to_item(&notice)?;
                }
            }
            Err(error) => {
                // Half of a message may end in the midst of a letter.
                let written = matches!(error, BadEnvelope::NotJson(_) | BadEnvelope::NotUtf8);
                match written && now_us - read.times.ctime_us < BROKEN_AFTER_US {
                    true => self.pending.push(file.to_owned()),
                    false => batch.add(next, file, &[], mtime_us),
                }
            }
        }
        Ok(())
    }

    /// What came after `cursor`; everything from an empty cursor on. Call [`Index::refresh`]
    /// before.
    pub fn snapshot(&self, cursor: &mut Cursor) -> Result<Snapshot> {
        if cursor.epoch != self.state.epoch {
            *cursor = Cursor::default();
        }
        // Without them the messages would be missing in the answer.
        let text = self.read_names(cursor.names)?.ok_or_else(|| self.names_are_gone())?;
        let known = parse_names(&text);
        *cursor = Cursor { names: self.state.names, epoch: self.state.epoch };
        let texts = known.values().filter(|extent| extent.len > 0);
        let from = texts.map(|extent| extent.at).min().unwrap_or(self.state.pack);
        let mut snapshot = Snapshot {
            // Whatever is missing here is read from the messages themselves.
            pack: self
                .read_own(PACK, from, self.state.pack.saturating_sub(from))
                .unwrap_or_default(),
            from,
            extents: Vec::with_capacity(known.len()),
        };
        let pending = self.pending.iter().map(|file| (file.clone(), NO_MESSAGE));
        let mut unread = Vec::new();
        for (file, extent) in
            known.into_iter().map(|(file, extent)| (file.to_owned(), extent)).chain(pending)
        {
            // A file that was not a message when it was read can be one now; and a pack may be
            // longer than what is read of it.
            match extent.text(&snapshot.pack, from).is_empty() {
                true => unread.push(file),
                false => snapshot.extents.push((file, Ok(extent))),
            }
        }
        unread.into_iter().for_each(|file| snapshot.read_again(self.bus, file));
        Ok(snapshot)
    }

    /// Remembers a message that the caller published, so that no caller has to read it. The message
    /// is published whether the index can be written or not: the next look reads it then.
    pub fn remember(&mut self, envelope: &Envelope) {
        // Where nothing is known, the next look begins anew.
        if self.state.epoch > 0 {
            let _ = self.try_remember(envelope);
        }
    }

    fn try_remember(&mut self, envelope: &Envelope) -> Result<()> {
        let (mut next, mut batch, now_us) = (self.state, Batch::default(), host::wall_us());
        batch.add(&mut next, &file_of(&envelope.id), envelope.render().as_bytes(), now_us);
        next.count += 1;
        if let Some(notice) = ClaimMessage::of(envelope, FileSeen { mtime_us: now_us, now_us }) {
            self.add_to_item(&notice)?;
        }
        self.save(&batch, &mut next)?;
        self.write_state(next)
    }

    /// At most `len` bytes of a file of the index from a place on; one that is missing is empty.
    fn read_own(&self, name: &str, from: u64, len: u64) -> Result<Vec<u8>> {
        let path = || self.bus.base.path.join(super::INNER).join(INDEX).join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(Error::io("cannot open", &path(), errno)),
        };
        let mut bytes = vec![0; usize::try_from(len.min(OWN_MAX)).unwrap_or(0)];
        let mut got = 0;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&fd, rest, from + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("cannot read", &path(), errno)),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    /// The lines of `names` from a place on; `None` if some of them are missing, or if the last one
    /// has no end: the next line would be a part of it.
    fn read_names(&self, from: u64) -> Result<Option<String>> {
        let len = self.state.names.saturating_sub(from);
        if len == 0 {
            return Ok(Some(String::new()));
        }
        let bytes = self.read_own(NAMES, from, len)?;
        let is_whole = bytes.len() as u64 == len && bytes.ends_with(b"\n");
        Ok(String::from_utf8(bytes).ok().filter(|_| is_whole))
    }

    fn names_are_gone(&self) -> Error {
        let path = self.bus.base.path.join(super::INNER).join(INDEX).join(NAMES);
        let text = format!("{}: it was cut or removed during this call", path.display());
        Error::new(Kind::Fault, text).hint("try again: the next call builds the index anew")
    }

    /// Writes what a batch adds behind what is valid of `names` and `pack`.
    fn save(&self, batch: &Batch, next: &mut State) -> Result<()> {
        if batch.names.is_empty() {
            return Ok(());
        }
        self.write_at(PACK, next.pack - batch.pack.len() as u64, &batch.pack)?;
        self.write_at(NAMES, next.names, batch.names.as_bytes())?;
        next.names += batch.names.len() as u64;
        Ok(())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> Result<()> {
        let path = self.bus.base.path.join(super::INNER).join(INDEX).join(name);
        let cannot = |errno| Error::io("cannot write", &path, errno);
        // A FIFO without a reader is an error and no wait inside the index.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let sharing = self.bus.base.sharing;
        let fd = super::open_file(self.dir.as_fd(), name, flags, sharing).map_err(cannot)?;
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            match rustix::io::pwrite(&fd, rest, at) {
                Ok(0) => return Err(cannot(Errno::NOSPC)),
                Ok(len) => {
                    at += len as u64;
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(cannot(errno)),
            }
        }
        Ok(())
    }

    fn read_state(&self) -> State {
        let bytes = self.read_own(STATE, 0, STATE_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        State::parse(text.lines().next().unwrap_or_default()).unwrap_or_default()
    }

    fn write_state(&mut self, state: State) -> Result<()> {
        self.write_at(STATE, 0, state.render().as_bytes())?;
        self.state = state;
        Ok(())
    }
}

/// What lines of `names` say, the later one of each name.
fn parse_names(text: &str) -> HashMap<&str, Extent> {
    let mut known = HashMap::with_capacity(text.len() / NAME_LINE as usize);
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(name) = words.next() else { continue };
        let mut number = || words.next()?.parse::<i64>().ok();
        match (number().map(u64::try_from), number().map(u64::try_from), number()) {
            (Some(Ok(at)), Some(Ok(len)), Some(mtime_us)) => {
                known.insert(name, Extent { at, len, mtime_us });
            }
            _ => _ = known.remove(name),
        }
    }
    known
}
