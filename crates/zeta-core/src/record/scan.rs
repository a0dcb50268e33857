//! One walk over the bytes of a line: where its key ends, and where its value does.

/// The same byte eight times.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the top bit of each byte of `word` that lies between `low` and `high`; all three are ASCII.
fn within(word: u64, low: u8, high: u8) -> u64 {
    word.wrapping_add(all(0x80 - low)) & !word.wrapping_add(all(0x7f - high)) & all(0x80)
}

/// Counts the bytes at the start for which `is_in` sets the top bit, eight at a time. `is_in` gets
/// bytes whose top bit is clear; a byte that is not ASCII is never in.
fn count(bytes: &[u8], is_in: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(chunk) => *chunk,
            None => {
                // What lies behind the end is not ASCII, so that it is not counted.
                let mut chunk = [0xff; 8];
                chunk.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                chunk
            }
        };
        let word = u64::from_le_bytes(word);
        let out = !(is_in(word & all(0x7f)) & !word) & all(0x80);
        if out != 0 {
            return at + out.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
}

/// Splits `key: ` off the start of a line.
pub(super) fn split_key(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_key = |w| within(w, b'a', b'z') | within(w, b'_', b'_') | within(w, b'0', b'9');
    let (key, rest) = line.split_at_checked(count(line, is_key))?;
    let rest = rest.strip_prefix(b": ")?;
    (key.len() <= 64 && key.first()?.is_ascii_lowercase()).then_some((key, rest))
}

/// Where the entry of each key is. Keys whose hashes meet are looked for one by one; no two of the
/// keys that this program writes do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyTable {
    /// For each hash, the number of the first entry that has it, counted from 1; 0 is *none*.
    slots: [u8; 128],
}

impl Default for KeyTable {
    fn default() -> KeyTable {
        KeyTable { slots: [0; 128] }
    }
}

impl KeyTable {
    /// The table of keys that are known when the program is compiled.
    pub(crate) const fn of(keys: &[&str]) -> KeyTable {
        let mut slots = [0; 128];
        let mut at = keys.len();
        // From the last to the first, so that the first stays.
        while at > 0 {
            slots[slot_of(keys[at - 1].as_bytes()) as usize] = number(at - 1);
            at -= 1;
        }
        KeyTable { slots }
    }

    /// Notes that the entry `at`, the next one, has this key; false if an entry before it has.
    #[inline(always)]
    pub(super) fn insert<'k>(
        &mut self,
        slot: u8,
        key: &[u8],
        at: usize,
        key_at: impl Fn(usize) -> Option<&'k [u8]>,
    ) -> bool {
        match self.slots.get_mut(usize::from(slot)) {
            Some(first @ 0) => *first = number(at),
            _ => return self.find(slot, key, key_at).is_none(),
        }
        true
    }

    /// Finds the entry of a key by its [`slot_of`]; `key_at` returns the key of an entry, and
    /// `None` after the last.
    #[inline(always)]
    pub(crate) fn find<'k>(
        &self,
        slot: u8,
        key: &[u8],
        key_at: impl Fn(usize) -> Option<&'k [u8]>,
    ) -> Option<usize> {
        let mut at = usize::from(*self.slots.get(usize::from(slot))?).checked_sub(1)?;
        while !is_same(key_at(at)?, key) {
            at += 1;
        }
        Some(at)
    }
}

/// The number of an entry in a slot. After 254 entries, the search starts too early.
const fn number(at: usize) -> u8 {
    if at < 254 { at as u8 + 1 } else { 255 }
}

/// The slot of a key, a number below 128: from the length and three bytes. The factor was searched
/// for: it sends no two keys of a lease, and no two of a persona, to one number.
#[inline(always)]
pub(super) const fn slot_of(bytes: &[u8]) -> u8 {
    let (_, half) = bytes.split_at(bytes.len() / 2);
    let ([first, ..], [middle, ..], [.., last]) = (bytes, half, bytes) else {
        return 0;
    };
    let word = u32::from_le_bytes([*first, *middle, *last, bytes.len() as u8]);
    (word.wrapping_mul(0x0048_4973) >> 25) as u8
}

