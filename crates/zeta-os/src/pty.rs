//! A pseudo terminal: the device is the terminal of a command, the controller is its other end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcgetpgrp,
    tcsetattr, tcsetwinsize,
};

use crate::error::{Error, Result};

/// The controlling end of a pseudo terminal.
#[derive(Debug)]
pub struct Controller(OwnedFd);

/// Makes a pseudo terminal: its controlling end, which never blocks, and its device.
pub fn open() -> Result<(Controller, OwnedFd)> {
    let cannot = |errno| Error::io("cannot make", Path::new("a pseudo terminal"), errno);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).map_err(cannot)?;
    grantpt(&controller).map_err(cannot)?;
    unlockpt(&controller).map_err(cannot)?;
    let device = ioctl_tiocgptpeer(&controller, flags).map_err(cannot)?;
    fcntl_setfl(&controller, OFlags::RDWR | OFlags::NONBLOCK).map_err(cannot)?;
    Ok((Controller(controller), device))
}

impl Controller {
    /// Gives the terminal a size.
    pub fn resize(&self, size: Winsize) {
        // The kernel tells the command, if the size is another one.
        let _ = tcsetwinsize(&self.0, size);
    }

    /// Gives the terminal modes.
    pub fn set_modes(&self, modes: &Termios) {
        let _ = tcsetattr(&self.0, OptionalActions::Now, modes);
    }

    /// The process group that is in front of the terminal.
    pub fn front(&self) -> Option<u32> {
        tcgetpgrp(&self.0).ok().map(|group| group.as_raw_nonzero().get().unsigned_abs())
    }

    /// Returns the key that ends the input of a command; `None` if the command reads keys, and not
    /// lines.
    pub fn end_key(&self) -> Option<u8> {
        let modes = tcgetattr(&self.0).ok()?;
        let lines = modes.local_modes.contains(LocalModes::ICANON);
        lines.then(|| modes.special_codes[SpecialCodeIndex::VEOF])
    }

    /// Reads what the command wrote; 0 if no process has the terminal open any more.
    pub fn read(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match rustix::io::read(&self.0, buffer) {
            Err(Errno::IO) => Ok(0),
            other => other,
        }
    }

    /// Types keys, as many as the terminal takes now.
    pub fn write(&self, keys: &[u8]) -> rustix::io::Result<usize> {
        rustix::io::write(&self.0, keys)
    }
}

impl AsFd for Controller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
