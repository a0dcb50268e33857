//! A node joins a cluster's repository, and leaves it, by one pull request that is never doubled.
#![forbid(unsafe_code)]

pub mod forge;
pub mod git;
pub mod hardware;
pub mod node;
pub mod node_yaml;
pub mod report;
