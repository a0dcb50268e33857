//! Whether the parts of an image are still what they were: the BLAKE3 digest of each. A second
//! SHA-256 of all of it would take longer than a fast disk.

/// The digests of the parts of an image, in their order.
#[derive(Debug, Default)]
pub struct Fingerprint(Vec<blake3::Hash>);

impl Fingerprint {
    /// Adds the next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.push(blake3::hash(part));
    }

    /// Returns whether the part at a place in the order is what was added there.
    pub fn is_same(&self, part: &[u8], at: usize) -> bool {
        self.0.get(at) == Some(&blake3::hash(part))
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_part_is_the_same_only_in_its_place_and_with_all_of_its_bytes() {
        let mut fingerprint = Fingerprint::default();
        let parts: [&[u8]; 4] = [b"", b"a", &[7; 100_003], b"a"];
        parts.iter().for_each(|part| fingerprint.add(part));
        for (at, part) in parts.iter().enumerate() {
            assert!(fingerprint.is_same(part, at));
            assert!(!fingerprint.is_same(&[part, &b"b"[..]].concat(), at));
        }
        assert!(!fingerprint.is_same(b"b", 1) && !fingerprint.is_same(b"a", 4));
        for at in [0, 16, 50_000, 100_002] {
            let mut changed = parts[2].to_vec();
            changed[at] ^= 1;
            assert!(!fingerprint.is_same(&changed, 2));
        }
    }
}
