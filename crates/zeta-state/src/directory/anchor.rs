//! The anchor of a group's tree or bus: a record of the directory that root made.
//!
//! A process that sees another directory under the same name finds out by it (R10), and does not
//! hold a lease that no other process can see.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::record::{Fields, Text, parse};
use zeta_core::trust::Owner;

use crate::directory::purpose::{Purpose, STATE};
use crate::directory::trusted_dir::{TrustedDir, born_ns, open_parent, owner_of};
use zeta_os::error::{Cause, Error, Result};
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_os::{files, host, mount};

/// The directory of all anchors; emptied at boot, as the trees are.
const RUN_DIR: &str = "/run/zeta";
const KIND: &str = "anchor";

/// The tree that root made, as far as its anchor names it.
#[derive(Debug, Clone, Copy)]
struct Made {
    dev: Option<u64>,
    ino: Option<u64>,
    /// When it was made. An inode number can be another directory's as soon as the tree is gone.
    born_ns: Option<u64>,
}

/// What the anchor of a tree says about the tree that this process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchored {
    /// The tree is the one that root made.
    Same,
    /// Root left no anchor during this boot.
    Absent,
}

/// Returns the path of the anchor for the tree at `state_dir`.
pub fn path_for(state_dir: &Path) -> PathBuf {
    let dir = Path::new(RUN_DIR);
    if state_dir == Path::new(layout::DEFAULT_STATE_DIR) {
        return dir.join("state-anchor");
    }
    let text = state_dir.to_string_lossy();
    // As systemd-escape does it: no two paths have the same name.
    let escaped: String = text
        .trim_start_matches('/')
        .bytes()
        .map(|byte| match byte {
            b'/' => "-".to_owned(),
            b if b.is_ascii_alphanumeric() || b"._".contains(&b) => char::from(b).to_string(),
            b => format!("\\x{b:02x}"),
        })
        .collect();
    dir.join(format!("state-anchor-{escaped}"))
}

/// Writes the anchor of a tree, as root.
pub fn write(base: &TrustedDir) -> Result<PathBuf> {
    let path = path_for(&base.path);
    let cannot = |errno| Error::io("cannot write", &path, errno);
    match mkdirat(CWD, RUN_DIR, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(cannot(errno)),
    }
    let dir = openat(CWD, RUN_DIR, DIRECTORY, Mode::empty()).map_err(cannot)?;
    let mut fields = Fields::new(KIND);
    fields.push_text("state_dir", &base.path.to_string_lossy());
    fields.push_number("dev", base.identity.0);
    fields.push_number("ino", base.identity.1);
    if let Some(born_ns) = born_ns(base.as_fd()) {
        fields.push_number("born_ns", born_ns);
    }
    fields.push_text("boot_id", &host::host()?.boot_id);
    let temp = format!("{}{}", layout::TEMP_PREFIX, host::random_hex()?);
    let name = path.file_name().unwrap_or_default();
    files::write_temp(dir.as_fd(), &temp, fields.render().as_bytes(), Mode::from_raw_mode(0o644))
        .and_then(|()| renameat(&dir, temp.as_str(), &dir, name))
        .map_err(cannot)?;
    Ok(path)
}

/// Returns whether root made a tree at `state_dir` during this boot. No other user may make one
/// there then.
///
/// # Errors
/// The anchor cannot be read. The caller must not make a tree in this case either.
pub fn exists(state_dir: &Path) -> Result<bool> {
    Ok(of_this_boot(&path_for(state_dir), &STATE)?.is_some())
}

/// Compares the tree that was opened with its anchor. Where root has no number in the caller's user
/// namespace, an anchor without the time of the tree's birth counts as none.
///
/// # Errors
/// The tree is not the one that root made. The error gives the reason, as far as the mounts show
/// it.
pub fn check(base: &TrustedDir, purpose: &Purpose) -> Result<Anchored> {
    let Some(made) = of_this_boot(&path_for(&base.path), purpose)? else {
        return Ok(Anchored::Absent);
    };
    let same = (made.dev, made.ino) == (Some(base.identity.0), Some(base.identity.1));
    match made.born_ns {
        None if base.unproven => Ok(Anchored::Absent),
        None if same => Ok(Anchored::Same),
        Some(then) if same && born_ns(base.as_fd()) == Some(then) => Ok(Anchored::Same),
        _ => Err(mismatch(&base.path, base.identity, made)),
    }
}

