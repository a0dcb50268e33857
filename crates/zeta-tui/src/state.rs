//! What a person looks at: the pane, the row, the filter. A key makes another state of it, and
//! nothing else does.

use crate::key::Key;
use crate::scene::{Id, PANES, Pane, Scene, Shown};

/// What the keys mean now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Keys move in a list.
    #[default]
    Browse,
    /// Keys are letters of the filter.
    Filter,
    /// All that is known of one row; the number of lines that are above the screen.
    Details(usize),
    /// What the keys do; the number of lines that are above the screen.
    Help(usize),
}

/// The row of a pane that is selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Its place among the rows that are shown.
    pub at: usize,
    /// What it names; `None` stays on the first row, whichever that is.
    id: Option<Id>,
    /// The first row on the screen.
    pub top: usize,
}

/// The state of the view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The pane that is open.
    pub pane: Pane,
    /// What the keys mean.
    pub mode: Mode,
    /// Which rows are shown.
    pub shown: Shown,
    cursors: [Cursor; PANES.len()],
}

/// What a key asks for beyond another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Draw again.
    Draw,
    /// Nothing changed.
    None,
    /// End.
    Quit,
    /// Stop this process, as a shell expects of Ctrl-Z.
    Suspend,
    /// Draw all of the screen again: another program may have written on it.
    Repaint,
}

/// How much of the lists and texts fits on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// The rows of a list.
    pub rows: usize,
    /// The lines of the text that is open.
    pub lines: usize,
    /// How many lines that text has.
    pub length: usize,
}

/// The longest filter.
const FILTER_MAX: usize = 60;

impl State {
    /// The cursor of the open pane.
    pub fn cursor(&self) -> &Cursor {
        // The array has one for each pane.
        static FIRST: Cursor = Cursor { at: 0, id: None, top: 0 };
        self.cursors.get(self.pane.at()).unwrap_or(&FIRST)
    }

    /// Follows the rows after the scene or the size has changed: the cursor stays with what it
    /// names.
    pub fn settle(&mut self, scene: &Scene<'_>, room: usize) {
        let rows = scene.rows(self.pane, &self.shown);
        let pane = self.pane;
        if rows.is_empty() && matches!(self.mode, Mode::Details(_)) {
            self.mode = Mode::Browse;
        }
        let Some(cursor) = self.cursors.get_mut(pane.at()) else { return };
        let last = rows.len().saturating_sub(1);
        let found = cursor.id.as_ref().and_then(|id| scene.find(pane, &rows, id));
        cursor.at = match (&cursor.id, found) {
            (None, _) => 0,
            (_, Some(at)) => at,
            (_, None) => cursor.at.min(last),
        };
        if cursor.id.is_some() && found.is_none() {
            cursor.id = rows.get(cursor.at).and_then(|at| scene.id(pane, *at));
        }
        let lowest = (cursor.at + 1).saturating_sub(room);
        cursor.top = cursor.top.clamp(lowest.min(cursor.at), cursor.at);
        cursor.top = cursor.top.min(rows.len().saturating_sub(room));
    }

    /// Takes a key.
    pub fn key(&mut self, key: Key, scene: &Scene<'_>, room: Room) -> Effect {
        match (key, self.mode) {
            (Key::Ctrl('c'), _) => return Effect::Quit,
            (Key::Ctrl('z'), _) => return Effect::Suspend,
            (Key::Ctrl('l'), _) => return Effect::Repaint,
            _ => {}
        }
        let before = self.clone();
        let effect = match self.mode {
            Mode::Browse => self.browse(key, scene, room),
            Mode::Filter => self.type_filter(key, scene, room),
            Mode::Details(top) | Mode::Help(top) => self.read(key, top, room),
        };
        match effect {
            Effect::Draw if *self == before => Effect::None,
            effect => effect,
        }
    }

