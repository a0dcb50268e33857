//! The user's own git, started in a directory: what of the caller's environment would lead it to
//! another repository is left out.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use crate::command::{self, Failure, Finished, Program};
use crate::error::{Error, Kind, Result};

/// Limits of one call of git.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may take.
    pub time: Duration,
    /// Most bytes of what it prints.
    pub output: usize,
}

/// The limits of a question.
const QUESTION: Limits = Limits { time: Duration::from_secs(60), output: 1 << 20 };
/// The time limit of one read of a long answer: git may have to unpack a whole repository first.
const READ_LIMIT: Duration = Duration::from_secs(600);
/// Most bytes of a complaint that are looked at.
const COMPLAINT_MAX: u64 = 4096;

/// Variables of a caller inside of a repository or a hook, which lead git to that one.
pub const LEADING: [&str; 18] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_QUARANTINE_PATH",
    "GIT_DEFAULT_HASH",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_CURL_VERBOSE",
];

/// A call of git in a directory, which asks no person for anything, and whose looks lock no person
/// out of the files.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    LEADING.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.arg("-C").arg(dir).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    command.env("GIT_OPTIONAL_LOCKS", "0");
    command
}

/// Asks git in a directory; returns what it printed.
///
/// # Errors
/// git does not run, says no, or takes longer than a minute.
pub fn answer(dir: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let finished = run(self::command(dir), dir, args, QUESTION)?;
    match finished.status.success() {
        true => Ok(finished.output.to_vec()),
        false => Err(refused(dir, args, &finished.errors)),
    }
}

/// Runs a [`command`] of a directory with these arguments to its end, which may be a bad one.
///
/// # Errors
/// git does not run, or goes beyond the limits: half of an answer would be another answer.
pub fn run(mut command: Command, dir: &Path, args: &[&str], limits: Limits) -> Result<Finished> {
    let failed = |why: String| Error::new(Kind::Fault, format!("{}: {why}", named(dir, args)));
    let Limits { time, output } = limits;
    match command::run(command.args(args), b"", time, output) {
        Ok(finished) if finished.is_cut => {
            Err(failed(format!("it printed more than {output} bytes")))
        }
        Ok(finished) => Ok(finished),
        Err(Failure::NotStarted(error)) => Err(not_started(&error)),
        Err(Failure::TimedOut | Failure::OutputOpen(_)) => {
            Err(failed(format!("it took longer than {} s", time.as_secs())))
        }
    }
}

/// A long answer of git, read part by part.
#[derive(Debug)]
pub struct Stream {
    program: Program,
    errors: File,
    dir: PathBuf,
    name: String,
}

/// Asks git for a long answer.
///
/// # Errors
/// git does not run.
pub fn stream(dir: &Path, args: &[&str]) -> Result<Stream> {
    let errors = memfd_create("git", MemfdFlags::CLOEXEC);
    let errors = File::from(errors.map_err(|errno| Error::fault("cannot make", dir, errno))?);
    let kept = errors.try_clone().map_err(|error| not_started(&error))?;
    let mut command = self::command(dir);
    // By itself, git writes each commit alone into a pipe, which takes as long as reading it.
    command.args(args).env("GIT_FLUSH", "0").stdin(Stdio::null()).stderr(kept);
    let program = Program::start(&mut command).map_err(|error| not_started(&error))?;
    let is_name = |arg: &&&str| !arg.starts_with('-') && !arg.contains('=');
    let name = args.iter().find(is_name).copied().unwrap_or_default();
    Ok(Stream { program, errors, dir: dir.to_owned(), name: name.to_owned() })
}

impl Stream {
    /// Reads a part; 0 at the end of an answer that is whole.
    ///
    /// # Errors
    /// git ended with a complaint, or says nothing for ten minutes.
    pub fn read(&mut self, part: &mut [u8]) -> Result<usize> {
        let until = Instant::now() + READ_LIMIT;
        let failed = |errno: Errno| Error::fault("cannot read from git in", &self.dir, errno);
        let count = self.program.read(part, until).map_err(failed)?;
        if count == 0 && !self.program.end(until).map_err(failed)?.success() {
            let mut said = Vec::new();
            let rewound = self.errors.rewind();
            let _ =
                rewound.and_then(|()| (&self.errors).take(COMPLAINT_MAX).read_to_end(&mut said));
            return Err(refused(&self.dir, &[&self.name], &said));
        }
        Ok(count)
    }
}

fn named(dir: &Path, args: &[&str]) -> String {
    format!("git {} in {}", args.first().copied().unwrap_or_default(), dir.display())
}

fn not_started(error: &std::io::Error) -> Error {
    Error::new(Kind::Fault, format!("git does not run: {error}")).hint("install git")
}

/// The error of a call that git refused, with the first line of what it said: the others are advice
/// about commands that change the settings of git.
fn refused(dir: &Path, args: &[&str], said: &[u8]) -> Error {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    let line = line.strip_prefix("fatal: ").unwrap_or(line);
    Error::new(Kind::Fault, format!("{}: {line}", named(dir, args)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_git_prints_and_a_refusal_is_its_first_line() {
        let dir = std::env::temp_dir();
        let said = answer(&dir, &["--version"]).unwrap();
        assert!(said.starts_with(b"git version "), "{said:?}");
        let error =
            answer(Path::new("/"), &["rev-parse", "--verify", "no-such-thing"]).unwrap_err();
        assert!(error.text.starts_with("git rev-parse in /: "), "{error}");
        assert!(!error.text.contains("fatal") && !error.text.contains('\n'), "{error}");
    }

    #[test]
    fn a_long_answer_comes_in_parts_and_one_that_is_cut_off_is_an_error() {
        let mut stream = stream(Path::new("/"), &["--version"]).unwrap();
        let (mut part, mut whole) = ([0; 4], Vec::new());
        loop {
            match stream.read(&mut part).unwrap() {
                0 => break,
                count => whole.extend_from_slice(&part[..count]),
            }
        }
        assert!(whole.starts_with(b"git version ") && whole.ends_with(b"\n"));
        let mut stream = super::stream(Path::new("/"), &["log", "no-such-thing"]).unwrap();
        let error = stream.read(&mut part).unwrap_err();
        assert!(error.text.starts_with("git log in /: "), "{error}");
    }
}
