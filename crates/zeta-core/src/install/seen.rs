//! What was observed of the machine: its disks, and what is on the target already.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::step::Step;

/// What tells a disk from all other ones, across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskId {
    /// Its name that is unique in the world, if it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wwn: String,
    /// Its serial number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial: String,
    /// Its model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Its length, in bytes.
    pub size: u64,
}

impl DiskId {
    /// What a person reads on it: its serial number, or else its WWN.
    pub fn shown(&self) -> &str {
        if self.serial.is_empty() { &self.wwn } else { &self.serial }
    }

    /// Returns whether it tells the disk from others at all.
    pub fn is_known(&self) -> bool {
        self.size > 0 && !(self.wwn.is_empty() && self.serial.is_empty())
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// Its path now.
    pub path: String,
    /// What tells it from others.
    pub id: DiskId,
    /// It is connected by USB.
    pub is_usb: bool,
    /// All reasons against its use.
    pub reasons: Vec<String>,
    /// What is on it as a whole: nothing, or `gpt:ID`, or `ext4:ID`.
    pub content: String,
    /// Its partitions.
    pub parts: Vec<PartSeen>,
    /// The node that is installed there, if one is.
    pub prior: Option<Prior>,
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartSeen {
    /// Its path now.
    pub path: String,
    /// Its identity.
    pub guid: String,
    /// Where it begins, in bytes from the begin of the disk.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What is on it: nothing, or `ext4:ID`.
    pub content: String,
}

/// A node that is installed on a disk, as it was read without a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prior {
    /// Its name, if it has one that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The public keys of its operators.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub keys: String,
    /// The partition.
    pub partition: String,
}

impl Disk {
    /// All that is on it, each with its identity. Nothing if it is blank.
    pub fn signatures(&self) -> Vec<String> {
        let own = Some(self.content.clone()).filter(|content| !content.is_empty());
        let parts = self.parts.iter().map(|part| format!("part:{}:{}", part.guid, part.content));
        own.into_iter().chain(parts).collect()
    }
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// All disks.
    pub disks: Vec<Disk>,
    /// The file systems of the node are mounted as they have to be.
    pub is_mounted: bool,
    /// The steps whose results are on the target, as they have to be.
    pub holds: BTreeSet<Step>,
    /// What the stick brings.
    pub stick: Stick,
}

/// What the stick brings, of what its manifest lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stick {
    /// The names of the files.
    pub files: Vec<String>,
    /// The name of the node.
    pub host_name: Option<String>,
    /// The host of the flake.
    pub flake_host: Option<String>,
}

impl Stick {
    /// Returns whether it lists a file.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }
}
