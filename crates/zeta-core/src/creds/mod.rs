//! Credentials that survive re-imaging: a sealed blob on the stick, and what may be in it.
//!
//! [`frame`] is the blob around the cipher, [`bundle`] the plaintext in it, [`manifest`] says which
//! credentials there are, [`place`] where each lies, [`bake`] what may be put in, [`passphrase`]
//! how one is made and read, [`wifi`] how a network becomes a file, [`login`] which of two logins
//! is newer and when one is refreshed, [`gh_hosts`] the token in a login of gh, [`plan`] what a
//! restore results in. The cipher itself is in `zeta-creds`. No error contains a part of a secret.

pub mod bake;
pub mod bundle;
pub mod frame;
pub mod gh_hosts;
pub mod login;
pub mod manifest;
pub mod passphrase;
pub mod place;
pub mod plan;
pub mod wifi;

/// The path of the blob on an installed machine.
pub const BLOB: &str = "/boot/zeta-creds.enc";
