//! The critical section of one record: an flock on its guard directory.
//!
//! Every change of a record happens in here, and is committed by a rename out of the guard. If the
//! guard was removed meanwhile, that rename fails by itself; if it was replaced, the identity check
//! finds it. The kernel frees the flock of a process that dies, so nothing has to be cleaned up and
//! nothing can go stale. `docs/concurrency.md` has the proof.

mod memory;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, RawDir, RenameFlags, flock, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;
use zeta_core::layout;

use crate::directory::copied::refuse_copied;
use crate::directory::create::publish_dir;
use crate::directory::tree::{Bytes, Node, read};
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::{list, write_temp};
use zeta_os::flock::lock_within;
use zeta_os::lock_owner::flock_holder;
use zeta_os::process;

/// How long a call waits for a critical section, which other processes leave after microseconds.
pub const ENTER_LIMIT: Duration = Duration::from_secs(5);

/// How long a renewer waits for a critical section: it has other work to do, and tries again soon.
pub const RENEWER_LIMIT: Duration = Duration::from_millis(200);

/// An opened and checked guard. A process that waits for a lease, or holds it for a while, enters
/// it more than once and need not open it again each time.
#[derive(Debug)]
pub struct Guard {
    fd: OwnedFd,
    identity: (u64, u64),
    /// The token file, once it was opened.
    token_file: RefCell<Option<OwnedFd>>,
    /// Orphans were swept already.
    swept: Cell<bool>,
    /// A temp's name is this number and a count, so it is unique.
    random: u128,
    temps: Cell<u32>,
}

/// An entered critical section; dropping it leaves.
#[derive(Debug)]
pub struct Section<'a> {
    base: &'a TrustedDir,
    node: &'a Node,
    file: Cow<'a, str>,
    guard: Rc<Guard>,
    /// Names in the guard that have no use any more.
    trash: RefCell<Vec<String>>,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Explicitly: a child that was forked in here shares the descriptor.
        let _ = flock(&self.guard.fd, FlockOperation::Unlock);
        // Nobody needs to wait for this. A file that is left over here is an orphan like any other.
        for temp in self.trash.take() {
            let _ = unlinkat(&self.guard.fd, temp, AtFlags::empty());
        }
    }
}

impl AsFd for Section<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.guard.fd.as_fd()
    }
}

/// A directory whose files a section changes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// The opened directory.
    pub dir: BorrowedFd<'p>,
    /// Its path.
    pub path: &'p Path,
    /// Its device and inode, if the name of the guard does not vouch for it.
    pub identity: Option<(u64, u64)>,
}

/// Enters the critical section of `file`, and creates its guard if there is none.
///
/// # Errors
/// [`Kind::Busy`] after `limit`, naming the process inside; [`Kind::Unsafe`] if the guard was
/// replaced.
pub fn enter<'a>(
    base: &'a TrustedDir,
    node: &'a Node,
    file: impl Into<Cow<'a, str>>,
    limit: Duration,
) -> Result<Section<'a>> {
    let file = file.into();
    match try_enter(base, node, file.clone(), limit)? {
        Some(section) => Ok(section),
        None => {
            make_guard(base, node, &file)?;
            try_enter(base, node, file.clone(), limit)?
                .ok_or_else(|| Error::not_safe(&guard_path(node, &file), "it vanishes at once"))
        }
    }
}

/// Enters the critical section of `file`; `None` if it has no guard.
pub fn try_enter<'a>(
    base: &'a TrustedDir,
    node: &'a Node,
    file: impl Into<Cow<'a, str>>,
    limit: Duration,
) -> Result<Option<Section<'a>>> {
    let file = file.into();
    let relative = format!("{}/{file}", layout::GUARDS);
    let path = || node.path.join(&relative);
    let Some((fd, stat)) = open_inner(node.as_fd(), &relative, base, path)? else {
        // A copy never has a guard.
        refuse_copied(node)?;
        return Ok(None);
    };
    let identity = (stat.st_dev, stat.st_ino);
    let random = zeta_os::host::random()?;
    let (token_file, swept, temps) = Default::default();
    let guard = Rc::new(Guard { fd, identity, token_file, swept, random, temps });
    enter_again(base, node, file, guard, limit).map(Some)
}

