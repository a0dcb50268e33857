//! `zeta hook install`, `uninstall` and `status`: the hooks of an agent tool in its own file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use zeta_core::hook::{Tool, session_number};

use super::codex_trust;
use super::document::{self, Group, Made, Trouble};
use super::settings::{self, Kind, Scope, Settings};
use crate::environment::INSTALLED;
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
/// What happens to the hooks of others when Codex's hooks of zeta go.
const MOVED_UP: &str = "hooks of other programs moved up, and Codex trusts a hook by its place: \
    start codex, type /hooks, and look which ones it does not trust any more";
/// The next step of a person who uses Codex.
const NOT_TRUSTED: &str =
    "Codex runs a hook only after you trusted it: start codex, type /hooks, press t";

/// What was put into a file, so that exactly this is taken out again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Journal {
    schema: u32,
    file: PathBuf,
    /// The groups of a shared file, as this or an earlier version wrote them.
    groups: Vec<Group>,
    /// The whole text of a file that is zeta's own.
    text: Option<String>,
    made: Made,
    made_file: bool,
    made_dirs: Vec<PathBuf>,
}

/// What an install or an uninstall did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    /// Its text before; `None` if it is not there.
    pub before: Option<String>,
    /// Its text after.
    pub after: Option<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What is in the file of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of zeta's.
    Absent,
    /// All hooks, of this program.
    Installed,
    /// All hooks, of this program, and the tool does not run them because its user did not say that
    /// it may.
    Untrusted,
    /// Hooks of zeta's that this program did not write: it was moved, or the file was changed.
    Changed,
    /// The file cannot be read as the tool reads it.
    Broken,
}

impl State {
    /// The word of the answer.
    pub fn word(self) -> &'static str {
        match self {
            State::Absent => "absent",
            State::Installed => "installed",
            State::Untrusted => "untrusted",
            State::Changed => "changed",
            State::Broken => "broken",
        }
    }
}

