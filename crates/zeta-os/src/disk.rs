//! The block devices of this machine: what they are, what is on them, and which of them the running
//! system needs. A whole disk can be opened alone and be compared with what was seen before.
//!
//! - [`system`]: the disks behind the directories of the running system.
//! - [`identity`]: what tells one disk from another, by its number.
//! - [`whole`]: one open disk, read and written past the cache.
//! - [`content`]: what is on a disk that is not open.
//! - [`block`]: the path of a device in sysfs.

#[expect(unsafe_code, reason = "an ioctl without a safe face; all of it is in there")]
mod backing;
pub mod block;
pub mod content;
pub mod identity;
#[expect(unsafe_code, reason = "an ioctl without a safe face; all of it is in there")]
mod sequence;
pub mod system;
#[cfg(test)]
mod tests;
pub mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use zeta_core::disk::{Device, Limits, Listing, Reason, judge, judge_content};

use crate::command;
use crate::error::{Error, Kind, Result};

pub use identity::Identity;
pub use whole::{Aligned, Disk};

/// What `lsblk` is asked for. A version before 2.37 does not know the first column.
const COLUMNS: [&str; 2] = ["MOUNTPOINTS,", ""];
const ALWAYS: &str =
    "NAME,PATH,TYPE,TRAN,SIZE,RM,RO,VENDOR,MODEL,SERIAL,WWN,FSTYPE,LABEL,MOUNTPOINT";
/// How long it may take: a stick that fails keeps it waiting.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest listing, in bytes.
const MAX: usize = 4 << 20;
/// Where udev names disks by what they are.
const BY_ID: &str = "/dev/disk/by-id";

/// The disks of this machine at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// All devices. What the kernel says was made of one is among its children.
    pub listing: Listing,
    /// The disks behind the directories of the running system; what is not known is as the mount
    /// says it.
    pub sources: Vec<String>,
}

impl Snapshot {
    /// Looks at the disks.
    ///
    /// # Errors
    /// `lsblk` does not run, or prints what cannot be read.
    pub fn take() -> Result<Snapshot> {
        let (mut listing, mut sources) = (list()?, system::sources()?);
        listing.each(&mut |device| {
            let holders = block::of_path(Path::new(&device.path())).map(|block| block.holders());
            holders.into_iter().flatten().for_each(|holder| device.add_holder(holder));
        });
        // A loop device over a disk holds it no more than a program that has it open, and is not
        // listed below it.
        for (shown, below) in backing::loops_over_disks() {
            match below {
                Some(below) => listing.put_below(&shown.path(), &below.path()),
                // It could be any disk.
                None => sources.push(shown.path()),
            }
        }
        Ok(Snapshot { listing, sources })
    }

    /// The reasons against a disk by what is on it, and by a use that no listing shows. It is read.
    pub fn doubts(disk: &Device) -> Vec<Reason> {
        let path = disk.path();
        match Disk::is_free(Path::new(&path)) {
            Ok(true) => {
                let all: Vec<String> = disk.all().into_iter().map(Device::path).collect();
                let found = all.iter().zip(content::of(&all));
                found.flat_map(|(path, found)| judge_content(path, found)).collect()
            }
            Ok(false) => {
                vec![Reason::InUse { path, place: "a place that is not seen here".into() }]
            }
            Err(error) if error.kind == Kind::Unsafe => vec![Reason::NeedsRoot(path)],
            Err(error) => vec![Reason::UnknownContent { path, why: error.text }],
        }
    }

    /// All reasons against a disk of the listing.
    pub fn judge(&self, disk: &Device, limits: &Limits) -> Vec<Reason> {
        let sources: Vec<&str> = self.sources.iter().map(String::as_str).collect();
        judge(&self.listing, disk, &sources, limits)
    }
}

/// Runs `lsblk`.
fn list() -> Result<Listing> {
    let mut failed = Error::new(Kind::Fault, "lsblk did not run");
    for first in COLUMNS {
        let columns = format!("{first}{ALWAYS}");
        let mut lsblk = Command::new("lsblk");
        lsblk.args(["--json", "--bytes", "--paths", "--output", &columns]).env("LC_ALL", "C");
        let finished = command::run(&mut lsblk, b"", LIMIT, MAX).map_err(|failure| {
            Error::new(Kind::Unsafe, format!("lsblk {}", not_run(failure))).hint(
                "it is in the package util-linux; a disk that does not answer keeps it waiting",
            )
        })?;
        if finished.status.success() && !finished.is_cut {
            return Listing::parse(&finished.output).map_err(|error| {
                Error::new(Kind::Unsafe, format!("lsblk printed what cannot be read: {error}"))
                    .hint("no disk was opened; look at: lsblk --json --bytes --paths")
            });
        }
        let said = String::from_utf8_lossy(&finished.errors).trim().to_owned();
        failed = Error::new(Kind::Unsafe, format!("lsblk failed ({}): {said}", finished.status));
    }
    Err(failed)
}

fn not_run(failure: command::Failure) -> String {
    match failure {
        command::Failure::NotStarted(error) => format!("cannot be started: {error}"),
        command::Failure::TimedOut => format!("did not end within {} s", LIMIT.as_secs()),
        command::Failure::OutputOpen(status) => format!("left its output open ({status})"),
    }
}

/// The names that udev gives whole disks by what they are, each with the path of its disk.
pub fn names_by_id() -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(BY_ID).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let path = std::fs::canonicalize(entry.path()).ok()?;
        Some((entry.file_name().into_string().ok()?, path))
    });
    named.collect()
}
