//! The attack table: A1 to A26, each played against the real program, as outsider and as insider.
//!
//! The numbers are those of `docs/adversarial.md`. An *outsider* is another user of the machine, an
//! *insider* the same user or, in a group's tree, another member. Each is played in a private and
//! in a group's tree, with `openat2` and with the walk that replaces it. Read `arena` for the place
//! and its people, `tally` for how refusals are counted, `hand` for attackers that are programs.
//! `cargo xtask attacks` prints the table; `cargo xtask vm` plays it on a kernel of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

mod arena;
mod base;
mod clock;
mod hand;
mod leaf;
mod lock;
mod namespace;
mod place;
mod race;
#[path = "../suite/support/skip.rs"]
mod skip;
mod tally;
mod time;
