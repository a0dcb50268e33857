//! Leases of the whole cluster: leases of this node that the store of the cluster has granted, too.
//!
//! The local lease comes first and goes last. Inside its guard, once the local decision says
//! *grant*, the store is asked by compare-and-set; the local record is written after that, with the
//! token of the cluster. So each local record of this scope stands for a grant of the cluster, and
//! all that this machine knows about its processes counts for it.
//!
//! [`Store`] is what the leases need of a store. It has no transaction, no TTL and no clock, so
//! that others than JetStream's can be written: etcd's revisions and its compare by `mod_revision`
//! are enough. `drive` carries out a call of the core over it, `holder` is what a holder does.
//! `wait` waits for one without taking it; `copied` is what others hold, for people.

mod copied;
mod drive;
mod holder;
mod wait;

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zeta_core::cluster::copy;
use zeta_core::cluster::lease::{Answer, Entry, Grant, Observed, Scope, TTL_MIN_MS, Terms, Write};
use zeta_core::evidence::{Age, FileTimes, ProcessState};
use zeta_core::layout;
use zeta_core::lease::{self, Record};
use zeta_core::name::RecordName;
use zeta_core::record::Damage;
use zeta_core::time::{format_duration, parse_ttl};

pub use self::copied::{CopyOf, node_of};
use self::drive::State;
pub use self::drive::{Answered, Ask};
pub(crate) use self::holder::OF_CLUSTER;
pub use self::holder::{broken_here_only, check, deadline_of, give_back, of_cluster};
pub use self::wait::wait_in_cluster;
use crate::context::Context;
use crate::directory::tree::read;
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use zeta_os::error::{Error, Kind, Result};

/// The store of the leases of a cluster, for one node. A call that cannot be carried out within its
/// limit ends with an error, or as [`Answer::Unknown`].
pub trait Store: fmt::Debug + Send {
    /// Returns what this node knows of its cluster, without the tree. What is a few seconds old is
    /// good enough.
    fn terms(&mut self, limit: Duration) -> Result<Terms>;
    /// Reads the last revision of a lease, 0 if there is none, and what was written with it. It may
    /// be an old one.
    fn read(&mut self, lease: &RecordName, limit: Duration) -> Result<(u64, Entry)>;
    /// Writes if the last revision is the expected one.
    ///
    /// # Errors
    /// It is certainly not written, for another reason than a revision.
    fn write(&mut self, lease: &RecordName, write: &Write, limit: Duration) -> Result<Answer>;
    /// Waits until another revision than this one is seen; false if the limit was over before.
    fn wait(&mut self, lease: &RecordName, revision: u64, limit: Duration) -> Result<bool>;
}

/// Opens the store when the first lease of the cluster is touched.
pub type Opener = dyn Fn(Duration) -> Result<Box<dyn Store>> + Send + Sync;

/// How long a call waits for the store, from its first step to its answer.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long a renewal in the background does: it is repeated, and its caller has other work.
pub const RENEW_LIMIT: Duration = Duration::from_secs(3);

/// The leases of the cluster, as one process sees them.
pub struct Cluster {
    open: Arc<Opener>,
    state: Mutex<State>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Reads the TTL of a lease of the cluster.
///
/// # Errors
/// It is shorter than the servers need to agree on a new leader.
pub fn ttl_ms_of(text: &str) -> Result<u64> {
    match parse_ttl(text)? {
        ms if ms < TTL_MIN_MS => Err(Error::usage(format!(
            "the TTL {text:?} is too short for the cluster: it is at least {}",
            format_duration(TTL_MIN_MS)
        ))
        .hint("its servers may need ten seconds to agree on a new leader")),
        ms => Ok(ms),
    }
}

/// Key of a local record: the revision of its grant in the store.
const REVISION: &str = "cluster_revision";

/// Returns the scope and the revision of a local record whose lease is one of the cluster.
pub fn scope_of(record: &Record) -> Option<(Scope, u64)> {
    let scope = Scope::of(record)?;
    let revision = record.extra.iter().find(|(key, _)| key == REVISION)?.1.parse().ok()?;
    Some((scope, revision))
}

/// Makes the local record of a grant.
pub(crate) fn local_record(grant: Grant) -> Box<Record> {
    let mut record = grant.record;
    record.extra.retain(|(key, _)| key != REVISION);
    record.extra.push((REVISION.to_owned(), grant.revision.to_string()));
    record
}

/// Returns what stands in the store if a local record is right: it saves a reading, and a write
/// that expects it is refused if it is not.
fn observed_of(record: &Record, (scope, revision): (Scope, u64)) -> Observed {
    let mut record = record.clone();
    record.extra.retain(|(key, _)| key != REVISION);
    let (epoch, entry) = (scope.epoch, Entry::Grant(Box::new(record), scope));
    let (unchanged, life) = (Age::Unclear, ProcessState::Unknown);
    Observed { epoch, revision, entry, unchanged, life }
}

impl Context {
    /// Returns the leases of the cluster.
    ///
    /// # Errors
    /// This caller knows no cluster.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_deref().ok_or_else(|| {
            Error::new(Kind::Unsafe, "leases of the cluster are not known to this program")
        })
    }
}

/// Returns what stands in the store as what stands here, for people and for JSON.
pub(crate) fn seen_there(entry: &Entry) -> lease::Observed {
    let times = FileTimes::default();
    match entry {
        Entry::Grant(record, _) => {
            lease::Observed::Ours(record.clone(), times, ProcessState::Unknown)
        }
        Entry::Unreadable => lease::Observed::Damaged(Damage::NotSigned, times),
        Entry::Absent | Entry::End(_) => lease::Observed::Absent,
    }
}

/// What the bridge of this node has written about a lease: when it saw which revision first.
fn copy_of(base: &TrustedDir, lease: &RecordName) -> Option<(copy::About, Entry)> {
    let relative = [layout::CLUSTER, "/", layout::CLUSTER_LEASES].concat();
    let path = || base.path.join(&relative);
    let (dir, _) = open_inner(base.as_fd(), &relative, base, path).ok()??;
    let file = layout::cluster_lease_file(lease);
    let max = copy::copy_max(layout::RECORD_MAX);
    let bytes = read(dir.as_fd(), &file, max, base, || path().join(&file)).ok()??;
    let (about, original) = copy::read(&bytes.bytes, layout::RECORD_MAX).ok()?;
    let entry = Entry::read(&original, lease, &about.node);
    about.verified.then_some((about, entry))
}
