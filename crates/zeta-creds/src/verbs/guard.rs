//! A login that one of many processes refreshes: the file before and after its tool's command, and
//! its copy in the blob.
//!
//! The lease under which the command runs is not known here. Nothing here sends a token anywhere,
//! and the tool's own program writes the file. Two things are written here: a file that the command
//! left broken gets back what was there before, and the blob gets the login that the file has.

pub(crate) mod backup;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;
use zeta_core::creds::bundle::{Bundle, Secret as Sealable};
use zeta_core::creds::frame::{Format, Frame};
use zeta_core::creds::login::{
    Ask, Login, Next, Seal, Verdict, decide_refresh, decide_seal, is_refreshed, judge_refreshed,
};
use zeta_core::creds::manifest::{Entry, Manifest, Scope};

use self::backup::{Backup, PutBack};
use super::collect::{self, Owner, Value};
use super::factor::Factors;
use super::open::candidate;
use super::save::{self, SaveOutcome, Wish};
use super::{ARGUMENTS, BUSY, Exit, FRAME, INPUT, Outcome, WithExitNumber};
use crate::secret::Secret;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::open_beneath::RECORD;
use zeta_os::spawn::ExitOutcome;
use zeta_os::temp_file::is_fat;
use zeta_os::writer::is_being_written;

/// No login is longer, in bytes.
const LOGIN_MAX: usize = 512 << 10;
/// The longest time that a file which is not whole is read again: tools write in place.
const IN_PLACE: Duration = Duration::from_secs(2);
/// The same for one that a process has open to write to it.
const BEING_WRITTEN: Duration = Duration::from_secs(60);
/// The time of a file on FAT may be that much too early.
const FAT_TIME: Duration = Duration::from_secs(2);
/// The content of a login file.
pub type Content = Zeroizing<Vec<u8>>;

/// The file of a login that is refreshed.
#[derive(Debug)]
pub struct LoginFile {
    entry: Entry,
    /// The place where its tool looks for it, which may be a link.
    place: PathBuf,
    /// Its path when it was found, without a link in it.
    path: PathBuf,
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
        let place = places.first().map_or(Path::new(""), PathBuf::as_path);
        let text = format!("{}: there is no login of {}", place.display(), entry.id);
        let error = Error::new(Kind::NotFound, text)
            .hint("log in with the tool once, and call the guard with the variables of the tool");
        naming(error, &Backup::abandoned(place, &entry.id, true), place)
    });
    let (place, path) = there.number(INPUT)?;
    Ok(LoginFile { entry, place, path })
}

impl LoginFile {
    /// The id of the login.
    pub fn id(&self) -> &str {
        &self.entry.id
    }

