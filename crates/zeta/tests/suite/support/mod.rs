//! What tests of several subjects share: a sandbox, programs with a time limit, and the skip line.

mod program;
mod sandbox;
mod skip;
mod temp_dir;
mod terminal;
mod tmux;

pub use program::{
    LIMIT, Out, can, find, finish, is_root, one_is_faster, run, run_within, signal, until, wait,
    wait_for, with_unusual_signals, with_usual_signals,
};
pub use sandbox::{Sandbox, anchor_of};
pub use skip::{append, skip};
pub use temp_dir::TempDir;
pub use terminal::{Terminal, open_terminal};
pub use tmux::Tmux;

/// The full name of the test in whose body this stands, as the test runner prints it.
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::support::without_program(std::any::type_name_of_val(&here))
    }};
}
pub(crate) use test_name;

/// Turns `suite::it::race::a_test::here` into `it::race::a_test`.
pub fn without_program(path: &'static str) -> &'static str {
    let path = path.strip_suffix("::here").unwrap_or(path);
    let path = path.split_once("::{{closure}}").map_or(path, |(test, _)| test);
    path.split_once("::").map_or(path, |(_, test)| test)
}
