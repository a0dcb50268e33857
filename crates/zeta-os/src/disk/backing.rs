//! The block device behind a loop device. The kernel has no link for it in sysfs.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Getter, ioctl};

use super::block::{self, Block};

/// All loop devices that show a block device or a part of one, each with that device; `None` where
/// it is not known.
pub fn loops_over_disks() -> Vec<(Block, Option<Block>)> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let dirs = entries.filter_map(|entry| fs::canonicalize(entry.path()).ok());
    dirs.map(|dir| Block { dir })
        .filter_map(|shown| Some((shown.clone(), below(&shown)?)))
        .collect()
}

/// The device below a loop device, if it is one that shows a device.
///
/// A plain file is known by its path. A path may also be gone, or of another mount namespace; the
/// kernel knows the number. No more devices are opened than that, for an open one is not detached.
fn below(shown: &Block) -> Option<Option<Block>> {
    let path = shown.backing_file()?;
    if fs::metadata(&path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let below = match open(shown.path(), flags, Mode::empty()) {
        Ok(fd) => return device_number(fd).map(|number| block::of_number(block::number(number))),
        Err(_) => block::of_path(Path::new(&path)),
    };
    (below.is_some() || path.starts_with("/dev/")).then_some(below)
}

/// Asks the kernel (`LOOP_GET_STATUS64`) for the number of the device that a loop device shows;
/// `None` for a plain file.
fn device_number(shown: impl AsFd) -> Option<u64> {
    const CODE: rustix::ioctl::Opcode = 0x4c05;
    /// Of the 232 bytes of the structure, the third number is that of the device.
    type Status = [u64; 29];
    // SAFETY: the code and the length of the structure are those of the kernel's loop.h.
    let status = unsafe { ioctl(shown, Getter::<CODE, Status>::new()) }.ok()?;
    status.get(2).copied().filter(|number| *number != 0)
}
