//! The installation of a node by one manifest: what `zeta_core::install` decides, done with the
//! tools of the system.
//!
//! - [`manifest`]: the file of the operator, with the line of each fault.
//! - [`stick`]: the files of the stick, each by its digest.
//! - [`place`]: where the journal, the node and the running system are.
//! - [`tool`]: one call of another program.
//! - [`observe`]: the disks and what is on them.
//! - [`call`]: one thing that a step does, and whether it is done.
//! - [`step`]: the calls of each step.
//! - [`check`]: what must be right before the wipe.
//! - [`journal`]: the file with the lines.
//! - [`run`]: all of it, until the end or a refusal.
//! - [`report`]: text and JSON.

pub mod call;
pub mod check;
pub mod journal;
pub mod manifest;
pub mod observe;
pub mod place;
pub mod report;
pub mod run;
pub mod step;
pub mod stick;
pub mod tool;
