//! The system calls of Linux behind safe functions: one subject per file; no rule is decided here.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "zeta runs on Linux 5.6 or later: it rests on flock, pidfd and renameat2 of that kernel"
);

#[expect(unsafe_code, reason = "a program enters its group before its exec; all of it is in there")]
pub mod cgroup;
#[expect(unsafe_code, reason = "a clock that costs no system call; all of it is in there")]
pub mod clock;
pub mod command;
pub mod connection;
pub mod console;
pub mod descent;
pub mod disk;
pub mod ends;
pub mod error;
pub mod files;
pub mod flock;
pub mod full_screen;
pub mod git;
pub mod given_path;
pub mod hardening;
pub mod host;
pub mod inotify;
pub mod lock_owner;
pub mod machine;
pub mod mount;
pub mod notify;
pub mod open_beneath;
pub mod process;
pub mod pty;
pub mod reader;
pub mod relay;
#[expect(
    unsafe_code,
    reason = "signalfd and dispositions have no safe face; all of it is in there"
)]
pub mod signal;
#[expect(unsafe_code, reason = "fork and exec have no safe face; all of it is in there")]
pub mod spawn;
pub mod temp_dir;
pub mod temp_file;
pub mod terminal;
pub mod timer;
pub mod trusted_file;
pub mod user_namespace;
pub mod users;
mod witness;
pub mod writer;
