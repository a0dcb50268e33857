//! Guard posts: which persona stands at which post of a node, and with which model line, tier and
//! harness it works there.
//!
//! The order of choice is persona, model line, tier, harness. [`tick`] is the whole scheduler: it
//! gets the policy, what it decided last, what the posts reported since, and how much time went by,
//! and returns what holds now and what changed. Equal inputs give equal answers.
//!
//! - [`policy`]: what an operator wrote, checked.
//! - [`choice`]: line, tier and harness of one persona, with a reason for each other one.
//! - [`health`]: when a line counts as down, and when it is tried again.
//! - [`order`]: whose turn it is.
//! - [`assign`]: one tick.
//! - [`outage`]: whether a failed tick was the vendor's outage.
//! - [`pace`]: when a post begins its next tick.
//! - [`picture`]: who stood where, as a drawing.
//! - [`state`]: what is kept between ticks, and its text on disk.

pub mod assign;
pub mod choice;
pub mod health;
pub mod order;
pub mod outage;
pub mod pace;
pub mod picture;
pub mod policy;
pub mod state;
#[cfg(test)]
mod tests;

pub use assign::{Change, Ticked, Why, tick};
pub use choice::{Choice, Step, Verdict, choose, is_allowed};
pub use policy::{Policy, Problem, Tier};
pub use state::{Post, Report, State};
