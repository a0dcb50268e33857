//! What a person typed and has not sent: another line must not be typed into it.
//!
//! Only keys are seen, not the screen. In doubt the line is not empty: a message can wait, and half
//! a sentence that is sent cannot be taken back.

/// The line that a person types.
#[derive(Debug, Default)]
pub struct Line {
    state: State,
    sequence: Vec<u8>,
    /// Characters since the last Enter that were typed and not deleted.
    typed: usize,
    /// A key came that may have changed the line, or opened a menu.
    unclear: bool,
    /// Something was there at an Enter, and no turn has begun since.
    sent: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Keys,
    Escape,
    /// After `ESC O`.
    Single,
    /// After `ESC [`.
    Sequence,
    /// A text from the terminal, up to BEL or `ESC \`; it began with `ESC` and this byte.
    Report(u8),
    /// An escape inside of a report.
    ReportEscape(u8),
    /// Three bytes of an old report of the mouse.
    Mouse(u8),
    /// Between the marks of a paste.
    Paste,
}

/// Longest control sequence that is read.
const SEQUENCE_MAX: usize = 64;
const PASTE_END: &[u8] = b"\x1b[201~";

impl Line {
    /// Reads what came from the terminal of a person. Returns whether there was a key in it:
    /// terminals also report their focus, their mouse, and answers to questions of programs.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        // A function of bytes, so that a sequence may come in parts.
        let mut keys = bytes.iter().filter(|byte| self.feed_byte(**byte)).count() > 0;
        // Nothing follows: it was Esc, or Alt with a key. What a terminal says comes at once.
        let is_key = match self.state {
            State::Escape | State::Single | State::Report(_) | State::ReportEscape(_) => true,
            State::Sequence => self.sequence.is_empty(),
            State::Keys | State::Mouse(_) | State::Paste => false,
        };
        if is_key {
            self.state = State::Keys;
            (self.unclear, keys) = (true, true);
        }
        keys
    }

    /// Returns whether nothing of a person stands in the line, as far as the keys show.
    pub fn is_empty(&self) -> bool {
        self.typed == 0 && !self.unclear && !self.sent && self.state == State::Keys
    }

    /// A turn has begun: what was there at the last Enter has been taken.
    pub fn turn_began(&mut self) {
        self.sent = false;
    }

    fn feed_byte(&mut self, byte: u8) -> bool {
        match self.state {
            State::Keys => return self.key(byte),
            State::Escape => return self.after_escape(byte),
            State::Single => {
                self.state = State::Keys;
                return self.sequence_end(byte);
            }
            State::Sequence => match byte {
                0x20..=0x3f if self.sequence.len() < SEQUENCE_MAX => self.sequence.push(byte),
                0x40..=0x7e => {
                    self.state = State::Keys;
                    return self.sequence_end(byte);
                }
                _ => (self.state, self.unclear) = (State::Keys, true),
            },
            State::Report(first) => match byte {
                0x07 => return self.report_end(first),
                0x1b => self.state = State::ReportEscape(first),
                _ if self.sequence.len() < SEQUENCE_MAX => self.sequence.push(byte),
                _ => {}
            },
            State::ReportEscape(first) if byte == b'\\' => return self.report_end(first),
            State::ReportEscape(_) => {
                self.unclear = true;
                return self.after_escape(byte);
            }
            State::Mouse(1) => self.state = State::Keys,
            State::Mouse(left) => self.state = State::Mouse(left - 1),
            State::Paste => {
                self.sequence.push(byte);
                let from = self.sequence.len().saturating_sub(PASTE_END.len());
                self.sequence.drain(..from);
                if self.sequence == PASTE_END {
                    self.state = State::Keys;
                }
                return true;
            }
        }
        false
    }

    fn key(&mut self, byte: u8) -> bool {
        match byte {
            0x1b => {
                self.state = State::Escape;
                return false;
            }
            // Ctrl-C empties the line or closes a menu.
            0x03 => *self = Line::default(),
            // Ctrl-U empties a line whose cursor is at its end.
            0x15 => self.typed = 0,
            0x7f | 0x08 => self.typed = self.typed.saturating_sub(1),
            b'\r' => self.enter(),
            // Ctrl-D, Ctrl-L and Ctrl-Z write nothing.
            0x04 | 0x0c | 0x1a => {}
            0x00..=0x1f => self.unclear = true,
            // The later bytes of a character.
            0x80..=0xbf => {}
            _ => self.typed += 1,
        }
        true
    }

    fn enter(&mut self) {
        self.sent |= self.typed > 0 || self.unclear;
        (self.typed, self.unclear) = (0, false);
    }

    fn after_escape(&mut self, byte: u8) -> bool {
        self.sequence.clear();
        self.state = match byte {
            b'[' => State::Sequence,
            b'O' => State::Single,
            b']' | b'P' | b'_' | b'^' => State::Report(byte),
            // The key Esc, and another one.
            0x00..=0x1f if byte != b'\r' => {
                (self.state, self.unclear) = (State::Keys, true);
                return self.key(byte);
            }
            _ => {
                self.unclear = true;
                self.state = State::Keys;
                return true;
            }
        };
        false
    }

    /// Ends a text; returns whether keys may have made it.
    fn report_end(&mut self, first: u8) -> bool {
        self.state = State::Keys;
        let text = std::mem::take(&mut self.sequence);
        let is_report = match first {
            // A color, or what was copied; the name and the modes of the terminal; a picture.
            b']' => {
                let number = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                number > 0 && text.get(number) == Some(&b';')
            }
            b'P' => [&b">|"[..], b"!|", b"0+r", b"1+r", b"0$r", b"1$r"]
                .iter()
                .any(|head| text.starts_with(head)),
            b'_' => text.starts_with(b"G"),
            _ => false,
        };
        self.unclear |= !is_report;
        !is_report
    }

    /// Ends a sequence; returns whether it was a key.
    fn sequence_end(&mut self, last: u8) -> bool {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.sequence)).into_owned();
        match (last, text.as_str()) {
            // The focus; where the cursor is; which terminal this is; its modes and its size.
            (b'I' | b'O', "") | (b'c' | b'n' | b't' | b'y', _) => return false,
            (b'R', place) if place.contains(';') => return false,
            (b'u', answer) if answer.starts_with('?') => return false,
            (b'M' | b'm', report) if report.starts_with('<') => return false,
            (b'M', "") => {
                self.state = State::Mouse(3);
                return false;
            }
            (b'~', "200") => (self.state, self.unclear) = (State::Paste, true),
            (b'u', key) => return self.coded_key(key),
            _ => self.unclear = true,
        }
        true
    }

    /// A key that is reported as numbers: its code, its modifiers, and whether it went down.
    fn coded_key(&mut self, text: &str) -> bool {
        let mut parts = text.split(';');
        let code = parts.next().and_then(|part| part.split(':').next()?.parse::<u32>().ok());
        let mut more = parts.next().unwrap_or("1").split(':');
        let modifiers = more.next().and_then(|part| part.parse::<u32>().ok()).unwrap_or(1);
        if more.next() == Some("3") {
            // It went up.
            return false;
        }
        match (code, modifiers) {
            (Some(13), 1) => self.enter(),
            (Some(99), 5) => *self = Line::default(),
            (Some(117), 5) => self.typed = 0,
            (Some(127), 1) => self.typed = self.typed.saturating_sub(1),
            (Some(32..=126), 1 | 2) => self.typed += 1,
            // Keys that only modify others.
            (Some(57441..=57454), _) => {}
            _ => self.unclear = true,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(parts: &[&[u8]]) -> (bool, bool) {
        let mut line = Line::default();
        let keys = parts.iter().map(|part| line.feed(part)).fold(false, |any, key| any | key);
        (line.is_empty(), keys)
    }

    #[test]
    fn a_line_is_empty_only_if_the_keys_show_it() {
        // the input, whether the line is empty, whether it had keys
        for (input, empty, keys) in [
            (&b""[..], true, false),
            (b"fix", false, true),
            ("ä\u{65e5}".as_bytes(), false, true),
            (b"ab\x7f\x7f", true, true),
            ("ä\x7f".as_bytes(), true, true),
            (b"ab\x7f", false, true),
            (b"\x7f\x7fa\x08", true, true),
            (b"fix it\x15", true, true),
            (b"fix it\x03", true, true),
            (b"\r", true, true),
            // Sent, and no turn began: perhaps a menu took the Enter.
            (b"/model\r", false, true),
            (b"/model\r\x7f\x7f\x7f", false, true),
            (b"/model\r\x03", true, true),
            (b"a\nb\x15", false, true),
            (b"\t", false, true),
            (b"\x12", false, true),
            (b"\x0c\x1a", true, true),
            // History, a moved cursor, Alt-Enter, the key Esc.
            (b"\x1b[A", false, true),
            (b"\x1bOA", false, true),
            (b"abc\x1b[D\x15", false, true),
            (b"\x1b\r", false, true),
            (b"\x1b", false, true),
            (b"\x1b\x03", true, true),
            // Reports of the terminal are no keys.
            (b"\x1b[I", true, false),
            (b"\x1b[<0;10;20M\x1b[<0;10;20m", true, false),
            (b"\x1b[M !!", true, false),
            (b"\x1b[12;40R\x1b[?62;22c\x1b[0n\x1b[?2026;2$y\x1b[?1u", true, false),
            (b"\x1b]11;rgb:0000/0000/0000\x1b\\", true, false),
            (b"\x1b]11;rgb:00/00/00\x07\x1bP>|tmux 3.5a\x1b\\", true, false),
            // A paste.
            (b"\x1b[200~text\r\x1b[201~", false, true),
            (b"\x1b[200~text\x1b[201~\x03", true, true),
            (b"\x1b[200~", false, true),
            // Keys as numbers.
            (b"\x1b[97u", false, true),
            (b"\x1b[97u\x1b[127u\x1b[97;1:3u", true, true),
            (b"\x1b[97u\x1b[99;5u", true, true),
            (b"\x1b[13;2u", false, true),
            (b"\x1b[57441;2u", true, true),
            (b"\xff\xfe", false, true),
            (b"\x1b[999999999999999999999u", false, true),
        ] {
            let shown = String::from_utf8_lossy(input);
            assert_eq!(after(&[input]).0, empty, "{shown:?}");
            assert_eq!(after(&[input]).1, keys, "{shown:?}");
        }
    }

    #[test]
    fn a_turn_takes_what_was_sent_and_nothing_after_it() {
        let mut line = Line::default();
        line.feed(b"fix it\r");
        assert!(!line.is_empty());
        line.turn_began();
        assert!(line.is_empty());
        line.feed(b"one\rtw");
        line.turn_began();
        assert!(!line.is_empty());
        line.feed(b"\x7f\x7f");
        assert!(line.is_empty());
        line.feed(b"\x1b[A\r");
        line.turn_began();
        assert!(line.is_empty());
    }

    #[test]
    fn a_sequence_may_come_in_parts() {
        for whole in [&b"\x1b[<0;1;2M"[..], b"\x1b[200~ab\x1b[201~\x03", b"\x1b[M !!"] {
            for at in 3..whole.len() {
                let (one, two) = whole.split_at(at);
                if one.ends_with(b"\x1b") {
                    continue;
                }
                assert!(after(&[one, two]).0, "{at} of {whole:?}");
            }
        }
    }

    #[test]
    fn keys_that_look_like_a_report_are_keys() {
        for report in [
            &b"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\"[..],
            b"\x1b]4;1;rgb:00/00/00\x07",
            b"\x1bP>|kitty(0.40.1)\x1b\\",
            b"\x1bP1+r696e646e\x1b\\",
            b"\x1bP0$r\x1b\\\x1b[I",
            b"\x1b_Gi=31;OK\x1b\\",
        ] {
            assert_eq!(after(&[report]), (true, false), "{:?}", String::from_utf8_lossy(report));
            // In parts it may be keys of a person; it can wait.
            let (one, two) = report.split_at(5);
            assert_eq!(after(&[one, two]), (false, true));
        }
        for keys in [
            // Alt+Shift+P, Alt+], Alt+_, Alt+[, Alt+Shift+O, and what a person types after them.
            &[&b"\x1bP"[..], b"half a sentence", b"\x1b", b"x"][..],
            &[b"\x1b]", b"half", b"\x07"],
            &[b"\x1b_half\x07"],
            &[b"\x1b^Gh\x1b\\"],
            &[b"\x1b]11;half\x1bx"],
            &[b"\x1bPhalf a sentence\x1b\\"],
            &[b"\x1b[", b"I"],
            &[b"\x1bO", b"I"],
            &[b"\x1b[", b"M", b"abc"],
        ] {
            assert_eq!(after(keys), (false, true), "{keys:?}");
            // The next prompt, and Ctrl-C, are seen.
            let next = [keys, &[b"\x03"]].concat();
            assert!(after(&next).0, "{keys:?}");
        }
    }

    #[test]
    fn a_report_without_an_end_takes_no_memory() {
        let mut line = Line::default();
        line.feed(b"\x1b[200~");
        line.feed(&[b'x'; 1 << 20]);
        assert!(line.sequence.len() <= SEQUENCE_MAX);
        line.feed(b"\x1b[201~\x03\x1b[");
        line.feed(&[b'1'; 1 << 20]);
        assert!(line.sequence.len() <= SEQUENCE_MAX);
    }
}
