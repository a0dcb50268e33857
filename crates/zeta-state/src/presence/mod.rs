//! Presence: beats, markers and persona states, and what a reader concludes from them.

pub mod ancestor;
pub mod heartbeat;
pub mod records;
pub mod report;
pub mod run;
pub mod session_leases;
pub mod status;
pub mod tool_session;
pub mod view;
