//! A descriptor that the parent of this process left open under a number.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// Returns a copy of the descriptor, and keeps both from children of this process.
///
/// # Errors
/// `EBADF`: no such descriptor is open.
pub fn take(number: i32) -> rustix::io::Result<OwnedFd> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: borrowed for two calls, which fail on a number that is not open and close nothing.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = fcntl_dupfd_cloexec(fd, 3)?;
    if number > 2 {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok(copy)
}
