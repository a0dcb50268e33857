//! The command line of zeta: it parses, calls one function of a subject's crate, and prints.
//!
//! - [`cli`]: the verbs, one file per noun.
//! - [`demo`]: a demonstration with real processes.
//! - [`hooks`]: what agent tools call around their own tools.
//! - [`config`], [`environment`]: what a person configured, and who calls about which tree.
//! - [`output`]: how an answer is printed.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod demo;
pub mod environment;
pub mod hooks;
pub mod output;
