//! The modes of a screen that a program has set and not taken back: what it leaves behind when it
//! is killed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Longest control sequence that is read; longer ones set no mode.
const SEQUENCE_MAX: usize = 64;
/// Wrapped lines and the cursor, which are on before any program runs.
const ON_BEFORE: [u16; 2] = [7, 25];

/// The modes of a screen, as the output of a program sets them.
#[derive(Debug, Default)]
pub struct Modes {
    state: State,
    sequence: Vec<u8>,
    /// The private modes that differ from those before the program.
    changed: BTreeSet<u16>,
    /// How many sets of keyboard flags lie on those before the program.
    keyboards: u16,
    /// Keys are reported in the form of xterm's.
    other_keys: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Modes {
    /// Reads a part of the output, which may begin and end inside of a sequence.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.state == State::Text {
                match bytes.iter().position(|byte| *byte == 0x1b) {
                    Some(at) => (self.state, bytes) = (State::Escape, &bytes[at + 1..]),
                    None => return,
                }
                continue;
            }
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            self.state = match (self.state, byte) {
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => {
                    self.sequence.clear();
                    State::Sequence
                }
                // A full reset.
                (State::Escape, b'c') => {
                    *self = Modes::default();
                    State::Text
                }
                (State::Sequence, 0x20..=0x3f) if self.sequence.len() < SEQUENCE_MAX => {
                    self.sequence.push(byte);
                    State::Sequence
                }
                (State::Sequence, 0x40..=0x7e) => {
                    self.apply(byte);
                    State::Text
                }
                _ => State::Text,
            };
        }
    }

    fn apply(&mut self, last: u8) {
        let Ok(text) = std::str::from_utf8(&self.sequence) else { return };
        let numbers = |text: &str| -> Vec<u16> {
            text.split(';').filter_map(|number| number.parse().ok()).collect()
        };
        match (last, text.split_at_checked(1)) {
            (b'h' | b'l', Some(("?", list))) => {
                for mode in numbers(list) {
                    if (last == b'h') == ON_BEFORE.contains(&mode) {
                        self.changed.remove(&mode);
                    } else {
                        self.changed.insert(mode);
                    }
                }
            }
            (b'u', Some((">", _))) => self.keyboards = self.keyboards.saturating_add(1),
            (b'u', Some(("<", count))) => {
                let count = numbers(count).first().copied().unwrap_or(1);
                self.keyboards = self.keyboards.saturating_sub(count);
            }
            (b'm', Some((">", list))) => {
                let list = numbers(list);
                if list.first() == Some(&4) {
                    self.other_keys = list.get(1).is_some_and(|level| *level > 0);
                }
            }
            _ => {}
        }
    }

    /// What takes all of them back; nothing if there is nothing to take back.
    pub fn undo(&self) -> String {
        let mut text = String::new();
        if self.keyboards > 0 {
            let _ = write!(text, "\x1b[<{}u", self.keyboards);
        }
        if self.other_keys {
            text.push_str("\x1b[>4m");
        }
        for mode in &self.changed {
            let end = if ON_BEFORE.contains(mode) { 'h' } else { 'l' };
            let _ = write!(text, "\x1b[?{mode}{end}");
        }
        if !text.is_empty() {
            text.push_str("\x1b[0m");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(parts: &[&[u8]]) -> String {
        let mut modes = Modes::default();
        parts.iter().for_each(|part| modes.feed(part));
        modes.undo()
    }

    #[test]
    fn what_was_set_and_not_taken_back_is_undone() {
        for (output, undo) in [
            (&b"plain \x1b[31mred\x1b[0m text\r\n"[..], ""),
            (b"\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l\x1b[0m"),
            (b"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l", ""),
            (b"\x1b[?1000;1006;2004h\x1b[?1000l", "\x1b[?1006l\x1b[?2004l\x1b[0m"),
            (b"\x1b[>1u\x1b[>5u\x1b[<u", "\x1b[<1u\x1b[0m"),
            (b"\x1b[>1u\x1b[<9u", ""),
            (b"\x1b[>4;2m", "\x1b[>4m\x1b[0m"),
            (b"\x1b[>4;2m\x1b[>4;0m", ""),
            (b"\x1b[?2004h\x1bc", ""),
            // Neither private, nor a mode, nor whole.
            (b"\x1b[4h\x1b[?u\x1b[?1049", ""),
            (b"\x1b[?\x1b[?2004h", "\x1b[?2004l\x1b[0m"),
            (b"\x1b[?99999999h\x1b[?;h", ""),
        ] {
            assert_eq!(undone(&[output]), undo, "{:?}", String::from_utf8_lossy(output));
        }
    }

    #[test]
    fn a_sequence_may_come_in_parts() {
        let output = b"a\x1b[?1049h\x1b[>1ub\x1b[?25l";
        for at in 0..output.len() {
            let (one, two) = output.split_at(at);
            assert_eq!(undone(&[one, two]), undone(&[output]), "{at}");
        }
    }

    #[test]
    fn a_sequence_without_an_end_takes_no_memory() {
        let mut modes = Modes::default();
        modes.feed(b"\x1b[?");
        modes.feed(&[b'1'; 1 << 20]);
        assert!(modes.sequence.len() <= SEQUENCE_MAX);
        modes.feed(b"h");
        assert_eq!(modes.undo(), "");
    }
}
