//! The state directory on disk: opened only if it is safe, created whole or not at all, and changed
//! one record at a time.

pub mod anchor;
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

use zeta_os::error::Result;

use self::anchor::Anchored;
use self::purpose::Purpose;
use self::trusted_dir::{Sharing, TrustedDir};

/// Opens a trusted directory under rules R1 to R4 and, for a group's, R10: it must be the very
/// directory that root made. Where root has no number in the caller's user namespace, only the
/// anchor says whose it is. `None` if it does not exist.
pub fn open(path: &Path, purpose: &Purpose) -> Result<Option<TrustedDir>> {
    let base = trusted_dir::open(path, purpose)?;
    if let Some(base) = &base
        && base.sharing != Sharing::Private
    {
        let anchored = anchor::check(base, purpose)?;
        if base.unproven && anchored != Anchored::Same {
            return Err(refusal::unproven(path, purpose));
        }
    }
    Ok(base)
}
