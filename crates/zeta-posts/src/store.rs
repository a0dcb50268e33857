//! The files beside the tree that outlive a boot: who stands where, and what each post reports.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use zeta_core::name::Label;
use zeta_core::schedule::state::{ASSIGNMENTS_MAX, Damage};
use zeta_core::schedule::state::{Assignments, Report};
use zeta_core::time::format_utc;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::{given_path, host, temp_file, trusted_file};

/// The directory of a machine.
pub const SYSTEM_DIR: &str = "/var/lib/zeta";
/// The file of the assignments.
pub const ASSIGNMENTS_FILE: &str = "guard-post-assignments.json";

/// The `kind` of what a post reports.
const REPORTS_KIND: &str = "guard-post-reports";
const TEMP: &str = ".guard-post.";
/// Most reports that a post keeps: the newest.
const REPORTS_MAX: usize = 64;
/// All users may read who stands where, and how ticks ended.
const FOR_ALL: Mode = Mode::from_raw_mode(0o644);
/// Longest file of reports, in bytes.
const REPORTS_BYTES_MAX: u64 = 256 << 10;

/// The directory.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// What was found under the name of the file.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Absent,
    /// The assignments.
    Read(Box<Assignments>),
    /// A file that is torn, or of another hand.
    Damaged(Damage),
}

/// A report with its number among those of its post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The number; the first one is 1.
    pub number: u64,
    /// When the tick ended, in µs since 1970 (UTC).
    pub at_us: i64,
    /// How long the tick took, in ms.
    pub took_ms: u64,
    /// The exit status of its program; `None` if it was ended after its limit of time.
    pub status: Option<u8>,
    /// What ended it besides its program; `None` if that came to its own end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cut: Option<Cut>,
    /// The report.
    #[serde(flatten)]
    pub report: Report,
}

/// What ended a tick before its program did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// It could not begin.
    Start,
    /// Its limit of time.
    Time,
    /// Its limit of memory.
    Memory,
}

impl Cut {
    /// What it says to a person.
    pub fn text(self) -> &'static str {
        match self {
            Cut::Start => "it could not begin",
            Cut::Time => "it took longer than its limit",
            Cut::Memory => "it took more memory than its limit",
        }
    }

    /// Its word on disk.
    pub fn word(self) -> &'static str {
        match self {
            Cut::Start => "start",
            Cut::Time => "time",
            Cut::Memory => "memory",
        }
    }
}

/// How a tick ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// See [`Numbered::status`].
    pub status: Option<u8>,
    /// See [`Numbered::took_ms`].
    pub took_ms: u64,
    /// See [`Numbered::cut`].
    pub cut: Option<Cut>,
}

/// The file of a post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// The version of its form.
    pub schema: u64,
    /// Its kind.
    pub kind: String,
    /// The last reports, the newest last.
    pub reports: Vec<Numbered>,
}

impl Store {
    /// The store in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of the assignments.
    pub fn path(&self) -> PathBuf {
        self.dir.join(ASSIGNMENTS_FILE)
    }

    /// Makes the directory if it is not there, and refuses one in which another user could put a
    /// file: what is in it says which programs run.
    ///
    /// # Errors
    /// What is wrong with the directory.
    pub fn prepare(&self) -> Result<()> {
        let path = self.path();
        temp_file::private_dir(&path).map_err(|error| unwritten(&path, &error))?;
        trusted_file::check_place(&path)
    }

    /// Reads the assignments.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self) -> Result<Found> {
        let path = self.path();
        if let Ok(Err(why)) = trusted_file::check_beside(&path) {
            return Ok(Found::Damaged(Damage::Untrusted(why)));
        }
        match read_plain(&path, ASSIGNMENTS_MAX as u64) {
            Ok(bytes) => Ok(match Assignments::read(&bytes) {
                Ok(read) => Found::Read(Box::new(read)),
                Err(damage) => Found::Damaged(damage),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Absent),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                Ok(Found::Damaged(Damage::TooLong))
            }
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// Writes the assignments: the whole file or nothing.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, assignments: &Assignments) -> Result<()> {
        keep_with_mode(&self.path(), &assignments.render(), FOR_ALL)
    }

