//! The file of an agent tool, as an install reads and replaces it, and the journal about it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::hook::{Tool, session_number};

use super::Journal;
use crate::environment::INSTALLED;
use crate::hooks::document::{self, Made, Trouble};
use crate::hooks::settings::{self, Settings};
use zeta_os::error::{Error, Kind as ErrorKindOf, Result};
use zeta_os::files::list;
use zeta_os::flock::lock_within;
use zeta_os::temp_file::private_dir;

/// Most bytes of a settings file.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of a directory that are looked at for temps.
const ENTRIES_MAX: usize = 4_096;
/// How long an install waits for another one.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// A file of a tool, locked against another install, and the journal about it.
pub(super) struct Place {
    file: PathBuf,
    pub(super) journal: PathBuf,
    _lock: Option<File>,
}

impl Place {
    pub(super) fn open(
        tool: Tool,
        settings: &Settings,
        lasting: &Path,
        dry: bool,
    ) -> Result<Place> {
        let dir = lasting.join(INSTALLED);
        let number = session_number(tool, &settings.path.to_string_lossy());
        let name = format!("{}-{}.json", tool.word(), number.get(..12).unwrap_or_default());
        let mut lock = None;
        if !dry {
            private_dir(&dir.join(&name))
                .map_err(|error| Error::io("cannot make", &dir, errno(&error)))?;
            // The directory itself is locked: no file stays behind for that.
            let file =
                File::open(&dir).map_err(|error| Error::io("cannot open", &dir, errno(&error)))?;
            lock_within(&file, LOCK_LIMIT).map_err(|_| {
                Error::new(ErrorKindOf::Busy, "another 'zeta hook install' runs".to_owned())
            })?;
            lock = Some(file);
        }
        let place = Place { file: settings.path.clone(), journal: dir.join(name), _lock: lock };
        if !dry {
            place.target().iter().chain([&place.journal]).for_each(|path| remove_orphans(path));
        }
        Ok(place)
    }

    /// The file that a link leads to: links of a person stay as they are.
    fn target(&self) -> Result<PathBuf> {
        match self.file.canonicalize() {
            Ok(real) => Ok(real),
            Err(_) if self.file.symlink_metadata().is_err() => Ok(self.file.clone()),
            Err(error) => Err(self.refuse(&format!("it is a link that leads nowhere: {error}"))),
        }
    }

