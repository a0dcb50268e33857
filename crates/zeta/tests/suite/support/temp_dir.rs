//! A directory that belongs to one test and is removed with it.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The directory; everything in it is removed when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TempDir {
    /// Creates `/tmp/zeta-<subject>-<pid>-<number>` with exactly this mode.
    pub fn new(subject: &str, mode: u32) -> TempDir {
        TempDir::below(Path::new("/tmp"), subject, mode).unwrap()
    }

    /// Creates such a directory below another parent.
    pub fn below(parent: &Path, subject: &str, mode: u32) -> std::io::Result<TempDir> {
        let dir = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!("zeta-{subject}-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(mode).create(&dir) {
                // A process that was killed had the same id.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| dir)?,
            }
        };
        // The umask of the caller took bits away.
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
        Ok(TempDir(dir))
    }
}

impl Deref for TempDir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<std::ffi::OsStr> for TempDir {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.0.as_ref()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A program that outlived its killed caller may write into it for another moment.
        let mut failed = None;
        for _ in 0..50 {
            failed = fs::remove_dir_all(&self.0).err();
            if failed.is_none() || !self.0.exists() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        eprintln!("left behind: {}: {failed:?}", self.0.display());
    }
}
