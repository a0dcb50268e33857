//! The whole screen of a person's terminal: taken, drawn on, and given back as it was, also after a
//! panic. A write never waits for longer than the caller wants to.

use std::io::stdout;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::termios::{isatty, tcgetwinsize};

use crate::inotify::poll_readable;
use crate::terminal::PersonTerminal;

/// Takes the other screen of the terminal, which has no memory, and hides the cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J";
/// Shows the cursor, and gives the usual screen back.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// Most bytes that are written at once to a terminal that may block.
const CAREFUL: usize = 512;
/// How long the rest of a key that has begun may take.
const KEY_LIMIT: Duration = Duration::from_millis(25);

/// The screen is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();

/// The terminal is gone.
#[derive(Debug)]
pub struct Gone;

/// The screen and the keys of a person's terminal. They are given back when this is dropped.
pub struct FullScreen {
    person: PersonTerminal,
    /// The same terminal, opened once more: there a write never blocks.
    own: Option<OwnedFd>,
}

impl FullScreen {
    /// Finds the terminal, if both the standard input and the standard output are one.
    pub fn find() -> Option<FullScreen> {
        if !isatty(stdout()) {
            return None;
        }
        let person = PersonTerminal::find()?;
        PANIC_HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if TAKEN.swap(false, Ordering::Relaxed) {
                    let _ = rustix::io::write(stdout(), LEAVE);
                }
                before(panic);
            }));
        });
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = openat(CWD, "/proc/self/fd/1", flags, Mode::empty()).ok();
        Some(FullScreen { person, own })
    }

    /// Takes the screen and the keys. In the background the kernel stops this process meanwhile.
    pub fn enter(&self, interrupt: BorrowedFd<'_>) -> Result<(), Gone> {
        self.person.make_raw();
        TAKEN.store(true, Ordering::Relaxed);
        self.write(ENTER, interrupt).map(|_| ())
    }

    /// Gives the screen and the keys back.
    pub fn leave(&self) {
        if TAKEN.swap(false, Ordering::Relaxed) {
            // What the terminal does not take at once, it does not show either.
            let _ = self.write_some(LEAVE);
        }
        self.person.give_back();
    }

    /// The columns and rows of the screen.
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(stdout()).ok();
        let usable = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        usable.map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }

    /// Writes everything, unless `interrupt` becomes readable while the terminal takes nothing:
    /// false then, and the screen shows a part of it.
    pub fn write(&self, bytes: &[u8], interrupt: BorrowedFd<'_>) -> Result<bool, Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write_some(rest)? {
                0 if !self.is_writable(interrupt) => return Ok(false),
                len => rest = rest.get(len..).unwrap_or_default(),
            }
        }
        Ok(true)
    }

    fn write_some(&self, bytes: &[u8]) -> Result<usize, Gone> {
        let written = match &self.own {
            Some(own) => rustix::io::write(own, bytes),
            None => {
                let mut polled = [PollFd::from_borrowed_fd(STDOUT, PollFlags::OUT)];
                match poll(&mut polled, Some(&rustix::event::Timespec::default())) {
                    Ok(0) => Err(Errno::AGAIN),
                    _ => rustix::io::write(STDOUT, bytes.get(..CAREFUL).unwrap_or(bytes)),
                }
            }
        };
        match written {
            Ok(len) => Ok(len),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(_) => Err(Gone),
        }
    }

    /// Sleeps until the terminal takes more; false if `interrupt` is readable before.
    fn is_writable(&self, interrupt: BorrowedFd<'_>) -> bool {
        let mut polled = [
            PollFd::from_borrowed_fd(STDOUT, PollFlags::OUT),
            PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
        ];
        let polled = poll(&mut polled, None).map(|_| polled.map(|fd| !fd.revents().is_empty()));
        matches!(polled, Ok([true, _]) | Err(Errno::INTR))
    }

    /// Reads the keys that were typed, after those in `bytes`. `is_whole` says whether these bytes
    /// end between two keys; the rest of one that has begun comes within moments, or never.
    pub fn read_keys(
        &self,
        bytes: &mut Vec<u8>,
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Gone> {
        let mut buffer = [0u8; 1024];
        loop {
            match rustix::io::read(STDIN, &mut buffer) {
                Ok(0) => return Err(Gone),
                Ok(len) => bytes.extend(buffer.get(..len).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return Err(Gone),
            }
            if is_whole(bytes) || poll_readable(&[STDIN], KEY_LIMIT) != [true] {
                return Ok(());
            }
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The descriptor that keys come from.
pub fn keys() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// The standard streams, which a program of Rust always has.
const STDIN: BorrowedFd<'static> = rustix::stdio::stdin();
const STDOUT: BorrowedFd<'static> = rustix::stdio::stdout();
