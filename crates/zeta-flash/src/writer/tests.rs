//! Faults at known places of a write: each ends as half written, with the mark on the target.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zeta_core::fat::SECTOR;
use zeta_core::flash::order::{HEAD, is_half_written};
use zeta_os::disk::Disk;

use super::{Failed, Phase, write};
use crate::image::{Expected, Image};
use crate::payload::Payload;
use crate::provenance::Asked;
use crate::staged::Staged;

/// More than what is read ahead of the first part that is written.
const LEN: u64 = 24 << 20;
const DISK: u64 = 28 << 20;

/// A directory with an image and a file that stands for a disk; it goes away again.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("zeta-writer-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let bytes: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        std::fs::write(path.join("image"), bytes).unwrap();
        Place(path)
    }

    fn image(&self) -> PathBuf {
        self.0.join("image")
    }

    fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    /// Writes, and calls `fault` at each part with its phase and the bytes that are done.
    fn write(&self, fault: &dyn Fn(Phase, u64)) -> Result<(), Failed> {
        let image = Image::open(&self.image(), Expected::Nothing, &Asked::Nothing, &mut |_, _| ())?;
        let staged = Staged::make(image, &Payload::default(), &|_, _| Ok(Vec::new()))?;
        let disk = Disk::create(&self.disk(), DISK)?;
        write(&staged, &disk, &self.disk(), &mut |phase, progress| fault(phase, progress.done))
            .map(drop)
    }

    /// The fault ends the write in the middle.
    fn half(name: &str, fault: impl Fn(&Place, Phase, u64)) {
        let place = Place::new(name);
        let failed = place.write(&|phase, done| fault(&place, phase, done)).unwrap_err();
        assert!(failed.half_written, "{name}: {}", failed.error);
        assert!(failed.error.text.contains("do not boot"), "{name}: {}", failed.error);
        assert!(is_half_written(&std::fs::read(place.disk()).unwrap()), "{name}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> File {
    File::options().write(true).open(path).unwrap()
}

#[test]
fn without_a_fault_all_of_the_image_is_there_and_the_old_end_is_gone() {
    let place = Place::new("whole");
    place.write(&|_, _| ()).unwrap();
    let (image, disk) =
        (std::fs::read(place.image()).unwrap(), std::fs::read(place.disk()).unwrap());
    assert!(disk.starts_with(&image) && disk.ends_with(&[0; HEAD as usize]));
    assert_eq!(disk.len() as u64, DISK);
}

#[test]
fn an_image_that_is_cut_or_changed_meanwhile_is_not_sealed() {
    Place::half("cut", |place, phase, _| {
        if phase == Phase::Writing {
            open(&place.image()).set_len(LEN - (2 << 20)).unwrap();
        }
    });
    // Its end is read after the first part was written, and is what the disk is compared with.
    Place::half("changed", |place, phase, done| {
        if phase == Phase::Writing && done < LEN / 2 {
            open(&place.image()).write_all_at(b"another", LEN - 100).unwrap();
        }
    });
    Place::half("changed-back", |place, phase, done| {
        if phase == Phase::Writing && done < LEN / 2 {
            open(&place.image()).write_all_at(b"another", LEN - 100).unwrap();
        }
        // What was changed and changed back is not what was checked.
        if phase == Phase::Comparing {
            let old: Vec<u8> = (LEN - 100..LEN - 93).map(|at| (at % 251) as u8).collect();
            open(&place.image()).write_all_at(&old, LEN - 100).unwrap();
        }
    });
}

/// The partition that is written is the one that was read for the digest.
#[test]
fn a_partition_that_is_changed_after_the_check_is_not_taken() {
    let place = Place::new("partition");
    let mut bytes: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    bytes[..SECTOR].fill(0);
    bytes[450] = 0xef;
    bytes[454..458].copy_from_slice(&7000_u32.to_le_bytes());
    bytes[458..462].copy_from_slice(&4000_u32.to_le_bytes());
    bytes[SECTOR - 2..SECTOR].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(place.image(), &bytes).unwrap();
    let image =
        Image::open(&place.image(), Expected::Nothing, &Asked::Nothing, &mut |_, _| ()).unwrap();
    // Across the end of the first part that is read at once.
    let at = 7000 * SECTOR as u64 + 600_000;
    open(&place.image()).write_all_at(b"evil", at).unwrap();
    let staged = Staged::make(image, &Payload::default(), &|_, _| Ok(Vec::new())).unwrap();
    open(&place.image()).write_all_at(&bytes[at as usize..at as usize + 4], at).unwrap();
    let disk = Disk::create(&place.disk(), DISK).unwrap();
    write(&staged, &disk, &place.disk(), &mut |_, _| ()).map_err(|failed| failed.error).unwrap();
    assert!(std::fs::read(place.disk()).unwrap().starts_with(&bytes));
}

#[test]
fn a_disk_that_changes_its_length_meanwhile_is_not_sealed() {
    Place::half("grown", |place, phase, _| {
        if phase == Phase::Comparing {
            open(&place.disk()).set_len(DISK + 4096).unwrap();
        }
    });
}

#[test]
fn a_disk_that_returns_other_bytes_is_not_done() {
    for at in [HEAD, LEN / 2, LEN - 1] {
        Place::half(&format!("other-{at}"), |place, phase, done| {
            if phase == Phase::Writing && done >= LEN - HEAD {
                open(&place.disk()).write_all_at(&[0xaa], at).unwrap();
            }
        });
    }
    // In the first part, which is written last: it is compared as well.
    let place = Place::new("head");
    let failed = place.write(&|phase, _| {
        if phase == Phase::Comparing {
            open(&place.disk()).write_all_at(&[0xaa], 5000).unwrap();
        }
    });
    assert!(failed.unwrap_err().half_written);
}

#[test]
fn an_image_that_does_not_fit_changes_nothing() {
    let place = Place::new("short");
    let image =
        Image::open(&place.image(), Expected::Nothing, &Asked::Nothing, &mut |_, _| ()).unwrap();
    let staged = Staged::make(image, &Payload::default(), &|_, _| Ok(Vec::new())).unwrap();
    let disk = Disk::create(&place.disk(), LEN - 512).unwrap();
    let failed = write(&staged, &disk, &place.disk(), &mut |_, _| ()).unwrap_err();
    assert!(!failed.half_written);
    assert!(std::fs::read(place.disk()).unwrap().iter().all(|byte| *byte == 0));
}
