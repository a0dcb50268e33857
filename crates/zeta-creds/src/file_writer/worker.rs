//! The child that becomes a user before it touches his home, and the line to it.
//!
//! Over its standard input it gets, in this order: a line that says whom to become; a line with the
//! lengths; what to do, as JSON; the contents, one after the other. It becomes the user after the
//! first line and before it reads the next. It answers with one line of JSON after each phase, and
//! goes on to the second phase only if told so: if its parent dies, it takes its files away.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, OFlags, Uid, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::staged;
use super::{Account, FILE_MAX, FILES_MAX, Finding, Outcome, WorkerCommand};
use crate::file_writer::staged::{Job, Staged};
use crate::secret;
use zeta_os::error::{Error, Kind, Result};

/// How long the child may need for one phase: a home on a server that does not answer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const MAGIC: &str = "zeta-plant-1";
/// No line and no list is longer, in bytes.
const WORDS_MAX: usize = 1024 * 1024;
const COMMIT: &str = "commit";

/// What the child says after a phase.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// All is written, and this will come of it.
    Prepared(Vec<Outcome>),
    /// This came of it.
    Done(Vec<Outcome>),
    /// It failed, and left nothing.
    Fault { status: u8, text: String, hints: Vec<String> },
}

/// The parent's end of a child at work.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    /// Until it is dropped.
    input: Option<ChildStdin>,
    output: ChildStdout,
    who: String,
    prepared: Vec<Outcome>,
}

