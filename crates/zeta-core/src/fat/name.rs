//! Names of files: the short one (8.3) that each file has, and the entries of the long one.

use super::{ENTRY, FatError, NameRule};

/// A short name: eight characters and three, padded with blanks.
pub type Short = [u8; 11];

/// Characters that no name may have.
const FORBIDDEN: &[u8] = b"\"*/:<>?\\|";
/// Characters of a short name besides capital letters and digits.
const SHORT_MARKS: &[u8] = b"$%'-_@~`!(){}^#&";
/// Characters of a name in one entry of a long name.
const PER_ENTRY: usize = 13;
/// Where they are.
const PLACES: [usize; PER_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// The attributes of such an entry.
pub(super) const LONG: u8 = 0x0f;
/// The mark of the last part of a name, which stands first.
const LAST: u8 = 0x40;

/// Checks a name.
///
/// # Errors
/// FAT cannot keep it.
pub fn check(name: &str) -> Result<(), FatError> {
    let is_odd = |byte: u8| byte < b' ' || byte == 0x7f || FORBIDDEN.contains(&byte);
    let rule = match name {
        _ if !name.is_ascii() => NameRule::NotAscii,
        _ if name.is_empty() || name.len() > 255 => NameRule::Length,
        _ if name.bytes().any(is_odd) || name.ends_with(['.', ' ']) => NameRule::Forbidden,
        _ => return Ok(()),
    };
    Err(FatError::Name { name: name.to_owned(), rule })
}

/// Returns the short name of a file, and whether it says all of its name.
///
/// A plain name in capital letters keeps it. Each other one gets a number behind a tilde that none
/// of `taken` has.
///
/// # Errors
/// It is plain and taken, or all numbers are.
pub fn short(name: &str, taken: &[Short]) -> Result<(Short, bool), FatError> {
    let exists = || FatError::Exists(name.to_owned());
    if let Some(plain) = plain(name) {
        return if taken.contains(&plain) { Err(exists()) } else { Ok((plain, true)) };
    }
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) if !base.trim_matches(['.', ' ']).is_empty() => (base, extension),
        _ => (name, ""),
    };
    let (base, extension) = (letters(base), letters(extension));
    for number in 1..1_000_000_u32 {
        let tail = format!("~{number}");
        let kept = base.len().min(8 - tail.len());
        let head = base.get(..kept).unwrap_or_default();
        let short = padded(&[head, tail.as_bytes()].concat(), &extension);
        if !taken.contains(&short) {
            return Ok((short, false));
        }
    }
    Err(exists())
}

/// A name that is a short one already.
fn plain(name: &str) -> Option<Short> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_short = |part: &str| {
        part.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || SHORT_MARKS.contains(&byte)
        })
    };
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && !name.ends_with('.');
    let is_plain = fits && is_short(base) && is_short(extension);
    is_plain.then(|| padded(base.as_bytes(), extension.as_bytes()))
}

/// What of a part of a name a short one may have.
fn letters(part: &str) -> Vec<u8> {
    let kept = part.bytes().filter(|byte| !b" .".contains(byte));
    kept.map(|byte| match byte.to_ascii_uppercase() {
        byte if byte.is_ascii_alphanumeric() || SHORT_MARKS.contains(&byte) => byte,
        _ => b'_',
    })
    .collect()
}

fn padded(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    let (left, right) = short.split_at_mut(8);
    left.iter_mut().zip(base).for_each(|(to, from)| *to = *from);
    right.iter_mut().zip(extension).for_each(|(to, from)| *to = *from);
    short
}

/// A short name as people write it.
pub fn shown(short: &Short) -> String {
    let part = |part: &[u8]| String::from_utf8_lossy(part).trim_end_matches(' ').to_owned();
    let (base, extension) = short.split_at(8);
    match (part(base), part(extension)) {
        (base, extension) if extension.is_empty() => base,
        (base, extension) => format!("{base}.{extension}"),
    }
}

/// The sum of a short name that binds the entries of a long one to it.
pub fn checksum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries of a long name, in the order in which they stand before that of the short one.
pub fn long_entries(name: &str, short: &Short) -> Vec<[u8; ENTRY]> {
    let characters: Vec<u16> = name.encode_utf16().collect();
    let parts = characters.chunks(PER_ENTRY).enumerate();
    let count = characters.len().div_ceil(PER_ENTRY);
    let one = |(at, part): (usize, &[u16])| {
        let mut entry = [0; ENTRY];
        let number = u8::try_from(at + 1).unwrap_or(u8::MAX);
        entry[0] = if at + 1 == count { number | LAST } else { number };
        (entry[11], entry[13]) = (LONG, checksum(short));
        // The first character behind a name is zero, and all others have all bits set.
        let filled = part.iter().copied().chain([0]).chain(std::iter::repeat(u16::MAX));
        for (place, character) in PLACES.into_iter().zip(filled) {
            entry[place..place + 2].copy_from_slice(&character.to_le_bytes());
        }
        entry
    };
    parts.map(one).rev().collect()
}

/// Reads the characters of one entry of a long name.
pub(super) fn part_of(entry: &[u8]) -> Vec<u16> {
    let characters = PLACES.into_iter().map(|place| super::u16_at(entry, place));
    characters.take_while(|character| *character != 0 && *character != u16::MAX).collect()
}
