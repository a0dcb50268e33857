//! The cluster: what nodes share, in streams of NATS JetStream.
//!
//! - `setting`: where the servers are. `login`: logins, and the certificates of TLS.
//! - `connection`: one connection; each request ends as an answer, a refusal, or as unknown.
//! - `account`: whose account a login belongs to.
//! - `api`: JetStream's own requests. `trouble`: their refusals, and what they mean for a caller.
//! - `snapshot`: reads all values of a stream.
//! - `store`: the blocking functions that all others use: read, and compare-and-set.
//! - `stream`: the settings of the streams. `meta`: the record of the cluster.
//! - `follow`: of which nodes a bridge keeps copies.
//! - `monitor`: what a server says of its own disk.
//! - `identity`, `keys`: this node's key, and those of others. `signer`: envelopes and signatures.
//! - `member`: a node's connection, which signs what it writes and judges what it reads.
//! - `bridge`: the process that sends the records of this node and keeps copies of the others'.
//! - `lease`: the leases of the cluster, for the verbs of leases.
//! - `gate`: what a server can do, proven on it. `init`, `after_loss`, `join`, `status`: the verbs.
//! - `compact`: removes what nobody needs from the store.
//! - `server_config`: the configuration of the servers, with an account for each node.
#![forbid(unsafe_code)]

mod account;
pub mod after_loss;
mod api;
pub mod bridge;
pub mod compact;
mod connection;
mod follow;
pub mod gate;
pub mod identity;
pub mod init;
pub mod join;
pub mod keys;
pub mod lease;
mod login;
pub mod member;
pub mod meta;
mod monitor;
mod pause;
pub mod report;
pub mod server_config;
mod setting;
pub mod signer;
mod snapshot;
pub mod status;
pub mod store;
mod stream;
pub mod trouble;

pub use account::Account;
pub use api::{Stored, Write};
pub use follow::Follow;
pub use login::is_of_operator;
pub use monitor::Monitors;
pub use setting::{AddressError, Servers, Setting, Tls};
