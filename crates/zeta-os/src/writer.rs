//! Whether a process has a file open to write to it, from `/proc`: a file that is not whole may
//! be one that is written now.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::stat;

use crate::process::other_processes;

/// Returns whether a process of this user, as far as `/proc` shows it, has the file open for
/// writing.
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = stat(path) else { return false };
    let writes = |link: &Path| {
        let mode = std::fs::symlink_metadata(link).map(|meta| meta.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o200 != 0)
            // First by name, so that nothing on a slow file system is ever asked.
            && std::fs::read_link(link).is_ok_and(|to| to.file_name() == path.file_name())
            && stat(link).is_ok_and(|seen| (seen.st_dev, seen.st_ino) == (file.st_dev, file.st_ino))
    };
    other_processes().any(|pid| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"));
        fds.is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(|fd| writes(&fd.path()))))
    })
}
