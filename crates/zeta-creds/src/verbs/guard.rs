//! A login that one of many processes refreshes: the file before and after its tool's command, and
//! its copy in the blob.
//!
//! The lease under which the command runs is not known here. Nothing here sends a token anywhere,
//! and the tool's own program writes the file. Two things are written here: a file that the command
//! left broken gets back what was there before, and the blob gets the login that the file has.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Mode, RenameFlags, fsync, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;
use zeta_core::creds::bundle::{Bundle, Secret as Sealable};
use zeta_core::creds::frame::{Format, Frame};
use zeta_core::creds::login::{
    Age, Ask, Login, Next, Verdict, decide_refresh, is_refreshed, judge_age, judge_refreshed,
};
use zeta_core::creds::manifest::{Entry, Manifest, Scope};

use super::collect::{self, Owner, Value};
use super::factor::Factors;
use super::open::candidate;
use super::save::{self, SaveOutcome, Wish};
use super::{ARGUMENTS, Exit, FRAME, INPUT, Outcome, WithExitNumber};
use crate::secret::Secret;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::open_beneath::{DIRECTORY, RECORD};
use zeta_os::temp_file;
use zeta_os::temp_file::{TempFile, is_fat};

/// No login is longer, in bytes.
const LOGIN_MAX: usize = 512 << 10;
/// The longest time that a file which is not whole is read again: tools write in place.
const IN_PLACE: Duration = Duration::from_secs(2);
/// The time of a file on FAT may be that much too early.
const FAT_TIME: Duration = Duration::from_secs(2);
/// The end of the name that a broken file is kept under.
const BROKEN: &str = ".zeta-broken";
/// The beginning of the name of a copy.
const PREFIX: &str = ".zeta-guard-";
/// The room that must be there before a command may write a login, in bytes.
const ROOM: usize = 64 << 10;

/// The content of a login file.
pub type Content = Zeroizing<Vec<u8>>;

/// The file of a login that is refreshed.
#[derive(Debug)]
pub struct LoginFile {
    entry: Entry,
    /// The place where its tool looks for it, which may be a link.
    place: PathBuf,
    /// Its path, without a link in it.
    pub path: PathBuf,
}

/// Finds the login of an id, at the place where its tool keeps it.
///
/// # Errors
/// 2: there is no such id, or nothing refreshes it. 3: no file is there.
pub fn find(manifest: &Manifest, owner: &Owner, id: &str) -> Outcome<LoginFile> {
    let known = || {
        let all = manifest.entries().iter().filter(|entry| is_refreshed(entry));
        all.map(|entry| entry.id.as_str()).collect::<Vec<_>>().join(", ")
    };
    let entry = manifest.get(id).filter(|entry| is_refreshed(entry)).ok_or_else(|| {
        Error::usage("no login of that id is refreshed").hint(format!("known are {}", known()))
    });
    let entry = entry.number(ARGUMENTS)?.clone();
    let places = owner.places(&entry);
    let found = |place: &PathBuf| Some((place.clone(), std::fs::canonicalize(place).ok()?));
    let there = places.iter().find_map(found).ok_or_else(|| {
        let place = places.first().map_or(String::new(), |place| place.display().to_string());
        Error::new(Kind::NotFound, format!("{place}: there is no login of {}", entry.id))
            .hint("log in with the tool once, and call the guard with the variables of the tool")
    });
    let (place, path) = there.number(INPUT)?;
    Ok(LoginFile { entry, place, path })
}

impl LoginFile {
    /// The id of the login.
    pub fn id(&self) -> &str {
        &self.entry.id
    }

