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
mod plain;
mod run;
mod scene;
mod state;
mod terminal;
mod text;
mod theme;

pub use theme::Theme;

use zeta_bus::overview::Follower;
use zeta_os::error::Result;
use zeta_os::full_screen::FullScreen;
use zeta_state::context::Context;

/// What is shown, and how.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The state directory and the bus.
    pub ctx: Context,
    /// Whether agents that have ended and other nodes are shown from the beginning.
    pub all: bool,
    /// Whether each change prints an overview as JSON.
    pub json: bool,
    /// Whether there may be a screen: a terminal that can be drawn on.
    pub can_draw: bool,
    /// What a terminal shows.
    pub theme: Theme,
}

/// Shows what goes on until a person, a signal or the end of the reader ends it; returns the exit
/// status.
///
/// # Errors
/// The terminal or the output cannot be written. That something cannot be read is a finding.
pub fn watch(setting: &Setting) -> Result<u8> {
    let Setting { ctx, all, json, can_draw, theme } = setting;
    let screen = if *json || !can_draw { None } else { FullScreen::find() };
    let mut follower = Follower::new(ctx);
    match screen {
        Some(screen) => {
            let node = ctx.node.as_ref().map(ToString::to_string);
            run::run(screen, &mut follower, node, *all, *theme)
        }
        None => plain::run(&mut follower, *json).map(|()| 0),
    }
}