    /// The path that the place of the login leads to now, without a link in it: a tool may put a
    /// file in place of a link.
    pub fn path(&self) -> PathBuf {
        let gone = || match std::fs::symlink_metadata(&self.place) {
            // A link whose file is gone.
            Ok(_) => Some(self.path.clone()),
            Err(_) => {
                let dir = std::fs::canonicalize(self.place.parent()?).ok()?;
                Some(dir.join(self.place.file_name()?))
            }
        };
        let path = std::fs::canonicalize(&self.place).ok().or_else(gone);
        path.unwrap_or_else(|| self.place.clone())
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
        let path = self.path();
        let cannot = |error: std::io::Error| {
            let kind = match error.kind() {
                ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Fault,
            };
            Error::new(kind, format!("cannot read {}: {error}", path.display()))
        };
        let mut options = File::options();
        let file = options.read(true).custom_flags(RECORD.bits().cast_signed());
        let file = file.open(&path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        let refuse = |why: String| {
            let text = format!("{}: {why}", path.display());
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

    /// Reads the file until it is a login, for [`IN_PLACE`] at most, and for [`BEING_WRITTEN`] as
    /// long as a process may write to it; then what is there.
    fn read_whole(&self) -> Result<Content> {
        let start = Instant::now();
        loop {
            let waited = start.elapsed();
            let is_over =
                waited >= BEING_WRITTEN || waited >= IN_PLACE && !is_being_written(&self.path());
            let bytes = self.read()?;
            if is_over || self.login(&bytes).is_ok() {
                return Ok(bytes);
            }
            let pause = if waited < IN_PLACE { 20 } else { 200 };
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    fn login<'a>(&self, bytes: &'a [u8]) -> Result<Login<'a>> {
        Login::read(&self.entry, bytes).map_err(|bad| {
            Error::new(Kind::NotFound, format!("{}: {bad}", self.path().display())).hint(
                "log in with the tool; or take the copy of the blob: zeta creds restore --help",
            )
        })
    }

    /// Decides under the lease whether the command runs. If it does, a copy of the file lies beside
    /// it from now on, and there is room for what the tool writes: many tools empty their file
    /// before they write it, and a token that was spent for nothing is lost.
    ///
    /// # Errors
    /// The file holds no login; or there is no room, say, and then the command must not run. 6: the
    /// file is another one than that of the lease.
    pub fn decide(&self, before: Option<&Content>, ask: &Ask) -> Outcome<Decided> {
        let mut bytes = self.read_whole().number(INPUT)?;
        let mut copies = Backup::abandoned(&self.path, self.id(), true);
        let mut mended = false;
        if self.login(&bytes).is_err() && self.path() == self.path {
            let taken = copies.iter_mut().position(|copy| self.take(copy));
            mended = taken.map(|at| copies.remove(at)).is_some();
            bytes = self.read().number(INPUT)?;
        }
        let next = {
            let before = before.and_then(|before| Login::read(&self.entry, before).ok());
            let login = self.login(&bytes).map_err(|error| naming(error, &copies, &self.path));
            decide_refresh(before.as_ref(), &login.number(INPUT)?, ask)
        };
        copies.iter_mut().for_each(|copy| copy.stays = false);
        drop(copies);
        if next == Next::Refresh && self.path() != self.path {
            let text = format!("{}: another file has its place now", self.path.display());
            let moved = Error::new(Kind::Busy, text).hint("call again: its lease is another one");
            return Err(moved).number(BUSY);
        }
        let backup = match next {
            Next::Refresh => Some(Backup::make(&self.path, self.id(), &bytes).number(FRAME)?),
            Next::Renewed | Next::Valid(_) => None,
        };
        Ok(Decided { bytes, next, mended, backup })
    }

    /// Puts the copy of a guard that was killed in the place of a file that is not whole.
    fn take(&self, copy: &mut Backup) -> bool {
        let whole = |bytes: &[u8]| self.login(bytes).is_ok();
        copy.is_of_what_is_there()
            && copy.read().is_ok_and(|bytes| whole(&bytes))
            && copy.put_back(&self.path, &whole).is_ok()
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
    pub fn judge(&self, decided: &mut Decided, ended: ExitOutcome, holds: bool) -> Judged {
        decided.backup.iter_mut().for_each(|backup| backup.beat = None);
        let after = match self.read_whole() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return decided.unreadable(error),
        };
        let before = match self.login(&decided.bytes) {
            Ok(login) => login,
            Err(error) => return decided.unreadable(error),
        };
        let verdict = |after: Option<&[u8]>| {
            judge_refreshed(&self.entry, &before, after, ended == ExitOutcome::Exited(0))
        };
        let judged = verdict(after.as_deref().map(Vec::as_slice));
        let (Verdict::Broken(_), Some(backup)) = (judged, &mut decided.backup) else {
            return Judged { after, done: Done::Judged(judged) };
        };
        let left = if !holds {
            backup.stays = true;
            Left::LeaseLost
        } else if self.path() != self.path {
            Left::LinkReplaced(self.path.clone())
        } else {
            let whole = |bytes: &[u8]| !matches!(verdict(Some(bytes)), Verdict::Broken(_));
            match backup.put_back(&self.path, &whole) {
                Ok(PutBack::Done(kept)) => return Judged { after, done: Done::PutBack(kept) },
                Ok(PutBack::Completed) => {
                    let after = self.read().ok();
                    let judged = verdict(after.as_deref().map(Vec::as_slice));
                    return Judged { after, done: Done::Judged(judged) };
                }
                Err(errno) => Left::Failed(errno, backup.beside(&self.path)),
            }
        };
        Judged { after, done: Done::Left(left) }
    }
}

/// Adds the copies that guards left which were killed.
fn naming(error: Error, copies: &[Backup], login: &Path) -> Error {
    copies.iter().fold(error, |error, copy| {
        let copy = copy.beside(login);
        error.hint(format!(
            "a guard that was killed left its copy, whose token may be spent: {}",
            copy.display()
        ))
    })
}

/// A decision, and what it was made of.
pub struct Decided {
    /// The content of the file.
    pub bytes: Content,
    /// The decision.
    pub next: Next,
    /// The file was not whole, and has the content of the copy of a guard that was killed.
    pub mended: bool,
    backup: Option<Backup>,
}

impl Decided {
    /// The copy stays, for the next guard.
    fn unreadable(&mut self, error: Error) -> Judged {
        self.backup.iter_mut().for_each(|backup| backup.stays = true);
        Judged { after: None, done: Done::Unreadable(error) }
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
    /// The file was broken and has its content of before again; and where what the command left is
    /// kept.
    PutBack(Option<PathBuf>),
    /// The file is broken and stays so.
    Left(Left),
    /// The file cannot be read.
    Unreadable(Error),
}

/// Why a file that is broken did not get its content of before back.
#[derive(Debug)]
pub enum Left {
    /// The lease was lost while the command ran.
    LeaseLost,
    /// The tool put a file in place of a link: the login of before is still there.
    LinkReplaced(PathBuf),
    /// A fault of the disk; and where the copy is.
    Failed(Errno, PathBuf),
}

/// What came of the copy in the blob.
#[derive(Debug)]
pub enum Sealed {
    /// The blob has the login of the file now.
    Renewed(Box<SaveOutcome>),
    /// The blob stays as it is.
    Kept(Seal),
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
    let mut decided = Seal::Current;
    let mut change = |bundle: &mut Bundle| {
        let bytes = file.read_whole().number(INPUT)?;
        let login = file.login(&bytes).number(INPUT)?;
        let section = match (file.entry.scope, &owner.persona) {
            (Scope::Persona, Some(persona)) => bundle.persona(persona),
            _ => Some(&bundle.global),
        };
        let there = section.and_then(|section| section.get(file.id()));
        let there = there.and_then(|secret| Login::read(&file.entry, secret.bytes()).ok());
        decided = decide_seal(there.as_ref(), &login);
        if decided != Seal::Renewed {
            return Ok(false);
        }
        let value = Value::of_file(Sealable::new(bytes.to_vec()), file.place.clone());
        collect::put(bundle, &file.entry, owner, value).number(ARGUMENTS)?;
        Ok(true)
    };
    let kept = save::keep_if(&mut change, &wish)?;
    Ok(kept.map_or(Sealed::Kept(decided), |kept| Sealed::Renewed(Box::new(kept))))
}

/// Returns whether the file is later than the blob: a guard that refreshed it may have been killed
/// before it renewed the copy.
pub fn is_behind(blob: &Path, file: &LoginFile) -> bool {
    let when = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let slack = File::open(blob).is_ok_and(|blob| is_fat(&blob));
    let slack = if slack { FAT_TIME } else { Duration::ZERO };
    let later = |blob: SystemTime, file: SystemTime| file > blob + slack;
    when(blob).zip(when(&file.path())).is_some_and(|(blob, file)| later(blob, file))
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
        Kind::Busy | Kind::Refused => BUSY,
        Kind::Unsafe => super::STATE,
        Kind::NotFound => INPUT,
        Kind::Fault | Kind::Lost => FRAME,
    };
    Exit { number, error }
}