/// The state of a tool's hooks.
#[derive(Debug, Clone)]
pub struct Status {
    /// The tool.
    pub tool: Tool,
    /// Its file.
    pub file: PathBuf,
    /// What is in it.
    pub state: State,
    /// Whether the tool's program is in `PATH`.
    pub found: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Puts the hooks into the file of a tool; with `dry` nothing is written.
pub fn install(tool: Tool, scope: Scope, lasting: &Path, dry: bool) -> Result<Change> {
    let settings = settings::of(tool, scope)?;
    let zeta = settings::own_program()?;
    let place = Place::open(tool, &settings, lasting, dry)?;
    let before = place.read()?;
    let earlier = place.journal()?;
    let mut journal = Journal { schema: 1, file: settings.path.clone(), ..Journal::default() };
    let after = match settings.kind {
        Kind::Own => {
            let text = settings::own_text(tool, &zeta);
            if let Some(found) = before.as_ref().filter(|found| **found != text) {
                place.refuse_foreign(found, earlier.as_ref())?;
            }
            journal.text = Some(text.clone());
            text
        }
        Kind::Shared { new, comments } => {
            let text = before.clone().unwrap_or_else(|| new.to_owned());
            let (text, made) = place.with_groups(tool, &text, &zeta, comments, earlier.as_ref())?;
            journal.made = made;
            journal.groups = settings::groups(tool, &zeta);
            text
        }
    };
    let mut change = Change { file: settings.path, before, after: Some(after), notes: Vec::new() };
    if tool == Tool::Codex {
        change.notes.push(NOT_TRUSTED.into());
    }
    if change.before == change.after || dry {
        return Ok(change);
    }
    let kept = earlier.filter(|earlier| earlier.file == journal.file);
    journal.made_file = match (&change.before, &kept) {
        (None, _) => true,
        (Some(_), kept) => kept.as_ref().is_some_and(|kept| kept.made_file),
    };
    journal.made_dirs = kept.map(|kept| kept.made_dirs).unwrap_or_default();
    let missing = place.missing_dirs();
    journal.made_dirs.extend(missing.iter().cloned());
    // Before the change: a journal without one is harmless, and a change without a journal is not.
    place.write_journal(&journal)?;
    for dir in &missing {
        std::fs::create_dir(dir).map_err(|e| Error::io("cannot make", dir, errno(&e)))?;
    }
    place.write(change.before.as_deref(), change.after.as_deref().unwrap_or_default())?;
    Ok(change)
}

/// Takes the hooks out of the file of a tool; with `dry` nothing is written.
pub fn uninstall(tool: Tool, scope: Scope, lasting: &Path, dry: bool) -> Result<Change> {
    let settings = settings::of(tool, scope)?;
    let place = Place::open(tool, &settings, lasting, dry)?;
    let before = place.read()?;
    let journal = place.journal()?.unwrap_or_default();
    let mut notes = Vec::new();
    let mut is_out = true;
    let after = match (&before, settings.kind) {
        (None, _) => None,
        (Some(text), Kind::Own) => {
            let is_own = journal.text.as_ref() == Some(text)
                || *text == settings::own_text(tool, &settings::own_program()?);
            if !is_own {
                is_out = false;
                notes
                    .push("the file was changed since zeta wrote it, and stays: look at it".into());
            }
            (!is_own).then(|| text.clone())
        }
        (Some(text), Kind::Shared { new, comments }) => {
            let after = place.without_groups(tool, text, &journal, comments)?;
            let left =
                document::commands(document::split_mark(&after).1, &settings::mark(tool), comments)
                    .map_err(|trouble| place.broken(&trouble))?;
            is_out = left.is_empty();
            notes.extend(left.iter().map(|command| {
                format!("a hook that was changed since zeta wrote it stays: {command}")
            }));
            let plain = document::split_mark(text).1;
            let behind = document::behind(plain, &journal.groups, comments);
            if tool == Tool::Codex && behind.is_ok_and(|count| count > 0) {
                notes.push(MOVED_UP.into());
            }
            (!(journal.made_file && after == new)).then_some(after)
        }
    };
    let change = Change { file: settings.path, before, after, notes };
    if dry {
        return Ok(change);
    }
    match (&change.before, &change.after) {
        (Some(_), None) => place.remove(&journal.made_dirs)?,
        (Some(before), Some(after)) if before != after => place.write(Some(before), after)?,
        _ => {}
    }
    if is_out {
        let _ = std::fs::remove_file(&place.journal);
        // Only an empty one goes: `hooks`, and `zeta` above it.
        let _ = place.journal.ancestors().skip(1).take(2).try_for_each(std::fs::remove_dir);
    }
    Ok(change)
}

/// Looks at the file of a tool.
pub fn status(tool: Tool, scope: Scope, lasting: &Path) -> Result<Status> {
    let settings = settings::of(tool, scope)?;
    let zeta = settings::own_program()?;
    let found = settings::is_found(settings::program(tool));
    let mut notes = Vec::new();
    let mut state = match Place::open(tool, &settings, lasting, true).and_then(|place| place.read())
    {
        Err(error) => {
            notes.push(error.text);
            State::Broken
        }
        Ok(None) => State::Absent,
        Ok(Some(text)) => match settings.kind {
            Kind::Own if text == settings::own_text(tool, &zeta) => State::Installed,
            Kind::Own => State::Changed,
            Kind::Shared { comments, .. } => {
                let groups = settings::groups(tool, &zeta);
                let text = document::split_mark(&text).1;
                let looked = document::present(text, &groups, comments).and_then(|present| {
                    let ours = document::commands(text, &settings::mark(tool), comments)?;
                    Ok((present.len(), ours.len()))
                });
                match looked {
                    Ok((_, 0)) => State::Absent,
                    Ok((present, ours)) if present == groups.len() && ours == present => {
                        State::Installed
                    }
                    Ok(_) => State::Changed,
                    Err(Trouble { line, reason }) => {
                        notes.push(format!("line {line}: {reason}"));
                        State::Broken
                    }
                }
            }
        },
    };
    if state == State::Changed {
        let word = tool.word();
        notes.push(format!("to write this program's hooks: zeta hook install {word}"));
    }
    if tool == Tool::Codex && state == State::Installed {
        let trusted = codex_trust::is_trusted(&settings.path, &settings::groups(tool, &zeta));
        if !trusted {
            notes.push(NOT_TRUSTED.into());
            state = State::Untrusted;
        }
    }
    Ok(Status { tool, file: settings.path, state, found, notes })
}

/// A file of a tool, locked against another install, and the journal about it.
struct Place {
    file: PathBuf,
    journal: PathBuf,
    _lock: Option<File>,
}

impl Place {
    fn open(tool: Tool, settings: &Settings, lasting: &Path, dry: bool) -> Result<Place> {
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
    fn read(&self) -> Result<Option<String>> {
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

    fn broken(&self, Trouble { line, reason }: &Trouble) -> Error {
        Error::new(ErrorKindOf::Refused, format!("{}:{line}: {reason}", self.file.display()))
            .hint("nothing was changed")
    }

    /// Reads the journal. One that cannot be read is not taken for none: an uninstall would leave
    /// what only the journal knows.
    fn journal(&self) -> Result<Option<Journal>> {
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

    fn write_journal(&self, journal: &Journal) -> Result<()> {
        let text = serde_json::to_string_pretty(journal).unwrap_or_default();
        self.put(&self.journal, &text, 0o600)
    }

    /// Refuses to replace a file that zeta did not write.
    fn refuse_foreign(&self, found: &str, earlier: Option<&Journal>) -> Result<()> {
        match earlier.is_some_and(|earlier| earlier.text.as_deref() == Some(found)) {
            true => Ok(()),
            false => Err(self
                .refuse("it is there, and zeta did not write it as it is")
                .hint("look at it: only a file of that name that is zeta's is replaced")),
        }
    }

    /// Returns the text with this program's groups in place of those of an earlier install.
    fn with_groups(
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
        let ours = document::commands(plain, &settings::mark(tool), comments).map_err(broken)?;
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

    fn without_groups(
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
    fn missing_dirs(&self) -> Vec<PathBuf> {
        let missing = self.file.ancestors().skip(1).take_while(|dir| !dir.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        missing.reverse();
        missing
    }

    /// Replaces the text of the file whole, if it is still as it was read.
    fn write(&self, before: Option<&str>, after: &str) -> Result<()> {
        let target = self.target()?;
        let mode = match std::fs::metadata(&target) {
            Ok(meta) if meta.permissions().mode() & 0o200 == 0 => {
                return Err(self.refuse("it is read-only").hint("nothing was changed"));
            }
            Ok(meta) => meta.permissions().mode() & 0o7777,
            Err(error) if error.kind() == ErrorKind::NotFound => 0o600,
            Err(error) => return Err(self.refuse(&error.to_string())),
        };
        if self.read()?.as_deref() != before {
            return Err(Error::new(
                ErrorKindOf::Busy,
                format!("{}: another program changed it meanwhile", self.file.display()),
            )
            .hint("nothing was changed: repeat the call"));
        }
        self.put(&target, after, mode)?;
        match self.read()?.as_deref() == Some(after) {
            true => Ok(()),
            false => Err(self.refuse("it does not have the text that was written")),
        }
    }

    /// Writes a file whole or not at all.
    fn put(&self, path: &Path, text: &str, mode: u32) -> Result<()> {
        let temp = path.with_file_name(format!("{}{}", temp_prefix(path), std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temp, path)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&temp);
            Error::io("cannot write", path, errno(&error)).hint("nothing was changed")
        })
    }

    /// Removes the file, and the directories that an install made, where they are empty.
    fn remove(&self, made_dirs: &[PathBuf]) -> Result<()> {
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

fn errno(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO)
}
