//! The index of a bus: what was read before, so that a call does not read ten thousand messages to
//! look at one.
//!
//! Below `.zeta/index`, `names` has a line for every file that was read: where its text lies in
//! `pack`, and of which item's claims it speaks. `state` is a line that says how much of both is
//! valid. All of it is changed under one flock, and `state` last, so what a killed process leaves
//! is not counted.
//!
//! *The directory decides which messages exist.* Every look lists its names: a message that is not
//! in `names` is read, and a line whose name is gone does not count. No modification time is used:
//! two changes within a tick of the kernel's clock may leave the same one. The index only saves
//! reading the files again. No program changes a message after it is whole.
//!
//! *The index vouches for nothing.* `state` has the sum of `names`, and each line has the sum of
//! its text. A part that is missing, cut, older, or of another directory or boot is noticed, and
//! the files are read again. An index that cannot be written costs time and is not an error.

mod line;
mod names;
mod parts;
mod snapshot;
mod state;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, FlockOperation, Stat, accessat, flock, statat};
use rustix::io::Errno;
use zeta_core::bus::broken::{judge_broken, judge_file};
use zeta_core::bus::claim::{ClaimMessage, Said, judge_said};
use zeta_core::bus::item::Item;
use zeta_core::bus::{BadEnvelope, Envelope, FileSeen, text_of};
use zeta_core::sum::{add_line, hash};

use self::line::{About, Line, gone, parse_all, parse_claims};
use self::names::Names;
use self::parts::{NAMES, PACK, Parts};
pub use self::snapshot::{Cursor, FileOf, Message, Snapshot, Unread};
use self::state::{Owner, State};
use super::{Bus, file_of, id_of};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::lock_owner::flock_holder;
use zeta_os::{files, host};
use zeta_state::directory::tree;

/// How long a caller waits for the index, if it cannot do without it.
pub const INDEX_LIMIT: Duration = Duration::from_secs(5);

/// The age, in µs, from which on a file that is not a message counts as one that never will be.
const BROKEN_AFTER_US: i64 = 10_000_000;
/// About as long is a line of `names`.
const NAME_LINE: u64 = 80;

/// The index, entered: no other process changes it meanwhile.
#[derive(Debug)]
pub struct Index<'a> {
    bus: &'a Bus,
    /// The lock is on the directory of the bus: what is below `.zeta` can be removed at any time.
    lock: OwnedFd,
    owner: Owner,
    /// The files of the index; `None` where they cannot be had.
    parts: Option<Parts>,
    /// What is written.
    state: State,
    /// The lines of the last look.
    lines: String,
    /// The texts that the last look read, which the pack has from this place on.
    new: (u64, Vec<u8>),
    /// Files that have no line, because they may still be being written.
    loose: Vec<String>,
    /// A text in the pack was not what it should be.
    spoilt: Cell<bool>,
}

/// What a look adds to the index.
struct Look {
    next: State,
    lines: String,
    texts: Vec<u8>,
    now_us: i64,
}

/// What the files of a bus say about the claims of an item.
#[derive(Debug, Default)]
pub struct Claims {
    /// What is said of the item.
    pub messages: Vec<ClaimMessage>,
    /// Claims that cannot be read as they should.
    pub broken: Vec<BrokenClaim>,
}

/// A claim that cannot be read as it should.
#[derive(Debug)]
pub struct BrokenClaim {
    /// Its item, if that can be seen.
    pub item: Option<String>,
    /// Its file.
    pub file: Unread,
}

