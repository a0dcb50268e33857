//! The process that holds an flock, from `/proc`: people want to know what to wake or to end.

use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};
use zeta_core::layout;

/// How often the table of locks is read for one that is not in it. The kernel gives the table in
/// pieces, and leaves a line out if a lock before it ends between two of them.
const READS: usize = 8;

/// The process that holds the flock on the inode (`st_dev`, `st_ino`).
///
/// `/proc/locks` names the one that took it. A child that inherited the descriptor keeps the flock
/// when that one is gone, so then the descriptors of all processes are looked through.
///
/// `None` also where `/proc` has the numbers of another pid namespace.
pub fn flock_holder(identity: (u64, u64)) -> Option<u32> {
    if !crate::process::proc_is_own() {
        return None;
    }
    let taker = (0..READS).find_map(|_| {
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().find_map(|line| taker(line, identity))
    });
    let alive = taker.filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    alive.or_else(|| inheritor(identity))
}

/// The process id in a line of `/proc/locks` about an flock on this inode.
fn taker(line: &str, (dev, ino): (u64, u64)) -> Option<u32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK", _, _, pid, file, ..] = fields.as_slice() else { return None };
    let mut parts = file.split(':');
    let mut hex = || u32::from_str_radix(parts.next()?, 16).ok();
    let same = hex() == Some(major(dev)) && hex() == Some(minor(dev));
    (same && parts.next()?.parse() == Ok(ino)).then(|| pid.parse().ok())?
}

fn inheritor(identity: (u64, u64)) -> Option<u32> {
    crate::process::other_processes().find(|pid| holds(*pid, identity))
}

fn holds(pid: u32, identity: (u64, u64)) -> bool {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().any(|entry| {
        let link: PathBuf = entry.path();
        // First by name, so that nothing on a slow file system is ever asked.
        let named = std::fs::read_link(&link)
            .is_ok_and(|to| to.components().any(|part| part.as_os_str() == layout::GUARDS));
        named
            && stat(&link).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity)
            && std::fs::read_to_string(
                Path::new(&format!("/proc/{pid}/fdinfo")).join(entry.file_name()),
            )
            .is_ok_and(|info| info.contains("FLOCK"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{FlockOperation, flock};

    use super::*;
    use crate::temp_dir::TempDir;

    #[test]
    fn a_lock_is_known_by_its_device_and_its_inode() {
        let dev = rustix::fs::makedev(0xfd, 0x1a);
        let line = "7: FLOCK  ADVISORY  WRITE 4711 fd:1a:99 0 EOF";
        assert_eq!(taker(line, (dev, 99)), Some(4711));
        assert_eq!(taker(line, (dev, 9)), None);
        assert_eq!(taker(line, (rustix::fs::makedev(0xfd, 0x1b), 99)), None);
        assert_eq!(taker("7: POSIX  ADVISORY  WRITE 4711 fd:1a:99 0 EOF", (dev, 99)), None);
        assert_eq!(taker("7: -> FLOCK  ADVISORY  WRITE 4711 fd:1a:99 0 EOF", (dev, 99)), None);
    }

    #[test]
    fn a_holder_is_found_while_many_other_locks_come_and_go() {
        let dir = TempDir::new().unwrap();
        let locked = |name: &str| {
            let file = File::create(dir.path().join(name)).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
            file
        };
        let held = locked("held");
        let found = held.metadata().unwrap();
        let over = AtomicBool::new(false);
        let missed = std::thread::scope(|scope| {
            for thread in 0..2 {
                let (over, locked) = (&over, &locked);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let others = (0..150).map(|at| locked(&format!("{thread}-{at}")));
                        drop(others.collect::<Vec<_>>());
                    }
                });
            }
            let find = || flock_holder((found.dev(), found.ino()));
            let missed = (0..300).filter(|_| find() != Some(std::process::id())).count();
            over.store(true, Ordering::Relaxed);
            missed
        });
        assert_eq!(missed, 0, "of 300");
    }
}
