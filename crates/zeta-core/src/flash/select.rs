//! Which disk a person named. The target is named by what it is, and never found.

/// The names of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Its serial numbers: that of the kernel, and that of `lsblk`.
    pub serials: Vec<String>,
    /// Its name that is unique in the world.
    pub wwn: String,
    /// The names below `/dev/disk/by-id`.
    pub by_id: Vec<String>,
}

/// Why no disk is selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A name that belongs to another disk tomorrow.
    #[error("{0:?} is the name of a place, and another disk may be there the next time")]
    Place(String),
    /// No disk has the name.
    #[error("no disk here is named {0:?}")]
    None(String),
    /// More than one has it.
    #[error("{count} disks here are named {asked:?}")]
    Several {
        /// The name.
        asked: String,
        /// How many.
        count: usize,
    },
}

const BY_ID: &str = "/dev/disk/by-id/";

impl Names {
    /// Returns whether the disk has a name at all.
    pub fn is_empty(&self) -> bool {
        self.shown().is_empty()
    }

    /// The name by which a person tells the disk from others: its serial number, if it has one.
    pub fn shown(&self) -> &str {
        let serial = self.serials.iter().map(|serial| serial.trim()).find(|one| !one.is_empty());
        serial.unwrap_or_else(|| self.wwn.trim())
    }

    fn has(&self, asked: &str) -> bool {
        let asked = asked.strip_prefix(BY_ID).unwrap_or(asked);
        let names = self.serials.iter().chain([&self.wwn]).map(|name| name.trim());
        names.chain(self.by_id.iter().map(String::as_str)).any(|name| name == asked)
    }
}

/// Finds the one disk that has a name: a serial number, a WWN, or a name below `/dev/disk/by-id`.
/// Returns its index.
///
/// # Errors
/// There is none, or there are several, or the name is one of a place, as `/dev/sdb` is.
pub fn select(asked: &str, disks: &[Names]) -> Result<usize, SelectError> {
    let asked = asked.trim();
    let is_place = asked.starts_with("/dev/") && !asked.starts_with(BY_ID);
    if is_place || asked.is_empty() {
        return Err(SelectError::Place(asked.to_owned()));
    }
    let found = disks.iter().enumerate().filter(|(_, names)| names.has(asked));
    let found: Vec<usize> = found.map(|(at, _)| at).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(SelectError::None(asked.to_owned())),
        several => Err(SelectError::Several { asked: asked.to_owned(), count: several.len() }),
    }
}
