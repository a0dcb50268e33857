//! The sequence number of an open disk, which no other disk since the boot has.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, ioctl, opcode};

/// Asks the kernel (`BLKGETDISKSEQ`); none before Linux 5.15.
pub fn of(disk: impl AsFd) -> Result<Option<u64>, Errno> {
    const CODE: rustix::ioctl::Opcode = opcode::read::<u64>(0x12, 128);
    // SAFETY: the code is that of the kernel's fs.h, and its answer is eight bytes.
    match unsafe { ioctl(disk, Getter::<CODE, u64>::new()) } {
        Ok(sequence) => Ok(Some(sequence)),
        Err(Errno::NOTTY | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}