impl Drop for Index<'_> {
    fn drop(&mut self) {
        if self.spoilt.get() {
            let _ = self.write_state(State::default());
        }
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl<'a> Index<'a> {
    /// Enters the index, waiting for at most `limit`; `None` if another process was inside all the
    /// time.
    pub fn enter(bus: &'a Bus, limit: Duration) -> Result<Option<Index<'a>>> {
        let cannot = |errno| Error::below("cannot lock", &bus.base.path, errno);
        let lock = bus.open_again().map_err(cannot)?;
        match lock_within(&lock, limit) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(cannot(errno)),
        }
        let owner = Owner { directory: bus.base.identity, boot: host::boot_id() };
        let parts = Parts::open(bus);
        let line = parts.as_ref().map(Parts::read_state).unwrap_or_default();
        Ok(Some(Index {
            bus,
            lock,
            state: State::parse(&line, &owner).unwrap_or_default(),
            owner,
            parts,
            lines: String::new(),
            new: (0, Vec::new()),
            loose: Vec::new(),
            spoilt: Cell::new(false),
        }))
    }

    /// As [`Index::enter`]; it is an error if another process stays inside.
    pub fn enter_or_fail(bus: &'a Bus, limit: Duration) -> Result<Index<'a>> {
        let started = Instant::now();
        Index::enter(bus, limit)?.ok_or_else(|| {
            let holder = flock_holder(bus.base.identity);
            let who = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
            let path = bus.base.path.display();
            let waited = started.elapsed().as_secs();
            let text = format!("{path}: {who} is inside the index for more than {waited} s");
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
        let names = Names::list(&self.lock, &self.bus.base.path)?;
        self.loose.clear();
        self.new = (self.state.pack, Vec::new());
        let State { live, set, count, .. } = self.state;
        // A file that was no message can be one now.
        let same = names.whole && (names.count, names.set) == (live, set) && live == count;
        let text = match (same, self.read_names()) {
            (true, Some(text)) => {
                self.lines = text;
                return Ok(true);
            }
            (_, text) => text,
        };
        let mut known = text.as_deref().map(parse_all).unwrap_or_default();
        // Names that are long gone are left out as soon as they are the greater part.
        let too_long = self.state.names / NAME_LINE > 4 * known.len() as u64 + 256;
        let anew = self.state.epoch == 0 || text.is_none() || too_long;
        if anew {
            self.begin_anew()?;
            known.clear();
        }
        let mut look = Look {
            next: State { live: 0, set: 0, count: 0, ..self.state },
            lines: String::new(),
            texts: Vec::new(),
            now_us: host::wall_us(),
        };
        let mut unread = Vec::new();
        for name in names.iter() {
            match known.remove(name) {
                Some(line) if line.is_message() || self.is_as_it_was(name, &line) => {
                    look.keep(name, &line);
                }
                Some(_) => {
                    look.add_line(&gone(name));
                    unread.push(name);
                }
                None => unread.push(name),
            }
        }
        // What is left was not listed: it is gone, unless not all was listed.
        known.keys().filter(|_| names.whole).for_each(|name| look.add_line(&gone(name)));
        unread.sort_unstable();
        for name in unread {
            self.take_in(name, &mut look)?;
        }
        if !names.whole {
            // Names that are gone may still have lines: the next look compares again.
            look.next.live = u64::from(u32::MAX);
        }
        self.lines = if anew { String::new() } else { text.unwrap_or_default() };
        self.save(look);
        Ok(names.whole)
    }

    /// Returns whether a file that was no message is unchanged.
    fn is_as_it_was(&self, file: &str, line: &Line) -> bool {
        let stat = statat(self.bus, file, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| files::times(&stat).ctime_us == line.at)
    }

    /// Forgets everything that was read.
    fn begin_anew(&mut self) -> Result<()> {
        // What is overwritten must not be believed if this process is killed meanwhile.
        let state = State::anew(host::random()?);
        if self.write_state(state).is_err() {
            self.parts = None;
        }
        self.state = state;
        self.new.0 = 0;
        Ok(())
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

    /// Reads one file that is new.
    fn take_in(&mut self, file: &str, look: &mut Look) -> Result<()> {
        let (times, broken) = match self.bus.read(file) {
            Ok(None) => return Ok(()),
            Ok(Some(read)) => {
                let seen = seen_of(&read, look.now_us);
                let Some(id) = id_of(file) else {
                    self.loose.push(file.to_owned());
                    return Ok(());
                };
                match judge_file(&read.bytes, id, seen) {
                    (Ok(_), said) => {
                        let (text, at) = (text_of(&read.bytes), look.next.pack);
                        let about =
                            if seen.is_imported { About::Imported } else { About::of(&said) };
                        let line = Line::of_message(at, &text, seen.mtime_us, about);
                        look.add(file, &line);
                        look.add_text(&text);
                        return Ok(());
                    }
                    (Err(_), said) => (read.times, About::of(&said)),
                }
            }
            Err(error) => match self.no_message(file, error)? {
                Some(stat) => (files::times(&stat), About::Nothing),
                None => return Ok(()),
            },
        };
        // It may be on its way: half of it is written, or it has a second link while it is moved.
        if look.now_us.saturating_sub(times.ctime_us) < BROKEN_AFTER_US || id_of(file).is_none() {
            self.loose.push(file.to_owned());
        } else {
            let (at, mtime_us) = (times.ctime_us, times.mtime_us);
            look.add(file, &Line { at, len: 0, mtime_us, hash: 0, about: broken });
        }
        Ok(())
    }

    /// What the files say about the claims of an item. Call [`Index::refresh`] before.
    pub fn claims(&self, item: &Item, now_us: i64) -> Result<Claims> {
        let mut claims = self.claims_in(parse_claims(&self.lines, Some(item.digest())), now_us)?;
        let is_it = |about: &str| about == item.as_str();
        claims.messages.retain(|message| is_it(&message.item));
        claims.broken.retain(|broken| broken.item.as_deref().is_none_or(is_it));
        Ok(claims)
    }

    /// What the files say about the claims of all items. Call [`Index::refresh`] before.
    pub fn all_claims(&self, now_us: i64) -> Result<Claims> {
        self.claims_in(parse_claims(&self.lines, None), now_us)
    }

    fn claims_in(&self, lines: Vec<(&str, Line)>, now_us: i64) -> Result<Claims> {
        let mut claims = Claims::default();
        for (file, line) in lines {
            match line.is_message().then(|| self.text_in_pack(&line)).flatten() {
                Some(text) => {
                    let seen = FileSeen { mtime_us: line.mtime_us, now_us, is_imported: false };
                    self.hear(file, text.as_bytes(), seen, &mut claims);
                }
                None => self.hear_file(file, now_us, &mut claims)?,
            }
        }
        for file in &self.loose {
            self.hear_file(file, now_us, &mut claims)?;
        }
        Ok(claims)
    }

    fn text_in_pack(&self, line: &Line) -> Option<String> {
        let found = match u64::try_from(line.at).is_ok_and(|at| at >= self.new.0) {
            true => line.text_in(&self.new.1, self.new.0).map(str::to_owned),
            false => {
                let at = u64::try_from(line.at).ok()?;
                let bytes = self.parts.as_ref()?.read(PACK, at, line.len)?;
                line.text_in(&bytes, at).map(str::to_owned)
            }
        };
        self.spoilt.set(self.spoilt.get() || found.is_none());
        found
    }

    fn hear_file(&self, file: &str, now_us: i64, claims: &mut Claims) -> Result<()> {
        match self.bus.read(file) {
            Ok(Some(read)) if read.is_writable => {
                self.hear(file, &read.bytes, seen_of(&read, now_us), claims);
            }
            Ok(_) => {}
            Err(error) => _ = self.no_message(file, error)?,
        }
        Ok(())
    }

    fn hear(&self, file: &str, bytes: &[u8], seen: FileSeen, claims: &mut Claims) {
        let (envelope, said) = match id_of(file) {
            Some(id) => judge_file(bytes, id, seen),
            None => (Err(BadEnvelope::BadName), judge_broken(bytes, file, seen)),
        };
        let item = match said {
            Said::Nothing => return,
            Said::Untold => None,
            Said::Claim(message) => {
                let item = message.item.clone();
                claims.messages.push(*message);
                Some(item)
            }
        };
        let reason = match envelope {
            Ok(_) if item.is_some() => return,
            Ok(_) => "its payload names no item".to_owned(),
            Err(error) => error.to_string(),
        };
        claims.broken.push(BrokenClaim { item, file: Unread { file: file.to_owned(), reason } });
    }

    /// What came after `cursor`; everything from an empty cursor on. Call [`Index::refresh`]
    /// before.
    pub fn snapshot(&self, cursor: &mut Cursor) -> Snapshot {
        let lines = cursor.rest_of(&self.lines, self.state.epoch);
        let known = parse_all(lines);
        let end = self.new.0 + self.new.1.len() as u64;
        let places = known.values().filter(|line| line.is_message());
        let from = places.filter_map(|line| u64::try_from(line.at).ok()).min().unwrap_or(end);
        let stored = self.new.0.saturating_sub(from);
        let mut pack = match (&self.parts, stored) {
            (Some(parts), 1..) => parts.read(PACK, from, stored).unwrap_or_default(),
            _ => Vec::new(),
        };
        pack.resize(usize::try_from(stored).unwrap_or(0), 0);
        pack.extend_from_slice(&self.new.1);
        let mut snapshot = Snapshot { pack, from: from.min(self.new.0), extents: Vec::new() };
        let mut unread: Vec<&str> = self.loose.iter().map(String::as_str).collect();
        for (file, line) in known {
            if line.is_message() && snapshot.has(&line) {
                snapshot.extents.push((file.to_owned(), Ok(line)));
            } else {
                self.spoilt.set(self.spoilt.get() || line.is_message());
                unread.push(file);
            }
        }
        unread.into_iter().for_each(|file| snapshot.read_again(self.bus, file));
        snapshot
    }

    /// Remembers a message that the caller published, so that no caller has to read it. The message
    /// is published whether the index can be written or not: the next look reads it then.
    pub fn remember(&mut self, envelope: &Envelope, mtime_us: i64) {
        // Where nothing is known, the next look begins anew.
        if self.state.epoch == 0 {
            return;
        }
        let mut look = Look {
            next: self.state,
            lines: String::new(),
            texts: Vec::new(),
            now_us: host::wall_us(),
        };
        let (text, file) = (envelope.render(), file_of(&envelope.id));
        let seen = FileSeen { mtime_us, now_us: look.now_us, is_imported: false };
        let about = About::of(&judge_said(envelope, seen));
        look.add(&file, &Line::of_message(look.next.pack, &text, mtime_us, about));
        look.add_text(&text);
        self.new = (self.state.pack, Vec::new());
        self.save(look);
    }

    /// The lines of `names`, if they are those that the state speaks of.
    fn read_names(&self) -> Option<String> {
        let State { epoch, names, sum, .. } = self.state;
        let parts = self.parts.as_ref().filter(|_| epoch != 0)?;
        let bytes = match names {
            0 => Vec::new(),
            len => parts.read(NAMES, 0, len)?,
        };
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 == names)?;
        let found = text.split_inclusive('\n').fold(epoch, add_line);
        (found == sum).then_some(text)
    }

    /// Takes over what a look found, and writes it behind what is valid of `names` and `pack`.
    fn save(&mut self, look: Look) {
        let Look { next, lines, texts, .. } = look;
        let written = || {
            let parts = self.parts.as_ref()?;
            if !lines.is_empty() {
                parts.write(PACK, self.state.pack, &texts).ok()?;
                parts.write(NAMES, self.state.names, lines.as_bytes()).ok()?;
            }
            (next == self.state || self.write_state(next).is_ok()).then_some(())
        };
        // Where it cannot be written, the next call reads the files again.
        if written().is_none() {
            self.parts = None;
        }
        self.lines.push_str(&lines);
        self.new.1 = texts;
        self.state = next;
    }

    fn write_state(&self, state: State) -> rustix::io::Result<()> {
        let parts = self.parts.as_ref().ok_or(Errno::NOENT)?;
        parts.write_state(&state.render(&self.owner))
    }
}

fn seen_of(read: &tree::Bytes, now_us: i64) -> FileSeen {
    FileSeen { mtime_us: read.times.mtime_us, now_us, is_imported: !read.is_writable }
}

impl Look {
    /// Counts a file that has a line.
    fn keep(&mut self, file: &str, line: &Line) {
        self.next.live += 1;
        self.next.set = self.next.set.wrapping_add(hash(file.as_bytes()));
        self.next.count += u64::from(line.is_message());
    }

    fn add_line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.next.names += line.len() as u64;
        self.next.sum = add_line(self.next.sum, line);
    }

    fn add(&mut self, file: &str, line: &Line) {
        self.add_line(&line.render(file));
        self.keep(file, line);
    }

    fn add_text(&mut self, text: &str) {
        self.texts.extend_from_slice(text.as_bytes());
        self.next.pack += text.len() as u64;
    }
}
