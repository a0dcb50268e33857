//! The reasons against a disk.

use super::lsblk::{Device, Listing};

/// What a person allowed, and which lengths a stick may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The shortest one, in bytes.
    pub min: u64,
    /// The longest one, in bytes.
    pub max: u64,
    /// A disk that is not connected by USB, or a loop device, may be written.
    pub allow_internal: bool,
}

impl Default for Limits {
    /// 4 to 256 GiB, as the original has it.
    fn default() -> Limits {
        Limits { min: 4 << 30, max: 256 << 30, allow_internal: false }
    }
}

/// A reason against a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is no whole disk.
    #[error("it is of the kind {0:?}, and no disk")]
    NotADisk(String),
    /// It is no disk that is plugged in.
    #[error("it is connected by {0}, and not by USB")]
    NotUsb(String),
    /// It cannot be written, or nothing is known about that.
    #[error("it is read-only, or that is not known")]
    ReadOnly,
    /// Its length is not known.
    #[error("its length is not known")]
    UnknownSize,
    /// It is too short or too long.
    #[error("it has {0} bytes, which is out of bounds")]
    Size(u64),
    /// It, or what is on it, is mounted or is swap space.
    #[error("{path} is in use at {place}")]
    InUse {
        /// The device.
        path: String,
        /// Where it is mounted.
        place: String,
    },
    /// A part of it belongs to something larger.
    #[error("{path} is a member: {kind}")]
    Member {
        /// The device.
        path: String,
        /// What it belongs to.
        kind: String,
    },
    /// What it contains is not known.
    #[error("what is on {path} is not known: {why}")]
    UnknownContent {
        /// The device.
        path: String,
        /// Why it is not.
        why: String,
    },
    /// What it contains is not known, because only root can read it.
    #[error("only root can read what is on {0}: call this with sudo")]
    NeedsRoot(String),
    /// Something was made of a part of it.
    #[error("{path} ({kind}) is made of it")]
    Holder {
        /// What was made.
        path: String,
        /// Its kind.
        kind: String,
    },
    /// The running system is on it.
    #[error("the running system is on it: {0}")]
    System(String),
    /// The disk of the running system is not known, so it could be this one.
    #[error("the disk behind {0} is not known, so it could be this one")]
    UnknownSystem(String),
    /// Nothing tells it from another disk.
    #[error("it has no serial number and no WWN, so nothing tells it from another disk")]
    NoIdentity,
    /// The kernel does not know it any more.
    #[error("the kernel does not know it any more")]
    Gone,
    /// Another disk says that it is the same one.
    #[error("{0} has the same identity")]
    Twin(String),
}

impl Reason {
    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::NotADisk(_) => "not_a_disk",
            Reason::NotUsb(_) => "not_usb",
            Reason::ReadOnly => "read_only",
            Reason::UnknownSize => "unknown_size",
            Reason::Size(_) => "size",
            Reason::InUse { .. } => "in_use",
            Reason::Member { .. } => "member",
            Reason::UnknownContent { .. } => "unknown_content",
            Reason::NeedsRoot(_) => "needs_root",
            Reason::Holder { .. } => "holder",
            Reason::System(_) => "system",
            Reason::UnknownSystem(_) => "unknown_system",
            Reason::Twin(_) => "twin",
            Reason::NoIdentity => "no_identity",
            Reason::Gone => "gone",
        }
    }
}

/// The ends of the names of file systems that belong to something larger.
const MEMBERS: [&str; 9] = [
    "_member",
    "_LUKS",
    "bcache",
    "drbd",
    "jbd",
    "xfs_external_log",
    "DM_snapshot_cow",
    "ceph_bluestore",
    "stratis",
];
/// Kinds that are a part of a disk, and nothing that was made of it.
const PARTS: [&str; 2] = ["disk", "part"];
/// The kind of a file that is shown as a disk.
const LOOP: &str = "loop";

