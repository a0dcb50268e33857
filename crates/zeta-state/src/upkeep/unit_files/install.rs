//! Writes the files where systemd finds them; what an operator changed stays.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, openat, renameat, unlinkat};
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_os::error::{Error, Result};
use zeta_os::files::{put_file, write_temp};
use zeta_os::host;
use zeta_os::open_beneath::DIRECTORY;

use super::render::{Person, Scope, Setting, UnitFile, render};
use crate::directory::trusted_dir::NODE_ID_FILE;
use crate::upkeep::report::{Action, Step};

/// Where a package of the system puts what an operator has in `/etc`.
const PACKAGED: [(&str, &str); 3] = [
    ("etc/systemd/system/", "usr/lib/systemd/system/"),
    ("etc/sysusers.d/", "usr/lib/sysusers.d/"),
    ("etc/tmpfiles.d/", "usr/lib/tmpfiles.d/"),
];
/// Where systemd looks whether the manager of a user runs without a session.
const LINGER: &str = "/var/lib/systemd/linger";

/// The files that were written, and the commands to run next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// One line per file.
    pub steps: Vec<Step>,
    /// Commands for a person.
    pub next: Vec<String>,
}

/// Writes the files of a setting below `root`: that of a machine, or the configuration of a user. A
/// file that differs was changed by an operator: it stays, unless `replace` is set.
///
/// With a name of this machine's node, it is written where `systemd-tmpfiles` finds it at the next
/// boot; a name that is there already is the installer's, and stays in any case.
///
/// # Errors
/// A file cannot be written; the setting cannot be one.
pub fn install(
    root: &Path,
    setting: &Setting,
    node: Option<&Label>,
    replace: bool,
) -> Result<Installed> {
    let mut installed = Installed::default();
    let files = render(setting)?;
    if let Some(node) = node {
        let id_file = root.join(NODE_ID_FILE.trim_start_matches('/'));
        installed.steps.push(install_file(&id_file, &format!("{node}\n"), false)?);
    }
    for file in &files {
        installed.steps.push(match packaged(root, file) {
            Some(path) => Step::new(Action::Found, path.display().to_string()),
            None => install_file(&root.join(&file.path), &file.text, replace)?,
        });
    }
    installed.next = match &setting.scope {
        Scope::System(_) => next_of_system(root, &setting.program),
        Scope::User(person) => next_of_user(person),
    };
    Ok(installed)
}

/// Writes units, and the files for sysusers.d and tmpfiles.d, into one directory.
///
/// # Errors
/// A file cannot be written.
pub fn write_into(dir: &Path, files: &[UnitFile], replace: bool) -> Result<Vec<Step>> {
    let named = files.iter().filter_map(|file| Some((file.name()?, &file.text)));
    named.map(|(name, text)| install_file(&dir.join(name), text, replace)).collect()
}

/// The same file from a package of the system, if no operator's file stands before it.
fn packaged(root: &Path, file: &UnitFile) -> Option<PathBuf> {
    let (from, to) = PACKAGED.iter().find(|(from, _)| file.path.starts_with(from))?;
    let path = root.join(file.path.replacen(from, to, 1));
    let is_same = std::fs::read(&path).is_ok_and(|there| there == file.text.as_bytes());
    (is_same && !root.join(&file.path).exists()).then_some(path)
}

fn next_of_system(root: &Path, program: &Path) -> Vec<String> {
    let mut next = Vec::new();
    let program = root.join(program.strip_prefix("/").unwrap_or(program));
    if !program.exists() {
        next.push(format!("install -m 0755 \"$(command -v zeta)\" {}", program.display()));
    }
    // The second one does nothing as long as /etc/zeta/node-register.env is not there.
    let enable = "systemctl enable --now zeta-clean.timer zeta-node-register.timer";
    next.push(format!("systemctl daemon-reload && {enable}"));
    next.push(
        "systemctl enable --now zeta-heartbeat.service   # so that it is seen to be up".into(),
    );
    next.push(enable_posts("systemctl", "/etc/zeta/posts.toml"));
    next
}

fn next_of_user(person: &Person) -> Vec<String> {
    let posts = person.config_dir.join("posts.toml");
    let mut next = vec![
        "systemctl --user daemon-reload".to_owned(),
        "systemctl --user enable --now zeta-clean.timer".to_owned(),
        enable_posts("systemctl --user", &posts.display().to_string()),
    ];
    if !Path::new(LINGER).join(&person.name).exists() {
        next.push(
            "loginctl enable-linger   # else all of it ends with your last session, and does not \
             begin at boot"
                .to_owned(),
        );
    }
    next
}

fn enable_posts(systemctl: &str, file: &str) -> String {
    format!("{systemctl} enable --now zeta-guard-posts.target   # once {file} is there")
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
