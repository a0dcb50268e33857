//! Printing: data on stdout, notes and errors on stderr; with `--json` one JSON object.

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use zeta_core::record::{printable, quote};

use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};

/// How to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output {
    /// Print one JSON object instead of text.
    pub json: bool,
    /// Print no notes and no refusals.
    pub quiet: bool,
}

/// What the terminal that stdout is can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal {
    /// Its width in characters; `None` if lines may be as long as need be.
    pub width: Option<usize>,
    /// Whether it shows colours.
    pub colour: bool,
}

impl Terminal {
    /// Looks at stdout: plain and of any width, unless it is a terminal.
    pub fn of_stdout() -> Terminal {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Terminal::default();
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Terminal { width, colour: !no_colour && !dumb }
    }
}

impl Output {
    /// Prints a line of data. A reader that went away is not an error; a full disk is one.
    pub fn data(&self, line: &str) -> Result<()> {
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        text.push('\n');
        print(&text)
    }

    /// Prints a note of several lines on stderr: each of them as [`Self::note`] does.
    pub fn note_lines(&self, lines: &str) {
        let lines: Vec<_> = lines.split('\n').map(printable).collect();
        self.say(&lines.join("\n"));
    }

    /// Prints a note of one line on stderr. What a server or a blob says in it moves no cursor.
    pub fn note(&self, line: &str) {
        self.say(&printable(line));
    }

    /// Prints a line of a log on stderr, as [`Self::note`] does; the journal reads `level`.
    pub fn log(&self, level: &str, line: &str) {
        if !self.quiet {
            let line = format!("{level}zeta: {}\n", printable(line));
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            let _ = std::io::stderr().lock().write_all(format!("zeta: {text}\n").as_bytes());
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

    /// Prints an error: on stderr for people, and with `--json` also on stdout as an object.
    pub fn error(&self, error: &Error, details: Option<Object>) {
        self.error_with(error, error.kind.status(), details);
    }

    /// Prints an error like [`Output::error`], for a call whose exit status is its own.
    pub fn error_with(&self, error: &Error, status: u8, details: Option<Object>) {
        if self.json {
            // If this fails, the exit status and stderr still report the error.
            let _ = self.data(&error_object(error, Some(status), details));
        }
        self.error_in_words(error);
    }

    /// Prints an error of a wrapper, whose stdout belongs to its command: only on stderr, with
    /// `--json` as an object. `status` is the exit status of this process.
    pub fn error_on_stderr(&self, error: &Error, status: u8, details: Option<Object>) {
        self.print_on_stderr(error, Some(status), details);
    }

    /// Prints the answer of a wrapper, whose stdout belongs to its command: with `--json` the
    /// object on stderr, otherwise a note.
    pub fn answer_on_stderr(&self, object: impl FnOnce() -> Object, text: impl FnOnce() -> String) {
        match self.json {
            true => {
                let line = object().done() + "\n";
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            false => self.note(&text()),
        }
    }

    /// Prints a warning while a command goes on. With `--json` the object has no exit status,
    /// because the process has not ended.
    pub fn warn(&self, error: &Error) {
        self.print_on_stderr(error, None, None);
    }

    fn print_on_stderr(&self, error: &Error, status: Option<u8>, details: Option<Object>) {
        match self.json {
            true => {
                let line = error_object(error, status, details) + "\n";
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            false => self.error_in_words(error),
        }
    }

    /// Prints a finding that does not change the answer.
    pub fn note_finding(&self, finding: &Error) {
        if !self.quiet {
            self.error_in_words(finding);
        }
    }

    fn error_in_words(&self, error: &Error) {
        // A refusal is an answer; quiet mode prints only faults.
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

/// Writes to stdout. A reader that went away is not an error; any other failure is.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Fault, format!("could not print: {error}"))
                .hint("the call may have done its work: check before you repeat it"))
        }
        _ => Ok(()),
    }
}
