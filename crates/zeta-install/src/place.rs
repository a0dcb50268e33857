//! Where the journal, the node and the running system are.

use std::path::{Path, PathBuf};

/// The directory of the journal, if no other one is named.
pub const STATE_DIR: &str = "/var/lib/zeta-install";
/// Where the file systems of the node are mounted, if no other place is named.
pub const ROOT: &str = "/mnt";

/// The places of a call.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory of the journal. It outlives a power cut only if it is on a disk.
    pub state: PathBuf,
    /// Where the file systems of the node are mounted.
    pub root: PathBuf,
    /// The root of the running system. Its wireless networks are taken over, and its `/etc/zeta`
    /// shows the files of the node while its system is built.
    pub live: PathBuf,
}

impl Place {
    /// A path on the node.
    pub fn on_node(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The directory of the configuration.
    pub fn config(&self) -> PathBuf {
        self.on_node("etc/zeta")
    }

    /// The directory of what is kept of a node that was there before.
    pub fn kept(&self) -> PathBuf {
        self.state.join("kept")
    }

    /// Returns whether what is in a directory is gone after a power cut.
    pub fn is_in_memory(dir: &Path) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let there = dir.ancestors().find(|dir| dir.exists());
        let kind = there.and_then(|dir| rustix::fs::statfs(dir).ok());
        kind.is_some_and(|seen| [TMPFS, RAMFS].contains(&(seen.f_type as u64)))
    }
}
