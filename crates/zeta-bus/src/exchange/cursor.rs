//! How far a node has read the messages of its cluster, in a file that outlives the bus: a bus is
//! gone with the boot, and what was read before does not come back.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, openat, renameat, unlinkat};
use zeta_core::cluster::mail::Cursor;
use zeta_core::record::{Fields, Text, parse};
use zeta_os::error::{Error, Result};
use zeta_os::files::{read_plain, write_temp};
use zeta_os::open_beneath::DIRECTORY;

/// The name of the file.
const FILE: &str = "bus-cursor";
/// One process writes it, so its unfinished file has one name.
const TEMP: &str = ".bus-cursor.new";
const KIND: &str = "bus_cursor";
const BYTES_MAX: usize = 4096;

/// Reads it. One that cannot be read is none: what was taken in is known apart from it.
pub(super) fn load(memory: &Path) -> Option<Cursor> {
    let bytes = read_plain(&memory.join(FILE), BYTES_MAX as u64).ok()?;
    let Ok(Text::Own(fields)) = parse(&bytes, BYTES_MAX) else { return None };
    fields.expect_kind(KIND).ok()?;
    Some(Cursor {
        cluster: fields.text("cluster")?.parse().ok()?,
        epoch: fields.number("epoch")?,
        sequence: fields.number("sequence")?,
        sum: u64::from_str_radix(&fields.text("sum")?, 16).ok()?,
    })
}

/// Writes it. It need not outlive a loss of power.
pub(super) fn save(memory: &Path, cursor: &Cursor) -> Result<()> {
    let mut fields = Fields::new(KIND);
    fields.push_text("cluster", cursor.cluster.as_str());
    fields.push_number("epoch", cursor.epoch);
    fields.push_number("sequence", cursor.sequence);
    fields.push_text("sum", &format!("{:016x}", cursor.sum));
    let path: PathBuf = memory.join(FILE);
    let write = || {
        let dir = openat(CWD, memory, DIRECTORY, Mode::empty())?;
        let _ = unlinkat(&dir, TEMP, AtFlags::empty());
        use std::os::fd::AsFd as _;
        write_temp(dir.as_fd(), TEMP, fields.render().as_bytes(), Mode::from_raw_mode(0o600))?;
        renameat(&dir, TEMP, &dir, FILE)
    };
    write().map_err(|errno| Error::below("cannot write", &path, errno))
}
