//! Disks of a machine, and whether one may be overwritten.
//!
//! A disk is named by a person, and never found: what is decided here is only whether the named one
//! is refused. What is not known counts as a reason against it.
//!
//! - [`lsblk`]: what the program `lsblk` lists.
//! - [`wipefs`]: what the program `wipefs` finds on one.
//! - [`judge`]: the reasons against a disk.

pub mod judge;
pub mod lsblk;
#[cfg(test)]
mod tests;
pub mod wipefs;

pub use judge::{Limits, Reason, judge, judge_content};
pub use lsblk::{Device, Listing};
