//! A block device in sysfs, by its number or its path.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The numbers of a device, major and minor.
pub type Number = (u32, u32);

/// A device that the kernel lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its directory in sysfs, without links.
    pub dir: PathBuf,
}

/// Splits the number of a device as `stat` gives it.
pub fn number(device: u64) -> Number {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// The device with this number, if there is one.
pub fn of_number((major, minor): Number) -> Option<Block> {
    let dir = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(Block { dir })
}

/// The device at a path, which is not opened.
pub fn of_path(path: &Path) -> Option<Block> {
    let found = fs::metadata(path).ok().filter(|found| found.file_type().is_block_device())?;
    of_number(number(found.rdev()))
}

impl Block {
    /// A file of its directory, without the blanks around.
    pub fn text(&self, name: &str) -> Option<String> {
        Some(fs::read_to_string(self.dir.join(name)).ok()?.trim().to_owned())
    }

    /// Its number.
    pub fn number(&self) -> Option<Number> {
        let text = self.text("dev")?;
        let (major, minor) = text.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Its path in `/dev`; a slash in it is `!` in sysfs.
    pub fn path(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        format!("/dev/{}", name.replace('!', "/"))
    }

    /// The whole device, if this one is a partition of it.
    pub fn parent(&self) -> Option<Block> {
        let is_part = self.dir.join("partition").exists();
        let dir = self.dir.parent().filter(|_| is_part)?;
        Some(Block { dir: dir.to_owned() })
    }

    /// The devices that it is made of.
    pub fn slaves(&self) -> Vec<Block> {
        self.linked("slaves")
    }

    /// The paths of the devices that were made of it.
    pub fn holders(&self) -> Vec<String> {
        self.linked("holders").iter().map(Block::path).collect()
    }

    fn linked(&self, name: &str) -> Vec<Block> {
        let entries = fs::read_dir(self.dir.join(name)).into_iter().flatten().flatten();
        let dirs = entries.filter_map(|entry| fs::canonicalize(entry.path()).ok());
        dirs.map(|dir| Block { dir }).collect()
    }

    /// The file that it shows, if it is a loop device in use.
    pub fn backing_file(&self) -> Option<String> {
        self.text("loop/backing_file")
    }
}
