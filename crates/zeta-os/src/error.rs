//! What can go wrong, in one shape: the kind gives the exit status, the text names the thing and
//! the reason, the hints say what to do next. Refusals that callers decide on are not errors; they
//! are values of `ops` and meet this table only at the door.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;

/// The exit table of the command line. Agents script against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// 1: something failed that the caller could not have known.
    Fault = 1,
    /// 2: the call itself is wrong.
    Usage = 2,
    /// 3: held or taken by another.
    Refused = 3,
    /// 4: not found, or free.
    NotFound = 4,
    /// 5: fenced or lost: stop working now.
    Lost = 5,
    /// 6: busy: waited as long as asked.
    Busy = 6,
    /// 7: the state directory or the configuration is unsafe or broken.
    Unsafe = 7,
}

impl Kind {
    /// The exit status.
    pub fn status(self) -> u8 {
        self as u8
    }

    /// The word in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Fault => "fault",
            Kind::Usage => "usage",
            Kind::Refused => "refused",
            Kind::NotFound => "not_found",
            Kind::Lost => "lost",
            Kind::Busy => "busy",
            Kind::Unsafe => "unsafe",
        }
    }
}

/// An error with its kind, its story and the next steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Its line of the exit table.
    pub kind: Kind,
    /// One sentence: the thing and the reason, lower case, no full stop.
    pub text: String,
    /// What to do next.
    pub hints: Vec<String>,
}

/// The result of everything with hands.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into(), hints: Vec::new() }
    }

    /// A wrong call.
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(Kind::Usage, text)
    }

    /// A state directory that must not be used.
    pub fn not_safe(path: &Path, reason: impl fmt::Display) -> Error {
        Error::new(Kind::Unsafe, format!("{}: {reason}", path.display()))
    }

    /// The same error with one more next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }

    /// A file that cannot be opened: there alone EAGAIN tells of a file lease.
    pub fn open(doing: &str, path: &Path, errno: Errno) -> Error {
        let error = Error::io(doing, path, errno);
        match errno {
            Errno::AGAIN => Error { kind: Kind::Unsafe, ..error }
                .hint("somebody holds a file lease on it: busy, broken or hostile"),
            _ => error,
        }
    }

    /// As [`Error::io`], below a directory of the tree that is open: what is missing there is that
    /// directory itself.
    pub fn below(doing: &str, path: &Path, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => Error::not_safe(
                path,
                "its directory was removed while it was in use; nothing was granted",
            )
            .hint("something removes files below the state directory: find it, then repeat"),
            errno => Error::io(doing, path, errno),
        }
    }

    /// A system call that failed: `doing` is what was tried ("cannot open").
    pub fn io(doing: &str, path: &Path, errno: Errno) -> Error {
        let (kind, hint) = kind_of(errno);
        let said = std::io::Error::from_raw_os_error(errno.raw_os_error());
        let error = Error::new(kind, format!("{doing} {}: {said}", path.display()));
        match hint {
            "" => error,
            hint => error.hint(hint),
        }
    }
}

fn kind_of(errno: Errno) -> (Kind, &'static str) {
    match errno {
        Errno::NOSPC => (
            Kind::Unsafe,
            "the file system is full (of bytes or of inodes: see 'df -h' and 'df -i'): \
             free some and repeat",
        ),
        Errno::DQUOT => (Kind::Unsafe, "your quota is used up: free some space and repeat"),
        Errno::MFILE => (Kind::Unsafe, "this process has too many open files: see 'ulimit -n'"),
        Errno::NFILE => (Kind::Unsafe, "the machine has too many open files"),
        Errno::ROFS => (
            Kind::Unsafe,
            "the file system is read-only; in a systemd unit add \
             ReadWritePaths= for the state directory",
        ),
        Errno::ACCESS | Errno::PERM => {
            (Kind::Unsafe, "see 'zeta doctor' for owners and modes and for what would be right")
        }
        Errno::LOOP => (Kind::Unsafe, "a symbolic link stands there, and zeta follows none"),
        Errno::NOTDIR => (Kind::Unsafe, "something that is not a directory stands there"),
        Errno::XDEV => (Kind::Unsafe, "another file system is mounted there"),
        Errno::NXIO => (Kind::Unsafe, "a socket or a device stands there"),
        Errno::IO => (Kind::Fault, "the disk reports an error: see 'dmesg'"),
        _ => (Kind::Fault, ""),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<zeta_core::name::NameError> for Error {
    fn from(error: zeta_core::name::NameError) -> Error {
        Error::usage(error.to_string())
    }
}

impl From<zeta_core::time::TimeError> for Error {
    fn from(error: zeta_core::time::TimeError) -> Error {
        Error::usage(error.to_string())
    }
}
