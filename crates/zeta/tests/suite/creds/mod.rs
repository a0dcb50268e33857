//! Credentials: the blobs of the original, our own frozen ones, a decoder that shares no code with
//! either; and the hands, against real files, users and processes.
//!
//! Users are numbers that no account has; with other users than root's own the tests need root, and
//! say so where they are skipped. Read `sandbox` for the places and for the parts that this test
//! binary plays as a process of its own.

mod attack;
mod blob;
pub mod cli;
mod concurrent;
mod decoder;
mod guard;
mod guard_ends;
mod issuer;
mod login;
mod memory;
mod own;
mod plant;
mod race;
mod sandbox;
mod secret;
mod vectors;
