//! `zeta mcp`: the real server, spoken to in lines of JSON, in both eras of the protocol.

mod client;
mod cluster;
mod ending;
mod hostile;
mod install;
mod protocol;
mod session;
mod tools;
mod untaken;
mod waiting;