    /// The name of the lease under which it is refreshed: one for each file.
    pub fn lease(&self) -> String {
        use std::os::unix::ffi::OsStrExt as _;
        let hash = Sha256::digest(self.path.as_os_str().as_bytes());
        let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("login-{}-{hash}", self.entry.id)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not there (`NotFound`), it is no file of this user, or it cannot be read.
    pub fn read(&self) -> Result<Content> {
        let cannot = |error: std::io::Error| {
            let kind = match error.kind() {
                ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Fault,
            };
            Error::new(kind, format!("cannot read {}: {error}", self.path.display()))
        };
        let mut options = File::options();
        let file = options.read(true).custom_flags(RECORD.bits().cast_signed());
        let file = file.open(&self.path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        let refuse = |why: String| {
            let text = format!("{}: {why}", self.path.display());
            let hint = "a login is a file of the user who calls: look why another thing is there";
            Err(Error::new(Kind::Unsafe, text).hint(hint))
        };
        if !meta.is_file() {
            return refuse("it is not a regular file".to_owned());
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return refuse(format!("it belongs to user id {}", meta.uid()));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(LOGIN_MAX + 1));
        file.take(LOGIN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
        match bytes.len() > LOGIN_MAX {
            true => refuse(format!("it has more than {LOGIN_MAX} bytes")),
            false => Ok(bytes),
        }
    }

    /// Reads the file until it is a login, for [`IN_PLACE`] at most; then what is there.
    fn read_whole(&self) -> Result<Content> {
        let end = Instant::now() + IN_PLACE;
        loop {
            let bytes = self.read()?;
            if self.login(&bytes).is_ok() || Instant::now() >= end {
                return Ok(bytes);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn login<'a>(&self, bytes: &'a [u8]) -> Result<Login<'a>> {
        Login::read(&self.entry, bytes).map_err(|bad| {
            Error::new(Kind::NotFound, format!("{}: {bad}", self.path.display())).hint(
                "log in with the tool; or take the copy of the blob: zeta creds restore --help",
            )
        })
    }

    /// Decides under the lease whether the command runs. If it does, a copy of the file lies beside
    /// it from now on, and there is room for what the tool writes: many tools empty their file
    /// before they write it, and a token that was spent for nothing is lost.
    ///
    /// # Errors
    /// The file holds no login; or there is no room, say, and then the command must not run.
    pub fn decide(&self, before: Option<&Content>, ask: &Ask) -> Outcome<Decided> {
        let bytes = self.read_whole().number(INPUT)?;
        let next = {
            let before = before.and_then(|before| Login::read(&self.entry, before).ok());
            decide_refresh(before.as_ref(), &self.login(&bytes).number(INPUT)?, ask)
        };
        let backup = match next {
            Next::Refresh => Some(self.back_up(&bytes).number(FRAME)?),
            Next::Renewed | Next::Valid(_) => None,
        };
        Ok(Decided { bytes, next, backup })
    }

    fn back_up(&self, bytes: &[u8]) -> Result<Backup> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let cannot = |errno| {
            Error::fault("no copy of the login can be kept in", dir, errno)
                .hint("so the login was not refreshed: its old token would be spent for nothing")
        };
        let at = openat(CWD, dir, DIRECTORY, Mode::empty()).map_err(cannot)?;
        temp_file::sweep(at.as_fd(), PREFIX, dir);
        let mode = Mode::from_raw_mode(0o600);
        let room = temp_file::make(&at, PREFIX, &[0; ROOM], mode).map_err(cannot)?;
        unlinkat(&at, room.name.as_str(), AtFlags::empty()).map_err(cannot)?;
        let temp = temp_file::make(&at, PREFIX, bytes, mode).map_err(cannot)?;
        Ok(Backup { dir: at, name: name.to_owned(), temp })
    }

    /// Until when the login of the file is good; `None` if the file does not say so.
    pub fn ends_us(&self) -> Option<i64> {
        self.read_whole().ok().and_then(|bytes| self.expires_us(&bytes))
    }

    /// Until when a login is good, if it says so; in µs since 1970.
    pub fn expires_us(&self, bytes: &[u8]) -> Option<i64> {
        self.login(bytes).ok().and_then(|login| login.expires_us)
    }

    /// Judges what the command left behind. What it left broken gets its content of before back, if
    /// the caller still holds the lease.
    pub fn judge(&self, decided: &Decided, holds: bool) -> Judged {
        let after = match self.read_whole() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return Judged { after: None, done: Done::Unreadable(error) },
        };
        let verdict = match self.login(&decided.bytes) {
            Ok(login) => judge_refreshed(&self.entry, &login, after.as_deref().map(Vec::as_slice)),
            Err(error) => return Judged { after, done: Done::Unreadable(error) },
        };
        let empty = after.as_ref().is_none_or(|left| left.trim_ascii().is_empty());
        let done = match (verdict, &decided.backup) {
            (Verdict::Broken(_), Some(backup)) if holds => {
                let kept =
                    backup.put_back(empty).map(|kept| kept.map(|n| self.path.with_file_name(n)));
                Done::Broken(
                    kept.map_err(|errno| Error::fault("cannot replace", &self.path, errno)),
                )
            }
            _ => Done::Judged(verdict),
        };
        Judged { after, done }
    }
}

/// A decision, and what it was made of.
pub struct Decided {
    /// The content of the file.
    pub bytes: Content,
    /// The decision.
    pub next: Next,
    backup: Option<Backup>,
}

/// A copy of a login beside it, while a command may write to the login. It is removed in the end;
/// if this process is killed, by the next one.
struct Backup {
    dir: OwnedFd,
    name: String,
    temp: TempFile,
}

impl Backup {
    /// Gives the login its content of before, which needs no room. What the command left is kept
    /// under a name of its own, which is returned: a part of a new token may be in it.
    fn put_back(&self, empty: bool) -> std::result::Result<Option<String>, Errno> {
        let (dir, name, temp) = (&self.dir, self.name.as_str(), self.temp.name.as_str());
        let kept = format!("{name}{BROKEN}");
        match renameat_with(dir, temp, dir, name, RenameFlags::EXCHANGE) {
            Ok(()) if empty => {}
            Ok(()) => renameat(dir, temp, dir, kept.as_str())?,
            // A file system that cannot exchange two names.
            Err(Errno::INVAL) => {
                renameat(dir, name, dir, kept.as_str())?;
                renameat(dir, temp, dir, name)?;
            }
            Err(errno) => return Err(errno),
        }
        fsync(dir)?;
        Ok((!empty).then_some(kept))
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        // After a swap the name is that of an empty file, or of none.
        let _ = unlinkat(&self.dir, self.temp.name.as_str(), AtFlags::empty());
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Judged {
    /// The content of the file.
    pub after: Option<Content>,
    /// The judgement, and what was done.
    pub done: Done,
}

/// What came of a command.
#[derive(Debug)]
pub enum Done {
    /// Nothing had to be done.
    Judged(Verdict),
    /// The file was broken and has its content of before again, or why not; and the file with what
    /// the command left.
    Broken(Result<Option<PathBuf>>),
    /// The file cannot be read.
    Unreadable(Error),
}

/// What came of the copy in the blob.
#[derive(Debug)]
pub enum Sealed {
    /// The blob has the login of the file now.
    Renewed(Box<SaveOutcome>),
    /// The blob has it already, or a newer one.
    Current,
}

/// Puts the login of the file into the blob that is there, unless the blob has a newer one. The
/// file is read when no other save can come between, so the last of two saves has the later login.
///
/// # Errors
/// 3: there is no blob, or no login in the file. All others are those of [`save::keep`].
pub fn seal(
    file: &LoginFile,
    owner: &Owner,
    path: &Path,
    (factors, secret): (&Factors, &Secret),
) -> Outcome<Sealed> {
    let there = candidate(path)?;
    let format = Frame::parse(&there.bytes).map_or(Format::Zcv2, |frame| frame.format());
    let (update, accept_older, verify) = (true, false, false);
    let wish = Wish { path, factors, secret, format, update, accept_older, verify };
    let mut change = |bundle: &mut Bundle| {
        let bytes = file.read_whole().number(INPUT)?;
        let login = file.login(&bytes).number(INPUT)?;
        let section = match (file.entry.scope, &owner.persona) {
            (Scope::Persona, Some(persona)) => bundle.persona(persona),
            _ => Some(&bundle.global),
        };
        let there = section.and_then(|section| section.get(file.id()));
        let there = there.and_then(|secret| Login::read(&file.entry, secret.bytes()).ok());
        if there.is_some_and(|there| matches!(judge_age(&login, &there), Age::Same | Age::Older(_)))
        {
            return Ok(false);
        }
        let value = Value::of_file(Sealable::new(bytes.to_vec()), file.place.clone());
        collect::put(bundle, &file.entry, owner, value).number(ARGUMENTS)?;
        Ok(true)
    };
    let kept = save::keep_if(&mut change, &wish)?;
    Ok(kept.map_or(Sealed::Current, |kept| Sealed::Renewed(Box::new(kept))))
}

/// Returns whether the file is later than the blob: a guard that refreshed it may have been killed
/// before it renewed the copy.
pub fn is_behind(blob: &Path, file: &LoginFile) -> bool {
    let when = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let slack = File::open(blob).is_ok_and(|blob| is_fat(&blob));
    let slack = if slack { FAT_TIME } else { Duration::ZERO };
    let later = |blob: SystemTime, file: SystemTime| file > blob + slack;
    when(blob).zip(when(&file.path)).is_some_and(|(blob, file)| later(blob, file))
}

/// Checks that a login of a persona is sealed for one.
///
/// # Errors
/// 2: no persona is named.
pub fn check_persona(file: &LoginFile, owner: &Owner) -> Outcome<()> {
    match (file.entry.scope, &owner.persona) {
        (Scope::Persona, None) => Err(Error::usage(format!("{} is a persona's", file.id()))
            .hint("say whose copy is renewed: --persona NAME"))
        .number(ARGUMENTS),
        _ => Ok(()),
    }
}

/// The number of an error of the state directory and its lease.
pub fn number_of(error: Error) -> Exit {
    let number = match error.kind {
        Kind::Usage => ARGUMENTS,
        Kind::Busy | Kind::Refused => super::BUSY,
        Kind::Unsafe => super::STATE,
        Kind::NotFound => INPUT,
        Kind::Fault | Kind::Lost => FRAME,
    };
    Exit { number, error }
}
