//! What the bytes of a terminal say: which modes a program left set, and whether a person is in the
//! middle of a line.

pub mod line;
pub mod modes;
