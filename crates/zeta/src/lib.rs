//! Leases that hold, presence, and a directory of readable files, for AI agents on a machine.
//!
//! The floors, from the street down (imports only go down):
//!
//! - [`cli`]: the door; parses, calls one function of `ops`, prints the answer.
//! - [`demo`]: the main job played with real processes; `ops` and `adapters` serve it.
//! - [`ops`]: one function per thing that zeta can do: read, ask `zeta-core`, carry out.
//! - [`adapters`]: the hands: the state directory, guards, processes, clocks, children.
//! - `zeta-core`: every decision, pure.
//!
//! [`config`], [`context`], [`error`] and [`output`] are the stairs between them.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "zeta runs on Linux 5.6 or later: it rests on flock, pidfd and renameat2 of that kernel"
);

pub mod adapters;
pub mod cli;
pub mod config;
pub mod context;
pub mod demo;
pub mod error;
pub mod ops;
pub mod output;
