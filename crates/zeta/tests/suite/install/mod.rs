//! `zeta install`: on real disks with real tools, killed at each of its steps; and what an ordinary
//! user sees of it.

mod cut;
mod disks;
mod hostile;
mod plain;
pub mod rig;
