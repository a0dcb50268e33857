//! One walk over the bytes of a line: where its key ends, and where its value does.

/// Which bytes a key has.
const IS_KEY: [bool; 256] = {
    let mut is_key = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        is_key[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'_');
        byte += 1;
    }
    is_key
};

/// Splits `key: ` off the start of a line.
pub(super) fn split_key(text: &str) -> Option<(&str, &str)> {
    let len = text.bytes().take_while(|b| IS_KEY[usize::from(*b)]).count();
    let (key, rest) = text.split_at_checked(len)?;
    let rest = rest.strip_prefix(": ")?;
    (len <= 64 && key.starts_with(|c: char| c.is_ascii_lowercase())).then_some((key, rest))
}

/// Keys of one record rarely share it; a number below 64.
pub(super) fn key_hash(key: &str) -> u32 {
    let bytes = key.as_bytes();
    let at = |index: usize| bytes.get(index).copied().map_or(0, u32::from);
    let mixed =
        at(0) + at(bytes.len() / 2) * 5 + at(bytes.len().saturating_sub(1)) * 11 + at(4) * 17;
    (mixed + bytes.len() as u32 * 3) % 64
}

/// Splits a scalar and the newline after it off the start of the text.
pub(super) fn split_scalar(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let len = match bytes.first()? {
        b'"' => string_len(bytes)?,
        b't' | b'f' => match text.starts_with("true") {
            true => 4,
            false => text.starts_with("false").then_some(5)?,
        },
        b'-' => 1 + integer_len(bytes.get(1..)?)?,
        _ => integer_len(bytes)?,
    };
    let (value, rest) = text.split_at_checked(len)?;
    Some((value, rest.strip_prefix('\n')?))
}

fn integer_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
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
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = (below(word, 0x20) | quote | backslash) & (ONES << 7);
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
            assert_eq!(split_scalar(&text), Some((good, "next")), "{good}");
            assert_eq!(split_scalar(good), None, "without its newline");
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
            assert_eq!(split_scalar(&format!("{bad}\n")), None, "{bad:?}");
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
