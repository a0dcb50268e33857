//! The sources of a passphrase: a systemd credential, an inherited descriptor, a file, a variable,
//! or a person, in this order.
//!
//! The first source that was named is used, and if it fails no other is tried: a caller that names
//! a source means it. Only the credential may be absent, because it is asked for by its usual name.
//! No error repeats what was read, nor the name of a variable, in whose place a person may have
//! typed the passphrase itself.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::creds::passphrase as rules;

use crate::secret::{PASSPHRASE_MAX, Secret, too_long};
use crate::{inherited_fd, prompt};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::given_path;

/// One byte more than the longest with CR and LF, to see that there is more.
const ROOM: usize = PASSPHRASE_MAX + 3;
/// The time limit for a writer at the other end of a descriptor.
const PATIENCE: Duration = Duration::from_secs(300);
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The sources that were named.
#[derive(Debug, Default, Clone)]
pub struct Sources<'a> {
    /// The name of a systemd credential; used if this process was given one of that name.
    pub credential: Option<&'a str>,
    /// The number of an inherited descriptor.
    pub fd: Option<i32>,
    /// A file.
    pub file: Option<&'a Path>,
    /// The name of an environment variable.
    pub variable: Option<&'a str>,
    /// The question to a person.
    pub prompt: Option<&'a str>,
}

/// The source that was used, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// A systemd credential.
    Credential,
    /// An inherited descriptor.
    Fd,
    /// A file.
    File,
    /// An environment variable.
    Variable,
    /// A person, at a terminal or through systemd.
    Prompt,
}

/// Gets the passphrase.
///
/// # Errors
/// No source was named, or the one that was named has none: empty, too long, unreadable, or
/// readable by others.
pub fn passphrase(sources: &Sources<'_>) -> Result<(Secret, Used)> {
    if let Some(secret) = sources.credential.map(from_credential).transpose()?.flatten() {
        return Ok((finish(secret)?, Used::Credential));
    }
    let (secret, used) = match sources {
        Sources { fd: Some(number), .. } => (from_fd(*number)?, Used::Fd),
        Sources { file: Some(path), .. } => (from_file(path)?, Used::File),
        Sources { variable: Some(name), .. } => (from_variable(name)?, Used::Variable),
        Sources { prompt: Some(prompt), .. } => (prompt::passphrase(prompt)?, Used::Prompt),
        _ => {
            return Err(Error::usage("there is no passphrase, and nobody may be asked for one")
                .hint("--passphrase-file FILE, --passphrase-fd N, or a systemd credential"));
        }
    };
    Ok((finish(secret)?, used))
}

/// Removes a file that held the passphrase of one boot; false if it did not. A link (`/dev/stdin`
/// is one), a device, and what systemd gave are not this boot's, and stay.
///
/// # Errors
/// The file cannot be removed.
pub fn remove_staged(path: &Path) -> Result<bool> {
    let plain = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if !plain || is_from_systemd(path) {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true).map_err(|error| {
        let what = format!("the staged passphrase {} cannot be removed: {error}", path.display());
        Error::new(Kind::Fault, what)
            .hint("remove it by hand: a person who reads it and has the stick has the credentials")
    })
}

/// Cuts one end of a line, and refuses what is empty or too long.
fn finish(mut secret: Secret) -> Result<Secret> {
    let refused = |why: String| Error::usage(why).hint("make a passphrase: zeta creds passphrase");
    let text = rules::of_file(secret.expose()).map_err(|bad| refused(bad.to_string()))?;
    let len = text.len();
    if len > PASSPHRASE_MAX {
        return Err(too_long());
    }
    secret.cut(len);
    Ok(secret)
}

fn from_credential(name: &str) -> Result<Option<Secret>> {
    let Some(dir) = std::env::var_os(CREDENTIALS) else { return Ok(None) };
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(Error::usage("the name of a credential is a plain word"));
    }
    let path = PathBuf::from(dir).join(name);
    match open(&path) {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::open("cannot open the credential", &path, errno)),
        Ok(fd) => read(fd.as_fd(), Duration::ZERO, "the credential").map(Some),
    }
}

