//! `--scope`: among which processes a lease has one holder, those of this node or of the cluster.

use zeta_core::cluster::lease::TTL_DEFAULT_MS;
use zeta_core::lease::{AcquireRequest, Policy};
use zeta_os::error::{Error, Result};
use zeta_state::lease::cluster::ttl_ms_of;

use crate::config::Scope;

/// A fenced command may run for so long after its own limit, before its grant ends.
const FENCE_MORE_MS: u64 = 10_000;

/// Reports whether the option, or else the configuration, asks for the cluster.
///
/// # Errors
/// The option is no scope.
pub(in crate::cli) fn is_cluster(given: Option<&str>, configured: Option<Scope>) -> Result<bool> {
    let given = given.map(|word| {
        let wrong = |rule| Error::usage(format!("--scope {word:?} is not valid: {rule}"));
        word.parse::<Scope>().map_err(wrong)
    });
    Ok(given.transpose()?.or(configured) == Some(Scope::Cluster))
}

/// Returns the TTL of a lease of the cluster: the given one, or one that outlives a fenced command.
///
/// # Errors
/// It is shorter than the servers need to agree on a new leader.
pub(in crate::cli) fn ttl_ms(given: Option<&str>, fence_ms: Option<u64>) -> Result<u64> {
    let fenced_ms = fence_ms.map_or(0, |ms| ms + ms / 10 + FENCE_MORE_MS);
    given.map_or_else(|| Ok(TTL_DEFAULT_MS.max(fenced_ms)), ttl_ms_of)
}

/// Refuses what no lease of the cluster can have.
///
/// # Errors
/// The request has one of it.
pub(in crate::cli) fn check(request: &AcquireRequest) -> Result<()> {
    let option = match request {
        _ if !request.in_cluster => return Ok(()),
        AcquireRequest { joint: Some(_), .. } => "--slots",
        AcquireRequest { grace_ms: Some(_), .. } => "--grace",
        AcquireRequest { policy: Policy::Kill | Policy::Never, .. } => "--policy",
        _ => return Ok(()),
    };
    let text = format!("a lease of the cluster has no {option}: its TTL alone says when it ends");
    Err(Error::usage(text).hint("for a lease of this node alone: --scope node"))
}
