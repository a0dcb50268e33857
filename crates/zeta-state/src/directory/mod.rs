//! The state directory on disk: opened only if it is safe, created whole or not at all, and changed
//! one record at a time.

pub mod anchor;
pub mod copied;
pub mod create;
pub mod group;
pub mod guard;
pub mod listing;
pub mod node_name;
pub mod orphans;
pub mod probe;
pub mod purpose;
mod refusal;
pub mod sight;
pub mod tree;
pub mod trusted_dir;

use std::path::Path;

use zeta_os::error::{Cause, Error, Result};

use self::anchor::Anchored;
use self::purpose::Purpose;
use self::trusted_dir::{Sharing, TrustedDir};

/// Opens a trusted directory under rules R1 to R4 and, for a group's, R10: it must be the very
/// directory that root made. Where root has no number in the caller's user namespace, only the
/// anchor says whose it is. `None` if it does not exist.
pub fn open(path: &Path, purpose: &Purpose) -> Result<Option<TrustedDir>> {
    let base =
        trusted_dir::open(path, purpose).map_err(|error| for_a_group(path, purpose, error))?;
    if let Some(base) = &base
        && base.sharing != Sharing::Private
    {
        let anchored = anchor::check(base, purpose)?;
        if base.unproven && anchored != Anchored::Same {
            return Err(refusal::unproven(path));
        }
    }
    Ok(base)
}

/// Replaces the next steps for a directory that one user has made where root makes it for a group:
/// a second directory would keep this user apart from the group.
fn for_a_group(path: &Path, purpose: &Purpose, error: Error) -> Error {
    if error.cause == Cause::ForeignOwner && create::is_for_a_group(path, purpose).unwrap_or(false)
    {
        Error { hints: Vec::new(), ..error }.hint(
            "on this machine a group shares it: as root, 'zeta init --group zeta --replace' puts a \
             new one there and leaves the old one beside it",
        )
    } else {
        error
    }
}