fn from_fd(number: i32) -> Result<Secret> {
    let what = format!("descriptor {number}");
    let fd = inherited_fd::take(number).map_err(|errno| match errno {
        Errno::BADF => Error::usage(format!("{what} is not open"))
            .hint(format!("as in: zeta … {number}<FILE, or with a pipe")),
        errno => Error::io("cannot use", Path::new(&what), errno),
    })?;
    if rustix::termios::isatty(&fd) {
        return Err(Error::usage(format!("{what} is a terminal, which would show what is typed"))
            .hint("name no source, and zeta asks without showing it"));
    }
    read(fd.as_fd(), PATIENCE, &what)
}

fn from_file(path: &Path) -> Result<Secret> {
    // A shell writes this for <(command).
    let number = path.to_str().and_then(|path| path.strip_prefix("/dev/fd/"));
    if let Some(number) = number.and_then(|number| number.parse().ok()) {
        return from_fd(number);
    }
    if path == Path::new("-") || path == Path::new("/dev/stdin") {
        return from_fd(0);
    }
    let fd = open(path)
        .map_err(|errno| Error::open("cannot open", Path::new(&given_path::shown(path)), errno))?;
    let stat = fstat(&fd).map_err(|errno| Error::io("cannot look at", path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::not_safe(path, "it is not a file")
            .hint("a pipe is given by its number: --passphrase-fd N"));
    }
    let (mode, owner) = (stat.st_mode & 0o7777, stat.st_uid);
    let from_systemd = is_from_systemd(path);
    if !from_systemd && owner != 0 && owner != geteuid().as_raw() {
        let owner = zeta_os::users::user(owner);
        return Err(Error::not_safe(path, format!("it belongs to {owner}, who knows it")));
    }
    if !from_systemd && mode & 0o077 != 0 {
        return Err(Error::not_safe(
            path,
            format!("others may read or write it (mode {mode:04o})"),
        )
        .hint(
            "it needs the mode 0600; if another user has read it already, make a new passphrase",
        ));
    }
    read(fd.as_fd(), Duration::ZERO, &path.display().to_string())
}

fn is_from_systemd(path: &Path) -> bool {
    std::env::var_os(CREDENTIALS).is_some_and(|dir| is_below(path, &dir))
}

fn is_below(path: &Path, dir: &OsStr) -> bool {
    let plain = |part: std::path::Component<'_>| part != std::path::Component::ParentDir;
    !dir.is_empty() && path.starts_with(dir) && path.components().all(plain)
}

fn from_variable(name: &str) -> Result<Secret> {
    let mut secret = Secret::with_room(ROOM)?;
    let nothing = || {
        Error::usage("the variable that shall hold the passphrase is not set")
            .hint("its name is asked for, not the passphrase")
    };
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(nothing());
    }
    let mut value = std::env::var_os(name).ok_or_else(nothing)?.into_encoded_bytes();
    let pushed = secret.push(&value);
    zeroize::Zeroize::zeroize(&mut value);
    pushed.map(|()| secret)
}

fn open(path: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(CWD, path, flags, Mode::empty())
}

/// Reads to the end, or as much as shows that it is too long.
fn read(fd: BorrowedFd<'_>, patience: Duration, what: &str) -> Result<Secret> {
    let mut secret = Secret::with_room(ROOM)?;
    let failed = |errno| Error::io("cannot read", Path::new(what), errno);
    let end = Instant::now() + patience;
    while secret.len() < ROOM {
        // A file is always ready; the writer of a pipe may never write.
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()));
        let left = left.map_err(|_| failed(Errno::INVAL))?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let seconds = patience.as_secs();
                return Err(Error::new(Kind::Busy, format!("{what}: nothing came in {seconds} s"))
                    .hint("its writer has to close it after the passphrase"));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        match secret.fill(|room| rustix::io::read(fd, room)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(secret)
}
