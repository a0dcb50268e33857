//! The EFI system partition of an image that boots from a disk and from a stick: its partition
//! table is in the first sector (MBR).

use super::{FatError, SECTOR, u32_at};

/// The type of the partition.
const TYPE: u8 = 0xef;
/// Where the table begins in the sector.
const TABLE: usize = 446;

/// Where the partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Esp {
    /// Its first sector.
    pub first_sector: u32,
    /// How many sectors it has.
    pub sectors: u32,
}

impl Esp {
    /// Where it begins, in bytes from the beginning of the image.
    pub fn offset(&self) -> u64 {
        u64::from(self.first_sector) * SECTOR as u64
    }

    /// Its length, in bytes.
    pub fn len(&self) -> u64 {
        u64::from(self.sectors) * SECTOR as u64
    }

    /// Returns whether it has no sector. A partition that was located has some.
    pub fn is_empty(&self) -> bool {
        self.sectors == 0
    }
}

/// Finds the partition by the first sector of an image. It must be the only one of its type: a
/// guess would be a write to another place.
///
/// # Errors
/// There is none, or more than one.
pub fn locate(head: &[u8]) -> Result<Esp, FatError> {
    let sector = head.get(..SECTOR).ok_or(FatError::Short)?;
    if !sector.ends_with(&[0x55, 0xaa]) {
        return Err(FatError::NoSignature);
    }
    let table = sector.get(TABLE..SECTOR - 2).unwrap_or_default();
    let entries = table.chunks_exact(16).filter(|entry| entry.get(4) == Some(&TYPE));
    let found =
        entries.map(|entry| Esp { first_sector: u32_at(entry, 8), sectors: u32_at(entry, 12) });
    let mut found = found.filter(|esp| esp.first_sector > 0 && esp.sectors > 0);
    match (found.next(), found.next()) {
        (Some(esp), None) => Ok(esp),
        (None, _) => Err(FatError::NoEsp),
        (Some(_), Some(_)) => Err(FatError::SeveralEsp),
    }
}
