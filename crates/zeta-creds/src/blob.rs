//! One small file on a FAT partition that has to be there after a power cut: saved beside its
//! predecessor, loaded with it.
//!
//! FAT has no journal. A rename only marks the moved file's entry as changed in memory, while the
//! clusters of the file that it replaced are free at once; flushing the directory does not write
//! that entry, flushing the *renamed file* does. So the order is: write a temp, flush it, rename,
//! flush the file once more, flush the directory. `cargo xtask cuts` cuts the power while this
//! runs, and convicts the order without the second flush. Before that the valid file is copied to
//! its backup in the same way, so that at each moment one of the two is whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    Advice, AtFlags, CWD, FileType, Mode, OFlags, fadvise, fstat, fsync, openat, renameat, statat,
};
use rustix::io::Errno;

use zeta_core::creds::frame::BLOB_MAX;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::open_beneath::RECORD;
use zeta_os::temp_file;
use zeta_os::temp_file::read_up_to;

/// No blob is longer, in bytes.
pub const MAX: usize = BLOB_MAX;
/// The longest time that a save of bytes that are there already waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);
const PREFIX: &str = ".zeta-blob-";

/// The result of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The result for the file that stood there before.
    pub before: Before,
    /// Temps of killed saves that were removed.
    pub swept: usize,
    /// True on a FAT file system, as an ESP is; otherwise the ESP may not be mounted there.
    pub on_fat: bool,
}

/// The result for the file that stood there before a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// No file was there.
    None,
    /// The file was valid, and is the backup now.
    KeptAsBackup,
    /// The file was not valid, for this reason: it was replaced, and an older backup stayed.
    NotValid(String),
}

/// Both files of a blob.
#[derive(Debug)]
pub struct Loaded {
    /// The file itself; to be tried first.
    pub current: Found,
    /// Its backup, which is one save older.
    pub backup: Found,
    /// The path of the backup.
    pub backup_path: PathBuf,
}

/// The content under a name.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Something that cannot be read, and why.
    Unreadable(Error),
}

/// The path of the backup of a blob: `zeta-creds.bak` beside `zeta-creds.enc`.
pub fn backup_path(path: &Path) -> PathBuf {
    path.with_extension("bak")
}

/// A blob whose directory is locked: no other save comes between what is read and what is saved
/// while this lives. The kernel frees the lock when its holder ends.
#[derive(Debug)]
pub struct Held {
    dir: OwnedFd,
    name: String,
    backup: String,
    path: PathBuf,
}

/// Locks the directory of a blob, and waits for another holder for at most `patience`.
///
/// # Errors
/// The directory is not there; another save holds it all the time; the name is that of a backup or
/// of a note, which a save of another blob would replace.
pub fn hold(path: &Path, patience: Duration) -> Result<Held> {
    let (dir, name, backup) = open_place(path)?;
    let taken = |what: &str| {
        Error::usage(format!(
            "{}: that is the name of {what}; the blob needs another one, as in zeta-creds.enc",
            path.display()
        ))
    };
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("factor")) {
        return Err(taken("the note about a factor"));
    }
    let backup = backup.ok_or_else(|| taken("the backup"))?;
    lock_within(&dir, patience).map_err(|errno| match errno {
        Errno::AGAIN => {
            let dir = path.parent().unwrap_or(path).display().to_string();
            let seconds = patience.as_secs();
            let text = format!("{}: another save holds {dir} since {seconds} s", path.display());
            Error::new(Kind::Busy, text).hint(format!("see who: lslocks, or: fuser -v {dir}"))
        }
        errno => Error::io("cannot lock the directory of", path, errno),
    })?;
    Ok(Held { dir, name, backup, path: path.to_owned() })
}

impl Held {
    /// Saves `bytes` as the file. `valid` judges what stands there: only a valid file becomes the
    /// backup. When this returns, the bytes are on the disk, and were read back.
    ///
    /// # Errors
    /// The disk is full or read-only, say. The old file or its backup is whole then.
    pub fn save(&self, bytes: &[u8], valid: &dyn Fn(&[u8]) -> bool) -> Result<Saved> {
        let (dir, path) = (self.dir.as_fd(), self.path.as_path());
        let swept = temp_file::sweep(dir, PREFIX, path);
        let before = match read(dir, &self.name, path) {
            Found::Nothing => Before::None,
            Found::Unreadable(error) => Before::NotValid(error.text),
            Found::Bytes(old) if valid(&old) => {
                replace(dir, &self.backup, &old, &backup_path(path))?;
                Before::KeptAsBackup
            }
            Found::Bytes(_) => Before::NotValid("its content is not valid".to_owned()),
        };
        replace(dir, &self.name, bytes, path)?;
        Ok(Saved { before, swept, on_fat: temp_file::is_fat(&self.dir) })
    }
}

/// Locks, and saves as [`Held::save`] does.
///
/// # Errors
/// Those of [`hold`] and of [`Held::save`].
pub fn save(path: &Path, bytes: &[u8], valid: &dyn Fn(&[u8]) -> bool) -> Result<Saved> {
    hold(path, PATIENCE)?.save(bytes, valid)
}

