//! The user namespace of this process: whether the machine's root has a number in it.

use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use zeta_core::trust::OVERFLOW_UID;

/// A file that belongs to the machine's root in every namespace, and to no other user.
const OF_ROOT: &str = "/proc/sys/kernel/overflowuid";
/// `f_type` of the file system that the kernel itself fills.
const PROC_MAGIC: u64 = 0x9fa0;

/// Returns whether the machine's root has no number in the user namespace of this process, so that
/// it appears as [`OVERFLOW_UID`], as each other user without a number does.
///
/// `/proc/self/uid_map` does not answer this: its second column has the numbers of the namespace
/// above, which may be a namespace of a user, too.
pub fn root_is_unmapped() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| {
        let Ok(fd) = openat(CWD, OF_ROOT, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
            return false;
        };
        let of_kernel = fstatfs(&fd).is_ok_and(|found| found.f_type as u64 == PROC_MAGIC);
        of_kernel && fstat(&fd).is_ok_and(|stat| stat.st_uid == OVERFLOW_UID)
    })
}
