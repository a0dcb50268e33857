//! The log of repairs: a line for each answer of the gate, in the directory of what outlives the
//! boot.
//!
//! A log that is full takes the place of the one before it, so both together are bounded. A line
//! that a full disk or a kill cut off stays alone: the next one begins on a line of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeta_core::repair::Entry;
use zeta_core::repair::entry::LOG_MAX;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::lock_within;
use zeta_os::{temp_file, trusted_file};

/// The log.
pub const LOG_FILE: &str = "repair.log";
/// The one before it.
pub const LOG_BEFORE: &str = "repair.1.log";

/// How often a call looks for the log, which another one may put aside at that moment.
const LOOKS: usize = 8;
/// How long a call waits for another one that writes.
const WAIT: Duration = Duration::from_secs(5);

/// Adds a line, and flushes it to the disk.
///
/// # Errors
/// It could not be written.
pub fn append(dir: &Path, line: &str) -> Result<()> {
    let path = dir.join(LOG_FILE);
    let unwritten = |error: std::io::Error| unwritten(&path, &error);
    temp_file::private_dir(&path).map_err(unwritten)?;
    trusted_file::check_place(&path)?;
    for _ in 0..LOOKS {
        let mut log = open(&path).map_err(unwritten)?;
        let meta = log.metadata().map_err(unwritten)?;
        trusted_file::check(&path, &meta)?;
        if meta.nlink() > 1 {
            return Err(Error::not_safe(&path, "it has a second name, where it could be changed"));
        }
        lock_within(&log, WAIT).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                Error::new(Kind::Busy, format!("another process holds {}", path.display()))
            }
            errno => unwritten(errno.into()),
        })?;
        let size = log.metadata().map_err(unwritten)?.len();
        if !is_named(&log, &path).map_err(unwritten)? {
            continue;
        }
        if size < LOG_MAX {
            return write(&mut log, size, line).map_err(unwritten);
        }
        std::fs::rename(&path, dir.join(LOG_BEFORE)).map_err(unwritten)?;
    }
    Err(Error::new(Kind::Busy, format!("{} was put aside again and again", path.display())))
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640);
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

/// Returns whether the log still has its name: another call may have put it aside before this one
/// locked it.
fn is_named(log: &File, path: &Path) -> std::io::Result<bool> {
    let opened = log.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(log: &mut File, size: u64, line: &str) -> std::io::Result<()> {
    let mut last = [b'\n'];
    if size > 0 {
        log.seek(SeekFrom::Start(size - 1))?;
        log.read_exact(&mut last)?;
    }
    let begin = if last == *b"\n" { "" } else { "\n" };
    let written = log.write_all(format!("{begin}{line}").as_bytes()).and_then(|()| log.sync_data());
    if written.is_err() {
        // What a full disk took of the line says nothing.
        let _ = log.set_len(size);
    }
    written
}

fn unwritten(path: &Path, error: &std::io::Error) -> Error {
    let text = format!("cannot write {}, so nothing is allowed: {error}", path.display());
    Error::new(Kind::Unsafe, text)
}

/// The last entries, the oldest first, and whether there are older ones. What is no entry is passed
/// over.
///
/// # Errors
/// A log is there, and cannot be read, or another user could have written it.
pub fn read(dir: &Path, most: usize) -> Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    for path in [dir.join(LOG_BEFORE), dir.join(LOG_FILE)] {
        let text = String::from_utf8_lossy(&read_one(&path)?).into_owned();
        entries.extend(text.lines().filter_map(Entry::parse));
    }
    let over = entries.len().saturating_sub(most);
    Ok((entries.split_off(over), over > 0))
}

fn read_one(path: &Path) -> Result<Vec<u8>> {
    // The last line may go a little over the limit.
    Ok(trusted_file::read(path, 2 * LOG_MAX)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn dir() -> PathBuf {
        let name = format!("zeta-repair-log-{}", zeta_os::host::random_hex().unwrap());
        std::env::temp_dir().join(name)
    }

    fn line(number: u32) -> String {
        Entry { pid: number, persona: "p".repeat(150), ..Entry::default() }.render(0)
    }

    fn pids(dir: &Path) -> Vec<u32> {
        read(dir, usize::MAX).unwrap().0.into_iter().map(|entry| entry.pid).collect()
    }

    #[test]
    fn a_torn_line_costs_no_other_one() {
        let dir = dir();
        append(&dir, &line(1)).unwrap();
        let path = dir.join(LOG_FILE);
        let torn = &line(2)[..30];
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
        append(&dir, &line(3)).unwrap();
        append(&dir, &line(4)).unwrap();
        assert_eq!(pids(&dir), [1, 3, 4]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o137, 0, "not more than 0640");
        assert!(read(&dir, 2).unwrap().1);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_log_is_bounded_and_loses_none_of_the_newest_when_many_write() {
        let dir = dir();
        std::fs::create_dir(&dir).unwrap();
        // Nearly full, so that it is put aside while the others write.
        let room = 40 * line(0).len() as u64;
        std::fs::write(dir.join(LOG_FILE), vec![b'\n'; (LOG_MAX - room) as usize]).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let dir = &dir;
                scope.spawn(move || {
                    (0..50).for_each(|at| append(dir, &line(1 + writer * 50 + at)).unwrap());
                });
            }
        });
        let mut all = pids(&dir);
        all.sort_unstable();
        assert_eq!(all, (1..=400).collect::<Vec<u32>>());
        let sizes = [LOG_FILE, LOG_BEFORE].map(|name| dir.join(name).metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size < LOG_MAX + 2048), "{sizes:?}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_log_that_is_no_file_of_this_user_is_not_written() {
        let dir = dir();
        std::fs::create_dir(&dir).unwrap();
        let other = dir.join("other");
        std::fs::write(&other, "x").unwrap();
        std::os::unix::fs::symlink(&other, dir.join(LOG_FILE)).unwrap();
        let error = append(&dir, &line(1)).unwrap_err();
        assert_eq!((error.kind, std::fs::read(&other).unwrap()), (Kind::Unsafe, b"x".to_vec()));
        std::fs::remove_file(dir.join(LOG_FILE)).unwrap();
        std::fs::create_dir(dir.join(LOG_FILE)).unwrap();
        assert_eq!(append(&dir, &line(1)).unwrap_err().kind, Kind::Unsafe);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_log_that_others_could_replace_or_reach_by_another_name_is_not_written() {
        let dir = dir();
        append(&dir, &line(1)).unwrap();
        let refused = |why: &str| {
            let error = append(&dir, &line(2)).unwrap_err();
            assert!(error.kind == Kind::Unsafe && error.text.contains(why), "{error}");
        };
        for mode in [0o777, 0o770, 0o1777] {
            std::fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
            refused("other users may write to it");
        }
        std::fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
        let other = dir.join("other");
        std::fs::hard_link(dir.join(LOG_FILE), &other).unwrap();
        refused("it has a second name");
        std::fs::remove_file(other).unwrap();
        append(&dir, &line(3)).unwrap();
        assert_eq!(pids(&dir), [1, 3]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
