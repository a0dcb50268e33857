//! Questions to the person at the terminal, or through systemd where there is no terminal.
//!
//! Crates for hidden prompts leave the terminal without echo when the person types Ctrl-C or the
//! process is ended meanwhile. Here the terminal hands on each key as it comes, Ctrl-C too, and
//! signals wait until the terminal is as it was.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::secret::{PASSPHRASE_MAX, Secret};
use zeta_os::command::Program;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::signal::Signals;

/// The time that systemd waits for a person, in seconds.
const SYSTEMD_SECONDS: u64 = 300;
/// No answer to a plain question is longer, in bytes.
const LINE_MAX: usize = 4096;
/// No paste is longer, in bytes.
const PASTE_MAX: usize = 1 << 20;
/// A paste has no longer pause, also over a slow line.
const SILENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const SYSTEMD: &str = "systemd-ask-password";

/// Asks for a passphrase: at the terminal, else through systemd.
///
/// # Errors
/// There is neither; the person gave up (Ctrl-C, Ctrl-D); no answer came in time.
pub fn passphrase(prompt: &str) -> Result<Secret> {
    match terminal() {
        Some(terminal) => hidden(&terminal, prompt),
        None => by_systemd(prompt),
    }
}

/// Asks a question and returns the answer's line without its end; `None` at the end of the input.
///
/// # Errors
/// There is no terminal.
pub fn line(prompt: &str) -> Result<Option<String>> {
    let terminal = terminal().ok_or_else(nobody)?;
    let failed = |errno| Error::io("cannot read from", Path::new("the terminal"), errno);
    write_all(terminal.as_fd(), prompt.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut byte = [0u8];
    while answer.len() < LINE_MAX {
        match rustix::io::read(&terminal, &mut byte) {
            Ok(0) if answer.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => answer.extend_from_slice(&byte),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(Some(String::from_utf8_lossy(&answer).trim_end_matches('\r').to_owned()))
}

/// Writes a text to the terminal, if there is one.
pub fn tell(text: &str) {
    if let Some(terminal) = terminal() {
        // Without a terminal there is no place for the error either.
        let _ = write_all(terminal.as_fd(), text.as_bytes());
    }
}

/// Returns true if a person can be asked at a terminal.
pub fn has_terminal() -> bool {
    terminal().is_some()
}

/// The terminal of this process, or the standard input if that is one.
fn terminal() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(fd) = openat(CWD, "/dev/tty", flags, Mode::empty()) {
        return Some(fd);
    }
    let stdin = std::io::stdin();
    // A console that is no process's controlling terminal, as at boot.
    stdin.is_terminal().then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten()
}

fn nobody() -> Error {
    Error::usage("there is no terminal to ask at")
        .hint("--passphrase-file FILE, --passphrase-fd N, or a systemd credential")
}

/// The effect of a key.
enum Key {
    More,
    Done,
    GivenUp,
}

fn hidden(terminal: &OwnedFd, prompt: &str) -> Result<Secret> {
    let failed = |errno| Error::io("cannot ask at", Path::new("the terminal"), errno);
    let mut secret = Secret::with_room(PASSPHRASE_MAX)?;
    // Declared first, so let go last: a signal that came meanwhile is delivered after the
    // terminal is as it was.
    let signals = Signals::take_over()?;
    let quiet = HiddenInput::begin(terminal.as_fd()).map_err(failed)?;
    write_all(terminal.as_fd(), prompt.as_bytes()).map_err(failed)?;
    let done = loop {
        match next_key(terminal.as_fd(), &signals, None).map_err(failed)? {
            None => break Ok(Key::GivenUp),
            Some(byte) => match press(&mut secret, byte) {
                Ok(Key::More) => {}
                done => break done,
            },
        }
    };
    // What is pasted may have more lines, or be too long: the rest must not be shown either, nor be
    // taken for the answer to another question.
    let more = !matches!(done, Ok(Key::GivenUp)) && drain(terminal.as_fd(), &signals);
    let _ = write_all(terminal.as_fd(), b"\n");
    drop(quiet);
    drop(signals);
    match done? {
        Key::GivenUp => Err(Error::new(Kind::Refused, "nobody gave the passphrase: given up")),
        _ if more => Err(Error::usage("more than one line was typed or pasted: nothing was taken")
            .hint("give it as a file")),
        _ => Ok(secret),
    }
}

/// Reads until nothing comes any more; true if that was more than the end of a line.
fn drain(terminal: BorrowedFd<'_>, signals: &Signals) -> bool {
    let mut more = false;
    for _ in 0..PASTE_MAX {
        let Ok(Some(byte)) = next_key(terminal, signals, Some(&SILENCE)) else { break };
        more |= !matches!(byte, b'\r' | b'\n');
    }
    more
}

/// The next byte; `None` at the end of the input, if a signal wants to end this, or if none comes
/// in time.
fn next_key(
    terminal: BorrowedFd<'_>,
    signals: &Signals,
    wait: Option<&Timespec>,
) -> rustix::io::Result<Option<u8>> {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(terminal, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        ];
        match poll(&mut fds, wait) {
            Ok(0) => return Ok(None),
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            return Ok(None);
        }
        let mut byte = [0u8];
        match rustix::io::read(terminal, &mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(byte.first().copied()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn press(secret: &mut Secret, byte: u8) -> Result<Key> {
    match byte {
        b'\r' | b'\n' => return Ok(Key::Done),
        // Ctrl-C, Ctrl-D, Ctrl-\.
        0x03 | 0x04 | 0x1c => return Ok(Key::GivenUp),
        // Backspace: a whole character, which in UTF-8 has bytes that only continue it.
        0x08 | 0x7f => {
            let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
            let tail = secret.expose().iter().rev().take_while(continues).count();
            secret.cut(secret.len().saturating_sub(tail + 1));
        }
        // Ctrl-U.
        0x15 => secret.cut(0),
        // No other control key belongs into a passphrase.
        0x00..=0x1f => {}
        byte => secret.push(&[byte])?,
    }
    Ok(Key::More)
}

/// A terminal that shows nothing and hands on every key, until this is dropped.
struct HiddenInput<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> rustix::io::Result<HiddenInput<'a>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL;
        quiet.local_modes -= LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Now, &quiet)?;
        Ok(HiddenInput { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // What was typed and not read is thrown away, and so never shown.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn by_systemd(prompt: &str) -> Result<Secret> {
    let mut command = Command::new(SYSTEMD);
    command.args(["--no-tty", "--id=zeta", &format!("--timeout={SYSTEMD_SECONDS}"), "--", prompt]);
    // Values to be baked may stand in the environment, which other processes of its user may read.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let program = Program::start(&mut command).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => nobody(),
        _ => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Error::io("cannot start", Path::new(SYSTEMD), errno)
        }
    })?;
    let answer = first_line(&program)?;
    // It has ended, or its time is over.
    drop(program);
    match answer {
        secret if !secret.is_empty() => Ok(secret),
        _ => Err(Error::new(
            Kind::Busy,
            format!("nobody gave the passphrase to {SYSTEMD} in {SYSTEMD_SECONDS} s"),
        )
        .hint("answer with: systemd-tty-ask-password-agent --query")),
    }
}

/// The first line that a program prints, as far as it prints one before its time is over.
fn first_line(program: &Program) -> Result<Secret> {
    let mut secret = Secret::with_room(PASSPHRASE_MAX)?;
    let end = Instant::now() + Duration::from_secs(SYSTEMD_SECONDS + 10);
    let mut byte = zeroize::Zeroizing::new([0u8]);
    loop {
        match program.read(byte.as_mut_slice(), end) {
            Ok(0) | Err(Errno::TIMEDOUT) => return Ok(secret),
            Ok(_) if *byte == *b"\n" => return Ok(secret),
            Ok(_) => secret.push(byte.as_slice())?,
            Err(errno) => return Err(Error::io("cannot read from", Path::new(SYSTEMD), errno)),
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
