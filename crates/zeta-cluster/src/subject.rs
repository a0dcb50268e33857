//! The names of the streams and subjects. The `1` in them is the version of the wire.

/// The records of each node.
pub const STATE: &str = "ZETA1_STATE";
/// The messages of each node.
pub const BUS: &str = "ZETA1_BUS";
/// The leases of the cluster.
pub const LEASE: &str = "ZETA1_LEASE";
/// What the cluster is.
pub const META: &str = "ZETA1_META";
/// The one subject of [`META`].
pub const META_SUBJECT: &str = "zeta1.meta";

/// The name of a stream for one proof of what the server can do, and its subjects.
pub(crate) fn probe(id: &str) -> (String, String) {
    (format!("ZETA1_PROBE_{id}"), format!("zeta1.probe.{id}"))
}
