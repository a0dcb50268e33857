//! The leases of a session, found in its node's directory.

use zeta_core::layout::{self, Kind};
use zeta_core::lease::Record;
use zeta_core::name::RecordName;

use crate::context::NodeHandle;

/// Returns the records of the grants that `owns` says are the session's. A record that cannot be
/// read is no session's.
pub fn of(handle: &NodeHandle<'_>, owns: impl Fn(&Record) -> bool) -> Vec<Record> {
    let names = handle.node.list().map(|listing| listing.names).unwrap_or_default();
    let records = |file: &String| {
        let Kind::Lease(name) = layout::kind_of(file) else { return Vec::new() };
        let Ok(name) = RecordName::new("lease", name) else { return Vec::new() };
        handle.records(&name, &mut String::new()).unwrap_or_default()
    };
    names.iter().flat_map(records).map(|record| *record).filter(owns).collect()
}
