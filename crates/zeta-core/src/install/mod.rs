//! The installation of a node: what its manifest says, which steps there are, and what to do next.
//!
//! Nothing here touches a disk. A program observes, asks [`next()`] and carries the answer out. It
//! writes each step into a journal, so that it may be killed at any moment. After that it goes on
//! only if the disks have what the journal says, and refuses by name otherwise.
//!
//! - [`key`]: every key of a manifest, and what counts where it is not there.
//! - [`manifest`]: the values.
//! - [`step`]: the steps, in their order.
//! - [`layout`]: the partitions that a disk gets, with identities that are known beforehand.
//! - [`seen`]: what was observed.
//! - [`plan`]: which disks, which questions, and what is against it.
//! - [`refusal`]: why it does not go on.
//! - [`journal`]: the lines of an installation, and what they say together.
//! - [`next`](mod@next): what to do next.
//! - [`route`]: whether ranges of addresses overlap those of the network here.
//! - [`picture`]: the steps as a drawing.

pub mod journal;
pub mod key;
pub mod layout;
pub mod manifest;
pub mod next;
pub mod picture;
pub mod plan;
pub mod refusal;
pub mod route;
pub mod seen;
pub mod step;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use journal::{Event, Journal};
pub use manifest::Manifest;
pub use next::{Action, next};
pub use plan::Plan;
pub use refusal::Refusal;
pub use seen::{Disk, DiskId, Seen};
pub use step::Step;
