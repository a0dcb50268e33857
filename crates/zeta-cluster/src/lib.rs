//! The cluster: what nodes share, in streams of NATS JetStream.
//!
//! - `setting`: where the servers are, and the login.
//! - `connection`: one connection; each request ends as an answer, a refusal, or as unknown.
//! - `api`: JetStream's own requests. `trouble`: their refusals, and what they mean for a caller.
//! - `store`: the blocking functions that all others use: read, and compare-and-set.
//! - `stream`: the settings of the streams. `meta`: the record of the cluster.
//! - `monitor`: what a server says of its own disk.
//! - `identity`, `keys`: this node's key, and those of others. `signer`: envelopes and signatures.
//! - `member`: a node's connection, which signs what it writes and judges what it reads.
//! - `bridge`: the process that sends the records of this node and keeps copies of the others'.
//! - `lease`: the leases of the cluster, for the verbs of leases.
//! - `gate`: what a server can do, proven on it. `init`, `status`: the verbs.
#![forbid(unsafe_code)]

mod api;
pub mod bridge;
mod connection;
pub mod gate;
pub mod identity;
pub mod init;
pub mod keys;
pub mod lease;
pub mod member;
pub mod meta;
mod monitor;
pub mod report;
mod setting;
pub mod signer;
pub mod status;
pub mod store;
mod stream;
pub mod trouble;

pub use api::{Stored, Write};
pub use monitor::Monitors;
pub use setting::{AddressError, Servers, Setting};
