//! The integration tests: the built program, real processes and real files, in one test program.
//!
//! Each module is a subject and has its own helpers; `support` holds what several of them share.
//! A test that cannot run here says so with a line `SKIPPED: …`, never in silence. The attack table
//! is a program of its own, `tests/attacks`, because it also runs inside a virtual machine.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

mod boot;
mod bus;
mod chain;
mod cluster;
mod creds;
mod demo;
mod examples;
mod faults;
mod flash;
mod fuzz;
mod hooks;
mod install;
mod it;
mod json;
mod languages;
mod library;
mod look;
mod mcp;
mod modules;
mod node;
mod ops;
mod overview;
mod page;
mod place;
mod post;
mod repair;
mod scene;
mod screen;
mod signature;
mod status;
mod support;
mod torture;
mod watch;
mod web;
