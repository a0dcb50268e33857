//! The files that systemd reads: shipped in `units/`, carried in the binary, made for a machine or
//! for one person.
//!
//! The files in `units/` are those of a machine with the program in `/usr/local/bin` and the user
//! zeta. [`render`] makes all others of them.

mod install;
mod render;
pub mod report;
mod verify;

pub use self::install::{Installed, install, write_into};
pub use self::render::{Person, Scope, Services, Setting, UnitFile, render, system_program};
pub use self::verify::{Exposure, LIMIT, Verified, verify};

use crate::directory::trusted_dir::README_TEXT;

/// The directory of the units of a machine, below its root.
const SYSTEM_UNITS: &str = "etc/systemd/system/";

/// Names one file of `units/`.
macro_rules! unit {
    ($name:literal) => {
        (
            concat!("etc/systemd/system/", $name),
            include_str!(concat!("../../../../../units/", $name)),
        )
    };
}

/// The path and the content of each file.
pub const FILES: [(&str, &str); 14] = [
    ("usr/local/share/zeta/README.md", README_TEXT),
    ("etc/sysusers.d/zeta.conf", include_str!("../../../../../units/sysusers.d/zeta.conf")),
    ("etc/tmpfiles.d/zeta.conf", include_str!("../../../../../units/tmpfiles.d/zeta.conf")),
    unit!("zeta-clean.service"),
    unit!("zeta-clean.timer"),
    unit!("zeta-heartbeat.service"),
    unit!("zeta-node-register.service"),
    unit!("zeta-node-register.timer"),
    unit!("zeta-cluster-bridge.service"),
    unit!("zeta-creds-restore.service"),
    unit!("zeta-guard-post@.service"),
    unit!("zeta-guard-post-scheduler.service"),
    unit!("zeta-guard-post-scheduler.timer"),
    unit!("zeta-guard-posts.target"),
];
