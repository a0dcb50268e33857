//! The mount that a path lies on, as this process sees it: two processes may see two `/tmp`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Result};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory of its file system that is mounted.
    pub root: String,
    /// The directory where it is mounted.
    pub point: PathBuf,
    /// Type of the file system.
    pub fs_type: String,
    /// The number of its device, major and minor; the major one is 0 if it is on none.
    pub number: (u32, u32),
    /// Its source, as the file system says it: a device, as a rule.
    pub source: String,
    /// The options of the file system.
    pub options: String,
}

impl Mount {
    /// Returns true for the `/tmp` that systemd gives to one service: a directory with a certain
    /// name.
    pub fn is_private_tmp(&self) -> bool {
        self.root.contains("systemd-private-")
    }

    /// Returns true for a whole file system in memory, as a sandbox makes one for itself; what it
    /// shows of another one is a directory of that.
    pub fn is_whole_tmpfs(&self) -> bool {
        self.fs_type == "tmpfs" && self.root == "/"
    }
}

/// The mount that `path` lies on; `None` where `/proc` does not say.
///
/// # Errors
/// It could not be read this time, and a caller that must know may not guess.
pub fn of(path: &Path) -> Result<Option<Mount>> {
    match std::fs::read_to_string(MOUNTINFO) {
        Ok(text) => Ok(find(&text, path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Err(Error::io("cannot read", Path::new(MOUNTINFO), errno))
        }
    }
}

/// All mounts, in the order in which they were made.
///
/// # Errors
/// `/proc` does not say.
pub fn all() -> Result<Vec<Mount>> {
    let text = std::fs::read_to_string(MOUNTINFO).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::io("cannot read", Path::new(MOUNTINFO), errno)
    })?;
    Ok(text.lines().filter_map(parse).collect())
}

/// The first mount of a file system of this type.
pub fn of_type(fs_type: &str) -> Option<Mount> {
    let text = std::fs::read_to_string(MOUNTINFO).ok()?;
    text.lines().filter_map(parse).find(|mount| mount.fs_type == fs_type)
}

/// The deepest mount above a path; of several at one point the last covers the others.
fn find(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(parse);
    mounts
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

fn parse(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut fields = front.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let number = (major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(fields.next()?);
    let point = PathBuf::from(unescape(fields.next()?));
    let mut back = back.splitn(3, ' ');
    let fs_type = back.next()?.to_owned();
    let (source, options) = (back.next().map(unescape), back.next().map(unescape));
    let (source, options) = (source.unwrap_or_default(), options.unwrap_or_default());
    Some(Mount { root, point, fs_type, number, source, options })
}

/// Decodes a field, in which blanks and backslashes stand as `\040` and `\134`.
pub(crate) fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "20 1 8:1 / / rw shared:1 - ext4 /dev/vda1 rw\n";
    const PRIVATE: &str =
        "90 20 8:1 /tmp/systemd-private-0a-zeta/tmp /tmp rw - ext4 /dev/vda1 rw\n";
    const BOUND: &str = "91 90 8:1 /tmp/zeta-cluster-state /tmp/zeta-cluster-state rw - ext4 d w\n";

    #[test]
    fn a_bind_mount_over_a_private_tmp_is_the_real_thing() {
        let path = Path::new("/tmp/zeta-cluster-state");
        let look = |info: &str| find(info, path).map(|mount| mount.is_private_tmp());
        assert_eq!(look(ROOT), Some(false));
        assert_eq!(look(&format!("{ROOT}{PRIVATE}")), Some(true));
        assert_eq!(look(&format!("{ROOT}{PRIVATE}{BOUND}")), Some(false));
        assert_eq!(find("nonsense\n", path), None);
    }

    #[test]
    fn the_last_of_two_mounts_at_one_point_counts_and_blanks_are_read() {
        let info = format!(
            "{ROOT}22 20 0:4 / /a\\040b rw - tmpfs t rw\n23 20 0:5 / /a\\040b rw - ext4 d rw\n"
        );
        assert_eq!(find(&info, Path::new("/a b/c")).unwrap().fs_type, "ext4");
    }
}
