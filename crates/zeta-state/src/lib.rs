//! The state directory: leases, presence, and its upkeep.
#![forbid(unsafe_code)]

pub mod context;
pub mod directory;
pub mod finding;
pub mod history;
pub mod lease;
pub mod overview;
pub mod presence;
mod table;
pub mod upkeep;