    fn browse(&mut self, key: Key, scene: &Scene<'_>, room: Room) -> Effect {
        match key {
            Key::Char('q') => return Effect::Quit,
            Key::Char('?') => self.mode = Mode::Help(0),
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Enter if !scene.rows(self.pane, &self.shown).is_empty() => {
                self.mode = Mode::Details(0);
            }
            Key::Esc => self.shown.filter.clear(),
            Key::Tab | Key::Right | Key::Char('l') => self.next_pane(1),
            Key::BackTab | Key::Left | Key::Char('h') => self.next_pane(PANES.len() - 1),
            Key::Char(digit @ '1'..='5') => {
                let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                let pane = at.and_then(|at| PANES.get(at.wrapping_sub(1)));
                self.pane = pane.copied().unwrap_or(self.pane);
            }
            Key::Char('a') => self.shown.all = !self.shown.all,
            key => self.step(key, scene, room),
        }
        self.settle(scene, room.rows);
        Effect::Draw
    }

    fn next_pane(&mut self, by: usize) {
        let next = PANES.get((self.pane.at() + by) % PANES.len());
        self.pane = next.copied().unwrap_or_default();
    }

    /// Moves the cursor.
    fn step(&mut self, key: Key, scene: &Scene<'_>, room: Room) {
        let rows = scene.rows(self.pane, &self.shown);
        let pane = self.pane;
        let Some(cursor) = self.cursors.get_mut(pane.at()) else { return };
        let at = moved(key, cursor.at, room.rows);
        let Some(at) = at.map(|at| at.min(rows.len().saturating_sub(1))) else { return };
        cursor.at = at;
        let id = rows.get(at).and_then(|at| scene.id(pane, *at));
        // The first row is that of what comes next, too.
        cursor.id = id.filter(|_| at > 0);
    }

    fn type_filter(&mut self, key: Key, scene: &Scene<'_>, room: Room) -> Effect {
        match key {
            Key::Enter => self.mode = Mode::Browse,
            Key::Esc => {
                self.shown.filter.clear();
                self.mode = Mode::Browse;
            }
            Key::Backspace if self.shown.filter.is_empty() => self.mode = Mode::Browse,
            Key::Backspace => drop(self.shown.filter.pop()),
            Key::Ctrl('u') => self.shown.filter.clear(),
            Key::Ctrl('w') => {
                let kept = self.shown.filter.trim_end().rfind(' ').map_or(0, |space| space + 1);
                self.shown.filter.truncate(kept);
            }
            // A text that was pasted by mistake costs nothing.
            Key::Char(_) if self.shown.filter.chars().count() >= FILTER_MAX => return Effect::None,
            Key::Char(letter) => self.shown.filter.push(letter),
            Key::Up | Key::Down | Key::PageUp | Key::PageDown => self.step(key, scene, room),
            _ => {}
        }
        self.settle(scene, room.rows);
        Effect::Draw
    }

    /// Moves in a text.
    fn read(&mut self, key: Key, top: usize, room: Room) -> Effect {
        let is_help = matches!(self.mode, Mode::Help(_));
        let last = room.length.saturating_sub(room.lines);
        let top = match key {
            Key::Char('q') => return Effect::Quit,
            Key::Esc | Key::Enter | Key::Left | Key::Backspace => {
                self.mode = Mode::Browse;
                return Effect::Draw;
            }
            Key::Char('?') => {
                self.mode = if is_help { Mode::Browse } else { Mode::Help(0) };
                return Effect::Draw;
            }
            key => moved(key, top, room.lines).unwrap_or(top).min(last),
        };
        self.mode = if is_help { Mode::Help(top) } else { Mode::Details(top) };
        Effect::Draw
    }
}

/// Where a key that moves leads to; `None` for another key.
fn moved(key: Key, at: usize, page: usize) -> Option<usize> {
    let page = page.saturating_sub(1).max(1);
    Some(match key {
        Key::Up | Key::Char('k') => at.saturating_sub(1),
        Key::Down | Key::Char('j') => at.saturating_add(1),
        Key::PageUp | Key::Ctrl('b') => at.saturating_sub(page),
        Key::PageDown | Key::Ctrl('f') | Key::Char(' ') => at.saturating_add(page),
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => usize::MAX,
        _ => return None,
    })
}