    /// Puts a damaged file aside, where a person can look at it; returns its new path.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_aside(&self) -> Result<PathBuf> {
        let (from, now) = (self.path(), format_utc(host::wall_us()));
        let to = self.dir.join(format!("{ASSIGNMENTS_FILE}.damaged-{now}"));
        std::fs::rename(&from, &to).map_err(|error| {
            let shown = given_path::shown(&from);
            Error::new(Kind::Fault, format!("cannot put {shown} aside: {error}"))
        })?;
        Ok(to)
    }

    /// The file of the sessions that a persona can go on with.
    pub(crate) fn sessions_path(&self, persona: &Label) -> PathBuf {
        self.dir.join(format!("guard-post-sessions.{persona}.json"))
    }

    fn reports_path(&self, post: u32) -> PathBuf {
        self.dir.join(format!("guard-post-{post}.json"))
    }

    /// Reads what a post reported. A file that is no such file reports nothing.
    pub fn reports(&self, post: u32) -> Reports {
        let bytes = read_own(&self.reports_path(post), REPORTS_BYTES_MAX);
        let read = serde_json::from_slice::<Reports>(&bytes).ok();
        read.filter(|reports| reports.kind == REPORTS_KIND).unwrap_or_default()
    }

    /// Adds a report of a post, and returns it with its number.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn add_report(&self, post: u32, report: Report, end: End) -> Result<Numbered> {
        let mut reports = self.reports(post);
        let number = reports.reports.last().map_or(0, |last| last.number).saturating_add(1);
        let End { status, took_ms, cut } = end;
        let added = Numbered { number, at_us: host::wall_us(), took_ms, status, cut, report };
        reports.reports.push(added.clone());
        let over = reports.reports.len().saturating_sub(REPORTS_MAX);
        reports.reports.drain(..over);
        (reports.schema, reports.kind) = (1, REPORTS_KIND.to_owned());
        let text = serde_json::to_string_pretty(&reports).unwrap_or_default();
        keep_with_mode(&self.reports_path(post), &format!("{text}\n"), FOR_ALL)?;
        Ok(added)
    }
}

/// Reads a file of the directory. One that is not there, and one that another user could have
/// written, has nothing.
pub(crate) fn read_own(path: &Path, max: u64) -> Vec<u8> {
    match trusted_file::check_beside(path) {
        Ok(Ok(())) => read_plain(path, max).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Keeps a file of its owner alone.
pub(crate) fn keep(path: &Path, text: &str) -> Result<()> {
    keep_with_mode(path, text, Mode::from_raw_mode(0o600))
}

fn keep_with_mode(path: &Path, text: &str, mode: Mode) -> Result<()> {
    temp_file::keep_with_mode(path, TEMP, text.as_bytes(), mode)
        .map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Error {
    let shown = given_path::shown(path);
    Error::new(Kind::Fault, format!("cannot write {shown}: {error}"))
        .hint("the directory of the posts is --dir, or /var/lib/zeta")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unsafe, format!("{}: {error}", given_path::shown(path)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use zeta_core::schedule::state::{KIND, Moment, Outcome, SCHEMA};
    use zeta_os::temp_dir::TempDir;

    fn assignments() -> Assignments {
        Assignments {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            fencing_token: 1,
            written: Moment { boot_id: "b".to_owned(), boot_ms: 1, wall_us: 1 },
            floor: 0,
            state: Default::default(),
            seen: Default::default(),
            changes: Vec::new(),
        }
    }

    #[test]
    fn what_another_user_could_have_written_says_nothing() {
        let dir = TempDir::new().unwrap();
        let store = Store::new(dir.path());
        let untrusted = |words: &str| match store.read() {
            Ok(Found::Damaged(Damage::Untrusted(why))) => assert!(why.contains(words), "{why}"),
            found => panic!("{found:?}"),
        };
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        store.prepare().unwrap();
        store.write(&assignments()).unwrap();
        assert!(matches!(store.read(), Ok(Found::Read(_))));
        open(&store.path(), 0o666).unwrap();
        untrusted("other users may write to it: its mode is 0666");
        let aside = store.put_aside().unwrap();
        assert!(matches!(store.read(), Ok(Found::Absent)));
        symlink(aside, store.path()).unwrap();
        untrusted("it is not a regular file");
        fs::remove_file(store.path()).unwrap();
        let report = Report { persona: None, line: "a".parse().unwrap(), outcome: Outcome::Outage };
        store.add_report(1, report, End::default()).unwrap();
        assert_eq!(store.reports(1).reports.len(), 1);
        open(&store.reports_path(1), 0o666).unwrap();
        assert_eq!(store.reports(1), Reports::default());
        open(dir.path(), 0o777).unwrap();
        let error = store.prepare().unwrap_err();
        assert!(error.kind == Kind::Unsafe && error.text.contains("its mode is 0777"), "{error}");
    }
}
