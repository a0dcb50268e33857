//! The disks behind the directories of the running system and its swap space, through partitions,
//! device mapper, RAID, loop devices and layered file systems.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::block::{self, Block, Number};
use crate::error::Result;
use crate::mount::{self, Mount, unescape};

/// Directories of which each may be a mount of its own.
const DIRECTORIES: [&str; 10] = [
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/nix",
    "/nix/store",
    "/nix/.ro-store",
    "/iso",
    "/usr",
    "/var",
];
/// File systems in memory, or on another machine: no disk of this one is behind them.
const WITHOUT_DISK: [&str; 7] = ["tmpfs", "ramfs", "rootfs", "nfs", "nfs4", "9p", "virtiofs"];
/// Where the first stage of a boot has the later root; layers are named by its paths.
const EARLY_ROOTS: [&str; 3] = ["", "/mnt-root", "/sysroot"];
/// No chain of devices is longer.
const DEPTH: usize = 16;

/// The disks, by their paths; what is not known is the source that the mount says.
///
/// # Errors
/// The mounts cannot be read.
pub fn sources() -> Result<Vec<String>> {
    let mut trace = Trace { mounts: mount::all()?, found: BTreeSet::new() };
    for directory in DIRECTORIES {
        match trace.mounted_at(Path::new(directory)) {
            Some(mount) => trace.mount(&mount, 0),
            None if directory == "/" => trace.unknown("/"),
            None => {}
        }
    }
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for path in swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()) {
        trace.file(&unescape(path), 0);
    }
    Ok(trace.found.into_iter().collect())
}

struct Trace {
    mounts: Vec<Mount>,
    found: BTreeSet<String>,
}

impl Trace {
    fn unknown(&mut self, what: &str) {
        self.found.insert(what.to_owned());
    }

    /// What is mounted at a directory: the last mount covers the others.
    fn mounted_at(&self, directory: &Path) -> Option<Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == directory).cloned()
    }

    /// What a path lies on.
    fn above(&self, path: &Path) -> Option<Mount> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count()).cloned()
    }

    fn mount(&mut self, mount: &Mount, depth: usize) {
        let fs_type = mount.fs_type.as_str();
        if WITHOUT_DISK.contains(&fs_type) {
            return;
        }
        let device = block::of_path(Path::new(&mount.source));
        match (mount.number, device) {
            _ if depth > DEPTH => self.unknown(&mount.source),
            ((1.., _), _) => self.number(mount.number, &mount.source, depth),
            (_, Some(device)) if fs_type == "btrfs" => self.btrfs(&device, depth),
            (_, Some(device)) => self.device(&device, depth),
            (_, None) if fs_type == "overlay" => self.overlay(mount, depth),
            (_, None) => self.unknown(&mount.source),
        }
    }

    fn number(&mut self, number: Number, name: &str, depth: usize) {
        match block::of_number(number) {
            Some(device) => self.device(&device, depth),
            None => self.unknown(name),
        }
    }

    fn device(&mut self, device: &Block, depth: usize) {
        if depth > DEPTH {
            return self.unknown(&device.path());
        }
        let whole = device.parent().unwrap_or_else(|| device.clone());
        let slaves = whole.slaves();
        if !slaves.is_empty() {
            slaves.iter().for_each(|slave| self.device(slave, depth + 1));
            return;
        }
        // A loop device may be overwritten no more than the disk below it.
        self.found.insert(whole.path());
        if let Some(file) = whole.backing_file() {
            self.file(&file, depth + 1);
        }
    }

    /// A file, or the device itself.
    fn file(&mut self, path: &str, depth: usize) {
        let Ok(found) = fs::metadata(path) else { return self.unknown(path) };
        if found.file_type().is_block_device() {
            return self.number(block::number(found.rdev()), path, depth);
        }
        match (block::number(found.dev()), self.above(Path::new(path))) {
            (number @ (1.., _), _) => self.number(number, path, depth),
            (_, Some(mount)) => self.mount(&mount, depth + 1),
            (_, None) => self.unknown(path),
        }
    }

    /// All devices of a file system that has several.
    fn btrfs(&mut self, device: &Block, depth: usize) {
        let systems = fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten();
        let members = systems.map(|system| {
            let links = fs::read_dir(system.path().join("devices")).into_iter().flatten().flatten();
            links.filter_map(|link| fs::canonicalize(link.path()).ok()).collect::<Vec<_>>()
        });
        let members = members.into_iter().find(|members| members.contains(&device.dir));
        self.device(device, depth);
        for dir in members.into_iter().flatten() {
            self.device(&Block { dir }, depth);
        }
    }

    /// The layers of a file system, by the paths that its options name.
    fn overlay(&mut self, mount: &Mount, depth: usize) {
        let layers = mount.options.split(',').filter_map(|option| option.split_once('='));
        let layers = layers
            .filter(|(key, _)| ["lowerdir", "lowerdir+", "datadir+", "upperdir"].contains(key));
        let layers: Vec<&str> = layers.flat_map(|(_, value)| value.split(':')).collect();
        if layers.is_empty() {
            return self.unknown(&mount.source);
        }
        for layer in layers.into_iter().filter(|layer| !layer.is_empty()) {
            let here = EARLY_ROOTS.iter().filter_map(|root| layer.strip_prefix(root));
            let here = here.filter(|path| path.starts_with('/') && Path::new(path).exists());
            let below = here.map(Path::new).filter_map(|path| self.above(path)).next();
            match below.filter(|below| below.point != mount.point) {
                Some(below) => self.mount(&below, depth + 1),
                None => self.unknown(&format!("{} ({layer})", mount.source)),
            }
        }
    }
}
