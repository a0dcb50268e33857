//! Presence: beats, markers and persona states, and what a reader concludes from them.

pub mod heartbeat;
pub mod records;
pub mod report;
pub mod run;
pub mod status;
pub mod view;
