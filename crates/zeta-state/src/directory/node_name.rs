//! The name of this machine's own node: the installer's, the one that is kept for this machine, or
//! a new one. The tree has it in `local-node`; what is kept here outlives the tree and the boot.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, fstat, linkat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::name::Label;

use super::trusted_dir;
use zeta_os::error::{Error, Result};
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_os::{files, host, machine, temp_file};

/// The directory of the kept names, below [`crate::context::Context::lasting_dir`]. A file is named
/// after a binding of the machine, so that a home may be shared and an image may be copied.
pub const KEPT: &str = "node-name";
/// What stands before the name in the file.
const KEY: &str = "node: ";
/// How the name of a file that is being written begins.
const TEMP_PREFIX: &str = ".new-";

/// Chooses a name for this machine's own node, and keeps it below `lasting_dir` if it can.
///
/// # Errors
/// A fault that may pass: the name is chosen once, so such a fault must not decide it.
pub fn choose(lasting_dir: Option<&Path>) -> Result<Label> {
    if let Some(name) = installers()? {
        return Ok(name);
    }
    let Some(dir) = lasting_dir.map(|dir| dir.join(KEPT)).filter(|dir| files::is_own_dir(dir))
    else {
        return new();
    };
    let bindings = machine::bindings()?;
    let name = match kept(&dir, &bindings)? {
        Some(name) => name,
        None => new()?,
    };
    for binding in &bindings {
        // A full disk, or a home that cannot be written: the name is in the tree alone.
        let _ = keep(&dir, binding, &name);
    }
    // Another process may have kept a name at the same moment.
    Ok(kept(&dir, &bindings)?.unwrap_or(name))
}

fn new() -> Result<Label> {
    let random = host::random_hex()?;
    Ok(Label::new("node", &format!("node-{}", random.get(..6).unwrap_or("000000")))?)
}

/// Reads the name that the installer gave this machine.
fn installers() -> Result<Option<Label>> {
    let path = Path::new(trusted_dir::NODE_ID_FILE);
    match host::read_line(trusted_dir::NODE_ID_FILE) {
        Ok(line) => Label::new("node", &line)
            .map(Some)
            .map_err(|error| Error::not_safe(path, error).hint("write one line with a valid name")),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(Error::io("cannot read", path, errno)),
    }
}

fn kept(dir: &Path, bindings: &[String]) -> Result<Option<Label>> {
    for binding in bindings {
        let path = dir.join(binding);
        let name = read_file(&path).map_err(|errno| {
            Error::io("cannot read", &path, errno).hint("it has the name of this machine's node")
        })?;
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

/// Reads a kept name; `None` if there is none, or another user or a broken disk made the file.
fn read_file(path: &Path) -> std::result::Result<Option<Label>, Errno> {
    let fd = match openat(CWD, path, RECORD, Mode::empty()) {
        Ok(fd) => fd,
        Err(
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO,
        ) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&fd)?;
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !plain || stat.st_uid != geteuid().as_raw() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    temp_file::read_up_to(&fd, KEY.len() + layout::LINE_MAX, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text.strip_prefix(KEY).map(|name| name.trim_end_matches('\n'));
    Ok(name.and_then(|name| Label::new("node", name).ok()))
}

/// Keeps a name under a binding, unless one is kept there: by a link, because a home on NFS knows
/// no rename that replaces nothing.
fn keep(dir: &Path, binding: &str, name: &Label) -> std::io::Result<()> {
    let path = dir.join(binding);
    if path.exists() {
        return Ok(());
    }
    temp_file::private_dir(&path)?;
    let opened = openat(CWD, dir, DIRECTORY, Mode::empty())?;
    // What a killed process left has this name, too.
    let temp = format!("{TEMP_PREFIX}{binding}");
    let _ = unlinkat(&opened, &temp, AtFlags::empty());
    let text = format!("{KEY}{name}\n");
    let mode = Mode::from_raw_mode(0o600);
    let linked = files::write_temp(opened.as_fd(), &temp, text.as_bytes(), mode)
        .and_then(|()| linkat(&opened, &temp, &opened, binding, AtFlags::empty()));
    let _ = unlinkat(&opened, &temp, AtFlags::empty());
    Ok(linked?)
}
