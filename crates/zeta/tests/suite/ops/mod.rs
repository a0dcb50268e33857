//! What an operator does: `init`, `doctor`, `clean`, configuration, pages and shipped units, with
//! the built binary on real directories.

mod clean;
mod complete;
mod config;
mod group;
mod nix;
pub mod packages;
mod sandbox;
mod shipped;
mod tree;
mod unit;
