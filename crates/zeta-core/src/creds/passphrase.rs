//! The passphrase: one that is made here, and what of a file is the passphrase.
//!
//! Everyone who holds the stick can read its UUID, so the passphrase is the only secret. One that
//! was made here has a known entropy.

use zeroize::Zeroizing;

/// Random bytes of a passphrase that is made: 96 bits, out of reach for guessing at any cost of one
/// guess.
pub const RANDOM_BYTES: usize = 12;

/// Its entropy, in bits.
pub const ENTROPY_BITS: usize = RANDOM_BYTES * 8;

/// Why something is no passphrase. It never tells what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassphrase {
    /// There is nothing, or nothing but the end of a line.
    #[error("the passphrase is empty")]
    Empty,
    /// It is not UTF-8.
    #[error("the passphrase is not UTF-8 text")]
    NotText,
    /// An editor of Windows put it there, and nobody can type it at a prompt.
    #[error("the passphrase begins with a byte order mark: save its file without one")]
    Mark,
    /// It has a NUL, and the function that stretches it takes one at the end for nothing at all.
    #[error("the passphrase has a NUL character")]
    Nul,
}

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

/// Says random bytes in words: six proquints of 16 bits each (consonants carry four bits, vowels
/// two), joined by `-`. The bytes must come from the kernel's random source.
pub fn say(random: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(RANDOM_BYTES * 3));
    let (words, _) = random.as_chunks::<2>();
    for word in words {
        if !out.is_empty() {
            out.push('-');
        }
        let word = u16::from_be_bytes(*word);
        for (letters, shift) in
            [(&CONSONANTS[..], 12), (VOWELS, 10), (CONSONANTS, 6), (VOWELS, 4), (CONSONANTS, 0)]
        {
            let at = usize::from(word >> shift) % letters.len();
            out.extend(letters.get(at).map(|letter| char::from(*letter)));
        }
    }
    out
}

/// What of the content of a file is the passphrase: all but one LF or CRLF at the end.
pub fn of_file(content: &[u8]) -> Result<&str, BadPassphrase> {
    let cut = content.strip_suffix(b"\n");
    let cut = cut.map_or(content, |line| line.strip_suffix(b"\r").unwrap_or(line));
    check(std::str::from_utf8(cut).map_err(|_| BadPassphrase::NotText)?)
}

/// Refuses a new one that begins with a byte order mark. One of a blob that is there may have it.
pub fn check_new(content: &[u8]) -> Result<(), BadPassphrase> {
    if content.starts_with("\u{feff}".as_bytes()) { Err(BadPassphrase::Mark) } else { Ok(()) }
}

/// Refuses an empty one, and one with a NUL; blanks are part of a passphrase.
pub fn check(text: &str) -> Result<&str, BadPassphrase> {
    match text {
        "" => Err(BadPassphrase::Empty),
        text if text.contains('\0') => Err(BadPassphrase::Nul),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPassphrase, ENTROPY_BITS, check, check_new, of_file, say};

    /// The words of the proposal for proquints, which says addresses of the internet.
    #[test]
    fn bytes_are_said_as_proquints() {
        let random = [127, 0, 0, 1, 63, 84, 220, 193, 216, 35, 68, 215];
        assert_eq!(*say(&random), "lusab-babad-gutih-tugad-tobog-higil");
        assert_eq!(ENTROPY_BITS, 96);
    }

    #[test]
    fn different_bytes_are_said_differently_and_nothing_grows() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            for at in 0..12 {
                let mut random = [0; 12];
                random[at] = byte;
                let said = say(&random);
                assert_eq!((said.len(), said.capacity()), (35, 36));
                seen.insert(said.to_string());
            }
        }
        assert_eq!(seen.len(), 255 * 12 + 1);
    }

    #[test]
    fn one_end_of_a_line_is_cut_from_a_file_and_nothing_else() {
        let cases: [(&[u8], Result<&str, BadPassphrase>); 10] = [
            (b" pad ded ", Ok(" pad ded ")),
            (b" pad ded \n", Ok(" pad ded ")),
            (b" pad ded \r\n", Ok(" pad ded ")),
            (b"x\n\n", Ok("x\n")),
            (b"x\r", Ok("x\r")),
            (b"x\r\r\n", Ok("x\r")),
            (b"", Err(BadPassphrase::Empty)),
            (b"\r\n", Err(BadPassphrase::Empty)),
            (b"x\0", Err(BadPassphrase::Nul)),
            (b"\xff\n", Err(BadPassphrase::NotText)),
        ];
        for (content, expect) in cases {
            assert_eq!(of_file(content), expect, "{content:?}");
        }
        assert_eq!(check_new("\u{feff}x".as_bytes()), Err(BadPassphrase::Mark));
        assert_eq!(check_new(b"x"), Ok(()));
        assert_eq!(of_file("\u{feff}x".as_bytes()), Ok("\u{feff}x"), "an old blob may have it");
        assert_eq!(check(""), Err(BadPassphrase::Empty));
        assert_eq!(check(" "), Ok(" "));
    }
}
