//! The digest of an image, which is read in pieces: it may be larger than the memory.

use std::io::{ErrorKind, Read};

use sha2::{Digest as _, Sha256};

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// The SHA-256 of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Small hex digits, as `sha256sum` writes them.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// A digest under construction, for a caller that reads the image for another purpose as well.
#[derive(Debug, Clone, Default)]
pub struct Hashing(Sha256);

impl Hashing {
    /// Adds the next bytes of the image.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes.
    pub fn end(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Reads an image to its end. Returns its digest and its length in bytes.
///
/// # Errors
/// What the reader reports.
pub fn of(mut image: impl Read) -> std::io::Result<(Digest, u64)> {
    let mut hashing = Hashing::default();
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        let read = match image.read(&mut piece) {
            Ok(0) => return Ok((hashing.end(), length)),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hashing.add(piece.get(..read).unwrap_or_default());
        length += read as u64;
    }
}

/// Small hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::of;

    /// A reader of many zeros, in pieces of odd lengths, that is interrupted now and then.
    struct Zeros {
        rest: u64,
        turn: usize,
    }

    impl Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(7) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let most = buffer.len().min(1 + self.turn * 977 % 200_000);
            let given = most.min(usize::try_from(self.rest).unwrap());
            buffer[..given].fill(0);
            self.rest -= given as u64;
            Ok(given)
        }
    }

    #[test]
    fn the_digest_of_an_image_is_that_of_sha256sum() {
        // sha256sum </dev/null; printf abc | sha256sum; head -c 64M /dev/zero | sha256sum
        let (empty, length) = of(&b""[..]).unwrap();
        assert_eq!(length, 0);
        assert_eq!(empty.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(
            of(&b"abc"[..]).unwrap().0.hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let (zeros, length) = of(Zeros { rest: 64 << 20, turn: 0 }).unwrap();
        assert_eq!(length, 64 << 20);
        assert_eq!(zeros.hex(), "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351");
    }

    #[test]
    fn a_reader_that_fails_has_no_digest() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("pulled"))
            }
        }
        assert!(of((&b"abc"[..]).chain(Fails)).is_err());
    }
}