impl Child {
    /// Starts it and lets it prepare the work.
    pub fn start(
        hand: &WorkerCommand,
        account: &Account,
        work: &Job,
        bytes: &[&[u8]],
    ) -> Result<Child> {
        let who = format!("the process that writes for user {}", account.name);
        let mut command = Command::new(&hand.program);
        command.args(&hand.args).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| {
            Error::io(
                "cannot start",
                Path::new(&who),
                Errno::from_io_error(&error).unwrap_or(Errno::IO),
            )
        })?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Error::new(Kind::Fault, format!("{who} has no pipes")));
        };
        let mut child = Child { process, input: Some(input), output, who, prepared: Vec::new() };
        let words = serde_json::to_vec(work).unwrap_or_default();
        let body: usize = bytes.iter().map(|bytes| bytes.len()).sum();
        let groups: Vec<String> = account.groups.iter().map(u32::to_string).collect();
        let (uid, gid) = (account.uid, account.gid);
        let head = format!("{MAGIC} {uid} {gid} {}\n{} {body}\n", groups.join(","), words.len());
        // Whoever refuses the first line says why, and reads no further.
        let told = [head.as_bytes(), &words].into_iter().chain(bytes.iter().copied());
        let mut sent = Ok(());
        for part in told {
            sent = sent.and_then(|()| child.send(part));
        }
        match (child.hear()?, sent) {
            (Said::Prepared(outcomes), Ok(())) if outcomes.len() == work.files.len() => {
                child.prepared = outcomes;
                Ok(child)
            }
            (Said::Fault { status, text, hints }, _) => {
                let kind = if status == Kind::Unsafe.status() { Kind::Unsafe } else { Kind::Fault };
                Err(Error { kind, text, hints })
            }
            (_, Err(error)) => Err(error),
            _ => Err(child.nonsense()),
        }
    }

    /// What it will do.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.prepared.clone()
    }

    /// Lets it go on, and waits for its end.
    pub fn commit(mut self) -> Vec<Outcome> {
        let count = self.prepared.len();
        let heard = self.send(format!("{COMMIT}\n").as_bytes()).and_then(|()| self.hear());
        let why = match heard {
            Ok(Said::Done(outcomes)) if outcomes.len() == count => return outcomes,
            Ok(_) => self.nonsense().text,
            Err(error) => error.text,
        };
        let hint = "some files may be there already: repeat".to_owned();
        vec![Outcome::Refused(Finding { text: why, hint }); count]
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        let failed = |errno| Error::io("cannot write to", Path::new(&self.who), errno);
        let Some(input) = &self.input else { return Ok(()) };
        let fd = input.as_fd();
        fcntl_getfl(fd)
            .and_then(|flags| fcntl_setfl(fd, flags | OFlags::NONBLOCK))
            .map_err(failed)?;
        let end = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            if !ready(fd, PollFlags::OUT, end).map_err(failed)? {
                return Err(self.silent());
            }
            match rustix::io::write(fd, bytes) {
                Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<Said> {
        let failed = |errno| Error::io("cannot read from", Path::new(&self.who), errno);
        let fd = self.output.as_fd();
        let end = Instant::now() + PATIENCE;
        let mut line = Vec::new();
        let mut part = [0u8; 4096];
        while line.last() != Some(&b'\n') && line.len() <= WORDS_MAX {
            if !ready(fd, PollFlags::IN, end).map_err(failed)? {
                return Err(self.silent());
            }
            match rustix::io::read(fd, &mut part) {
                Ok(0) => break,
                Ok(len) => line.extend_from_slice(part.get(..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        serde_json::from_slice(&line).map_err(|_| self.nonsense())
    }

    fn nonsense(&self) -> Error {
        Error::new(Kind::Fault, format!("{} ended without an answer", self.who))
            .hint("its own words, if it had any, stand above")
    }

    fn silent(&self) -> Error {
        let seconds = PATIENCE.as_secs();
        Error::new(Kind::Fault, format!("{} says nothing since {seconds} s", self.who))
            .hint("does the file system of the home answer? look: df")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its input ends, and then it takes its files away; what it says meanwhile nobody reads.
        drop(self.input.take());
        let end = Instant::now() + PATIENCE;
        let mut part = [0u8; 4096];
        while ready(self.output.as_fd(), PollFlags::IN, end) == Ok(true)
            && rustix::io::read(&self.output, &mut part).is_ok_and(|len| len > 0)
        {}
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ready(fd: BorrowedFd<'_>, what: PollFlags, end: Instant) -> std::result::Result<bool, Errno> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, what)], Some(&wait)) {
            Err(Errno::INTR) => {}
            polled => return polled.map(|count| count > 0),
        }
    }
}

/// What the child does: everything. Returns its exit status.
pub fn child_main(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> u8 {
    let told = serve(input, output);
    let Err(error) = told else { return 0 };
    let status = error.kind.status();
    say(output, &Said::Fault { status, text: error.text, hints: error.hints });
    status
}

fn serve(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<()> {
    become_user(&line(input)?)?;
    secret::harden();
    let lengths = line(input)?;
    let lengths = lengths.split_once(' ').map(|(words, body)| (words.parse(), body.parse()));
    let (words, body): (usize, usize) = match lengths {
        Some((Ok(words), Ok(body))) if words <= WORDS_MAX && body <= FILES_MAX * FILE_MAX => {
            (words, body)
        }
        _ => return Err(not_understood()),
    };
    let words = exactly(input, words)?;
    let work: Job = serde_json::from_slice(&words).map_err(|_| not_understood())?;
    let body = exactly(input, body)?;
    let mut rest = body.as_slice();
    let mut bytes = Vec::new();
    for file in &work.files {
        let (this, others) = rest.split_at_checked(file.len).ok_or_else(not_understood)?;
        bytes.push(this);
        rest = others;
    }
    let ready: Staged = staged::prepare(&work, &bytes)?;
    say(output, &Said::Prepared(ready.outcomes()));
    if line(input).is_ok_and(|line| line == COMMIT) {
        say(output, &Said::Done(ready.commit()));
    }
    Ok(())
}

fn say(output: BorrowedFd<'_>, said: &Said) {
    let Ok(mut line) = serde_json::to_vec(said) else { return };
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(output, rest) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Nobody listens any more.
            Err(_) => return,
        }
    }
}

/// One line, byte by byte: what follows it stays in the pipe.
fn line(input: BorrowedFd<'_>) -> Result<String> {
    let mut line = Vec::new();
    loop {
        let byte = exactly(input, 1)?;
        match byte.as_slice() {
            b"\n" => return String::from_utf8(line).map_err(|_| not_understood()),
            _ if line.len() >= WORDS_MAX => return Err(not_understood()),
            byte => line.extend_from_slice(byte),
        }
    }
}

fn exactly(input: BorrowedFd<'_>, len: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0u8; len]);
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(input, rest) {
            Ok(0) => return Err(not_understood()),
            Ok(more) => done += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("cannot read", Path::new("the work"), errno)),
        }
    }
    Ok(bytes)
}

fn not_understood() -> Error {
    Error::usage("this is no work that zeta gives to itself: nothing to plant")
}

/// Becomes the user that the line names, for good, and makes sure of it.
fn become_user(line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let [MAGIC, uid, gid, groups] = words.as_slice() else { return Err(not_understood()) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| not_understood());
    let (uid, gid) = (number(uid)?, number(gid)?);
    let groups = groups.split(',').map(number).collect::<Result<Vec<u32>>>()?;
    let cannot = |errno| {
        Error::io("cannot become", Path::new(&format!("user id {uid}")), errno)
            .hint("in a systemd unit: CapabilityBoundingSet= needs CAP_SETUID and CAP_SETGID")
    };
    // Each of these calls changes one thread.
    expect_status("Threads", &[1])?;
    let raw: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&raw).map_err(cannot)?;
    set_thread_res_gid(group, group, group).map_err(cannot)?;
    set_thread_res_uid(user, user, user).map_err(cannot)?;
    set_no_new_privs(true).map_err(cannot)?;
    let mut sorted = groups;
    sorted.sort_unstable();
    expect_status("Uid", &[uid; 4])?;
    expect_status("Gid", &[gid; 4])?;
    expect_status("Groups", &sorted)?;
    let root = Uid::ROOT;
    match uid == 0 || set_thread_res_uid(root, root, root) == Err(Errno::PERM) {
        true => Ok(()),
        false => Err(Error::new(Kind::Unsafe, format!("user id {uid} can become root again"))),
    }
}

/// Compares a line of numbers in `/proc/self/status`.
fn expect_status(key: &str, wanted: &[u32]) -> Result<()> {
    let path = "/proc/self/status";
    let text = std::fs::read_to_string(path).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::io("cannot read", Path::new(path), errno)
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let mut seen: Vec<u32> =
        line.unwrap_or_default().split_whitespace().flat_map(str::parse).collect();
    seen.sort_unstable();
    match seen == wanted {
        true => Ok(()),
        false => {
            Err(Error::new(Kind::Unsafe, format!("{path}: {key} is {seen:?}, not {wanted:?}")))
        }
    }
}
