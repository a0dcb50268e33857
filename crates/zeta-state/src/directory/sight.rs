//! Which state directory a session works in, so that its children notice when they see another one
//! under the same name: a sandbox can have a `/tmp` of its own.
//!
//! `zeta run` and `zeta lease exec` put its numbers and its path into [`VARIABLE`]. A tree that was
//! removed and made again has another number, but the directory above it is still the same.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
use zeta_core::trust::{Sight, judge_sight};

use super::trusted_dir::{TrustedDir, identity, magic};
use zeta_os::error::{Cause, Error, Result};

/// The environment variable of a session's children.
pub const VARIABLE: &str = "ZETA_STATE_ID";

/// Returns the value of [`VARIABLE`] for the children of a process that opened this tree.
pub fn of(base: &TrustedDir) -> String {
    let sight = Sight { base: Some(base.identity), above: above(&base.path) };
    format!("{sight} {}", base.path.display())
}

/// Checks that this process sees the state directory of its session.
///
/// # Errors
/// It sees another one, or none, in another directory than the session's.
pub fn check(state_dir: &Path, of_session: &str) -> Result<()> {
    let Some((numbers, path)) = of_session.split_once(' ') else { return Ok(()) };
    let Some(expected) = Sight::parse(numbers).filter(|_| Path::new(path) == state_dir) else {
        // A child that was given another directory does not work in the session's.
        return Ok(());
    };
    // One look is enough as long as it is the session's.
    let named = statat(CWD, state_dir, AtFlags::SYMLINK_NOFOLLOW).ok();
    let named = named.map(|stat| (stat.st_dev, stat.st_ino));
    if judge_sight(expected, Sight { base: named, above: None }) {
        return Ok(());
    }
    let base = look(state_dir);
    if judge_sight(expected, Sight { base, above: above(state_dir) }) {
        return Ok(());
    }
    let reason = match base {
        Some(_) => "it is another directory than that of your session",
        None => "your session has it, and this process does not see it",
    };
    Err(Error::not_safe(
        state_dir,
        format!(
            "{reason}: the directory above is another one here, as in a sandbox with its own /tmp"
        ),
    )
    .with_cause(Cause::OtherView)
    .hint(format!("let the sandbox see it, for example: bwrap --bind {0} {0}", state_dir.display()))
    .hint(format!("to work apart from the session, with other leases: env -u {VARIABLE} zeta …")))
}

fn above(state_dir: &Path) -> Option<(u64, u64)> {
    look(state_dir.parent()?)
}

fn look(path: &Path) -> Option<(u64, u64)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd: OwnedFd = openat(CWD, path, flags, Mode::empty()).ok()?;
    Some(identity(fd.as_fd(), &fstat(&fd).ok()?, magic(fd.as_fd()).ok()?))
}
