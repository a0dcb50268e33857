//! Messages between agents as files, and claims: leases that are announced on the bus.
#![forbid(unsafe_code)]

pub mod claim;
pub mod clean;
pub mod directory;
pub mod doctor;
pub mod exchange;
pub mod messages;
pub mod overview;
pub mod report;
