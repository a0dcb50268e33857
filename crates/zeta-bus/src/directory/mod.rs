//! The bus directory: messages as the original tool stores them, and the files of `zeta` below
//! `.zeta`.
//!
//! A message is published by a rename out of `.zeta/tmp`, so no reader finds half of one.
//! Everything else below `.zeta` is derived: the index of the messages ([`index`]) and the logs of
//! deliveries ([`delivery_log`]). The index can be removed at any time and is built again. Where
//! `.zeta` cannot be made, as on a full disk, messages are read without it.

pub mod delivery_log;
pub mod index;
pub mod legacy_lock;

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, fchmod, fstat, openat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use zeta_core::bus::{ENVELOPE_MAX, is_id};
use zeta_core::layout;

use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::write_temp;
use zeta_os::flock::lock_within;
use zeta_os::open_beneath::DIRECTORY;
use zeta_state::directory::create::{self, publish_dir};
use zeta_state::directory::purpose::BUS;
use zeta_state::directory::tree::{Bytes, read};
use zeta_state::directory::trusted_dir::{Sharing, TrustedDir, open_inner};

/// The directory of `zeta`'s own files.
pub(crate) const INNER: &str = ".zeta";
/// Below it: messages that are not published yet.
const TEMPS: &str = "tmp";
/// Below it: the marks of unread messages.
pub(crate) const INBOX: &str = "inbox";
/// Below it: who is in which channel.
pub(crate) const CHANNELS: &str = "channels";
/// Below it: what waits for mail to wake an agent.
pub(crate) const ARMED: &str = "armed";
/// Below it: what was sent to other nodes, and what came from them.
pub(crate) const CLUSTER: &str = "cluster";
/// Below it: messages of other nodes that have no name in the bus yet.
const INCOMING: &str = "incoming";
/// Below it: dead letters.
const DEAD: &str = "dead";
/// Below it: the changes of a state directory that were published last.
const CHANGES: &str = "changes";
/// Most bytes of a file in it.
const CHANGES_MAX: usize = 64 << 20;
/// The suffix of a message's file.
pub const SUFFIX: &str = ".json";
/// Most names of a bus that are read.
pub const NAMES_MAX: usize = 200_000;

/// An opened and checked bus directory.
#[derive(Debug)]
pub struct Bus {
    /// The directory itself.
    pub base: TrustedDir,
    /// The directory of `zeta`'s own files, or why it cannot be made.
    inner: Result<OwnedFd>,
    /// The directory of messages that are not published yet, once it was opened.
    temps: OnceCell<OwnedFd>,
}

/// Returns whether a file of this name may be a message: the original reads every `.json` file. Its
/// own notes in the same directory are none.
fn is_message_name(file: &str) -> bool {
    let note = file.starts_with("seen-") || file == "assignment-history.json";
    file.ends_with(SUFFIX) && !note
}

/// Returns the id of the message in this file; `None` if the name is not that of a message.
pub fn id_of(file: &str) -> Option<&str> {
    let id = file.strip_suffix(SUFFIX).filter(|_| is_message_name(file))?;
    is_id(id).then_some(id)
}

