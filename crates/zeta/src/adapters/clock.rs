//! One clock reading: through libc, which reads it without a system call from the first time on.
//!
//! The safe wrapper at hand looks for the kernel's page of clocks with a system call of its own,
//! and crashes under valgrind, which hides that page.

/// Nanoseconds of a clock; 0 if the kernel does not know it.
pub fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours; where the call fails it keeps the zeros.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
