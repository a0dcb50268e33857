//! The bugs of a node's identity and of what is made again after a loss: each one lets another hand
//! speak for a node, or takes a store for one that it is not.

use super::bugs::{Bug, bug};

const CONFIG: &str = "crates/zeta-cluster/src/server_config.rs";
const IDENTITY: &str = "crates/zeta-cluster/src/identity.rs";
const KEYS: &str = "crates/zeta-cluster/src/keys.rs";
const LOGIN: &str = "crates/zeta-cluster/src/login.rs";
const COMPACT: &str = "crates/zeta-core/src/cluster/compact.rs";

const CLUSTER_TESTS: &[&str] = &["-p", "zeta-cluster", "--lib"];
const LOSS_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "cluster::loss::tests"];
const COMPACT_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "cluster::"];
const TLS_TESTS: &[&str] = &["-p", "zeta", "--test", "suite", "cluster::tls"];

/// All bugs.
pub const BUGS: [Bug; 12] = [
    bug(
        "a seed that others can read is used",
        IDENTITY,
        "(mode & 0o077 & !allowed != 0).then_some(mode)",
        "(mode & 0o007 & !allowed != 0).then_some(mode)",
        CLUSTER_TESTS,
    ),
    bug(
        "an identity is used for another cluster",
        IDENTITY,
        "match found.node == *node && found.cluster == *cluster {",
        "match found.node == *node {",
        CLUSTER_TESTS,
    ),
    bug(
        "two keys count for one node",
        KEYS,
        "self.known.insert(node, (key.to_owned(), read)).is_none().then_some(())",
        "self.known.insert(node, (key.to_owned(), read));
        Some(())",
        CLUSTER_TESTS,
    ),
    bug(
        "a server has any text signed",
        LOGIN,
        "bytes.len() <= NONCE_MAX && bytes.iter().all(is_plain)",
        "bytes.len() <= NONCE_MAX && bytes.iter().any(is_plain) || bytes.is_empty()",
        CLUSTER_TESTS,
    ),
    bug(
        "a connection with certificates goes on without TLS",
        LOGIN,
        "Ok(options.require_tls(*tls != Tls::default()))",
        "Ok(options)",
        TLS_TESTS,
    ),
    bug(
        "a node imports the state of all nodes",
        CONFIG,
        "format!(\"{MAJOR}.state.{node}.>\"),",
        "format!(\"{MAJOR}.state.>\"),",
        CLUSTER_TESTS,
    ),
    bug(
        "the end of a lease is removed while an older value stays",
        COMPACT,
        "if all_below && newest.what",
        "if newest.what",
        COMPACT_TESTS,
    ),
    bug(
        "what is removed leaves no floor of the tokens",
        COMPACT,
        "meta.floor = meta.floor.max(self.floor);",
        "meta.floor = meta.floor.max(0);",
        COMPACT_TESTS,
    ),
    bug(
        "a card that was removed counts as lost",
        "crates/zeta-core/src/cluster/epoch.rs",
        "if last.sequence <= removed { Own::Stands }",
        "if last.sequence < removed { Own::Stands }",
        COMPACT_TESTS,
    ),
    bug(
        "after a loss the tokens begin anew",
        "crates/zeta-core/src/cluster/loss.rs",
        "remembered.map_or(0, |remembered| remembered.highest_token)",
        "remembered.map_or(0, |_| 0)",
        LOSS_TESTS,
    ),
    bug(
        "a cluster that is whole is made again",
        "crates/zeta-core/src/cluster/loss.rs",
        "true => Err(Refusal::Whole),",
        "true => raised(meta, meta),",
        LOSS_TESTS,
    ),
    bug(
        "the values of another cluster are taken for those that were lost",
        "crates/zeta-core/src/cluster/loss.rs",
        "there == stream && then == made;",
        "there == stream && (then == made || then != made);",
        LOSS_TESTS,
    ),
];
