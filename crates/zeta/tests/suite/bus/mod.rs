//! The bus and claims, by the built binary on real directories: beside what the original wrote,
//! beside writers that follow its rules, and beside those who follow none.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "a stage of the other tests, of which these need a part")]
#[path = "../it/stage.rs"]
mod stage;

mod attack;
mod claims;
mod hostile;
mod mixed;
mod place;
mod vectors;
