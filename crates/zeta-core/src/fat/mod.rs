//! Files in the root directory of a FAT12 or FAT16 volume, as bytes.
//!
//! An image of an install stick contains such a volume: its EFI system partition (ESP). Files are
//! put there before the image is written to a stick. The result is a pure function of the volume
//! and of the files: lowest free entries and clusters first, dates fixed at 1980-01-01. So another
//! program that follows the same rules makes the same bytes.
//!
//! The format is that of Microsoft's "FAT: General Overview of On-Disk Format" (1.03). FAT32 is
//! refused: no image has it.
//!
//! - [`esp`]: where the partition is in an image.
//! - [`volume`]: the geometry that a boot sector says.
//! - [`id`]: the id of a volume.
//! - [`name`]: the short name of a file, and the entries of its long one.
//! - [`write`]: all files, or nothing.
//! - [`read`]: a file, through every copy of the allocation table.

pub mod esp;
pub mod id;
pub mod name;
pub mod read;
#[cfg(test)]
mod tests;
pub mod volume;
pub mod write;

pub use volume::{FatKind, Volume};
pub use write::{File, Placed, add};

/// The length of a sector, in bytes. Other lengths are refused.
pub const SECTOR: usize = 512;
/// The length of a directory entry, in bytes.
const ENTRY: usize = 32;

/// Why a volume or a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FatError {
    /// There are fewer bytes than a sector.
    #[error("it ends before its first sector does")]
    Short,
    /// The first sector does not end as one that can be started from.
    #[error("its first sector does not end in 55 AA")]
    NoSignature,
    /// No partition is an EFI system partition.
    #[error("it has no partition of the type EF")]
    NoEsp,
    /// More than one is.
    #[error("it has several partitions of the type EF")]
    SeveralEsp,
    /// The partition ends behind the image.
    #[error("its partition of the type EF ends behind the image")]
    EspBeyondEnd,
    /// Sectors of another length.
    #[error("its sectors have {0} bytes, and 512 are supported")]
    SectorSize(u16),
    /// Clusters of an impossible length.
    #[error("a cluster of {0} sectors cannot be")]
    ClusterSize(u8),
    /// A number that must not be zero.
    #[error("a number in its boot sector is zero that must not be")]
    ZeroInBootSector,
    /// FAT32, or no FAT at all.
    #[error("it is FAT32, or damaged")]
    Fat32OrDamaged,
    /// Its tables do not leave room for a cluster, or do not cover all clusters.
    #[error("its tables do not fit it")]
    Tables,
    /// It is longer than its partition.
    #[error("it is longer than its partition")]
    BeyondPartition,
    /// A name that cannot be written.
    #[error("the name {name:?} {rule}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        rule: NameRule,
    },
    /// The name is there already.
    #[error("a file {0:?} is there already")]
    Exists(String),
    /// No room for the names.
    #[error("its root directory has no room for {0:?}")]
    RootFull(String),
    /// No room for the contents.
    #[error("it has no room for {0:?}")]
    Full(String),
    /// A chain of clusters that does not lead to an end.
    #[error("the clusters of {0:?} lead nowhere")]
    BrokenChain(String),
}

/// What a name of a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// 1 to 255 characters.
    #[error("has a length that is not 1 to 255")]
    Length,
    /// ASCII.
    #[error("is not ASCII")]
    NotAscii,
    /// No character that FAT forbids.
    #[error("has a character that FAT does not allow")]
    Forbidden,
}

/// Reads a little-endian number of two bytes; 0 behind the end.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map_or(0, u16::from_le_bytes)
}

/// Reads a little-endian number of four bytes; 0 behind the end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}
