//! The names of a bus that are those of messages, as the directory lists them.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{RawDir, SeekFrom, seek};

use crate::directory::{NAMES_MAX, is_message_name};
use zeta_core::sum::hash;
use zeta_os::error::{Error, Result};

/// The names of all messages, one after the other.
pub(super) struct Names {
    text: String,
    pub(super) count: u64,
    /// The sum of their hashes, which does not depend on their order.
    pub(super) set: u64,
    /// False if the directory has more than [`NAMES_MAX`] names, and the rest was left out.
    pub(super) whole: bool,
}

impl Names {
    /// Lists the directory of a bus by this descriptor.
    pub(super) fn list(dir: &OwnedFd, path: &Path) -> Result<Names> {
        let cannot = |errno| Error::below("cannot list", path, errno);
        seek(dir, SeekFrom::Start(0)).map_err(cannot)?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(dir, &mut buffer);
        let mut names = Names { text: String::new(), count: 0, set: 0, whole: true };
        let mut listed = 0;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(cannot)?;
            listed += 1;
            if listed > NAMES_MAX + 2 {
                names.whole = false;
                break;
            }
            // A name that is not UTF-8 is no message of anybody: the original cannot open it.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if is_message_name(name) {
                names.text.push_str(name);
                names.text.push('\0');
                names.count += 1;
                names.set = names.set.wrapping_add(hash(name.as_bytes()));
            }
        }
        Ok(names)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\0')
    }
}