/// Returns all reasons against a disk; none if it may be overwritten.
///
/// `disk` is one of the listing. `sources` are the devices behind the directories of the running
/// system, as `findmnt` says them.
pub fn judge(listing: &Listing, disk: &Device, sources: &[&str], limits: &Limits) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let is_loop = limits.allow_internal && disk.kind == LOOP;
    if disk.kind != "disk" && !is_loop {
        reasons.push(Reason::NotADisk(disk.kind.clone()));
    }
    if !limits.allow_internal && !disk.tran.eq_ignore_ascii_case("usb") {
        let tran = if disk.tran.is_empty() { "something unknown" } else { &disk.tran };
        reasons.push(Reason::NotUsb(tran.to_owned()));
    }
    match disk.size {
        None => reasons.push(Reason::UnknownSize),
        Some(size) if !(limits.min..=limits.max).contains(&size) => {
            reasons.push(Reason::Size(size));
        }
        Some(_) => {}
    }
    for device in disk.all() {
        reasons.extend(of_device(device, disk));
    }
    reasons.extend(sources.iter().filter_map(|source| of_system(listing, disk, source)));
    let twins = listing.blockdevices.iter().filter(|other| other.path() != disk.path());
    let twin = twins.into_iter().find(|other| {
        let identity = |device: &Device| {
            [&device.vendor, &device.model, &device.serial].map(|text| text.trim().to_owned())
        };
        let wwn = disk.wwn.trim();
        !disk.serial.trim().is_empty() && identity(other) == identity(disk)
            || !wwn.is_empty() && wwn == other.wwn.trim()
    });
    reasons.extend(twin.map(|twin| Reason::Twin(twin.path())));
    reasons
}

/// Returns the reasons against a disk by what was found on it or on a part of it, or by why that is
/// not known.
pub fn judge_content(path: &str, found: Result<Vec<String>, String>) -> Vec<Reason> {
    let path = path.to_owned();
    match found {
        Ok(found) => {
            let members = found.into_iter().filter(|kind| is_member(kind));
            members.map(|kind| Reason::Member { path: path.clone(), kind }).collect()
        }
        Err(why) => vec![Reason::UnknownContent { path, why }],
    }
}

fn is_member(kind: &str) -> bool {
    MEMBERS.iter().any(|end| kind.ends_with(end))
}

fn of_device(device: &Device, disk: &Device) -> Vec<Reason> {
    let path = || device.path();
    let mut reasons = Vec::new();
    // A partition that does not say it is as its disk.
    let is_disk = std::ptr::eq(device, disk);
    if device.ro == Some(true) || (device.ro.is_none() && is_disk) {
        reasons.push(Reason::ReadOnly);
    }
    let mounts = device.mounts();
    reasons.extend(mounts.map(|place| Reason::InUse { path: path(), place: place.to_owned() }));
    if is_member(&device.fstype) {
        reasons.push(Reason::Member { path: path(), kind: device.fstype.clone() });
    }
    if !PARTS.contains(&device.kind.as_str()) && !is_disk {
        reasons.push(Reason::Holder { path: path(), kind: device.kind.clone() });
    }
    reasons
}

/// Whether a directory of the running system is on the disk.
fn of_system(listing: &Listing, disk: &Device, source: &str) -> Option<Reason> {
    // Of /dev/sda1[/@], the part in brackets is a directory on the device.
    let device = source.trim().split('[').next().unwrap_or_default();
    let is_on = |disk: &Device| disk.all().iter().any(|one| one.path() == device);
    if is_on(disk) || whole_of(device).is_some_and(|whole| whole == disk.path()) {
        return Some(Reason::System(source.trim().to_owned()));
    }
    let mut disks = listing.blockdevices.iter();
    let is_known = disks
        .any(|other| is_on(other) || whole_of(device).is_some_and(|whole| whole == other.path()));
    (!is_known).then(|| Reason::UnknownSystem(format!("{:?}", source.trim())))
}

/// The disk of a partition, by its name.
pub fn whole_of(partition: &str) -> Option<&str> {
    let whole = partition.trim_end_matches(|c: char| c.is_ascii_digit());
    if whole.len() == partition.len() {
        return None;
    }
    let whole = whole.strip_suffix('p').filter(|one| one.ends_with(|c: char| c.is_ascii_digit()));
    let plain = partition.trim_end_matches(|c: char| c.is_ascii_digit());
    let whole = whole.unwrap_or(plain);
    is_whole(whole).then_some(whole)
}

/// Returns whether a path is one of a whole disk: sdX, vdX, hdX, nvmeNnM or mmcblkN in `/dev`.
pub fn is_whole(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else { return false };
    let letters = |rest: &str, most: usize| {
        (1..=most).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let sd = name.strip_prefix("sd").is_some_and(|rest| letters(rest, 2));
    let others = ["vd", "hd"].iter().filter_map(|kind| name.strip_prefix(kind));
    let nvme = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n'));
    sd || others.into_iter().any(|rest| letters(rest, 2))
        || nvme.is_some_and(|(one, two)| digits(one) && digits(two))
        || name.strip_prefix("mmcblk").is_some_and(digits)
}
