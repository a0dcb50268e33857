//! Which faults there are, and what an honest program makes of each.

/// A fault at one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is not made and answers this error.
    Error { name: &'static str, errno: i32, status: i32 },
    /// The process ends on entering the call.
    Kill,
}

/// Makes an error. A full disk, a quota, a limit of descriptors and a read-only mount end with 7,
/// because the directory is unusable. The other errors are faults.
const fn error(name: &'static str, errno: i32, status: i32) -> Fault {
    Fault::Error { name, errno, status }
}

pub const EIO: Fault = error("EIO", 5, 1);
pub const ENOSPC: Fault = error("ENOSPC", 28, 7);
pub const EINTR: Fault = error("EINTR", 4, 1);

/// All of them, and the short form.
pub const ALL: [Fault; 7] = [
    EIO,
    ENOSPC,
    Fault::Kill,
    EINTR,
    error("EMFILE", 24, 7),
    error("EDQUOT", 122, 7),
    error("EROFS", 30, 7),
];

/// Reports whether this is the full form.
pub fn full() -> bool {
    std::env::var_os("ZETA_FAULTS").is_some_and(|word| word == "all")
}

/// The faults of this run.
pub fn chosen() -> &'static [Fault] {
    match full() {
        true => &ALL,
        false => ALL.get(..3).unwrap_or(&ALL),
    }
}

impl Fault {
    /// Returns the fault in strace's notation.
    pub fn expression(self) -> String {
        match self {
            Fault::Error { name, .. } => format!("error={name}"),
            Fault::Kill => "signal=SIGKILL".to_owned(),
        }
    }
}
