//! Guard posts of a node: which persona stands where is decided by [`zeta_core::schedule`]; this
//! crate reads what the operator wrote, keeps what was decided, and runs the agents.
#![forbid(unsafe_code)]

pub mod config;
pub mod repair;
pub mod report;
pub mod run;
pub mod store;
pub mod tick;
