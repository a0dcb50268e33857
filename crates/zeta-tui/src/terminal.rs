//! The frames on a terminal: what differs from the frame before, in one write.

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use zeta_os::full_screen::{FullScreen, Gone};

/// The bytes of a frame.
#[derive(Debug, Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that shows frames.
pub struct Terminal {
    screen: FullScreen,
    frames: ratatui::Terminal<CrosstermBackend<Bytes>>,
    bytes: Bytes,
}

impl Terminal {
    /// Makes frames of the size of the screen.
    ///
    /// # Errors
    /// None that a terminal has: the bytes are kept in memory.
    pub fn new(screen: FullScreen) -> io::Result<Terminal> {
        let bytes = Bytes::default();
        let options = TerminalOptions { viewport: Viewport::Fixed(area(&screen)) };
        let backend = CrosstermBackend::new(bytes.clone());
        let frames = ratatui::Terminal::with_options(backend, options)?;
        Ok(Terminal { screen, frames, bytes })
    }

    /// The screen.
    pub fn screen(&self) -> &FullScreen {
        &self.screen
    }

    /// Takes the size of the screen, and draws all of the next frame.
    ///
    /// # Errors
    /// As [`Terminal::new`].
    pub fn repaint(&mut self) -> io::Result<()> {
        self.frames.resize(area(&self.screen))?;
        self.frames.clear()
    }

    /// Shows a frame. If `interrupt` becomes readable while the terminal takes nothing, the rest of
    /// the frame is not shown, and the next one must be drawn whole: false then.
    ///
    /// # Errors
    /// As [`Terminal::new`].
    pub fn show(
        &mut self,
        interrupt: BorrowedFd<'_>,
        draw: impl FnOnce(&mut Buffer),
    ) -> io::Result<Result<bool, Gone>> {
        self.frames.draw(|frame| draw(frame.buffer_mut()))?;
        let bytes = std::mem::take(&mut *self.bytes.0.borrow_mut());
        Ok(self.screen.write(&bytes, interrupt))
    }
}

fn area(screen: &FullScreen) -> Rect {
    let (width, height) = screen.size();
    Rect::new(0, 0, width, height)
}
