//! The disks of this machine, each with the reasons against it, and the one that was named.

use std::path::{Path, PathBuf};

use zeta_core::disk::{Device, Limits, Reason};
use zeta_core::flash::consent::Target;
use zeta_core::flash::select::{Names, SelectError, select};
use zeta_os::disk::{Disk, Identity, Snapshot, block, names_by_id};
use zeta_os::error::{Error, Kind, Result};

/// A disk, and what is known of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// What `lsblk` says.
    pub device: Device,
    /// What the kernel says, if it still knows the disk.
    pub identity: Option<Identity>,
    /// Its names.
    pub names: Names,
    /// The reasons against it; none if it may be written.
    pub reasons: Vec<Reason>,
}

/// What a person said about the disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Its name.
    pub disk: Option<&'a str>,
    /// Its name once more, if it is not connected by USB.
    pub allow_internal: Option<&'a str>,
    /// The length of the image, in bytes.
    pub image: u64,
}

/// All disks at one moment.
#[derive(Debug, Clone)]
pub struct Disks {
    /// Each disk.
    pub rows: Vec<Row>,
    /// The disks behind the running system.
    pub system: Vec<String>,
}

impl Disks {
    /// Looks at the disks. Only those without a reason against them are read, and none is written.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn look(asked: &Asked<'_>) -> Result<Disks> {
        let snapshot = Snapshot::take()?;
        let by_id = names_by_id();
        let known = snapshot.listing.blockdevices.iter().map(|device| {
            let identity = block::of_path(Path::new(&device.path()));
            let identity = identity.as_ref().and_then(Identity::of);
            let kernel = identity.as_ref().map(|identity| identity.serial.clone());
            let path = PathBuf::from(device.path());
            let named = by_id.iter().filter(|(_, to)| **to == path);
            let names = Names {
                serials: std::iter::once(device.serial.clone()).chain(kernel).collect(),
                wwn: device.wwn.clone(),
                by_id: named.map(|(name, _)| name.clone()).collect(),
            };
            (device, identity, names)
        });
        let rows = known.map(|(device, identity, names)| {
            let reasons = reasons(&snapshot, device, identity.as_ref(), &names, asked);
            Row { device: device.clone(), identity, names, reasons }
        });
        // A loop device without a file is none.
        let rows = rows.filter(|row| row.device.kind != "loop" || !row.names.is_empty());
        Ok(Disks { rows: rows.collect(), system: snapshot.sources.clone() })
    }

    /// The disk that was named, if it may be written.
    ///
    /// # Errors
    /// There is no such disk, or several; or there is a reason against it.
    pub fn pick(&self, asked: &str) -> Result<&Row> {
        let names: Vec<Names> = self.rows.iter().map(|row| row.names.clone()).collect();
        let at = select(asked, &names).map_err(not_selected)?;
        let gone = || Error::new(Kind::Refused, format!("the disk {asked:?} is gone"));
        let row = self.rows.get(at).ok_or_else(gone)?;
        match row.reasons.as_slice() {
            [] => Ok(row),
            reasons => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                let text = format!("{} is not written: {}", row.shown(), reasons.join("; "));
                Err(Error::new(Kind::Refused, text)
                    .hint("see all disks, and the reasons against each: zeta flash plan"))
            }
        }
    }
}

fn not_selected(error: SelectError) -> Error {
    let kind = match error {
        SelectError::Place(_) => Kind::Usage,
        SelectError::None(_) | SelectError::Several { .. } => Kind::Refused,
    };
    Error::new(kind, error.to_string())
        .hint("give its serial number, its WWN or its name below /dev/disk/by-id: zeta flash plan")
}

fn reasons(
    snapshot: &Snapshot,
    device: &Device,
    identity: Option<&Identity>,
    names: &Names,
    asked: &Asked<'_>,
) -> Vec<Reason> {
    let allowed = asked.allow_internal.filter(|_| asked.allow_internal == asked.disk);
    let is_allowed = allowed.is_some_and(|name| select(name, std::slice::from_ref(names)).is_ok());
    let usual = Limits::default();
    let limits = match is_allowed {
        true => Limits { min: asked.image, max: u64::MAX, allow_internal: true },
        false => Limits { min: usual.min.max(asked.image), ..usual },
    };
    let mut reasons = snapshot.judge(device, &limits);
    if names.is_empty() {
        reasons.push(Reason::NoIdentity);
    }
    if identity.is_none() {
        reasons.push(Reason::Gone);
    }
    // Two programs that disagree about the length looked at two disks.
    if identity.is_some_and(|identity| Some(identity.size) != device.size) {
        reasons.push(Reason::UnknownSize);
    }
    if reasons.is_empty() {
        reasons = Snapshot::doubts(device);
    }
    reasons
}

impl Row {
    /// Its path and its model.
    pub fn shown(&self) -> String {
        format!("{} ({}, {})", self.device.path(), self.model(), self.names.shown())
    }

    /// Its maker and its model.
    pub fn model(&self) -> String {
        let both = [self.device.vendor.trim(), self.device.model.trim()];
        let both: Vec<&str> = both.into_iter().filter(|word| !word.is_empty()).collect();
        if both.is_empty() { "unknown model".to_owned() } else { both.join(" ") }
    }

    /// What is consented to.
    pub fn target(&self) -> Target {
        let identity = self.identity.clone().unwrap_or_default();
        Target {
            path: self.device.path(),
            number: format!("{}:{}", identity.number.0, identity.number.1),
            diskseq: identity.diskseq,
            serial: self.names.shown().to_owned(),
            kernel_serial: identity.serial,
            model: self.model(),
            size: identity.size,
        }
    }

    /// Opens the disk alone, and compares the descriptor with what was seen. Nothing is written.
    ///
    /// # Errors
    /// It is in use, or it is another disk.
    pub fn open(&self) -> Result<Disk> {
        let disk = Disk::open(Path::new(&self.device.path()))?;
        let now = disk.identity()?;
        match self.identity.as_ref() {
            Some(seen) if *seen == now => Ok(disk),
            _ => Err(Error::new(
                Kind::Refused,
                format!("{} is another disk now; nothing was written", self.device.path()),
            )
            .hint("look again: zeta flash plan")),
        }
    }
}

/// Removes a file that this call made and could not finish.
pub fn discard(path: &Path) {
    // What stays begins with the mark of a half-written disk.
    let _ = std::fs::remove_file(path);
}
