//! The command line of zeta: it parses, calls one function of a subject's crate, and prints.
//!
//! - [`cli`]: the verbs, one file per noun.
//! - [`demo`]: the main job played with real processes.
//! - [`config`], [`output`]: what a person configured, and how an answer is printed.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "an allocator is made of raw blocks; all of it is in there")]
pub mod allocator;
pub mod cli;
pub mod config;
pub mod demo;
pub mod output;