/// Compares two short texts. The C library of the static binary compares byte by byte.
#[inline(always)]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        8.. => {
            let words = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
            one.last_chunk::<8>() == other.last_chunk()
                && words.fold(true, |same, (one, other)| same & (one == other))
        }
        4..=7 => {
            one.first_chunk::<4>() == other.first_chunk()
                && one.last_chunk::<4>() == other.last_chunk()
        }
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

/// The length of the scalar at the start of the text, which a newline ends.
pub(super) fn scalar_len(bytes: &[u8]) -> Option<usize> {
    let len = match bytes.first()? {
        b'"' => string_len(bytes)?,
        b't' | b'f' => match bytes.starts_with(b"true") {
            true => 4,
            false => bytes.starts_with(b"false").then_some(5)?,
        },
        b'-' => 1 + integer_len(bytes.get(1..)?)?,
        _ => integer_len(bytes)?,
    };
    (bytes.get(len) == Some(&b'\n')).then_some(len)
}

fn integer_len(bytes: &[u8]) -> Option<usize> {
    let len = count(bytes, |word| within(word, b'0', b'9'));
    let good = (1..=20).contains(&len) && (len == 1 || bytes.first() != Some(&b'0'));
    good.then_some(len)
}

/// The length of a JSON string with both quotes.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += plain_len(bytes.get(at..)?);
        match bytes.get(at..)? {
            [b'"', ..] => return Some(at + 1),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => {
                at += 6;
            }
            _ => return None,
        }
    }
}

