//! Where the journal, the node and the running system are.

use std::path::{Path, PathBuf};

use zeta_os::error::{Error, Result};

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

/// A path without links, as the kernel says where something is mounted. Its end may not be there.
fn real(path: &Path) -> PathBuf {
    let real = |dir: &Path| {
        let rest = path.strip_prefix(dir).ok()?;
        Some(dir.canonicalize().ok()?.join(rest))
    };
    let real = path.ancestors().find_map(real).unwrap_or_else(|| path.to_owned());
    real.components().collect()
}

impl Place {
    /// The same places by their real paths.
    ///
    /// # Errors
    /// The file systems of the node would hide the running system, or the journal.
    pub fn checked(self) -> Result<Place> {
        let [state, root, live] = [&self.state, &self.root, &self.live].map(|dir| real(dir));
        if root == Path::new("/") || root == live {
            let text = format!("--root {} is the root of the running system", root.display());
            return Err(Error::usage(text));
        }
        if state.starts_with(&root) {
            let (state, root) = (state.display(), root.display());
            let text = format!("--state {state} is below --root {root}, and would be hidden there");
            return Err(Error::usage(text).hint("name another one: --state DIR"));
        }
        Ok(Place { state, root, live })
    }

    /// A path on the node.
    pub fn on_node(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The directory of the configuration.
    pub fn config(&self) -> PathBuf {
        self.on_node("etc/zeta")
    }

    /// The directory of what runs keep of nodes that were there before.
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
