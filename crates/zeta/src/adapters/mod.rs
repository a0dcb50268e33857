//! Everything with a window to the outside: one outside thing per file, and none of them decides.

pub mod anchor;
pub mod ask;
pub mod base;
pub mod blob;
pub mod bus;
pub mod cipher;
#[expect(unsafe_code, reason = "a clock that costs no system call; all of it is in there")]
pub mod clock;
pub mod forge;
pub mod fresh;
pub mod git;
pub mod group;
pub mod guard;
pub mod hardware;
pub mod host;
#[expect(unsafe_code, reason = "an inherited descriptor is a bare number; all of it is in there")]
pub mod inherited;
pub mod leftover;
pub mod mount;
pub mod node;
#[expect(unsafe_code, reason = "mmap and mlock have no safe face; all of it is in there")]
pub mod pages;
pub mod passphrase;
pub mod plant;
pub mod probe;
pub mod process;
pub mod proclock;
pub mod queue;
pub mod secret;
#[expect(unsafe_code, reason = "fork, exec and signalfd have no safe face; all of it is in there")]
pub mod spawn;
pub mod walk;
pub mod watch;
pub mod yaml;
