//! The terminal of a person while its keys go to another terminal: *raw*, so that each key arrives
//! as it is, and back in its own modes at the end, also after a panic.

use std::io::{stdin, stdout};
use std::sync::{Mutex, Once, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize,
    tcsetattr,
};

/// The modes that the terminal gets back, while it is raw.
static OWN_MODES: Mutex<Option<Termios>> = Mutex::new(None);
static PANIC_HOOK: Once = Once::new();

/// The terminal at the standard input. Its modes come back when this is dropped.
pub struct PersonTerminal {
    own_modes: Termios,
}

impl PersonTerminal {
    /// The terminal, if the standard input is one.
    pub fn find() -> Option<PersonTerminal> {
        let own_modes = isatty(stdin()).then(|| tcgetattr(stdin()).ok()).flatten()?;
        PANIC_HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        Some(PersonTerminal { own_modes })
    }

    /// The modes that it had.
    pub fn own_modes(&self) -> &Termios {
        &self.own_modes
    }

    /// Returns whether this process's group is in front of it, and may read and change it.
    pub fn is_in_front(&self) -> bool {
        tcgetpgrp(stdin()).is_ok_and(|front| front == getpgrp())
    }

    /// Makes it raw.
    pub fn make_raw(&self) {
        let mut raw = self.own_modes.clone();
        raw.make_raw();
        *OWN_MODES.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.own_modes.clone());
        let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
    }

    /// Gives it its own modes back.
    pub fn give_back(&self) {
        give_back();
    }
}

impl Drop for PersonTerminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let own = OWN_MODES.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(own) = own {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &own);
    }
}

/// Calls a function that writes lines for a person. A raw terminal needs two bytes to begin a new
/// line, so it makes one of two of each for that time.
pub fn with_lines<T>(write: impl FnOnce() -> T) -> T {
    let is_raw = OWN_MODES.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    let raw = is_raw.then(|| tcgetattr(stdin()).ok()).flatten();
    if let Some(raw) = &raw {
        let mut lines = raw.clone();
        lines.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        let _ = tcsetattr(stdin(), OptionalActions::Now, &lines);
    }
    let written = write();
    if let Some(raw) = &raw {
        let _ = tcsetattr(stdin(), OptionalActions::Now, raw);
    }
    written
}

/// The size of the terminal of the person; 80 columns and 24 rows without one.
pub fn size() -> Winsize {
    let known = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).ok();
    let usable = known.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    usable.unwrap_or(Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
}
