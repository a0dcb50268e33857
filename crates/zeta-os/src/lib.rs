//! What Linux gives, behind safe functions: one thing of the system per file, and none decides.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "zeta runs on Linux 5.6 or later: it rests on flock, pidfd and renameat2 of that kernel"
);

#[expect(unsafe_code, reason = "a clock that costs no system call; all of it is in there")]
pub mod clock;
pub mod error;
pub mod files;
pub mod host;
pub mod inotify;
pub mod lock_owner;
pub mod mount;
pub mod open_beneath;
pub mod process;
#[expect(unsafe_code, reason = "fork, exec and signalfd have no safe face; all of it is in there")]
pub mod spawn;
pub mod temp_file;
pub mod users;
