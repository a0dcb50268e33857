//! The partitions that a disk gets. Their identities are made from the number of the run, so they
//! are known before anything is written, and a run that goes on knows what is its own.

use sha2::{Digest as _, Sha256};

use super::journal::Chosen;
use super::manifest::{Fs, Manifest, Size};
use super::seen::{Disk, PartSeen};

/// Partitions begin and end at multiples of this, in bytes.
const ALIGN: u64 = 1 << 20;
/// The shortest partition, in bytes.
const PART_MIN: u64 = 32 << 20;
/// The length of a sector, in bytes, in which `sgdisk` counts on most disks.
pub const SECTOR: u64 = 512;
/// So much is zeroed at the begin and at the end of a new partition, in bytes: no file system, and
/// no member of an array, is known by what is elsewhere.
pub const EDGE: u64 = 4 << 20;

/// A file system that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeFs {
    /// FAT32.
    Vfat,
    /// ext4.
    Ext4,
    /// btrfs.
    Btrfs,
}

impl MakeFs {
    /// Its name, as `blkid` and `mount` say it.
    pub fn word(self) -> &'static str {
        match self {
            MakeFs::Vfat => "vfat",
            MakeFs::Ext4 => "ext4",
            MakeFs::Btrfs => "btrfs",
        }
    }
}

/// A partition that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Its identity.
    pub guid: String,
    /// Its type, as `sgdisk` says it.
    pub kind: &'static str,
    /// Where it begins, in bytes from the begin of the disk.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Its file system.
    pub fs: MakeFs,
    /// The identity of that.
    pub fs_id: String,
    /// The name of that.
    pub label: String,
    /// Where it is mounted, below the root of the node; empty for the root.
    pub mount: String,
}

impl Part {
    /// What is on it when its file system is made.
    pub fn content(&self) -> String {
        format!("{}:{}", self.fs.word(), self.fs_id)
    }
}

/// The partitions of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The identity of the table.
    pub guid: String,
    /// The partitions, in their order.
    pub parts: Vec<Part>,
}

impl Table {
    /// What is on the disk as a whole when the table is made.
    pub fn content(&self) -> String {
        format!("gpt:{}", self.guid)
    }

    /// Finds one of the partitions among those of a disk.
    pub fn part_of(&self, seen: &PartSeen) -> Option<&Part> {
        let is = |part: &&Part| {
            part.guid == seen.guid && part.start == seen.start && part.end == seen.end
        };
        self.parts.iter().find(is)
    }

    /// Returns whether the disk has this table, and all of its partitions in their places and no
    /// others.
    pub fn is_on(&self, disk: &Disk) -> bool {
        let all = disk.parts.iter().all(|seen| self.part_of(seen).is_some());
        disk.content == self.content() && all && disk.parts.len() == self.parts.len()
    }
}

/// The table of each chosen disk.
pub fn tables(run: &str, manifest: &Manifest, chosen: &[Chosen]) -> Vec<Table> {
    let mut data = 1;
    let table = |disk: &Chosen| {
        let name = disk.id.to_string();
        let make = |number: u32, label: &str, size: Size, fs: MakeFs, mount: &str| Part {
            number,
            guid: guid(run, &format!("{name} {label}")),
            kind: if fs == MakeFs::Vfat { "ef00" } else { "8300" },
            start: 0,
            end: if let Size::Bytes(bytes) = size { bytes } else { u64::MAX },
            fs,
            fs_id: fs_id(fs, &guid(run, &format!("{name} {label} fs"))),
            label: label.to_owned(),
            mount: mount.to_owned(),
        };
        let (boot, fs) = (&manifest.ace.partitions.boot, &manifest.ace.filesystems);
        let (root_fs, data_fs) = (make_fs(fs.root), make_fs(fs.longhorn1));
        let mut parts = Vec::new();
        if disk.is_boot {
            parts.push(make(1, "boot", boot.esp, MakeFs::Vfat, "boot"));
            parts.push(make(2, "nixos", boot.root, root_fs, ""));
            if boot.longhorn1 != Size::None {
                let mount = "var/lib/longhorn-disk1";
                parts.push(make(3, "longhorn1", boot.longhorn1, data_fs, mount));
            }
        } else {
            data += 1;
            let (label, mount) =
                (format!("longhorn{data}"), format!("var/lib/longhorn-disk{data}"));
            let size = manifest.ace.partitions.data.longhorn;
            parts.push(make(1, &label, size, data_fs, &mount));
        }
        place(&mut parts, disk.id.size);
        Table { guid: guid(run, &name), parts }
    };
    chosen.iter().map(table).collect()
}

fn make_fs(fs: Fs) -> MakeFs {
    match fs {
        Fs::Btrfs => MakeFs::Btrfs,
        // A manifest with zfs is refused.
        Fs::Ext4 | Fs::Zfs => MakeFs::Ext4,
    }
}

/// Puts the partitions one after the other. Until then the end of each is its length.
fn place(parts: &mut [Part], size: u64) {
    let last = last_end(size);
    let mut at = ALIGN;
    for part in parts {
        // Lengths are multiples of it already.
        // On a disk that is too short none is left: it is refused by name, and can be shown.
        let end = if part.end == u64::MAX { last.max(at) } else { at.saturating_add(part.end) };
        (part.start, part.end) = (at, end);
        at = part.end;
    }
}

/// Where the last partition may end: the table has a copy behind it.
fn last_end(size: u64) -> u64 {
    size.saturating_sub(34 * SECTOR) / ALIGN * ALIGN
}

/// Returns whether the partitions fit a disk of this length.
pub fn fits(table: &Table, size: u64) -> bool {
    let last = last_end(size);
    table.parts.iter().all(|part| {
        let len = part.end.checked_sub(part.start);
        part.end <= last && len.is_some_and(|len| len >= PART_MIN)
    })
}

/// An identity of 128 bits, in the form of RFC 9562 for one that is made by a rule of its own.
fn guid(run: &str, what: &str) -> String {
    let digest = Sha256::digest(format!("{run}\n{what}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn fs_id(fs: MakeFs, guid: &str) -> String {
    match fs {
        MakeFs::Vfat => {
            let id = guid.to_ascii_uppercase();
            format!("{}-{}", id.get(..4).unwrap_or_default(), id.get(4..8).unwrap_or_default())
        }
        MakeFs::Ext4 | MakeFs::Btrfs => guid.to_owned(),
    }
}
