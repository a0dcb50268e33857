//! The rules of writing an image to a stick.
//!
//! - [`select`]: which disk a person named.
//! - [`order`]: what is written, and when, so that a cut never leaves a stick that starts.
//! - [`consent`]: how a person, or a plan that a person saw, allows it.
//! - [`progress`]: the rate, and the rest.

pub mod consent;
pub mod order;
pub mod progress;
pub mod select;
#[cfg(test)]
mod tests;
