//! The slow step between a passphrase and a key: scrypt with r = 8 and p = 1.

use std::fmt;

use zeroize::Zeroizing;

use zeta_core::creds::frame::SALT_LEN;
use zeta_core::creds::frame::v2::{P, R};

/// 32 secret bytes. Cleared when they go.
pub type Key = Zeroizing<[u8; 32]>;

/// The input of one key derivation.
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
    /// The amount that was needed, in MiB.
    pub mib: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the passphrase needs {} MiB of memory, which cannot be had", self.mib)
    }
}

/// Stretches a passphrase, in as much time and memory as the cost asks for.
///
/// The memory is asked for first: where it cannot be had, taking it would end the process.
pub fn stretch(work: &Work) -> Result<Key, NoMemory> {
    let kib = 1_u64.checked_shl(work.log2_n.into()).unwrap_or(u64::MAX);
    let none = NoMemory { mib: kib >> 10 };
    if available_kib().is_some_and(|available| available < kib) || !can_be_had(kib) {
        return Err(none);
    }
    let params = scrypt::Params::new(work.log2_n, R.into(), P.into(), 32).map_err(|_| none)?;
    let mut key = Key::default();
    scrypt::scrypt(work.passphrase, work.salt, &params, &mut key[..]).map_err(|_| none)?;
    Ok(key)
}

/// The memory beside the great piece: two blocks, and what the allocator adds.
const AROUND_KIB: u64 = 1024;

/// Takes the memory and gives it back. A limit of the process (`ulimit -v`) or of the machine
/// (`vm.overcommit_memory`) refuses it here, where that is no abort.
fn can_be_had(kib: u64) -> bool {
    let bytes = kib.saturating_add(AROUND_KIB).saturating_mul(1024);
    let mut piece = Vec::<u8>::new();
    let had = usize::try_from(bytes).is_ok_and(|bytes| piece.try_reserve_exact(bytes).is_ok());
    // A piece that is never looked at would be optimized away, and its refusal with it.
    std::hint::black_box(&piece);
    had
}

/// The memory that could be had without swapping; `None` where the kernel does not say.
fn available_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{NoMemory, Work, available_kib, stretch};

    #[test]
    fn memory_that_is_not_there_is_not_taken() {
        assert!(available_kib().is_some_and(|kib| kib > 1024), "/proc/meminfo is of another form");
        for (log2_n, mib) in [(40, 1 << 30), (63, 1 << 53), (255, u64::MAX >> 10)] {
            let work = Work { passphrase: b"x", salt: &[0; 32], log2_n };
            assert_eq!(stretch(&work), Err(NoMemory { mib }));
        }
    }
}
