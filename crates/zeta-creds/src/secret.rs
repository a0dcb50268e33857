//! A secret in memory: not dumped, not swapped as far as the kernel allows, nothing in `Debug`.

use std::fmt;

use crate::locked_memory::Pages;
use zeta_os::error::{Error, Result};

/// No passphrase is longer, in bytes.
pub const PASSPHRASE_MAX: usize = 4096;

/// Bytes that no other process may see, in memory that never moves and is wiped at the end.
pub struct Secret {
    pages: Pages,
    len: usize,
    max: usize,
}

impl Secret {
    /// An empty one that can hold `max` bytes.
    ///
    /// # Errors
    /// There is no memory.
    pub fn with_room(max: usize) -> Result<Secret> {
        Ok(Secret { pages: Pages::new(max)?, len: 0, max })
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8] {
        self.pages.bytes().get(..self.len).unwrap_or_default()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns true if the kernel promised not to swap it.
    pub fn is_locked(&self) -> bool {
        self.pages.locked()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The bytes do not fit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.len + bytes.len();
        let room = self.pages.bytes_mut().get_mut(self.len..end).filter(|_| end <= self.max);
        let room = room.ok_or_else(too_long)?;
        room.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Lets `read` fill the room that is left; it returns how many bytes it put there.
    pub(super) fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> std::result::Result<usize, E>,
    ) -> std::result::Result<usize, E> {
        let room = self.pages.bytes_mut().get_mut(self.len..self.max).unwrap_or_default();
        let len = read(room)?.min(self.max - self.len);
        self.len += len;
        Ok(len)
    }

    /// Cuts the secret to its first bytes and wipes the rest.
    pub fn cut(&mut self, len: usize) {
        let len = len.min(self.len);
        if let Some(rest) = self.pages.bytes_mut().get_mut(len..) {
            zeroize::Zeroize::zeroize(rest);
        }
        self.len = len;
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

pub(super) fn too_long() -> Error {
    Error::usage("what was given is too long")
        .hint(format!("at most {} bytes, without the end of its line", PASSPHRASE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_says_nothing_and_holds_what_fits() {
        let mut secret = Secret::with_room(8).unwrap();
        secret.push(b"hunter2").unwrap();
        assert!(secret.push(b"xx").is_err());
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        secret.cut(6);
        assert_eq!((secret.expose(), secret.pages.bytes()[6]), (&b"hunter"[..], 0));
    }
}
