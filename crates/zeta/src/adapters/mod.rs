//! Everything with a window to the outside: one outside thing per file, and none of them decides.

pub mod anchor;
pub mod base;
pub mod bus;
pub mod cipher;
#[expect(unsafe_code, reason = "a clock that costs no system call; all of it is in there")]
pub mod clock;
pub mod forge;
pub mod git;
pub mod group;
pub mod guard;
pub mod hardware;
pub mod host;
pub mod leftover;
pub mod mount;
pub mod node;
pub mod probe;
pub mod process;
pub mod proclock;
pub mod queue;
#[expect(unsafe_code, reason = "fork, exec and signalfd have no safe face; all of it is in there")]
pub mod spawn;
pub mod walk;
pub mod watch;
pub mod yaml;
