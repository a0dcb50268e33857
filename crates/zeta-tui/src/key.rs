//! Keys of a terminal, from its bytes. The library's own reader of keys is not used: it turns for
//! ever once the terminal is gone, and shares no poll with other descriptors.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter, digit or sign.
    Char(char),
    /// Ctrl with a letter.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// The key that deletes the letter before the cursor.
    Backspace,
    /// Tab.
    Tab,
    /// Shift with Tab.
    BackTab,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
}

/// Reads the keys at the beginning of `bytes`, and returns how many bytes they took. What is left
/// is the beginning of a key whose rest has not come yet. With `all`, nothing is left: an Escape
/// without more is the key.
pub fn parse(bytes: &[u8], all: bool) -> (Vec<Key>, usize) {
    let (mut keys, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match one(rest) {
            Some((key, len)) => {
                keys.extend(key);
                at += len;
            }
            None if all && rest.first() == Some(&ESC) => {
                // A sequence without an end: its Escape is a key, and the rest are others.
                keys.push(Key::Esc);
                at += 1;
            }
            None if all => at += 1,
            None => break,
        }
    }
    (keys, at)
}

const ESC: u8 = 0x1b;

/// Reads one key and its length; no key for what is none. `None` if it has no end yet.
fn one(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let first = *bytes.first()?;
    let key = match first {
        ESC => return escape(bytes),
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        0x01..=0x1a => Key::Ctrl(char::from(first - 1 + b'a')),
        0x20..=0x7e => Key::Char(char::from(first)),
        0x80.. => return letter(bytes),
        _ => return Some((None, 1)),
    };
    Some((Some(key), 1))
}

/// Reads a letter that is not ASCII.
fn letter(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let len = match bytes.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((None, 1)),
    };
    let whole = bytes.get(..len)?;
    match std::str::from_utf8(whole).ok().and_then(|text| text.chars().next()) {
        Some(letter) => Some((Some(Key::Char(letter)), len)),
        None => Some((None, 1)),
    }
}

/// Reads what begins with an Escape.
fn escape(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match bytes.get(1)? {
        b'[' => {
            let end = bytes.iter().skip(2).position(|b| (0x40..=0x7e).contains(b))? + 2;
            let (parameters, last) = (bytes.get(2..end)?, *bytes.get(end)?);
            Some((control(parameters, last), end + 1))
        }
        b'O' => Some((control(b"", *bytes.get(2)?), 3)),
        // Alt with a key, or two keys that came together on a slow line.
        _ => Some((Some(Key::Esc), 1)),
    }
}

/// The key of a control sequence, by its parameters and its last byte.
fn control(parameters: &[u8], last: u8) -> Option<Key> {
    Some(match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'Z', _) => Key::BackTab,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Key> {
        parse(bytes, true).0
    }

    #[test]
    fn keys_of_every_kind() {
        assert_eq!(all(b"q/ "), [Key::Char('q'), Key::Char('/'), Key::Char(' ')]);
        assert_eq!(all(b"\r\t\x7f\x03"), [Key::Enter, Key::Tab, Key::Backspace, Key::Ctrl('c')]);
        assert_eq!(all(b"\x1b[A\x1bOB\x1b[1;5C"), [Key::Up, Key::Down, Key::Right]);
        let keys = [Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Home, Key::BackTab];
        assert_eq!(all(b"\x1b[5~\x1b[6~\x1b[H\x1b[4~\x1b[1~\x1b[Z"), keys);
        assert_eq!(all("ä日🙂".as_bytes()), ['ä', '日', '🙂'].map(Key::Char));
        assert_eq!(all(b"\x1b"), [Key::Esc]);
        assert_eq!(all(b"\x1b\x1b[A"), [Key::Esc, Key::Up]);
        assert_eq!(all(b"\x1bx"), [Key::Esc, Key::Char('x')]);
        assert_eq!(all(b"\x1b[200~\x00\xff\xc3"), [], "what is no key of ours");
    }

    #[test]
    fn a_key_that_has_not_come_whole_is_left() {
        for (bytes, taken) in
            [(&b"\x1b"[..], 0), (b"a\x1b[", 1), (b"\x1b[1;", 0), (b"x\xe6\x97", 1), (b"\x1bO", 0)]
        {
            assert_eq!(parse(bytes, false).1, taken, "{bytes:?}");
        }
        assert_eq!(all(b"\x1b["), [Key::Esc, Key::Char('[')], "typed, not sent by a key");
    }

    #[test]
    fn no_bytes_panic_or_are_read_for_ever() {
        let mut seed = 7u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..8)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    [ESC, b'[', b'O', b'A', b'~', 0xe6, 0x97, (seed >> 40) as u8]
                        [(seed >> 33) as usize % 8]
                })
                .collect();
            assert_eq!(parse(&bytes, true).1, bytes.len(), "{bytes:?}");
            assert!(parse(&bytes, false).1 <= bytes.len());
        }
    }
}