/// Gives a small file beside the blob these bytes, in the same order, without a backup.
///
/// # Errors
/// As [`Held::save`].
pub fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let (dir, name, _) = open_place(path)?;
    temp_file::sweep(dir.as_fd(), PREFIX, path);
    replace(dir.as_fd(), &name, bytes, path)
}

/// Reads the blob and its backup; what has the name of a backup has none itself.
///
/// # Errors
/// The directory is not there. A fault of one file stands in its [`Found`].
pub fn load(path: &Path) -> Result<Loaded> {
    let (dir, name, backup) = open_place(path)?;
    let backup_path = backup_path(path);
    Ok(Loaded {
        current: read(dir.as_fd(), &name, path),
        backup: match backup {
            Some(backup) => read(dir.as_fd(), &backup, &backup_path),
            None => Found::Nothing,
        },
        backup_path,
    })
}

/// The directory, and the names of the blob and of its backup in it; no second one for a backup.
fn open_place(path: &Path) -> Result<(OwnedFd, String, Option<String>)> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (Some(file), Some(backup)) = (name(path), name(&backup_path(path))) else {
        return Err(Error::usage(format!("{}: not the name of a file", path.display())));
    };
    // FAT folds the case of names.
    let backup = (!file.eq_ignore_ascii_case(&backup)).then_some(backup);
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, dir, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => {
            Error::new(Kind::NotFound, format!("{}: there is no such directory", dir.display()))
                .hint(format!("is the stick's ESP mounted? look: findmnt {}", dir.display()))
        }
        errno => Error::io("cannot open", dir, errno),
    })?;
    Ok((fd, file, backup))
}

fn read(dir: BorrowedFd<'_>, name: &str, path: &Path) -> Found {
    let fd = match openat(dir, name, RECORD, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Found::Nothing,
        Err(errno) => return Found::Unreadable(Error::open("cannot open", path, errno)),
    };
    match read_open(&fd, path, MAX) {
        Ok(bytes) => Found::Bytes(bytes),
        Err(error) => Found::Unreadable(error),
    }
}

/// Reads another file, whatever kind and size it has: a plain one of at most `max` bytes, or
/// nothing.
///
/// # Errors
/// The file is no such one, or cannot be read.
pub fn get(path: &Path, max: usize) -> Result<Option<Vec<u8>>> {
    match openat(CWD, path, RECORD - OFlags::NOFOLLOW, Mode::empty()) {
        Ok(fd) => read_open(&fd, path, max).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::open("cannot open", path, errno)),
    }
}

fn read_open(fd: &OwnedFd, path: &Path, max: usize) -> Result<Vec<u8>> {
    let cannot = |errno| Error::io("cannot read", path, errno);
    let stat = fstat(fd).map_err(cannot)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::not_safe(path, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // The size is only a promise; what is read counts.
    if stat.st_size <= max as i64 {
        read_up_to(fd, max, &mut bytes).map_err(cannot)?;
    }
    if stat.st_size > max as i64 || bytes.len() > max {
        Err(Error::not_safe(path, format!("it has more than {max} bytes")))
    } else {
        Ok(bytes)
    }
}

/// Gives `name` these bytes, so that after a power cut it has them or its old ones.
fn replace(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], path: &Path) -> Result<()> {
    let cannot = |errno| cannot_save(path, errno);
    // Root could replace anything: a device, or a link that other processes follow.
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if FileType::from_raw_mode(there.st_mode) != FileType::RegularFile => {
            return Err(Error::not_safe(path, "what stands there is not a regular file")
                .hint("it was left as it is: give another place"));
        }
        _ => {}
    }
    let temp = temp_file::make(dir, PREFIX, bytes, Mode::from_raw_mode(0o600)).map_err(cannot)?;
    if let Err(errno) = renameat(dir, temp.name.as_str(), dir, name) {
        let _ = rustix::fs::unlinkat(dir, temp.name.as_str(), AtFlags::empty());
        return Err(cannot(errno));
    }
    // On FAT this, and not the directory's flush, writes the entry under the new name.
    fsync(&temp.fd).and_then(|()| fsync(dir)).map_err(cannot)?;
    // The check reads from the disk, as far as the kernel drops its own copy.
    let _ = fadvise(&temp.fd, 0, None, Advice::DontNeed);
    match read(dir, name, path) {
        Found::Bytes(back) if back == bytes => Ok(()),
        Found::Unreadable(error) => Err(error),
        _ => Err(Error::new(
            Kind::Fault,
            format!("{}: what was written does not read back", path.display()),
        )
        .hint("the stick may be worn out: see 'dmesg', and save to another one")),
    }
}

fn cannot_save(path: &Path, errno: Errno) -> Error {
    let error = Error::io("cannot save", path, errno);
    match errno {
        Errno::ROFS => Error { hints: Vec::new(), ..error }.hint(format!(
            "its file system is read-only: mount -o remount,rw {}",
            path.parent().unwrap_or(path).display()
        )),
        _ => error,
    }
}
