//! Signed commits of a repository: reading them from git, and the hooks that add and check blocks.
//! What a message means is decided by [`zeta_core::signature`].
#![forbid(unsafe_code)]

pub mod audit;
pub mod beats;
pub mod hook;
mod log;
pub mod report;
pub mod repository;
