//! The child that becomes a user before it touches that user's home, and the dialogue with it.
//!
//! Over its standard input it gets, in this order: a line that says whom to become; a line with the
//! lengths; what to do, as JSON; the contents, one after the other. It becomes the user after the
//! first line and before it reads the next. It answers with one line of JSON after each phase, and
//! goes on to the second phase only on a word from its parent: if the parent dies, it removes its
//! files.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::staged;
use super::{FILE_MAX, FILES_MAX, Finding, Outcome, WorkerCommand};
use crate::file_writer::staged::{Job, Staged};
use zeta_os::command::Program;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::hardening;
use zeta_os::users::Account;

/// The time limit of one phase: a home on a server that does not answer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const MAGIC: &str = "zeta-plant-1";
/// No line and no list is longer, in bytes.
const WORDS_MAX: usize = 1024 * 1024;
const COMMIT: &str = "commit";

/// The child's answer after a phase.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// All is written; these results follow from a commit.
    Prepared(Vec<Outcome>),
    /// The results of the commit.
    Done(Vec<Outcome>),
    /// A failure that left nothing.
    Fault { status: u8, text: String, hints: Vec<String> },
}

/// The parent's end of a child at work.
#[derive(Debug)]
pub struct Child {
    program: Program,
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
        let program = Program::start(command.stdin(Stdio::piped())).map_err(|error| {
            Error::io(
                "cannot start",
                Path::new(&who),
                Errno::from_io_error(&error).unwrap_or(Errno::IO),
            )
        })?;
        let mut child = Child { program, who, prepared: Vec::new() };
        let words = serde_json::to_vec(work).unwrap_or_default();
        let body: usize = bytes.iter().map(|bytes| bytes.len()).sum();
        let groups: Vec<String> = account.groups.iter().map(u32::to_string).collect();
        let (uid, gid) = (account.uid, account.gid);
        let head = format!("{MAGIC} {uid} {gid} {}\n{} {body}\n", groups.join(","), words.len());
        // A child that refuses the first line answers with the reason, and reads no further.
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
                Err(Error::new(kind, text).with_hints(hints))
            }
            (_, Err(error)) => Err(error),
            _ => Err(child.nonsense()),
        }
    }

    /// The results that a commit would have.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.prepared.clone()
    }

    /// Lets it go on, and waits for its end.
    pub fn commit(self) -> Vec<Outcome> {
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

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = self.program.write_all(bytes, Instant::now() + PATIENCE);
        sent.map_err(|errno| self.failed("cannot write to", errno))
    }

    fn hear(&self) -> Result<Said> {
        let end = Instant::now() + PATIENCE;
        let mut line = Vec::new();
        let mut part = [0u8; 4096];
        while line.last() != Some(&b'\n') && line.len() <= WORDS_MAX {
            let read = self.program.read(&mut part, end);
            match read.map_err(|errno| self.failed("cannot read from", errno))? {
                0 => break,
                len => line.extend_from_slice(part.get(..len).unwrap_or_default()),
            }
        }
        serde_json::from_slice(&line).map_err(|_| self.nonsense())
    }

    fn failed(&self, doing: &str, errno: Errno) -> Error {
        match errno {
            Errno::TIMEDOUT => self.silent(),
            errno => Error::io(doing, Path::new(&self.who), errno),
        }
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
        // At the end of its input the child removes its files; its answer is read and dropped.
        self.program.close_input();
        let end = Instant::now() + PATIENCE;
        let mut part = [0u8; 4096];
        while self.program.read(&mut part, end).is_ok_and(|len| len > 0) {}
    }
}

/// Runs as the child, from its first line to its exit status, which is returned.
pub fn child_main(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> u8 {
    let told = serve(input, output);
    let Err(error) = told else { return 0 };
    let status = error.kind.status();
    let hints = error.hints.iter().map(ToString::to_string).collect();
    say(output, &Said::Fault { status, text: error.text, hints });
    status
}

fn serve(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<()> {
    become_user(&line(input)?)?;
    hardening::harden();
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
            // The parent has ended.
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

/// Becomes the user that the line names, without a way back, and checks that.
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
    if uid == 0 || set_thread_res_uid(root, root, root) == Err(Errno::PERM) {
        Ok(())
    } else {
        Err(Error::new(Kind::Unsafe, format!("user id {uid} can become root again")))
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
    if seen == wanted {
        Ok(())
    } else {
        Err(Error::new(Kind::Unsafe, format!("{path}: {key} is {seen:?}, not {wanted:?}")))
    }
}
