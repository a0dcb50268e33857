//! The bus and claims, by the built binary on real directories: beside what the original wrote,
//! beside writers that follow its rules, and beside those who follow none.

mod announced;
mod attack;
mod claims;
mod clock;
mod decode;
mod deliver;
mod hostile;
mod inbox;
mod index;
mod mail;
mod mixed;
mod notes;
mod paths;
pub mod place;
mod vectors;
