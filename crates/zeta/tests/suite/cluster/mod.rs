//! `zeta cluster` and its store, on real servers: Debian's, and a newer one.

mod accounts;
mod attack;
pub(crate) mod bridge;
mod compact;
mod fault;
mod full;
mod gate;
mod init;
mod join;
pub(crate) mod lease;
mod login;
mod mail;
mod operator;
mod replicas;
mod store;
mod tls;
mod tutorial;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{Sandbox, skip};

#[path = "../../../../../testing/src/nats.rs"]
pub(crate) mod nats;

/// Returns the program of a server, or says that the test, or a part of it, does not run.
pub(crate) fn program(test: &str, found: Result<PathBuf, String>) -> Option<PathBuf> {
    found.map_err(|why| skip(test, &why)).ok()
}

/// Both programs, each with a name, as far as they are here.
pub(crate) fn programs(test: &str) -> Vec<(&'static str, PathBuf)> {
    let all = [("debian", nats::debian()), ("newer", nats::newer())];
    all.into_iter().filter_map(|(name, found)| Some((name, program(test, found)?))).collect()
}

/// Plays the same with each program at once, for what waits for long.
fn with_each(test: &str, play: impl Fn(&'static str, PathBuf) + Sync) {
    let programs = programs(test);
    std::thread::scope(|scope| {
        for (name, program) in programs {
            let play = &play;
            scope.spawn(move || play(name, program));
        }
    });
}

/// A login by an nkey, for the plain client.
fn by_key(seed: &str) -> impl Fn(&str) -> String {
    let key = nkeys::KeyPair::from_seed(seed.trim()).unwrap();
    move |nonce| {
        let signature = URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes()).unwrap());
        format!("\"nkey\":{:?},\"sig\":{signature:?},", key.public_key())
    }
}

/// The directory of a node's key and identity in a sandbox.
fn identity_dir(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir.join(".local/state/zeta/cluster")
}

/// The seed of a node that has a key.
fn seed(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(identity_dir(sandbox).join("node.nk")).unwrap()
}
