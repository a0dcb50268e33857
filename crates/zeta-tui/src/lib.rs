//! `zeta watch`: a live view of a state directory in a terminal, and as plain lines where there is
//! none. It draws an overview and decides nothing.
#![forbid(unsafe_code)]

mod change;
mod clock;
mod draw;
#[cfg(test)]
mod fixture;
mod key;
mod line;
mod scene;
mod state;
mod text;
mod theme;
