//! The reader of the standard output: whether it is still there.

use std::io::stdout;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fstat};

/// A descriptor that is readable once the reader of the standard output went away. Only a pipe says
/// so before the next write.
pub fn end_of_reader() -> Option<BorrowedFd<'static>> {
    let stat = fstat(stdout()).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::Fifo).then(rustix::stdio::stdout)
}
