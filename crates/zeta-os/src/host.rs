//! The clocks of this machine, and the boot and the namespace that they belong to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use zeta_core::time::{Host, Reading};

use crate::clock::clock;
use crate::error::{Error, Kind, Result};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE_ID: &str = "/etc/machine-id";

/// The id of this boot, once it was read: it cannot change while this process lives.
static KNOWN_BOOT_ID: OnceLock<String> = OnceLock::new();

/// Reads the clocks. Inside a guard: call it after the flock was taken.
pub fn reading() -> Reading {
    let (boot, awake) = (clock(libc::CLOCK_BOOTTIME), clock(libc::CLOCK_MONOTONIC));
    Reading {
        boot_ns: u64::try_from(boot).unwrap_or(0),
        awake_ns: u64::try_from(awake).unwrap_or(0),
        wall_us: wall_us(),
    }
}

/// The wall clock alone, in microseconds since the Unix epoch: for people.
pub fn wall_us() -> i64 {
    clock(libc::CLOCK_REALTIME) / 1000
}

/// Reads whose clocks and process ids these are.
///
/// # Errors
/// Without `/proc` nothing is known about other processes, and a lease would be a guess.
pub fn host() -> Result<Host> {
    let boot_id = read_line(BOOT_ID).map_err(|errno| {
        let error = Error::io("cannot read", Path::new(BOOT_ID), errno);
        let kind = if errno == Errno::NOENT { Kind::Unsafe } else { error.kind };
        Error { kind, ..error }
            .hint("zeta needs /proc (in a systemd unit do not set ProcSubset=pid)")
    })?;
    Ok(Host {
        boot_id: KNOWN_BOOT_ID.get_or_init(|| boot_id).clone(),
        machine_id: machine_id()?,
        pid_ns: namespace("/proc/self/ns/pid")?,
        time_ns: namespace("/proc/self/ns/time")?,
    })
}

/// The directory that systemd gave the service in which this process runs, the first if there are
/// several.
pub fn state_directory() -> Option<PathBuf> {
    let dirs = std::env::var_os("STATE_DIRECTORY")?.into_encoded_bytes();
    let first = dirs.split(|byte| *byte == b':').next().unwrap_or_default();
    Some(PathBuf::from(OsStr::from_bytes(first))).filter(|dir| dir.is_absolute())
}

/// The home of the caller. A relative one would be another place in each directory.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// The id of this boot; empty where `/proc` does not show it.
pub fn boot_id() -> String {
    KNOWN_BOOT_ID.get().cloned().unwrap_or_else(|| read_line(BOOT_ID).unwrap_or_default())
}

/// Reads the machine id; `None` if the machine has none. It is not to be published as it is.
///
/// # Errors
/// A fault that may pass.
pub fn machine_id() -> Result<Option<String>> {
    Ok(known(MACHINE_ID, read_line(MACHINE_ID))?.filter(|id| !id.is_empty()))
}

/// A random 128-bit number in hex: a lease id, a session.
pub fn random_hex() -> Result<String> {
    random().map(hex)
}

/// A random 128-bit number.
pub fn random() -> Result<u128> {
    random_bits()
        .map_err(|errno| Error::io("cannot read random bytes from", Path::new("the kernel"), errno))
}

/// As [`random_hex`], for callers that write the text of the error themselves.
pub fn try_random_hex() -> rustix::io::Result<String> {
    random_bits().map(hex)
}

fn random_bits() -> rustix::io::Result<u128> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u128::from_ne_bytes(bytes))
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}

/// The first line of a small file that the system provides, without its newline.
pub fn read_line(path: &str) -> std::result::Result<String, Errno> {
    let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut buffer = [0u8; 128];
    let len = rustix::io::read(&fd, &mut buffer)?;
    let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The inode number in a namespace link such as `pid:[4026531836]`.
fn namespace(path: &str) -> Result<Option<u64>> {
    let link = known(path, readlinkat(CWD, path, Vec::with_capacity(64)))?;
    Ok(link.and_then(|link| {
        let text = link.to_str().ok()?;
        text.split_once('[')?.1.strip_suffix(']')?.parse().ok()
    }))
}

/// Returns `None` for what this machine does not show, which stays so. A fault that may pass is an
/// error: every reader believes a record that leaves out whose clock or processes it speaks of.
fn known<T>(path: &str, read: std::result::Result<T, Errno>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::INVAL
            | Errno::LOOP
            | Errno::ACCESS
            | Errno::PERM,
        ) => Ok(None),
        Err(errno) => Err(Error::io("cannot read", Path::new(path), errno)),
    }
}
