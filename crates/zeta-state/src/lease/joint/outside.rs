//! Looks at the grants of a joint lease without the guard.

use zeta_core::lease::{FencingToken, Observed};
use zeta_core::name::RecordName;

use super::{Grants, standing_of};
use crate::directory::tree::{Bytes, Node};
use crate::directory::trusted_dir::TrustedDir;
use crate::lease::read_only;
use zeta_os::error::Result;

/// How often a reader without the guard looks at grants of which one is gone that was named.
const LOOKS: usize = 4;

/// Looks at grants without the guard. One that is named and gone may have been handed over: it has
/// another name then, and would be missed. `look` returns whether one was gone; the last look
/// counts in any case.
pub fn look_again<T>(mut look: impl FnMut() -> Result<(T, bool)>) -> Result<T> {
    for _ in 1..LOOKS {
        let (found, was_gone) = look()?;
        if !was_gone {
            return Ok(found);
        }
    }
    Ok(look()?.0)
}

/// Finds the grant `token` of a lease without the guard; `bytes` are those of the lease's record.
pub fn find_outside(
    base: &TrustedDir,
    node: &Node,
    lease: &RecordName,
    token: FencingToken,
    bytes: Option<Bytes>,
) -> Result<Observed> {
    let observed = read_only(bytes, lease);
    if standing_of(&observed).is_none() {
        return Ok(observed);
    }
    let Some(grants) = Grants::open(base, node, lease)? else { return Ok(Observed::Absent) };
    let found = grants.find(base, lease, token)?;
    Ok(read_only(found.map(|(_, bytes, _)| bytes), lease))
}
