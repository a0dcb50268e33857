//! Whole boots: a Debian with systemd as its first process, in which our units do what they say.
//!
//! The tree is made once by `cargo xtask test` (root, mmdebstrap); each test boots an overlay of it
//! with systemd-nspawn, so that what one boot writes is there at the next one, and another test
//! finds none of it.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "a stand-in of other tests, of which these need a part")]
#[path = "../node/hub.rs"]
mod hub;
#[path = "../node/schema.rs"]
mod schema;
#[expect(dead_code, reason = "a stage of other tests, of which these need a part")]
#[path = "../it/stage.rs"]
mod stage;
#[expect(dead_code, reason = "a stand-in of other tests, of which these need a part")]
#[path = "../node/standin.rs"]
mod standin;

mod cluster;
mod creds;
mod machine;
mod register;