/// Enters the critical section of `file` by a guard that was opened before.
///
/// # Errors
/// As [`enter`]; [`Kind::Unsafe`] also if the guard was removed since: the caller may open it
/// again.
pub fn enter_again<'a>(
    base: &'a TrustedDir,
    node: &'a Node,
    file: impl Into<Cow<'a, str>>,
    guard: Rc<Guard>,
    limit: Duration,
) -> Result<Section<'a>> {
    let file = file.into();
    lock(&guard, limit, &|| guard_path(node, &file))?;
    let section = Section { base, node, file, guard, trash: RefCell::default() };
    section.check_identity(false)?;
    Ok(section)
}

fn guard_path(node: &Node, file: &str) -> PathBuf {
    node.path.join(layout::GUARDS).join(file)
}

fn make_guard(base: &TrustedDir, node: &Node, file: &str) -> Result<()> {
    let path = node.path.join(layout::GUARDS);
    let guards = match open_inner(node.as_fd(), layout::GUARDS, base, || path.clone())? {
        Some((fd, _)) => fd,
        None => {
            publish_dir(node.as_fd(), layout::GUARDS, base, &path)?;
            let opened = open_inner(node.as_fd(), layout::GUARDS, base, || path.clone())?;
            opened.ok_or_else(|| Error::not_safe(&path, "it vanishes at once"))?.0
        }
    };
    publish_dir(guards.as_fd(), file, base, &path.join(file))
}

/// How long the caller spins for a section that is occupied: other processes leave it after
/// microseconds, and a waiter that was woken by a release arrives a moment before the releasing
/// process leaves. Even the shortest sleep lasts longer than that, and a yield on a busy machine
/// takes a millisecond.
const SPIN: Duration = Duration::from_micros(60);

/// Takes the flock within `limit`: spins for a moment, then sleeps for short times.
fn lock(guard: &Guard, limit: Duration, path: &impl Fn() -> PathBuf) -> Result<()> {
    let attempt = || lock_within(&guard.fd, Duration::ZERO);
    let mut locked = attempt();
    if locked == Err(Errno::WOULDBLOCK) {
        let started = Instant::now();
        while locked == Err(Errno::WOULDBLOCK) && started.elapsed() < SPIN.min(limit) {
            // Not more often: to leave, the holder needs the same lock inside the kernel.
            (0..64).for_each(|_| std::hint::spin_loop());
            locked = attempt();
        }
        if locked == Err(Errno::WOULDBLOCK) {
            locked = lock_within(&guard.fd, limit.saturating_sub(started.elapsed()));
        }
        if locked == Err(Errno::WOULDBLOCK) {
            return Err(busy(&path(), guard.identity, started.elapsed()));
        }
    }
    locked.map_err(|errno| Error::io("cannot lock", &path(), errno))
}

fn busy(path: &Path, identity: (u64, u64), waited: Duration) -> Error {
    let text = format!(
        "{}: another process has been inside this record's critical section for more than {:.1} s",
        path.display(),
        waited.as_secs_f64()
    );
    let error = Error::new(Kind::Busy, text);
    match flock_holder(identity) {
        Some(pid) => {
            let (name, state) = process::describe(pid).unwrap_or(("?".to_owned(), '?'));
            let error = error.hint(format!("process {pid} ({name}, state {state}) is inside"));
            match state {
                'T' | 't' => error.hint(format!("it is stopped: kill -CONT {pid}, or kill it")),
                _ => error.hint("a fenced command may run there: wait for it, or end it"),
            }
        }
        None => error.doctor_hint("try again; if it lasts, see 'zeta doctor'"),
    }
}

/// Returns the record files that have a guard.
pub fn guarded(base: &TrustedDir, node: &Node) -> Result<Vec<String>> {
    let path = node.path.join(layout::GUARDS);
    match open_inner(node.as_fd(), layout::GUARDS, base, || path.clone())? {
        Some((guards, _)) => Ok(list(guards.as_fd(), layout::ENTRIES_MAX, &path)?.names),
        None => Ok(Vec::new()),
    }
}

/// Reads what the guard of `file` remembers, without entering it: the highest token ever granted,
/// and the note about the last break by force.
pub fn peek(base: &TrustedDir, node: &Node, file: &str) -> Result<(u64, Option<Bytes>)> {
    let relative = format!("{}/{file}", layout::GUARDS);
    let path = || node.path.join(&relative);
    let Some((fd, _)) = open_inner(node.as_fd(), &relative, base, path)? else {
        return Ok((0, None));
    };
    let small = |name: &str, max| read(fd.as_fd(), name, max, base, || path().join(name));
    let highest = small(layout::TOKEN_FILE, layout::LINE_MAX)?.map(|file| file.bytes);
    let text = highest.map(|bytes| String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0));
    Ok((text.unwrap_or(0), small(layout::BROKEN, layout::RECORD_MAX)?))
}

