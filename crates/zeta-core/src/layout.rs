//! The only place that knows a file name of the state directory.

use crate::name::RecordName;

/// Where the state directory is by default.
pub const DEFAULT_STATE_DIR: &str = "/tmp/zeta-cluster-state";
/// Where the bus is by default.
pub const DEFAULT_BUS_DIR: &str = "/tmp/zeta-bus";
/// The operator's page, written by `zeta init`.
pub const README: &str = "README.md";
/// The name of this machine's own node, written once.
pub const LOCAL_NODE: &str = "local-node";
/// The directory of the node directories.
pub const NODES: &str = "nodes";
/// Below a node directory: one guard directory per record file.
pub const GUARDS: &str = ".guard";
/// Below a guard: the highest fencing token ever granted, 20 digits and a newline.
pub const TOKEN_FILE: &str = "fencing_token";
/// Below a guard: the tickets of the waiting processes.
pub const QUEUE: &str = "queue";
/// Below a guard: the note of a break by force: by which agent, when and why.
pub const BROKEN: &str = "broken";
/// Below a guard: how temp files begin. Any found under the guard's flock is an orphan.
pub const TEMP_PREFIX: &str = ".tmp-";
/// Below `nodes` and `.guard`: how a directory is called until it is complete.
pub const NEW_PREFIX: &str = ".new-";
/// Below a node directory: the time of the last beat of any of its agents.
pub const LAST_SEEN: &str = "last-seen.iso";
/// Below a node directory: the log of its history, to which entries are added.
pub const HISTORY: &str = "history.log";
/// Below a node directory: the log before that one, which is full.
pub const HISTORY_FULL: &str = "history.1.log";

/// In a node directory: the last card of its node, by which the directory is known as a copy that
/// only the bridge of this machine writes.
pub const COPY_MARK: &str = ".copy";
/// The directory of what a bridge keeps for this machine, beside that of the nodes.
pub const CLUSTER: &str = "cluster";
/// Below it: the copies of the leases of the cluster.
pub const CLUSTER_LEASES: &str = "leases";
/// Below it: the state of the bridge, for people and for `zeta cluster status`.
pub const CLUSTER_STATUS: &str = "status";
/// Below it: the file that the bridge of this tree has locked.
pub const CLUSTER_LOCK: &str = "bridge.lock";

/// Most bytes of a lease, a marker or any other small record.
pub const RECORD_MAX: usize = 4 * 1024;
/// Most bytes of a persona record.
pub const PERSONA_MAX: usize = 64 * 1024;
/// Most bytes of the note of a claim: a record, and a text of 8 KiB.
pub const NOTE_MAX: usize = 12 * 1024 + 64;
/// Most bytes of `last-seen.iso` and `local-node`.
pub const LINE_MAX: usize = 64;
/// Most nodes that are looked at in one call.
pub const NODES_MAX: usize = 16_384;
/// Most entries of one node directory that are looked at in one call.
pub const ENTRIES_MAX: usize = 4_096;

const LEASE_SUFFIX: &str = ".lock";
/// How the copy of a lease of the cluster ends.
const CLUSTER_LEASE_SUFFIX: &str = ".lease";
/// How the directory of the grants of a joint lease ends.
const GRANTS_SUFFIX: &str = ".grants";
const MARKER_SUFFIX: &str = ".marker";
const NOTE_SUFFIX: &str = ".note";
const PERSONA_PREFIX: &str = "persona-";
const PERSONA_SUFFIX: &str = ".state";

