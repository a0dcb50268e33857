//! What is printed: data on stdout, talk on stderr, and the same as one JSON object with `--json`.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

use zeta_core::record::{printable, quote};

use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

/// Where to print and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output {
    /// One JSON object instead of text.
    pub json: bool,
    /// No talk.
    pub quiet: bool,
}

impl Output {
    /// Prints a line of data. A reader that went away is no error; a full disk is one.
    pub fn data(&self, line: &str) -> Result<()> {
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        text.push('\n');
        print(&text)
    }

    /// Prints a line of talk.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            let _ = std::io::stderr().lock().write_all(format!("zeta: {line}\n").as_bytes());
        }
    }

    /// Prints `object` with `--json`, and `text` otherwise.
    pub fn either(
        &self,
        object: impl FnOnce() -> Object,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        match self.json {
            true => self.data(&object().done()),
            false => {
                let text = text();
                match text.is_empty() {
                    true => Ok(()),
                    false => self.data(&text),
                }
            }
        }
    }

    /// Tells an error: on stderr for people, and on stdout as an object with `--json`.
    pub fn error(&self, error: &Error, details: Option<Object>) {
        self.error_with(error, error.kind.status(), details);
    }

    /// The same, for a call that ends with a number of its own.
    pub fn error_with(&self, error: &Error, status: u8, details: Option<Object>) {
        if self.json {
            // The status is not 0 already, and stderr tells the same.
            let _ = self.data(&error_object(error, Some(status), details));
        }
        self.error_in_words(error);
    }

    /// Tells an error of a wrapper, whose stdout is its command's: on stderr alone, with `--json`
    /// as an object. `status` is the exit status of this process.
    pub fn error_on_stderr(&self, error: &Error, status: u8, details: Option<Object>) {
        self.tell_on_stderr(error, Some(status), details);
    }

    /// Tells of trouble under a command that goes on. With `--json` the object has no exit status,
    /// because the process has not ended.
    pub fn warn(&self, error: &Error) {
        self.tell_on_stderr(error, None, None);
    }

    fn tell_on_stderr(&self, error: &Error, status: Option<u8>, details: Option<Object>) {
        match self.json {
            true => {
                let line = error_object(error, status, details) + "\n";
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            false => self.error_in_words(error),
        }
    }

    /// Tells what is wrong beside an answer that is right.
    pub fn note_finding(&self, finding: &Error) {
        if !self.quiet {
            self.error_in_words(finding);
        }
    }

    fn error_in_words(&self, error: &Error) {
        // A refusal is an answer; in quiet mode only faults speak.
        let answer = matches!(error.kind, Kind::Refused | Kind::NotFound | Kind::Busy);
        if self.quiet && answer {
            return;
        }
        let mut text = format!("zeta: {}\n", printable(&error.text));
        for hint in &error.hints {
            let _ = writeln!(text, "  -> {}", printable(hint.as_str()));
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

fn error_object(error: &Error, status: Option<u8>, details: Option<Object>) -> String {
    let mut object = details.unwrap_or_default();
    object.text("error", error.kind.word());
    if let Some(status) = status {
        object.number("exit_status", status.into());
    }
    object.text("message", &error.text);
    object.list("hints", error.hints.iter().map(|hint| quote(hint.as_str())));
    object.done()
}

/// Writes to stdout. A reader that went away is no error; everything else is.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Fault, format!("could not print: {error}"))
                .hint("what was asked for may be done all the same: look before you repeat it"))
        }
        _ => Ok(()),
    }
}
