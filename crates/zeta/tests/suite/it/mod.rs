//! The adversarial tests: real processes, real files, and oracles outside `zeta`.
//!
//! Read `sandbox` for the setup of a test, `worker` for the processes, `oracle` for the checks. A
//! test that cannot run here prints a line `SKIPPED: …`.

mod beat;
mod exec;
mod files;
mod flock;
mod history;
mod identity;
mod interop;
mod kill;
mod line;
mod lost;
mod node_name;
mod oracle;
mod pty;
mod race;
mod review;
mod rules;
mod signals;
mod slots;
mod three;
mod time;
mod told;
mod usage;
mod view;
mod wait;
mod wake;
mod worker;
