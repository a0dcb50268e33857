//! The error type of all crates: the kind gives the exit status, the text names the thing and the
//! reason, and the hints say what to do next.
//!
//! Text and hints are for people. Code that must tell one error from another reads the [`Kind`] or
//! the [`Cause`]. A refusal that a caller decides on, for example a lease that is held, is a value
//! and no error; the command line turns it into one at the end.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;

/// The exit statuses of the command line. Scripts of agents depend on them.
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

    /// The word for it in `--json`.
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

/// The reason for an error, as far as some caller decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// No caller needs to know it.
    #[default]
    Other,
    /// A directory belongs to a user who is not trusted. The text names that user.
    ForeignOwner,
    /// This process may see another directory than other processes do, because of its mounts. The
    /// hints say how a systemd unit avoids that.
    OtherView,
    /// A server does not know this login.
    LoginRefused,
    /// It is not known whether a lease was granted. The same attempt can be repeated by its id.
    UnknownGrant,
}

/// One next step after an error: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    text: String,
    names_doctor: bool,
}

impl Hint {
    /// The sentence, to print it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the step is to run `zeta doctor`. That command leaves such hints out.
    pub fn names_doctor(&self) -> bool {
        self.names_doctor
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An error: its kind, its cause, a sentence and the next steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Selects the exit status.
    pub kind: Kind,
    /// The reason, for callers that decide by it.
    pub cause: Cause,
    /// One sentence in lower case without a full stop: the thing and the reason.
    pub text: String,
    /// The next steps.
    pub hints: Vec<Hint>,
}

/// The result of everything that can fail with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error without a cause and without hints.
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, cause: Cause::Other, text: text.into(), hints: Vec::new() }
    }

    /// Makes the error of a wrong call.
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(Kind::Usage, text)
    }

    /// Makes the error of a file or directory that must not be used.
    pub fn not_safe(path: &Path, reason: impl fmt::Display) -> Error {
        Error::new(Kind::Unsafe, format!("{}: {reason}", path.display()))
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(Hint { text: hint.into(), names_doctor: false });
        self
    }

    /// Adds the next step to run `zeta doctor`; `hint` is the whole sentence.
    #[must_use]
    pub fn doctor_hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(Hint { text: hint.into(), names_doctor: true });
        self
    }

    /// Adds next steps.
    #[must_use]
    pub fn with_hints(self, hints: impl IntoIterator<Item = impl Into<String>>) -> Error {
        hints.into_iter().fold(self, Error::hint)
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_cause(self, cause: Cause) -> Error {
        Error { cause, ..self }
    }

    /// Makes the error of a file that cannot be opened. EAGAIN means a file lease only there.
    pub fn open(doing: &str, path: &Path, errno: Errno) -> Error {
        let error = Error::io(doing, path, errno);
        match errno {
            Errno::AGAIN => Error { kind: Kind::Unsafe, ..error }
                .hint("a process holds a file lease on it: busy, broken or hostile"),
            _ => error,
        }
    }

    /// Makes the error of a system call below a directory that is open. ENOENT there means that
    /// the directory itself was removed.
    pub fn below(doing: &str, path: &Path, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => Error::not_safe(
                path,
                "its directory was removed while it was in use; nothing was changed",
            )
            .hint("another program removes files there: find it, then repeat"),
            errno => Error::io(doing, path, errno),
        }
    }

    /// Makes the error of a system call; `doing` says what was tried ("cannot open").
    pub fn io(doing: &str, path: &Path, errno: Errno) -> Error {
        let (kind, hint) = kind_of(errno);
        let error = Error { kind, ..Error::fault(doing, path, errno) };
        match hint {
            Advice::Nothing => error,
            Advice::Do(hint) => error.hint(hint),
            Advice::Examine(hint) => error.doctor_hint(hint),
        }
    }

    /// Makes the same error as [`Error::io`], always of [`Kind::Fault`] and without a hint.
    pub fn fault(doing: &str, path: &Path, errno: Errno) -> Error {
        let reason = std::io::Error::from_raw_os_error(errno.raw_os_error());
        Error::new(Kind::Fault, format!("{doing} {}: {reason}", path.display()))
    }
}

/// What works on a read-only file system, as most sandboxes of agent tools have it, and what to do.
pub const READ_ONLY: &str = "the file system is read-only here: what only reads works (status, \
    list, show, check), and what writes must run outside of the sandbox, as zeta's hooks and its \
    MCP server do, or be allowed to write to the state and the bus directory (Claude Code: \
    sandbox.filesystem.allowWrite; Codex: sandbox_workspace_write.writable_roots; bwrap: --bind; \
    in a unit: ReadWritePaths=)";

/// The next step that an error number suggests.
enum Advice {
    Nothing,
    Do(&'static str),
    /// Names `zeta doctor`.
    Examine(&'static str),
}

fn kind_of(errno: Errno) -> (Kind, Advice) {
    use Advice::{Do, Examine, Nothing};
    match errno {
        Errno::NOSPC => (
            Kind::Unsafe,
            Do("the file system is full (of bytes or of inodes: see 'df -h' and 'df -i'): \
                free some and repeat"),
        ),
        Errno::DQUOT => (Kind::Unsafe, Do("your quota is used up: free some space and repeat")),
        Errno::FBIG => (
            Kind::Unsafe,
            Do("this process may not write files of that size: see 'ulimit -f', and LimitFSIZE= \
                if this is a systemd unit"),
        ),
        Errno::MFILE => (Kind::Unsafe, Do("this process has too many open files: see 'ulimit -n'")),
        Errno::NFILE => (Kind::Unsafe, Do("the machine has too many open files")),
        Errno::ROFS => (Kind::Unsafe, Do(READ_ONLY)),
        Errno::ACCESS | Errno::PERM => (
            Kind::Unsafe,
            Examine("see 'zeta doctor' for owners and modes and for what would be right"),
        ),
        Errno::LOOP => (Kind::Unsafe, Do("a symbolic link stands there, and zeta follows none")),
        Errno::NOTDIR => (Kind::Unsafe, Do("something that is not a directory stands there")),
        Errno::XDEV => {
            (Kind::Unsafe, Do("something is mounted there, and zeta stays on one mount"))
        }
        Errno::NXIO => (Kind::Unsafe, Do("a socket or a device stands there")),
        Errno::IO => (Kind::Fault, Do("the disk reports an error: see 'dmesg'")),
        _ => (Kind::Fault, Nothing),
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
