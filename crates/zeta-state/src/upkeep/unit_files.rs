//! The files that systemd reads: shipped in `units/`, carried in the binary, written by `init`.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, openat, renameat, unlinkat};
use zeta_core::layout;
use zeta_core::name::Label;

use crate::directory::trusted_dir::{NODE_ID_FILE, README_TEXT};
use crate::upkeep::report::{Action, Step};
use zeta_os::error::{Error, Result};
use zeta_os::files::{put_file, write_temp};
use zeta_os::host;
use zeta_os::open_beneath::DIRECTORY;

/// The path and the content of each file.
pub const FILES: [(&str, &str); 9] = [
    ("usr/local/share/zeta/README.md", README_TEXT),
    ("etc/sysusers.d/zeta.conf", include_str!("../../../../units/sysusers.d/zeta.conf")),
    ("etc/tmpfiles.d/zeta.conf", include_str!("../../../../units/tmpfiles.d/zeta.conf")),
    ("etc/systemd/system/zeta-clean.service", include_str!("../../../../units/zeta-clean.service")),
    ("etc/systemd/system/zeta-clean.timer", include_str!("../../../../units/zeta-clean.timer")),
    (
        "etc/systemd/system/zeta-node-register.service",
        include_str!("../../../../units/zeta-node-register.service"),
    ),
    (
        "etc/systemd/system/zeta-node-register.timer",
        include_str!("../../../../units/zeta-node-register.timer"),
    ),
    (
        "etc/systemd/system/zeta-cluster-bridge.service",
        include_str!("../../../../units/zeta-cluster-bridge.service"),
    ),
    (
        "etc/systemd/system/zeta-creds-restore.service",
        include_str!("../../../../units/zeta-creds-restore.service"),
    ),
];

/// The program that the service starts.
const PROGRAM: &str = "usr/local/bin/zeta";

/// The files that were written, and the commands to run next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// One line per file.
    pub steps: Vec<Step>,
    /// Commands for a person.
    pub next: Vec<String>,
}

/// Writes the files below `root`. A file that differs was changed by an operator: it stays, unless
/// `replace` is set.
///
/// The name of this machine's node is written where `systemd-tmpfiles` finds it at the next boot; a
/// name that is there already is the installer's, and stays in any case.
pub fn install(root: &Path, node: &Label, replace: bool) -> Result<Installed> {
    let mut installed = Installed::default();
    let id_file = root.join(NODE_ID_FILE.trim_start_matches('/'));
    installed.steps.push(install_file(&id_file, &format!("{node}\n"), false)?);
    for (relative, content) in FILES {
        installed.steps.push(install_file(&root.join(relative), content, replace)?);
    }
    let program = root.join(PROGRAM);
    if !program.exists() {
        let words = format!("install -m 0755 \"$(command -v zeta)\" {}", program.display());
        installed.next.push(words);
    }
    // The second one does nothing as long as /etc/zeta/node-register.env is not there.
    let enable = "systemctl enable --now zeta-clean.timer zeta-node-register.timer";
    installed.next.push(format!("systemctl daemon-reload && {enable}"));
    Ok(installed)
}

fn install_file(path: &Path, content: &str, replace: bool) -> Result<Step> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(there) if there == content => return Ok(Step::new(Action::Found, shown.to_string())),
        Ok(_) if !replace => {
            let text = format!("{shown} differs from the one of zeta (--replace overwrites it)");
            return Ok(Step::new(Action::Left, text));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("cannot read", path, &error)),
    }
    let dir = path.parent().map(PathBuf::from).unwrap_or_default();
    std::fs::create_dir_all(&dir).map_err(|error| failed("cannot create", &dir, &error))?;
    write_file(&dir, path, content, replace)?;
    Ok(Step::new(Action::Made, shown.to_string()))
}

fn write_file(dir: &Path, path: &Path, content: &str, replace: bool) -> Result<()> {
    let cannot = |errno| Error::io("cannot write", path, errno);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let dir = openat(CWD, dir, DIRECTORY, Mode::empty()).map_err(cannot)?;
    let mode = Mode::from_raw_mode(0o644);
    if !replace {
        return put_file(dir.as_fd(), name, content.as_bytes(), mode).map_err(cannot);
    }
    let temp = format!("{}{}", layout::TEMP_PREFIX, host::random_hex()?);
    let written = write_temp(dir.as_fd(), &temp, content.as_bytes(), mode)
        .and_then(|()| renameat(&dir, temp.as_str(), &dir, name));
    if written.is_err() {
        let _ = unlinkat(&dir, temp.as_str(), AtFlags::empty());
    }
    written.map_err(cannot)
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let errno = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
    Error::io(doing, path, errno)
}
