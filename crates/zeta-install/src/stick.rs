//! The files of the stick. Only those that its list names are read, each only with the digest of
//! the list, and none of them is ever run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;
use zeta_core::creds::wifi::keyfile;
use zeta_core::fat::{self, SECTOR};
use zeta_core::install::manifest::Host;
use zeta_core::install::seen;
use zeta_core::stick::manifest::{MANIFEST_FILE, MAX, Manifest};
use zeta_core::stick::{HOST_NAME_FILE, ROLE_FILE, WIFI_FILE};
use zeta_os::disk::block;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::mount;

/// Longest file of a stick, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Longest partition that is read into memory, in bytes.
const ESP_MAX: u64 = 64 << 20;

/// Where the running system of a stick mounts it.
const BOOTED: &str = "/iso";

/// The stick that this machine was started from, if it was.
///
/// # Errors
/// The mounts cannot be read.
pub fn booted() -> Result<Option<PathBuf>> {
    let mounts = mount::all()?;
    let mounted = mounts.iter().rev().find(|mount| mount.point == Path::new(BOOTED));
    let block = mounted.and_then(|mount| block::of_number(mount.number));
    let whole = block.map(|block| block.parent().unwrap_or(block));
    Ok(whole.map(|whole| PathBuf::from(whole.path())))
}

/// Reads a file by its name, up to a length; none if there is no such file.
type Read<'a> = dyn Fn(&str, u64) -> Result<Option<Vec<u8>>> + 'a;

/// A stick, or none.
#[derive(Debug, Clone, Default)]
pub struct Stick {
    /// Where it is.
    pub path: Option<PathBuf>,
    /// The id of its volume.
    pub volume_id: Option<String>,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Stick {
    /// Reads a stick: a directory in which its partition is mounted, or the stick itself (or an
    /// image of one), of which nothing has to be mounted.
    ///
    /// # Errors
    /// It has no list, or a file that is not the one of the list.
    pub fn read(path: &Path) -> Result<Stick> {
        let wrong = |why: String| Error::new(Kind::Unsafe, format!("{}: {why}", path.display()));
        let meta = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        let read: Box<Read<'_>> = match meta.is_dir() {
            true => Box::new(|name, max| in_dir(path, name, max)),
            false => {
                let volume = Zeroizing::new(volume(path)?);
                Box::new(move |name, max| {
                    match fat::read::file(&volume, name, 0)
                        .map_err(|error| wrong(error.to_string()))?
                    {
                        Some(bytes) if bytes.len() as u64 > max => {
                            Err(wrong(format!("{name} has more than {max} bytes")))
                        }
                        read => Ok(read),
                    }
                })
            }
        };
        let list = read(MANIFEST_FILE, MAX as u64)?.ok_or_else(|| {
            wrong(format!("it has no {MANIFEST_FILE}, so nothing on it can be taken"))
                .hint("zeta flash write puts it there")
        })?;
        let manifest =
            Manifest::parse(&list).map_err(|error| wrong(format!("{MANIFEST_FILE}: {error}")))?;
        let mut files = BTreeMap::new();
        for listed in &manifest.files {
            let bytes = read(&listed.name, FILE_MAX)?
                .ok_or_else(|| wrong(format!("the listed file {:?} is not there", listed.name)))?;
            manifest.check(&listed.name, &bytes).map_err(|error| wrong(error.to_string()))?;
            files.insert(listed.name.clone(), Zeroizing::new(bytes));
        }
        let stick = Stick { path: Some(path.to_owned()), volume_id: manifest.volume_id, files };
        stick.network().map_err(|error| wrong(error.text))?;
        Ok(stick)
    }

    /// The wireless network, as a file of NetworkManager.
    ///
    /// # Errors
    /// It is none.
    pub fn network(&self) -> Result<Option<Zeroizing<String>>> {
        let wrong = |error| Error::new(Kind::Unsafe, format!("{WIFI_FILE}: {error}"));
        self.file(WIFI_FILE).map(keyfile).transpose().map_err(wrong)
    }

    /// A file of the list.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|bytes| bytes.as_slice())
    }

    /// What the plan has to know.
    pub fn seen(&self) -> seen::Stick {
        let text = |name: &str| String::from_utf8(self.file(name)?.to_vec()).ok();
        let host_name = text(HOST_NAME_FILE).map(|name| name.trim().to_ascii_lowercase());
        let role = text(ROLE_FILE).unwrap_or_default();
        // NAME='value' lines: read, and never run.
        let mut values = role.lines().filter_map(|line| line.split_once('='));
        let flake_host = values.find(|(name, _)| *name == "HOST").map(|(_, value)| value);
        seen::Stick {
            files: self.files.keys().cloned().collect(),
            host_name: host_name.filter(|name| zeta_core::name::Label::new("node", name).is_ok()),
            flake_host: flake_host
                .and_then(|value| Host::new(value.trim_matches('\'').to_owned()))
                .map(|host| host.as_str().to_owned()),
        }
    }
}

fn in_dir(dir: &Path, name: &str, max: u64) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    match read_plain(&path, max) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => {
            let wrong = |error| Error::new(Kind::Unsafe, format!("{}: {error}", path.display()));
            read.map(Some).map_err(wrong)
        }
    }
}

/// The bytes of the partition with the files.
fn volume(path: &Path) -> Result<Vec<u8>> {
    let wrong = |why: String| Error::new(Kind::Unsafe, format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| wrong(error.to_string());
    // A pipe may never answer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(unread)?;
    let kind = file.metadata().map_err(unread)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(wrong("it is neither a disk nor a file".to_owned()));
    }
    let mut head = [0; SECTOR];
    file.read_exact(&mut head).map_err(unread)?;
    let esp = fat::esp::locate(&head).map_err(|error| wrong(error.to_string()))?;
    if esp.len() > ESP_MAX {
        return Err(wrong(format!("its partition is longer than {ESP_MAX} bytes")));
    }
    let mut bytes = vec![0; esp.len() as usize];
    file.seek(SeekFrom::Start(esp.offset())).map_err(unread)?;
    file.read_exact(&mut bytes).map_err(unread)?;
    Ok(bytes)
}
