//! Memory for a secret: pages of its own that are not swapped and not dumped, as far as the kernel
//! allows, and that are wiped before they are given back.

use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

use zeta_os::error::{Error, Kind, Result};

const PAGE: usize = 4096;

/// A piece of memory with a fixed length, all zero at first.
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
    locked: bool,
}

impl Pages {
    /// Maps at least `len` bytes.
    ///
    /// # Errors
    /// There is no memory. That it cannot be locked is no error; see [`Pages::locked`].
    pub fn new(len: usize) -> Result<Pages> {
        let len = len.max(1).next_multiple_of(PAGE);
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice, which no other code knows.
        let raw = unsafe { mmap_anonymous(std::ptr::null_mut(), len, flags, MapFlags::PRIVATE) };
        let start = raw.ok().and_then(|raw| NonNull::new(raw.cast::<u8>()));
        let start = start.ok_or_else(|| Error::new(Kind::Fault, "no memory for a secret"))?;
        // SAFETY: exactly the mapping from above; neither call changes what is in it.
        let locked = unsafe {
            let _ = madvise(start.as_ptr().cast(), len, Advice::LinuxDontDump);
            let _ = madvise(start.as_ptr().cast(), len, Advice::LinuxWipeOnFork);
            mlock(start.as_ptr().cast(), len).is_ok()
        };
        Ok(Pages { start, len, locked })
    }

    /// Returns true if the kernel promised not to swap it.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// The whole piece.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping belongs to this value, has this length, and starts as zeros.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The whole piece, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut` excludes every other access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: exactly the mapping from `new`, and nothing borrows it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