/// Returns the file of a message.
pub fn file_of(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

impl Bus {
    /// Opens the bus; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Bus>> {
        match zeta_state::directory::open(path, &BUS)? {
            Some(base) => Bus::complete(base).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the bus or creates a private one.
    pub fn open_or_create(path: &Path) -> Result<Bus> {
        if let Some(bus) = Bus::open(path)? {
            return Ok(bus);
        }
        create::refuse_creation(path, &BUS)?;
        let base = create::create_private(path, INNER, &BUS, |_, _| Ok(()))?;
        Bus::complete(base)
    }

    fn complete(base: TrustedDir) -> Result<Bus> {
        let path = base.path.join(INNER);
        let inner = match open_inner(base.as_fd(), INNER, &base, || path.clone())? {
            Some((inner, _)) => Ok(inner),
            None => sub(base.as_fd(), INNER, &base, &path),
        };
        Ok(Bus { base, inner, temps: OnceCell::new() })
    }

    /// Opens the directory once more: what is locked by this descriptor is locked for the others
    /// of this process, too.
    fn open_again(&self) -> rustix::io::Result<OwnedFd> {
        openat(&self.base, c".", DIRECTORY, Mode::empty())
    }

    /// Returns whether the directory that is open has this inode number.
    fn is_open_as(&self, named: &Stat) -> bool {
        let same = |opened: Stat| (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino);
        fstat(&self.base).is_ok_and(same)
    }

    /// Checks that the path still leads to this directory: it may have been moved away or removed,
    /// or another file system was mounted over it.
    pub fn check_place(&self) -> Result<()> {
        let path = &self.base.path;
        let what = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.base.identity => return Ok(()),
            // The identity of a directory on an overlay is not its inode number.
            Ok(stat) if self.is_open_as(&stat) => return Ok(()),
            Ok(stat) if stat.st_dev != self.base.identity.0 => {
                "another file system was mounted there"
            }
            Ok(_) => "another directory is there now",
            Err(Errno::NOENT | Errno::NOTDIR) => "it was moved away or removed",
            Err(errno) => return Err(Error::io("cannot look at", path, errno)),
        };
        Err(Error::not_safe(path, format!("{what} while this call used the bus"))
            .hint("start it again: it then uses the directory that is there"))
    }

    /// Returns the path of a file of the bus.
    pub fn path(&self, file: &str) -> PathBuf {
        self.base.path.join(file)
    }

    /// Opens a directory below `.zeta`, and creates it if it is missing.
    pub(super) fn inner(&self, name: &str) -> Result<OwnedFd> {
        let path = self.base.path.join(INNER).join(name);
        sub(self.inner.as_ref().map_err(Error::clone)?.as_fd(), name, &self.base, &path)
    }

    /// Opens a directory below `.zeta`, if it is there.
    pub(crate) fn inner_if_there(&self, name: &str) -> Result<Option<OwnedFd>> {
        let Ok(inner) = &self.inner else { return Ok(None) };
        let path = || self.base.path.join(INNER).join(name);
        Ok(open_inner(inner.as_fd(), name, &self.base, path)?.map(|(dir, _)| dir))
    }

    /// Reads the file of a message; `None` if it is gone.
    pub fn read(&self, file: &str) -> Result<Option<Bytes>> {
        read(self.base.as_fd(), file, ENVELOPE_MAX, &self.base, || self.path(file))
    }

    /// Publishes a message: it appears whole, or not at all. Returns the modification time of its
    /// file in µs, which orders messages of one timestamp: the kernel's own is the same for all
    /// files of a tick.
    pub fn publish(&self, id: &str, text: &str) -> Result<i64> {
        let temps = match self.temps.get() {
            Some(temps) => temps,
            None => {
                let temps = self.inner(TEMPS)?;
                self.temps.get_or_init(|| temps)
            }
        };
        let path = self.path(&file_of(id));
        let now_us = zeta_os::host::wall_us();
        write_temp(temps.as_fd(), id, text.as_bytes(), self.base.sharing.file_mode())
            .and_then(|()| set_modified(temps, id, now_us))
            .and_then(|()| {
                let (file, flags) = (file_of(id), RenameFlags::NOREPLACE);
                renameat_with(temps, id, &self.base, file.as_str(), flags)
            })
            .map_err(|errno| {
                let _ = unlinkat(temps, id, AtFlags::empty());
                Error::below("cannot store the message", &path, errno)
            })?;
        Ok(now_us)
    }

    /// Returns whether there is a file of this message.
    pub fn has(&self, id: &str) -> bool {
        statat(&self.base, file_of(id).as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Writes the file of a message that came from another node, which nobody may write. It has no
    /// name in the bus yet.
    pub(crate) fn prepare_incoming(&self, id: &str, bytes: &[u8], mtime_us: i64) -> Result<()> {
        let dir = self.inner(INCOMING)?;
        let mode = Mode::from_raw_mode(self.base.sharing.file_mode().as_raw_mode() & !0o222);
        let _ = unlinkat(&dir, id, AtFlags::empty());
        write_temp(dir.as_fd(), id, bytes, mode)
            .and_then(|()| set_modified(&dir, id, mtime_us))
            .map_err(|errno| {
                let _ = unlinkat(&dir, id, AtFlags::empty());
                let path = self.path(INNER).join(INCOMING).join(id);
                Error::below("cannot store the message", &path, errno)
            })
    }

    /// Gives such a file its name in the bus, unless there is one of that name.
    pub(crate) fn name_incoming(&self, id: &str) -> Result<()> {
        let (dir, file) = (self.inner(INCOMING)?, file_of(id));
        match renameat_with(&dir, id, &self.base, file.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::EXIST) => {
                let _ = unlinkat(&dir, id, AtFlags::empty());
                Ok(())
            }
            Err(errno) => Err(Error::below("cannot store the message", &self.path(&file), errno)),
        }
    }

    /// Names the files that a killed call left without a name, if they are listed; the others go.
    pub(crate) fn finish_incoming(&self, is_listed: impl Fn(&str) -> bool) -> Result<()> {
        let dir = self.inner(INCOMING)?;
        let path = self.path(INNER).join(INCOMING);
        for id in zeta_os::files::list(dir.as_fd(), NAMES_MAX, &path)?.names {
            match is_listed(&id) {
                true => self.name_incoming(&id)?,
                false => _ = unlinkat(&dir, id.as_str(), AtFlags::empty()),
            }
        }
        Ok(())
    }

    /// Removes a message; false if it was gone.
    pub fn remove(&self, id: &str) -> Result<bool> {
        match unlinkat(&self.base, file_of(id).as_str(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::io("cannot remove", &self.path(&file_of(id)), errno)),
        }
    }

    /// Moves a message that was not delivered to the dead letters; false if it was gone.
    pub fn move_to_dead_letters(&self, id: &str) -> Result<bool> {
        let dead = self.inner(DEAD)?;
        let file = file_of(id);
        match renameat(&self.base, file.as_str(), &dead, file.as_str()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                Err(Error::io("cannot move to the dead letters", &self.path(&file), errno))
            }
        }
    }

    /// Returns the dead letters, by file name.
    pub fn dead_letters(&self) -> Result<Vec<(String, Bytes)>> {
        let Some(dead) = self.inner_if_there(DEAD)? else { return Ok(Vec::new()) };
        let path = self.base.path.join(INNER).join(DEAD);
        let mut found = Vec::new();
        for file in zeta_os::files::list(dead.as_fd(), NAMES_MAX, &path)?.names {
            let at = || path.join(&file);
            if let Ok(Some(bytes)) = read(dead.as_fd(), &file, ENVELOPE_MAX, &self.base, at) {
                found.push((file, bytes));
            }
        }
        Ok(found)
    }

    /// Removes a dead letter.
    pub fn remove_dead_letter(&self, file: &str) -> Result<()> {
        let dead = self.inner(DEAD)?;
        let path = self.base.path.join(INNER).join(DEAD).join(file);
        unlinkat(&dead, file, AtFlags::empty())
            .map_err(|errno| Error::io("cannot remove", &path, errno))
    }

    /// Reads the changes of a node that were published last.
    pub fn published_changes(&self, node: &str) -> Result<String> {
        let dir = self.inner(CHANGES)?;
        let path = || self.base.path.join(INNER).join(CHANGES).join(node);
        let text = read(dir.as_fd(), node, CHANGES_MAX, &self.base, path)?;
        Ok(String::from_utf8_lossy(&text.map(|text| text.bytes).unwrap_or_default()).into_owned())
    }

    /// Writes down the changes of a node that were published.
    pub fn remember_changes(&self, node: &str, text: &str) -> Result<()> {
        let dir = self.inner(CHANGES)?;
        replace(dir.as_fd(), node, text.as_bytes(), self.base.sharing.file_mode()).map_err(
            |errno| {
                let path = self.base.path.join(INNER).join(CHANGES).join(node);
                Error::io("cannot write", &path, errno)
            },
        )
    }

    /// Removes unfinished files of killed calls that are older than a minute; returns how many.
    pub fn sweep(&self, now_us: i64) -> Result<usize> {
        let mut swept = sweep(self.as_fd(), &self.base.path, false, now_us)?;
        for name in [TEMPS, DEAD, CHANGES, delivery_log::SEEN] {
            let path = self.base.path.join(INNER).join(name);
            if let Some(dir) = self.inner_if_there(name)? {
                swept += sweep(dir.as_fd(), &path, name == TEMPS, now_us)?;
            }
        }
        Ok(swept)
    }

    /// Locks the publishing of changes; waits for another process for at most `limit`.
    pub fn enter_changes(&self, limit: Duration) -> Result<OwnedFd> {
        let dir = self.inner(CHANGES)?;
        lock_within(&dir, limit).map_err(|errno| {
            let path = self.base.path.join(INNER).join(CHANGES);
            let error = Error::io("cannot lock", &path, errno);
            match errno {
                Errno::WOULDBLOCK => Error { kind: Kind::Busy, ..error }
                    .hint("another process is publishing the changes of a state directory"),
                _ => error,
            }
        })?;
        Ok(dir)
    }
}

impl AsFd for Bus {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.base.as_fd()
    }
}

