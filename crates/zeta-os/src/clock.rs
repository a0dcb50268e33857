//! One clock reading: through libc, which reads it without a system call from the first time on.
//!
//! The safe wrapper at hand looks for the kernel's page of clocks with a system call of its own,
//! and crashes under valgrind, which hides that page.

/// True for a build that can be given another wall clock, as no released one can: see `seam`.
pub const HAS_SEAM: bool = cfg!(any(feature = "clock-seam", debug_assertions));

/// Nanoseconds of a clock; 0 if the kernel does not know it.
pub fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place belongs to this function; where the call fails it keeps the zeros.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    let real_ns = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    #[cfg(any(feature = "clock-seam", debug_assertions))]
    if id == libc::CLOCK_REALTIME {
        return real_ns.saturating_add(seam::shift_ns());
    }
    real_ns
}

/// A wall clock that jumps, for tests, which may not set the clock of a machine.
///
/// `ZETA_TEST_CLOCK` names a file of eight bytes, the shift in ns. It is mapped, so that a process
/// sees a jump in the middle of whatever it does. Other clocks cannot be set in real life either.
#[cfg(any(feature = "clock-seam", debug_assertions))]
mod seam {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static SHIFT: OnceLock<Option<&'static AtomicI64>> = OnceLock::new();

    pub fn shift_ns() -> i64 {
        SHIFT.get_or_init(map).map_or(0, |shift| shift.load(Ordering::Relaxed))
    }

    fn map() -> Option<&'static AtomicI64> {
        let file = File::open(std::env::var_os("ZETA_TEST_CLOCK")?).ok()?;
        if file.metadata().ok()?.len() != 8 {
            return None;
        }
        let (kind, fd) = (libc::MAP_SHARED, file.as_raw_fd());
        // SAFETY: a new mapping, as long as the file, which is never unmapped.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 8, libc::PROT_READ, kind, fd, 0) };
        // SAFETY: a page is aligned for any integer, and eight bytes of it are in the file.
        (page != libc::MAP_FAILED).then(|| unsafe { &*page.cast::<AtomicI64>() })
    }
}
