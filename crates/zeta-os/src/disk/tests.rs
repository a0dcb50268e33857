//! The real disks of the machine that runs the tests. None is opened for writing.

use std::path::Path;

use super::{Snapshot, block, system};
use zeta_core::disk::Limits;

#[test]
fn each_disk_behind_a_directory_of_the_system_is_refused() {
    let seen = Snapshot::take().unwrap();
    let limits = Limits { min: 0, max: u64::MAX, allow_internal: true };
    for source in &seen.sources {
        let mut disks = seen.listing.blockdevices.iter();
        if let Some(disk) = disks.find(|disk| disk.path() == *source) {
            assert!(!seen.judge(disk, &limits).is_empty(), "{source}");
        } else {
            // It is not known, so every disk is refused.
            assert!(seen.listing.blockdevices.iter().all(|d| !seen.judge(d, &limits).is_empty()));
        }
    }
}

#[test]
fn the_disk_of_a_file_is_that_of_its_mount() {
    use std::os::unix::fs::MetadataExt;
    let sources = system::sources().unwrap();
    let root = std::fs::metadata("/").unwrap().dev();
    match block::of_number(block::number(root)) {
        Some(device) if device.slaves().is_empty() => {
            let whole = device.parent().unwrap_or(device).path();
            assert!(sources.contains(&whole), "{sources:?} lacks {whole}");
        }
        // It is on several disks, on none, or on layers.
        _ => assert!(sources.iter().all(|source| !source.is_empty()), "{sources:?}"),
    }
}

#[test]
fn what_is_no_block_device_is_none() {
    assert_eq!(block::of_path(Path::new("/dev/null")), None);
    assert_eq!(block::of_path(Path::new("/proc/version")), None);
    assert!(super::Disk::open(Path::new("/dev/null")).is_err());
}
