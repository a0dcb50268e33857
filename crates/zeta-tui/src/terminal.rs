//! The frames on a terminal: what differs from the frame before, in one write.

use std::io;
use std::os::fd::BorrowedFd;

use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use zeta_os::full_screen::{FullScreen, Gone};

/// Empties the screen.
const EMPTY: &[u8] = b"\x1b[0m\x1b[2J";

/// A terminal that shows frames. The library's own one is not used: it asks the terminal where the
/// cursor is, and would read the answer among the keys.
pub struct Terminal {
    screen: FullScreen,
    /// What the screen shows, if that is known.
    shown: Option<Buffer>,
    /// The frame that is drawn next; its memory is that of the one before the last.
    next: Buffer,
}

impl Terminal {
    /// Makes frames of the size of the screen.
    pub fn new(screen: FullScreen) -> Terminal {
        Terminal { screen, shown: None, next: Buffer::default() }
    }

    /// The screen.
    pub fn screen(&self) -> &FullScreen {
        &self.screen
    }

    /// Draws all of the next frame, in the size that the screen has then.
    pub fn repaint(&mut self) {
        self.shown = None;
    }

    /// Shows a frame; false if `interrupt` became readable while the terminal took nothing. Then a
    /// part of the frame is shown, and the next one is drawn whole.
    ///
    /// # Errors
    /// None that a terminal has: the bytes are made in memory.
    pub fn show(
        &mut self,
        interrupt: BorrowedFd<'_>,
        draw: impl FnOnce(&mut Buffer),
    ) -> io::Result<Result<bool, Gone>> {
        let mut bytes = Vec::new();
        let shown = match self.shown.take() {
            Some(shown) => shown,
            None => {
                bytes.extend(EMPTY);
                let (width, height) = self.screen.size();
                Buffer::empty(Rect::new(0, 0, width, height))
            }
        };
        self.next.resize(shown.area);
        self.next.reset();
        draw(&mut self.next);
        CrosstermBackend::new(&mut bytes).draw(shown.diff_iter(&self.next))?;
        let is_whole = match self.screen.write(&bytes, interrupt) {
            Ok(is_whole) => is_whole,
            Err(gone) => return Ok(Err(gone)),
        };
        if is_whole {
            self.shown = Some(std::mem::replace(&mut self.next, shown));
        }
        Ok(Ok(is_whole))
    }
}
