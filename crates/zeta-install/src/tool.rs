//! One call of another program: the only way in which this crate starts one.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use zeroize::Zeroizing;
use zeta_core::shell::quote_word;
use zeta_os::command::{self, Failure};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::git;

/// How long a program may take that only looks, or changes a table.
const SHORT: Duration = Duration::from_secs(120);
/// How long one may take that makes a file system, or clones a repository.
const LONG: Duration = Duration::from_secs(30 * 60);
/// How long the build of a system may take.
const BUILD: Duration = Duration::from_secs(6 * 60 * 60);
/// The longest output that is kept, in bytes.
const OUTPUT_MAX: usize = 4 << 20;

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    program: &'static str,
    args: Vec<String>,
    input: Zeroizing<Vec<u8>>,
    limit: Duration,
    /// Statuses besides 0 that are no failure.
    accepted: &'static [i32],
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub out: Zeroizing<Vec<u8>>,
}

impl Said {
    /// Its output as text, without the end of its last line.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim_end().to_owned()
    }
}

impl Tool {
    /// A call that is soon over.
    pub fn new(program: &'static str, args: &[&str]) -> Tool {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Tool { program, args, input: Zeroizing::default(), limit: SHORT, accepted: &[] }
    }

    /// The same with more arguments.
    #[must_use]
    pub fn and(mut self, args: impl IntoIterator<Item = String>) -> Tool {
        self.args.extend(args);
        self
    }

    /// The same, which may take long.
    #[must_use]
    pub fn long(self) -> Tool {
        Tool { limit: LONG, ..self }
    }

    /// The same, which builds a system.
    #[must_use]
    pub fn build(self) -> Tool {
        Tool { limit: BUILD, ..self }
    }

    /// The same, which has to end within a time.
    #[must_use]
    pub fn within(self, limit: Duration) -> Tool {
        Tool { limit, ..self }
    }

    /// The same, for which these statuses are no failure.
    #[must_use]
    pub fn accepting(self, accepted: &'static [i32]) -> Tool {
        Tool { accepted, ..self }
    }

    /// The same with an input, which is in no argument.
    #[must_use]
    pub fn input(self, input: &[u8]) -> Tool {
        Tool { input: Zeroizing::new(input.to_vec()), ..self }
    }

    /// The call as a person would type it.
    pub fn text(&self) -> String {
        let words = self.args.iter().map(|arg| quote_word(arg).into_owned());
        std::iter::once(self.program.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs it.
    ///
    /// # Errors
    /// It cannot be started, takes too long, or fails; the error has the end of what it said.
    pub fn run(&self) -> Result<Said> {
        let mut command = match self.program {
            "git" => git::command(&std::env::temp_dir()),
            program => Command::new(find(program)),
        };
        command.args(&self.args).env("LC_ALL", "C");
        let failed = |kind, why: String| Error::new(kind, format!("{}: {why}", self.text()));
        let done = command::run(&mut command, &self.input, self.limit, OUTPUT_MAX);
        let done = done.map_err(|failure| match failure {
            Failure::NotStarted(error) => failed(Kind::Unsafe, format!("cannot start: {error}"))
                .hint("the program has to be installed on the running system"),
            Failure::TimedOut => {
                failed(Kind::Fault, format!("did not end within {} s", self.limit.as_secs()))
            }
            Failure::OutputOpen(status) => failed(Kind::Fault, format!("left others ({status})")),
        })?;
        match done.status.code() {
            Some(status) if status == 0 || self.accepted.contains(&status) => {
                Ok(Said { status, out: done.output })
            }
            _ => {
                let said = [done.errors.as_slice(), done.output.as_slice()].concat();
                let said = String::from_utf8_lossy(&said);
                let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
                let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default();
                Err(failed(Kind::Fault, format!("{}: {}", done.status, last.join(", "))))
            }
        }
    }
}

/// The program by its name on the path, or in the directories of the administrator.
fn find(program: &str) -> PathBuf {
    found(program).unwrap_or_else(|| program.into())
}

/// As [`find`]; none if it is nowhere.
pub fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin", "/run/current-system/sw/bin"].map(PathBuf::from);
    let mut dirs = std::env::split_paths(&path).chain(sbin);
    dirs.find_map(|dir| Some(dir.join(program)).filter(|file| file.is_file()))
}
