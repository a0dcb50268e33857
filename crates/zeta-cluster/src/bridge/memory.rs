//! What the bridge remembers of its cluster, in a file beside the identity of the node. By it a
//! store that lost values is known, also after a reboot.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeta_core::cluster::epoch::Remembered;
use zeta_core::cluster::remembered::MAX;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::{given_path, temp_file};

/// The name of the file.
pub const MEMORY_FILE: &str = "memory";
const TEMP: &str = ".memory.";

/// The file, and what stands in it.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    pub(crate) known: Option<Remembered>,
}

impl Memory {
    /// Reads the file; none is a node that has not seen its cluster yet.
    ///
    /// # Errors
    /// It is damaged: a bridge that forgot what it saw would not notice a loss.
    pub(crate) fn load(dir: &Path) -> Result<Memory> {
        let path = dir.join(MEMORY_FILE);
        let broken = |why: String| {
            let shown = given_path::shown(&path);
            Error::new(Kind::Unsafe, format!("what the bridge remembers: {shown}: {why}"))
                .hint("bring it back from a copy: without it a loss of the store is not seen")
        };
        let bytes = match read_plain(&path, MAX as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Memory { path, known: None });
            }
            Err(error) => return Err(broken(error.to_string())),
        };
        let known = Remembered::read(&bytes).map_err(|damage| broken(damage.to_string()))?;
        Ok(Memory { path, known: Some(known) })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written: the disk may be full.
    pub(crate) fn save(&self) -> Result<()> {
        let Some(known) = &self.known else { return Ok(()) };
        temp_file::keep(&self.path, TEMP, known.render().as_bytes()).map_err(|error| {
            let shown = given_path::shown(&self.path);
            Error::new(Kind::Fault, format!("cannot write {shown}: {error}"))
        })
    }
}
