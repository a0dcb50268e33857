//! What the bytes of a terminal say: which modes a program left set, and whether a person is in the
//! middle of a line; and when a line may be typed there to wake an agent.

pub mod line;
pub mod modes;
pub mod wake;
