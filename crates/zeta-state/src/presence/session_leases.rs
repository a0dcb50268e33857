//! The leases of a session, found in its node's directory.

use zeta_core::layout::{self, Kind};
use zeta_core::lease::{Observed, Record};
use zeta_core::name::RecordName;

use crate::context::NodeHandle;
use crate::lease::read_only;

/// Returns the records of the leases that `owns` says are the session's. A record that cannot be
/// read is no session's.
pub(super) fn of(handle: &NodeHandle<'_>, owns: impl Fn(&Record) -> bool) -> Vec<Record> {
    let names = handle.node.list().map(|listing| listing.names).unwrap_or_default();
    let record = |file: &String| {
        let Kind::Lease(name) = layout::kind_of(file) else { return None };
        let name = RecordName::new("lease", name).ok()?;
        let bytes = handle.read(file, layout::RECORD_MAX).ok()?;
        match read_only(bytes, &name) {
            Observed::Ours(record, ..) if owns(&record) => Some(*record),
            _ => None,
        }
    };
    names.iter().filter_map(record).collect()
}
