//! three