/// Removes old unfinished files from a directory: all files, or those with the name of a temp.
fn sweep(dir: BorrowedFd<'_>, path: &Path, all: bool, now_us: i64) -> Result<usize> {
    let mut names = zeta_os::files::list(dir, NAMES_MAX, path)?.names;
    names.retain(|name| all || name.starts_with(layout::TEMP_PREFIX));
    let old = |name: &String| {
        let stat = statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| zeta_os::files::times(&stat).ctime_us < now_us - 60_000_000)
    };
    let gone = |name: &String| unlinkat(dir, name.as_str(), AtFlags::empty()).is_ok();
    Ok(names.iter().filter(|name| old(name) && gone(name)).count())
}

/// Sets the modification time of a file.
fn set_modified(dir: &OwnedFd, name: &str, us: i64) -> rustix::io::Result<()> {
    let time =
        Timespec { tv_sec: us.div_euclid(1_000_000), tv_nsec: us.rem_euclid(1_000_000) * 1000 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a directory below `dir`, and creates it if it is missing.
fn sub(dir: BorrowedFd<'_>, name: &str, base: &TrustedDir, path: &Path) -> Result<OwnedFd> {
    if let Some((fd, _)) = open_inner(dir, name, base, || path.to_owned())? {
        return Ok(fd);
    }
    publish_dir(dir, name, base, path)?;
    let opened = open_inner(dir, name, base, || path.to_owned())?;
    Ok(opened.ok_or_else(|| Error::not_safe(path, "it vanishes at once"))?.0)
}

/// Opens a file of the bus with `flags`, which may create it. The members of a group's bus can
/// write it, whatever the umask of its creator was.
pub(crate) fn open_file(
    dir: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
    sharing: Sharing,
) -> rustix::io::Result<OwnedFd> {
    let mode = sharing.file_mode();
    let fd = openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?;
    match sharing {
        Sharing::Private => Ok(fd),
        // A file of another member has its mode already.
        Sharing::Group { .. } => match fchmod(&fd, mode) {
            Ok(()) | Err(Errno::PERM) => Ok(fd),
            Err(errno) => Err(errno),
        },
    }
}

/// Replaces a small file below a directory as a whole.
pub(crate) fn replace(
    dir: BorrowedFd<'_>,
    name: &str,
    content: &[u8],
    mode: Mode,
) -> rustix::io::Result<()> {
    let temp = format!("{}{}", layout::TEMP_PREFIX, zeta_os::host::try_random_hex()?);
    let put = write_temp(dir, &temp, content, mode)
        .and_then(|()| renameat(dir, temp.as_str(), dir, name));
    if put.is_err() {
        let _ = unlinkat(dir, temp.as_str(), AtFlags::empty());
    }
    put
}
