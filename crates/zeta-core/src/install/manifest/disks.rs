//! Which disks are used, and what is made on them.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Which disks are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// By how they are connected.
    pub disks: DiscoveryDisks,
}

/// Which disks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoveryDisks {
    /// Only those that are not connected by USB.
    pub internal: bool,
}

impl Default for DiscoveryDisks {
    fn default() -> DiscoveryDisks {
        DiscoveryDisks { internal: true }
    }
}

/// Which disks are used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disks {
    /// `auto`, or the path, the serial number or the WWN of the disk that the system starts from.
    pub boot: String,
    /// The other ones.
    pub data: Data,
    /// Whether they are wiped.
    pub wipe_strategy: Wipe,
}

/// The disks besides the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// All of them are used.
    Rest,
    /// None is.
    None,
}

/// What is wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wipe {
    /// All disks that are used.
    Full,
    /// Only the disk that the system starts from.
    PreserveData,
}

/// What is made on the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Partitions {
    /// On the one that the system starts from.
    pub boot: BootPartitions,
    /// On each other one.
    pub data: DataPartitions,
}

/// The partitions of the disk that the system starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootPartitions {
    /// That of the firmware.
    pub esp: Size,
    /// That of the system.
    pub root: Size,
    /// That of the cluster's storage.
    pub longhorn1: Size,
}

impl Default for BootPartitions {
    fn default() -> BootPartitions {
        let (esp, root) = (Size::Bytes(1 << 30), Size::Bytes(256 << 30));
        BootPartitions { esp, root, longhorn1: Size::Rest }
    }
}

/// The partitions of each other disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataPartitions {
    /// That of the cluster's storage.
    pub longhorn: Size,
}

impl Default for DataPartitions {
    fn default() -> DataPartitions {
        DataPartitions { longhorn: Size::Rest }
    }
}

/// The size of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// What is left.
    Rest,
    /// There is no such partition.
    None,
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Size, D::Error> {
        let text = String::deserialize(from)?;
        let rule = "a size is a number with M, G or T, as in \"256G\", or \"rest\" or \"none\"";
        match text.as_str() {
            "rest" => return Ok(Size::Rest),
            "none" => return Ok(Size::None),
            _ => {}
        }
        let shift = match text.chars().last() {
            Some('M') => 20,
            Some('G') => 30,
            Some('T') => 40,
            _ => return Err(D::Error::custom(rule)),
        };
        let number = text.get(..text.len() - 1).unwrap_or_default();
        let plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|number| plain && *number > 0);
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Size::Bytes).ok_or_else(|| D::Error::custom(rule))
    }
}

/// With which file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filesystems {
    /// That of the firmware.
    pub esp: EspFs,
    /// That of the system.
    pub root: Fs,
    /// Those of the cluster's storage.
    pub longhorn1: Fs,
}

impl Default for Filesystems {
    fn default() -> Filesystems {
        Filesystems { esp: EspFs::Vfat, root: Fs::Ext4, longhorn1: Fs::Ext4 }
    }
}

/// The file system of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EspFs {
    /// FAT32.
    Vfat,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fs {
    /// ext4.
    Ext4,
    /// btrfs.
    Btrfs,
    /// Known by name, and not made by this program.
    Zfs,
}
