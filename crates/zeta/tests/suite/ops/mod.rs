//! What an operator does: `init`, `doctor`, `clean`, configuration, pages and shipped units, with
//! the built binary on real directories.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod clean;
mod config;
mod group;
mod nix;
mod shipped;
mod stage;
mod tree;