    /// Reads the file; `None` if it is not there.
    pub(super) fn read(&self) -> Result<Option<String>> {
        let target = self.target()?;
        let meta = match std::fs::metadata(&target) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.refuse(&error.to_string())),
        };
        if meta.uid() != geteuid().as_raw() {
            return Err(self
                .refuse(&format!("it belongs to another user ({})", meta.uid()))
                .hint("call this as the user whose file it is"));
        }
        let bytes = zeta_os::files::read_plain(&target, BYTES_MAX)
            .map_err(|error| self.refuse(&error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| self.refuse("it is not UTF-8 text"))?;
        Ok(Some(text))
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::new(ErrorKindOf::Refused, format!("{}: {reason}", self.file.display()))
    }

    pub(super) fn broken(&self, Trouble { line, reason }: &Trouble) -> Error {
        Error::new(ErrorKindOf::Refused, format!("{}:{line}: {reason}", self.file.display()))
            .hint("nothing was changed")
    }

    /// Reads the journal. One that cannot be read is not taken for none: an uninstall would leave
    /// what only the journal knows.
    pub(super) fn journal(&self) -> Result<Option<Journal>> {
        let broken = |reason: String| {
            let path = self.journal.display();
            Error::new(ErrorKindOf::Refused, format!("{path}: {reason}"))
                .hint("it says what zeta changed, and nothing was changed now: look at it")
                .hint("without this file an uninstall takes out the hooks alone")
        };
        match zeta_os::files::read_plain(&self.journal, BYTES_MAX) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(journal) => Ok(Some(journal)),
                Err(error) => Err(broken(error.to_string())),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    pub(super) fn write_journal(&self, journal: &Journal) -> Result<()> {
        let text = serde_json::to_string_pretty(journal).unwrap_or_default();
        self.put(&self.journal, &text, 0o600, None)
    }

    /// Refuses to replace a file that zeta did not write.
    pub(super) fn refuse_foreign(&self, found: &str, earlier: Option<&Journal>) -> Result<()> {
        match earlier.is_some_and(|earlier| earlier.text.as_deref() == Some(found)) {
            true => Ok(()),
            false => Err(self
                .refuse("it is there, and zeta did not write it as it is")
                .hint("look at it: only a file of that name that is zeta's is replaced")),
        }
    }

    /// Returns the text with this program's groups in place of those of an earlier install.
    pub(super) fn with_groups(
        &self,
        tool: Tool,
        text: &str,
        zeta: &str,
        comments: bool,
        earlier: Option<&Journal>,
    ) -> Result<(String, Made)> {
        let groups = settings::groups(tool, zeta);
        let broken = |trouble: Trouble| self.broken(&trouble);
        let (mark, plain) = document::split_mark(text);
        let old_made = earlier.map(|earlier| earlier.made.clone()).unwrap_or_default();
        let present = document::present(plain, &groups, comments).map_err(broken)?;
        let ours = settings::own_commands(tool, plain, comments).map_err(broken)?;
        if present.len() == groups.len() && ours.len() == present.len() {
            return Ok((text.to_owned(), old_made));
        }
        let clean = match earlier {
            Some(earlier) => document::take_out(plain, &earlier.groups, &earlier.made, comments)
                .map_err(broken)?,
            None => plain.to_owned(),
        };
        let clean = document::take_out(&clean, &groups, &old_made, comments).map_err(broken)?;
        let (with, made) = document::put_in(&clean, &groups, comments).map_err(broken)?;
        let back = document::take_out(&with, &groups, &made, comments).map_err(broken)?;
        if back != clean {
            return Err(self.refuse("an uninstall would not give back its bytes"));
        }
        Ok((format!("{mark}{with}"), made.and(old_made)))
    }

    pub(super) fn without_groups(
        &self,
        tool: Tool,
        text: &str,
        journal: &Journal,
        comments: bool,
    ) -> Result<String> {
        let (mark, plain) = document::split_mark(text);
        let mut plain = plain.to_owned();
        let now = settings::groups(tool, &settings::own_program()?);
        for groups in [&journal.groups, &now] {
            plain = document::take_out(&plain, groups, &journal.made, comments)
                .map_err(|trouble| self.broken(&trouble))?;
        }
        Ok(format!("{mark}{plain}"))
    }

    /// Returns the directories that are missing, the outermost first.
    pub(super) fn missing_dirs(&self) -> Vec<PathBuf> {
        let missing = self.file.ancestors().skip(1).take_while(|dir| !dir.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        missing.reverse();
        missing
    }

    /// Replaces the text of the file whole, if it is still as it was read.
    pub(super) fn write(&self, before: Option<&str>, after: &str) -> Result<()> {
        let target = self.target()?;
        let (mode, group) = match std::fs::metadata(&target) {
            Ok(meta) if meta.permissions().mode() & 0o200 == 0 => {
                return Err(self.refuse("it is read-only").hint("nothing was changed"));
            }
            // Another name would keep the text of before.
            Ok(meta) if meta.nlink() > 1 => {
                let reason = "it has another name: it is a hard link, which could not be kept";
                return Err(self.refuse(reason).hint("nothing was changed"));
            }
            Ok(meta) => (meta.permissions().mode() & 0o7777, Some(meta.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => (0o600, None),
            Err(error) => return Err(self.refuse(&error.to_string())),
        };
        if self.read()?.as_deref() != before {
            return Err(Error::new(
                ErrorKindOf::Busy,
                format!("{}: another program changed it meanwhile", self.file.display()),
            )
            .hint("nothing was changed: repeat the call"));
        }
        self.put(&target, after, mode, group)?;
        match self.read()?.as_deref() == Some(after) {
            true => Ok(()),
            false => Err(self.refuse("it does not have the text that was written")),
        }
    }

    /// Writes a file whole or not at all, for this group if one is given.
    fn put(&self, path: &Path, text: &str, mode: u32, group: Option<u32>) -> Result<()> {
        let temp = path.with_file_name(format!("{}{}", temp_prefix(path), std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
            if group.is_some_and(|group| file.metadata().is_ok_and(|meta| meta.gid() != group)) {
                fchown(&file, None, group)?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temp, path)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&temp);
            let error = match (group, errno(&error)) {
                (Some(group), Errno::PERM) => {
                    self.refuse(&format!("this user cannot keep its group ({group})"))
                }
                (_, errno) => Error::io("cannot write", path, errno),
            };
            error.hint("nothing was changed")
        })
    }

    /// Removes the file, and the directories that an install made, where they are empty.
    pub(super) fn remove(&self, made_dirs: &[PathBuf]) -> Result<()> {
        std::fs::remove_file(&self.file)
            .map_err(|error| Error::io("cannot remove", &self.file, errno(&error)))?;
        for dir in made_dirs.iter().rev().filter(|dir| self.file.starts_with(dir)) {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }
}

/// How the name of a temp of a file begins; the process id of its writer follows.
fn temp_prefix(path: &Path) -> String {
    format!(".{}.zeta-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes temps that killed calls left. The lock is held: no other call writes now.
fn remove_orphans(path: &Path) {
    let (prefix, dir) = (temp_prefix(path), path.parent().unwrap_or(Path::new("/")));
    let listed = File::open(dir).map(|opened| list(opened.as_fd(), ENTRIES_MAX, dir));
    // What is not found now is found by the next call.
    let Ok(Ok(listed)) = listed else { return };
    for name in listed.names {
        let pid = name.strip_prefix(&prefix).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some() {
            let _ = std::fs::remove_file(dir.join(name));
        }
    }
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
