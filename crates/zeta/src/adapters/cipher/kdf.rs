//! The slow step between a passphrase and a key: scrypt with r = 8 and p = 1.

use std::fmt;

use zeroize::Zeroizing;

use zeta_core::creds::frame::SALT_LEN;
use zeta_core::creds::frame::v2::{P, R};

/// 32 secret bytes. Cleared when they go.
pub type Key = Zeroizing<[u8; 32]>;

/// What is to be stretched.
pub struct Work<'a> {
    /// The passphrase, as UTF-8.
    pub passphrase: &'a [u8],
    /// The salt of the blob.
    pub salt: &'a [u8; SALT_LEN],
    /// log2 of N; memory is 1 KiB times N.
    pub log2_n: u8,
}

/// The memory could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory {
    /// How much it would have been, in MiB.
    pub mib: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the passphrase needs {} MiB of memory, which this machine has not", self.mib)
    }
}

/// Stretches a passphrase, in as much time as the cost asks for.
pub fn stretch(work: &Work) -> Result<Key, NoMemory> {
    let none = NoMemory { mib: (1u64 << (work.log2_n.min(53))) >> 10 };
    let params = scrypt::Params::new(work.log2_n, R.into(), P.into(), 32).map_err(|_| none)?;
    let mut key = Key::default();
    scrypt::scrypt(work.passphrase, work.salt, &params, &mut key[..]).map_err(|_| none)?;
    Ok(key)
}