/// Checks that a directory which this process opened still has its name.
fn check_name(path: &Path, identity: (u64, u64), committed: bool) -> Result<()> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if (stat.st_dev, stat.st_ino) == identity => Ok(()),
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            let effect =
                if committed { "the change does not count" } else { "the record is unchanged" };
            let text = format!("it was removed or replaced while it was in use; {effect}");
            Err(Error::not_safe(path, text)
                .hint("another program removes files below the state directory: stop it")
                .doctor_hint("a cleaner of /tmp? see 'zeta doctor' for the tmpfiles.d line"))
        }
        Err(errno) => {
            let error = Error::io("cannot look at", path, errno);
            Err(if committed {
                error.hint("the change may count all the same: check before you repeat it")
            } else {
                error
            })
        }
    }
}

impl Guard {
    fn temp_name(&self) -> String {
        let count = self.temps.get();
        self.temps.set(count.wrapping_add(1));
        format!("{}{:032x}-{count}", layout::TEMP_PREFIX, self.random)
    }
}

impl Section<'_> {
    fn file(&self) -> &str {
        &self.file
    }

    /// Checks that the guard that this process holds still has its name. The whole path is
    /// compared: a node that was moved away works as before below its descriptor, while other
    /// processes create and use a new one. After a commit, an error means that the change may not
    /// count.
    fn check_identity(&self, committed: bool) -> Result<()> {
        check_name(&self.path(), self.guard.identity, committed)
    }

    /// Reads the record; `None` if there is none.
    pub fn read(&self, max: usize) -> Result<Option<Bytes>> {
        self.node.read(self.base, self.file(), max)
    }

    /// Writes `text` as the record. `replaces` says whether the caller saw a record before.
    ///
    /// After an error the old record is whole; after a failed identity check the new one may be in
    /// its place, and grants nothing.
    pub fn publish(&self, text: &str, replaces: bool) -> Result<()> {
        self.publish_in(&self.node_place(), self.file(), text, replaces)
    }

    /// As [`Section::publish`], for a file of another directory that belongs to this record.
    pub fn publish_in(
        &self,
        place: &Place<'_>,
        file: &str,
        text: &str,
        replaces: bool,
    ) -> Result<()> {
        if let Err(errno) = self.put(place.dir, file, text, replaces) {
            let path = place.path.join(file);
            return Err(match errno {
                Errno::NOENT => self.check_place(place, false).err().unwrap_or_else(|| {
                    Error::not_safe(&path, "another program removed it meanwhile")
                        .hint("repeat the command")
                }),
                Errno::EXIST => {
                    Error::not_safe(&path, "another program put a file there meanwhile")
                        .hint("repeat the command")
                }
                errno => Error::io("cannot write", &path, errno).hint("the record is unchanged"),
            });
        }
        self.check_place(place, true)
    }

    /// Writes a file of another directory, and does not look whether the guard still has its name.
    pub fn put(
        &self,
        dir: BorrowedFd<'_>,
        file: &str,
        text: &str,
        replaces: bool,
    ) -> std::result::Result<(), Errno> {
        if !self.guard.swept.replace(true) {
            self.sweep();
        }
        let temp = self.guard.temp_name();
        let mode = self.base.sharing.file_mode();
        let committed = write_temp(self.guard.fd.as_fd(), &temp, text.as_bytes(), mode)
            .and_then(|()| self.rename(&temp, dir, file, replaces));
        if committed.is_err() {
            let _ = unlinkat(&self.guard.fd, temp.as_str(), AtFlags::empty());
        }
        committed
    }

    fn node_place(&self) -> Place<'_> {
        Place { dir: self.node.as_fd(), path: &self.node.path, identity: None }
    }

    fn check_place(&self, place: &Place<'_>, committed: bool) -> Result<()> {
        self.check_identity(committed)?;
        match place.identity {
            Some(identity) => check_name(place.path, identity, committed),
            None => Ok(()),
        }
    }

    fn rename(
        &self,
        temp: &str,
        dir: BorrowedFd<'_>,
        file: &str,
        replaces: bool,
    ) -> std::result::Result<(), Errno> {
        if !replaces {
            return renameat_with(&self.guard.fd, temp, dir, file, RenameFlags::NOREPLACE);
        }
        if !self.base.exchange {
            return renameat(&self.guard.fd, temp, dir, file);
        }
        match renameat_with(&self.guard.fd, temp, dir, file, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL) => renameat(&self.guard.fd, temp, dir, file),
            Err(errno) => Err(errno),
            Ok(()) => {
                self.trash.borrow_mut().push(temp.to_owned());
                Ok(())
            }
        }
    }

    /// Removes the record by a rename into the guard. If the guard was removed, the rename fails,
    /// where an unlink would remove the next holder's record.
    pub fn remove(&self) -> Result<()> {
        self.remove_in(&self.node_place(), self.file())
    }

    /// As [`Section::remove`], for a file of another directory that belongs to this record.
    pub fn remove_in(&self, place: &Place<'_>, file: &str) -> Result<()> {
        match self.take_in(place.dir, file) {
            Ok(()) | Err(Errno::NOENT) => self.check_place(place, true),
            Err(errno) => Err(Error::io("cannot remove", &place.path.join(file), errno)),
        }
    }

    /// Gives a file of another directory that belongs to this record another name.
    pub fn rename_in(&self, place: &Place<'_>, from: &str, to: &str) -> Result<()> {
        renameat_with(place.dir, from, place.dir, to, RenameFlags::NOREPLACE)
            .map_err(|errno| Error::io("cannot rename", &place.path.join(from), errno))?;
        self.check_place(place, true)
    }

    /// Moves the file `name` of `dir` into the guard, where it is removed on leaving.
    pub fn take_in(&self, dir: BorrowedFd<'_>, name: &str) -> std::result::Result<(), Errno> {
        let temp = self.guard.temp_name();
        renameat(dir, name, &self.guard.fd, temp.as_str())?;
        self.trash.borrow_mut().push(temp);
        Ok(())
    }

    /// Removes temps that a killed process left: under the flock no other process can be writing
    /// one.
    fn sweep(&self) {
        let mut buffer = Vec::with_capacity(2048);
        let mut entries = RawDir::new(&self.guard.fd, buffer.spare_capacity_mut());
        // One buffer is enough for any guard in order; the next sweep finds the rest.
        loop {
            match entries.next() {
                Some(Ok(entry))
                    if entry.file_name().to_bytes().starts_with(layout::TEMP_PREFIX.as_bytes()) =>
                {
                    let _ = unlinkat(&self.guard.fd, entry.file_name(), AtFlags::empty());
                }
                Some(Ok(_)) => {}
                _ => return,
            }
            if entries.is_buffer_empty() {
                return;
            }
        }
    }

    /// Removes one of the [`Section::orphans`].
    pub fn remove_orphan(&self, temp: &str) -> std::result::Result<(), Errno> {
        unlinkat(&self.guard.fd, temp, AtFlags::empty())
    }

    /// Lists the names of temps that a killed process left; [`Section::sweep`] removes the same.
    pub fn orphans(&self) -> Result<Vec<String>> {
        let path = guard_path(self.node, self.file());
        let listing = list(self.guard.fd.as_fd(), layout::ENTRIES_MAX, &path)?;
        let temps = listing.names.into_iter().filter(|n| n.starts_with(layout::TEMP_PREFIX));
        Ok(temps.collect())
    }

    /// Lets a forked child keep the flock while it lives, even if this process is killed.
    pub fn keep_over_exec(&self) -> Result<()> {
        rustix::io::fcntl_setfd(&self.guard.fd, rustix::io::FdFlags::empty())
            .map_err(|errno| Error::io("cannot share", &guard_path(self.node, self.file()), errno))
    }

    /// Returns the path of the guard.
    pub fn path(&self) -> PathBuf {
        guard_path(self.node, self.file())
    }

    /// Returns the base of the tree that this section belongs to.
    pub fn base(&self) -> &TrustedDir {
        self.base
    }

    /// Returns the node that this section belongs to.
    pub fn node(&self) -> &Node {
        self.node
    }

    /// Returns the guard, to enter it again.
    pub fn guard(&self) -> Rc<Guard> {
        self.guard.clone()
    }
}
