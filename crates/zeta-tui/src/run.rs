//! The loop of the view on a terminal: one sleep for keys, signals, changes and the next second
//! that is seen.

use std::io;
use std::time::{Duration, Instant};

use zeta_bus::overview::{Follower, HISTORY_MAX};
use zeta_core::history::Entry;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::full_screen::{FullScreen, Gone, keys};
use zeta_os::host::wall_us;
use zeta_os::inotify::poll_readable;
use zeta_os::signal::{CHILD_ENDED, CONTINUED, HANGUP, RESIZED, STOP, Signals};

use crate::clock::Clock;
use crate::draw;
use crate::key;
use crate::scene::Scene;
use crate::state::{Effect, Room, State};
use crate::terminal::Terminal;
use crate::theme::Theme;

/// How long a frame stays at least while changes come without a pause.
const FRAME: Duration = Duration::from_millis(250);
/// How long it sleeps at most: the wall clock may be set, and a machine may sleep.
const LIMIT: Duration = Duration::from_secs(60);

/// Shows the view until a person or a signal ends it; returns the exit status.
pub fn run(
    screen: FullScreen,
    follower: &mut Follower,
    node: Option<String>,
    all: bool,
    theme: Theme,
) -> Result<u8> {
    let signals = Signals::take_over_with_terminal()?;
    let terminal = Terminal::new(screen);
    let mut state = State::default();
    state.shown.all = all;
    let log = follower.take_history();
    let room = Room::default();
    let mut view = View { signals, terminal, theme, state, room, log, node, typed: Vec::new() };
    match view.resume().and_then(|()| view.follow(follower)) {
        Ok(status) => Ok(status),
        Err(Stop::Gone) => Ok(status_of(HANGUP)),
        Err(Stop::Fault(error)) => Err(error),
    }
}

/// Why the view ended without a wish of the person.
enum Stop {
    Gone,
    Fault(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Fault(fault(error))
    }
}

/// The exit status of a process that a signal ends.
fn status_of(signal: i32) -> u8 {
    128 + u8::try_from(signal).unwrap_or_default()
}

fn fault(error: io::Error) -> Error {
    Error::new(Kind::Fault, format!("cannot draw on the terminal: {error}"))
}

struct View {
    signals: Signals,
    terminal: Terminal,
    theme: Theme,
    state: State,
    room: Room,
    log: Vec<Entry>,
    node: Option<String>,
    /// Bytes of a key that has not come whole.
    typed: Vec<u8>,
}

impl View {
    fn follow(&mut self, follower: &mut Follower) -> std::result::Result<u8, Stop> {
        let mut drawn = Instant::now();
        let (mut must_draw, mut changed, mut next_us) = (true, false, None);
        loop {
            // Keys are answered at once, and changes after a while without any.
            let mut readable = false;
            if must_draw || changed && drawn.elapsed() >= FRAME {
                match self.draw(follower)? {
                    Drawn::Until(at_us) => next_us = at_us,
                    Drawn::Interrupted => readable = true,
                }
                (must_draw, changed, drawn) = (readable, false, Instant::now());
            }
            if !readable {
                let limit = match (changed, next_us) {
                    (true, _) => FRAME.saturating_sub(drawn.elapsed()),
                    (false, Some(at_us)) => until(at_us),
                    (false, None) => LIMIT,
                };
                let woken = follower.wait(limit.min(LIMIT), &[keys(), self.signals.fd()]);
                if woken.changed {
                    changed = true;
                    self.log.extend(follower.take_history());
                    self.log.drain(..self.log.len().saturating_sub(HISTORY_MAX));
                }
                readable = woken.readable;
                must_draw |= !changed && !readable;
            }
            if readable {
                match self.hear(follower)? {
                    Heard::Quit(status) => return Ok(status),
                    Heard::Draw => must_draw = true,
                    Heard::Nothing => {}
                }
            }
        }
    }

    /// Draws a frame.
    fn draw(&mut self, follower: &Follower) -> std::result::Result<Drawn, Stop> {
        let View { signals, terminal, theme, state, room, log, node, .. } = self;
        let overview = follower.overview();
        let node = node.as_deref().or(overview.node.as_deref());
        let scene = Scene { overview, log, node };
        let clock = Clock::at(wall_us());
        let shown = terminal.show(signals.fd(), |buffer| {
            *room = draw::frame(buffer, &scene, state, &clock, theme);
        })??;
        Ok(if shown { Drawn::Until(clock.next_us()) } else { Drawn::Interrupted })
    }

    /// Takes the signals and keys that are there.
    fn hear(&mut self, follower: &Follower) -> std::result::Result<Heard, Stop> {
        let mut heard = Heard::Nothing;
        while let Some(signal) = self.signals.next() {
            match signal.number {
                CHILD_ENDED => {}
                RESIZED => {
                    self.terminal.repaint();
                    heard = Heard::Draw;
                }
                STOP => {
                    self.suspend()?;
                    heard = Heard::Draw;
                }
                CONTINUED => {
                    self.resume()?;
                    heard = Heard::Draw;
                }
                number => return Ok(Heard::Quit(status_of(number))),
            }
        }
        if poll_readable(&[keys()], Duration::ZERO) != [true] {
            return Ok(heard);
        }
        let is_whole = |bytes: &[u8]| key::parse(bytes, false).1 == bytes.len();
        self.terminal.screen().read_keys(&mut self.typed, is_whole)?;
        let (typed, _) = key::parse(&std::mem::take(&mut self.typed), true);
        for key in typed {
            let overview = follower.overview();
            let node = self.node.as_deref().or(overview.node.as_deref());
            let scene = Scene { overview, log: &self.log, node };
            match self.state.key(key, &scene, self.room) {
                Effect::Quit => return Ok(Heard::Quit(0)),
                Effect::Draw => heard = Heard::Draw,
                Effect::None => {}
                Effect::Suspend => {
                    self.suspend()?;
                    heard = Heard::Draw;
                }
                Effect::Repaint => {
                    self.terminal.repaint();
                    heard = Heard::Draw;
                }
            }
        }
        Ok(heard)
    }

    /// Gives the terminal back and stops; goes on when the shell says so.
    fn suspend(&mut self) -> std::result::Result<(), Stop> {
        self.terminal.screen().leave();
        self.signals.stop_group();
        self.resume()
    }

    fn resume(&mut self) -> std::result::Result<(), Stop> {
        self.terminal.screen().enter(self.signals.fd())?;
        self.terminal.repaint();
        Ok(())
    }
}

/// How long it is until a moment.
fn until(at_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(at_us.saturating_sub(wall_us())).unwrap_or_default())
}

enum Drawn {
    /// When time alone makes another frame of it.
    Until(Option<i64>),
    /// A signal came while the terminal took nothing.
    Interrupted,
}

enum Heard {
    Nothing,
    Draw,
    Quit(u8),
}
