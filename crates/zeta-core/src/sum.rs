//! Sums that tell damage of an index from what was written. They keep out nobody who forges it.

/// Continues a sum by one line, which depends on all lines before it.
pub fn add_line(sum: u64, line: &str) -> u64 {
    (sum.rotate_left(5) ^ hash(line.as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The sum of a text.
pub fn hash(bytes: &[u8]) -> u64 {
    let step =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27);
    let mut words = bytes.chunks_exact(8);
    let mut sum = words.by_ref().fold(bytes.len() as u64, |sum, word| {
        step(sum, word.try_into().map_or(0, u64::from_le_bytes))
    });
    sum = words.remainder().iter().fold(sum, |sum, byte| step(sum, u64::from(*byte) + 1));
    // The last word reaches all bits.
    step(sum ^ (sum >> 32), 1)
}

/// Continues a sum by bytes in words of eight, which depends on all words before them; what is left
/// of a word does not count.
pub fn add_words(sum: u64, bytes: &[u8]) -> u64 {
    bytes.chunks_exact(8).fold(sum, |sum, word| {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_tell_zeros_and_other_orders() {
        assert_ne!(hash(&[0; 64]), hash(&[0; 65]));
        assert_ne!(hash(&[0; 64]), hash(&[0; 56]));
        assert_ne!(hash(b"12345678"), hash(b"12345679"));
        let sum = |lines: &[&str]| lines.iter().fold(1, |sum, line| add_line(sum, line));
        assert_ne!(sum(&["a", "b"]), sum(&["b", "a"]));
        assert_ne!(sum(&["a", "b"]), sum(&["ab"]));
    }
}
