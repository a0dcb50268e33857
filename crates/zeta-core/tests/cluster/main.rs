//! Searches the lease protocol of a cluster: a store that compares, answers that are lost, writes
//! that arrive late, old readings, clocks of other rates, crashes, and a store that loses values.
//!
//! The decisions and steps are the core's own. A small world is searched in every order of steps,
//! a larger one at random. Each rule that the users of the core have to keep is dropped once, and
//! the model must notice.
#![expect(clippy::expect_used, reason = "a step that cannot be done is a fault of the model")]

mod mutant;
mod random;
mod search;
mod step;
mod world;