/// What a file of a node directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `<name>.lock`
    Lease(&'a str),
    /// `<name>.grants`
    Grants(&'a str),
    /// `<name>.marker`
    Marker(&'a str),
    /// `<name>.note`, named after the lease of a claim
    Note(&'a str),
    /// `persona-<name>.state`
    Persona(&'a str),
    /// `last-seen.iso`
    LastSeen,
    /// `history.log` or `history.1.log`
    History,
    /// `.guard`
    Guards,
    /// `.copy`
    CopyMark,
    /// Anything else: not a file of zeta, never touched.
    Other,
}

/// The file of a lease.
pub fn lease_file(name: &RecordName) -> String {
    format!("{name}{LEASE_SUFFIX}")
}

/// The file of the copy of a lease of the cluster.
pub fn cluster_lease_file(name: &RecordName) -> String {
    format!("{name}{CLUSTER_LEASE_SUFFIX}")
}

/// The lease of the cluster that a copy is named after.
pub fn cluster_lease_of(file: &str) -> Option<RecordName> {
    RecordName::new("lease", file.strip_suffix(CLUSTER_LEASE_SUFFIX)?).ok()
}

/// The directory of the grants of a joint lease.
pub fn grants_dir(name: &RecordName) -> String {
    format!("{name}{GRANTS_SUFFIX}")
}

/// The file of a new grant in that directory. A token is given once, so the name is free.
pub fn grant_file(fencing_token: u64) -> String {
    format!("{fencing_token:024x}{LEASE_SUFFIX}")
}

/// The fencing token that the name of a grant says.
pub fn token_of_grant(file: &str) -> Option<u64> {
    let id = file.strip_suffix(LEASE_SUFFIX).filter(|_| is_grant_file(file))?;
    u64::from_str_radix(id, 16).ok()
}

/// Returns whether this is the name of a grant.
pub fn is_grant_file(file: &str) -> bool {
    let id = file.strip_suffix(LEASE_SUFFIX).unwrap_or_default();
    id.len() == 24 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The lease that a file is named after; the name of the file again if it is no lease's.
pub fn into_lease(file: String) -> Result<RecordName, String> {
    RecordName::of_file(file, LEASE_SUFFIX)
}

/// The file of the note that a holder of a claim leaves for the next one.
pub fn note_file(name: &RecordName) -> String {
    format!("{name}{NOTE_SUFFIX}")
}

/// The file of a marker.
pub fn marker_file(name: &RecordName) -> String {
    format!("{name}{MARKER_SUFFIX}")
}

/// The file of a persona or an agent.
pub fn persona_file(name: &str) -> String {
    format!("{PERSONA_PREFIX}{name}{PERSONA_SUFFIX}")
}

/// Reads a file name of a node directory.
pub fn kind_of(file: &str) -> Kind<'_> {
    if let Some(name) = file.strip_suffix(LEASE_SUFFIX) {
        return Kind::Lease(name);
    }
    if let Some(name) = file.strip_suffix(GRANTS_SUFFIX) {
        return Kind::Grants(name);
    }
    if let Some(name) = file.strip_suffix(MARKER_SUFFIX) {
        return Kind::Marker(name);
    }
    if let Some(name) = file.strip_suffix(NOTE_SUFFIX) {
        return Kind::Note(name);
    }
    if let Some(name) =
        file.strip_prefix(PERSONA_PREFIX).and_then(|f| f.strip_suffix(PERSONA_SUFFIX))
    {
        return Kind::Persona(name);
    }
    match file {
        LAST_SEEN => Kind::LastSeen,
        HISTORY | HISTORY_FULL => Kind::History,
        GUARDS => Kind::Guards,
        COPY_MARK => Kind::CopyMark,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_agree() {
        let name = RecordName::new("lease", "register-pr-in-flight").unwrap();
        assert_eq!(kind_of(&lease_file(&name)), Kind::Lease("register-pr-in-flight"));
        assert_eq!(kind_of(&grants_dir(&name)), Kind::Grants("register-pr-in-flight"));
        assert!(is_grant_file(&grant_file(7)) && is_grant_file(&grant_file(u64::MAX)));
        assert_eq!(token_of_grant(&grant_file(u64::MAX)), Some(u64::MAX));
        assert_eq!(token_of_grant("ffffffffffffffffffffffff.lock"), None);
        assert!(!is_grant_file("7.lock") && !is_grant_file("register-pr-in-flight-now.lock"));
        assert_eq!(into_lease(lease_file(&name)), Ok(name.clone()));
        for file in ["a.lock.marker", ".lock", "-a.lock", "A.lock", "a"] {
            assert_eq!(into_lease(file.to_owned()), Err(file.to_owned()));
        }
        assert_eq!(kind_of(&marker_file(&name)), Kind::Marker("register-pr-in-flight"));
        assert_eq!(kind_of(&note_file(&name)), Kind::Note("register-pr-in-flight"));
        assert_eq!(kind_of(&persona_file("otto-cli")), Kind::Persona("otto-cli"));
        assert_eq!(kind_of("last-seen.iso"), Kind::LastSeen);
        assert_eq!(kind_of(".guard"), Kind::Guards);
        assert_eq!(kind_of(COPY_MARK), Kind::CopyMark);
        assert_eq!(cluster_lease_of(&cluster_lease_file(&name)), Some(name));
        assert_eq!(cluster_lease_of("-a.lease"), None);
        assert_eq!([HISTORY, HISTORY_FULL].map(kind_of), [Kind::History; 2]);
        assert_eq!(kind_of("notes.txt"), Kind::Other);
    }

    #[test]
    fn the_limits_of_the_standard_are_these() {
        assert_eq!((RECORD_MAX, PERSONA_MAX), (4_096, 65_536));
    }
}