/// Returns the device and inode of an anchor; `None` if there is none. An anchor of an earlier boot
/// counts as none, because each boot has a new tree.
fn of_this_boot(path: &Path, purpose: &Purpose) -> Result<Option<Made>> {
    let Some(text) = read(path, purpose)? else { return Ok(None) };
    let unreadable = |reason: String| {
        let hint = "as root: 'zeta init --group NAME' writes a new one";
        Error::not_safe(path, reason).hint(hint)
    };
    let fields = match parse(&text, layout::RECORD_MAX) {
        Ok(Text::Own(fields)) => fields,
        Ok(Text::Foreign(_)) => return Err(unreadable("it is not an anchor record".to_owned())),
        Err(damage) => return Err(unreadable(damage.to_string())),
    };
    let same = fields.text("boot_id").as_deref() == Some(host::host()?.boot_id.as_str());
    let number = |key| fields.number(key);
    let made = Made { dev: number("dev"), ino: number("ino"), born_ns: number("born_ns") };
    Ok(same.then_some(made))
}

fn mismatch(state_dir: &Path, seen: (u64, u64), made: Made) -> Error {
    // The mount is needed for the text only.
    let mount = mount::of(state_dir).ok().flatten();
    let reason = match &mount {
        Some(mount) if mount.is_private_tmp() => {
            format!(
                "{} is private to this service (mounted from {})",
                mount.point.display(),
                mount.root
            )
        }
        Some(mount) if mount.point != Path::new("/") => format!(
            "this process sees {} as a mount of {} ({})",
            mount.point.display(),
            mount.root,
            mount.fs_type
        ),
        _ => "it was replaced since".to_owned(),
    };
    let number = |part: Option<u64>| part.map_or("?".to_owned(), |n| n.to_string());
    let error = Error::not_safe(
        state_dir,
        format!(
            "it is not the directory that root made: {reason}; here {}:{}, root's {}:{}",
            seen.0,
            seen.1,
            number(made.dev),
            number(made.ino)
        ),
    )
    .with_cause(Cause::OtherView)
    .hint(format!("in a systemd unit: PrivateTmp=no, or BindPaths={}", state_dir.display()));
    let hint = "if root replaced it on purpose: 'zeta init --group NAME' as root writes the new \
                anchor";
    error.hint(hint)
}

fn read(path: &Path, purpose: &Purpose) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let cannot = |errno| Error::io("cannot read", path, errno);
    let fd = match openat(CWD, path, RECORD.union(OFlags::NOFOLLOW), Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(cannot(errno)),
    };
    let stat = fstat(&fd).map_err(cannot)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let euid = geteuid().as_raw();
    let of_root = match owner_of(stat.st_uid, euid) {
        Owner::Root => true,
        // Only root can put a file there, if the directories above it are root's.
        Owner::Unmapped => open_parent(path, euid, purpose).is_ok(),
        Owner::Caller | Owner::Other => false,
    };
    if !regular || !of_root || stat.st_mode & 0o022 != 0 {
        let error = Error::not_safe(path, "users other than root can write it");
        let hint = "find out who made it; once it is gone, root runs 'zeta init --group NAME'";
        return Err(error.hint(hint));
    }
    let mut bytes = Vec::new();
    let mut limited = std::fs::File::from(fd).take(layout::RECORD_MAX as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|e| cannot(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_directory_has_an_anchor_of_its_own() {
        let name = |path: &str| path_for(Path::new(path)).to_string_lossy().into_owned();
        assert_eq!(name(layout::DEFAULT_STATE_DIR), "/run/zeta/state-anchor");
        assert_eq!(name("/tmp/a-b"), "/run/zeta/state-anchor-tmp-a\\x2db");
        assert_ne!(name("/tmp/a-b"), name("/tmp/a/b"));
    }
}
