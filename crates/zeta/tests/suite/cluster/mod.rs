//! `zeta cluster` and its store, on real servers: Debian's, and a newer one.

mod bridge;
mod fault;
mod gate;
mod init;
mod lease;
mod login;
mod store;

use std::path::PathBuf;

use crate::support::skip;

#[path = "../../../../../testing/src/nats.rs"]
pub(crate) mod nats;

/// Returns the program of a server, or says that the test, or a part of it, does not run.
pub(crate) fn program(test: &str, found: Result<PathBuf, String>) -> Option<PathBuf> {
    found.map_err(|why| skip(test, &why)).ok()
}

/// Both programs, each with a name, as far as they are here.
fn programs(test: &str) -> Vec<(&'static str, PathBuf)> {
    let all = [("debian", nats::debian()), ("newer", nats::newer())];
    all.into_iter().filter_map(|(name, found)| Some((name, program(test, found)?))).collect()
}
