//! The adversarial tests: real processes, real files, and oracles that stand outside `zeta`.
//!
//! Read `sandbox` for how a test is set up, `worker` for what the crowd does, `oracle` for who
//! judges. A test that cannot run here says so with a line `SKIPPED: …`, never in silence.

mod beat;
mod exec;
mod files;
mod flock;
mod identity;
mod interop;
mod kill;
mod line;
mod oracle;
mod race;
mod review;
mod three;
mod time;
mod told;
mod usage;
mod view;
mod worker;