/// How many bytes at the start are neither a quote, a backslash nor a control character.
///
/// Eight at a time: a byte's top bit is set where subtracting borrowed, and the lowest is exact.
fn plain_len(bytes: &[u8]) -> usize {
    let below = |word: u64, limit: u8| word.wrapping_sub(all(limit)) & !word;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ all(b'"'), 1);
        let backslash = below(word ^ all(b'\\'), 1);
        let special = (below(word, 0x20) | quote | backslash) & all(0x80);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..=0x1f);
    at + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The grammar of strings, a byte at a time.
    fn slow_string_len(bytes: &[u8]) -> Option<usize> {
        let mut at = 1;
        loop {
            match bytes.get(at..)? {
                [b'"', ..] => return Some(at + 1),
                [b'\\', b'u', hex @ ..] => {
                    let hex = hex.get(..4)?;
                    at += hex.iter().all(u8::is_ascii_hexdigit).then_some(6)?;
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
                [b'\\' | 0..=0x1f, ..] | [] => return None,
                _ => at += 1,
            }
        }
    }

    #[test]
    fn a_special_byte_is_found_at_each_place_of_a_word() {
        let specials = ['"', '\\', '\0', '\x1f', ' ', '!', '#', '[', '\x7f', '\u{80}', 'é'];
        for (first, second) in specials.iter().flat_map(|a| specials.map(|b| (*a, b))) {
            for (at, len) in (0..8).flat_map(|at| (0..8).map(move |len| (at, len))) {
                let (before, between) = ("a".repeat(at), "a".repeat(len));
                let text = format!("\"{before}{first}{between}{second}aaaaaaaa\"");
                let bytes = text.as_bytes();
                assert_eq!(string_len(bytes), slow_string_len(bytes), "{text:?}");
            }
        }
    }

    #[test]
    fn no_two_keys_of_a_kind_share_a_slot() {
        for keys in [&crate::lease::KNOWN_KEYS[..], &crate::presence::OWN_KEYS] {
            let filled = KeyTable::of(keys).slots.iter().filter(|slot| **slot != 0).count();
            assert_eq!(filled, keys.len());
        }
    }

    #[test]
    fn texts_are_the_same_if_each_byte_is() {
        for len in 0..40 {
            let key = "abcdefghijklmnopqrstuvwxyz0123456789____".split_at(len).0;
            assert!(is_same(key.as_bytes(), String::from(key).as_bytes()), "{key}");
            for at in 0..len {
                let mut other = key.as_bytes().to_vec();
                other[at] ^= 1;
                let key = key.as_bytes();
                assert!(!is_same(key, &other) && !is_same(key, &other[..at]), "{other:?}");
            }
        }
    }

    #[test]
    fn a_table_finds_what_a_search_finds_also_where_hashes_meet() {
        let keys: Vec<String> = (0..600).map(|n| format!("k{}_{n}", "x".repeat(n % 7))).collect();
        for len in [0, 1, 2, 63, 64, 65, 253, 254, 255, 256, 600] {
            let (here, absent) = keys.split_at(len);
            let mut table = KeyTable::default();
            let borrowed: Vec<&str> = here.iter().map(String::as_str).collect();
            let key_at = |at: usize| borrowed.get(at).map(|key| key.as_bytes());
            for (at, key) in here.iter().enumerate() {
                let before = |before: usize| key_at(before).filter(|_| before < at);
                let slot = slot_of(key.as_bytes());
                assert!(table.insert(slot, key.as_bytes(), at, before), "{key} of {len}");
            }
            assert_eq!(table, KeyTable::of(&borrowed), "{len}");
            for (at, key) in here.iter().enumerate() {
                let slot = slot_of(key.as_bytes());
                assert_eq!(table.find(slot, key.as_bytes(), key_at), Some(at), "{key} of {len}");
                assert!(!table.insert(slot, key.as_bytes(), len, key_at), "{key} of {len}");
            }
            for key in absent {
                let slot = slot_of(key.as_bytes());
                assert_eq!(table.find(slot, key.as_bytes(), key_at), None, "{key} of {len}");
            }
        }
    }

    #[test]
    fn a_key_ends_where_a_walk_byte_by_byte_ends() {
        let is_key = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        for byte in 0..=255u8 {
            for before in 0..17 {
                let mut bytes = vec![b'k'; before];
                bytes.extend([byte, byte.wrapping_add(0x80), b'z', b':']);
                let key = |w| within(w, b'a', b'z') | within(w, b'_', b'_') | within(w, b'0', b'9');
                let wanted = bytes.iter().position(|b| !is_key(b));
                assert_eq!(Some(count(&bytes, key)), wanted, "{byte} after {before}");
                bytes.truncate(before);
                assert_eq!(count(&bytes, key), before);
            }
        }
    }

    #[test]
    fn a_scalar_ends_where_the_grammar_says() {
        for good in [
            "0",
            "7",
            "-7",
            "-0",
            "12345678901234567890",
            "-12345678901234567890",
            "true",
            "false",
            "\"\"",
            "\"a\\u00e9\"",
            "\"\\u00E9\\n\"",
        ] {
            let text = format!("{good}\nnext");
            assert_eq!(scalar_len(text.as_bytes()), Some(good.len()), "{good}");
            assert_eq!(scalar_len(good.as_bytes()), None, "without its newline");
        }
        for bad in [
            "",
            "-",
            "--7",
            "07",
            "-07",
            "123456789012345678901",
            "1.5",
            "+7",
            "tru",
            "truey",
            "fals",
            "\"",
            "\"\\u00g9\"",
            "\"\\ug0e9\"",
            "\"\\u00e\"",
            "\"\\x\"",
            "\"\t\"",
            "null",
        ] {
            assert_eq!(scalar_len(format!("{bad}\n").as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_measured_alike_eight_bytes_at_a_time(
            text in "([ !#a-zé€😀\u{80}]{0,20}|\\\\[\"nu/x]|[\"\\\\\x00\x1f\x20\x7f]|\\\\u00e9){0,6}"
        ) {
            let text = format!("\"{text}");
            prop_assert_eq!(string_len(text.as_bytes()), slow_string_len(text.as_bytes()));
        }
    }
}
