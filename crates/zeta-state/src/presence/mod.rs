//! Who is here: beats, markers and persona states, and what a reader makes of them.

pub mod heartbeat;
pub mod records;
pub mod report;
pub mod run;
pub mod status;
pub mod view;
