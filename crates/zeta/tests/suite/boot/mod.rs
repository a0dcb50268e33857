//! Whole boots: a Debian with systemd as its first process, in which our units do what they say.
//!
//! The tree is made once by `cargo xtask test` (root, mmdebstrap); each test boots an overlay of it
//! with systemd-nspawn, so that what one boot writes is there at the next one, and another test
//! finds none of it.

mod agent;
mod cluster;
mod creds;
mod driver;
mod machine;
mod package;
mod posts;
mod register;
mod units;
