//! The credentials that this machine knows: the built-in ones, and those that root added.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeta_core::creds::manifest::{Extension, Manifest};

use zeta_os::error::{Error, Kind, Result};

/// The directory where root adds kinds of credentials, in files that end in `.toml`.
pub const ADDED: &str = "/etc/zeta/creds.d";
/// No file there is longer, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// More files are not read.
const FILES_MAX: usize = 64;

/// The manifest of this machine.
///
/// # Errors
/// A file of additions that others could have written, or with a fault in it: the error names all
/// faults of the file.
pub fn manifest(dir: &Path) -> Result<Manifest> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(dir) {
        Ok(entries) => {
            check_owner(dir, &std::fs::metadata(dir).map_err(|error| unread(dir, &error))?)?;
            let files = entries.flatten().map(|entry| entry.path());
            let ends = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
            files.filter(ends).take(FILES_MAX + 1).collect()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Manifest::default()),
        Err(error) => return Err(unread(dir, &error)),
    };
    if paths.len() > FILES_MAX {
        return Err(unsound(dir, &format!("more than {FILES_MAX} files")));
    }
    paths.sort();
    let mut manifest = Manifest::default();
    for path in paths {
        let extension: Extension =
            toml::from_str(&read(&path)?).map_err(|error| unsound(&path, error.message()))?;
        manifest = manifest.with(extension).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            unsound(&path, &faults.join("; "))
        })?;
    }
    Ok(manifest)
}

fn read(path: &Path) -> Result<String> {
    let cannot = |error: std::io::Error| unread(path, &error);
    let meta = std::fs::symlink_metadata(path).map_err(cannot)?;
    if !meta.is_file() || meta.len() > FILE_MAX {
        return Err(unsound(path, "it is no file of at most 64 KiB"));
    }
    check_owner(path, &meta)?;
    std::fs::read_to_string(path).map_err(cannot)
}

/// Refuses a file that a user other than root or the caller may have written: it says where secrets
/// go.
fn check_owner(path: &Path, meta: &std::fs::Metadata) -> Result<()> {
    let me = rustix::process::geteuid().as_raw();
    if (meta.uid() == 0 || meta.uid() == me) && meta.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(unsound(path, "others may write it"))
    }
}

fn unread(path: &Path, error: &std::io::Error) -> Error {
    unsound(path, &format!("cannot be read: {error}"))
}

fn unsound(path: &Path, why: &str) -> Error {
    Error::new(Kind::Unsafe, format!("{}: {why}", path.display()))
        .hint("docs/credentials.md has an example, and says who may write there")
}
