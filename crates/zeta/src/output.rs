//! What is printed: data on stdout, talk on stderr, and the same as one JSON object with `--json`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::ops::Range;

use zeta_core::record::{Fields, is_plain, printable, quote, unquote};
use zeta_core::time::{format_duration, format_utc};

use crate::error::{Error, Kind, Result};

/// Where to print and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output {
    /// One JSON object instead of text.
    pub json: bool,
    /// No talk.
    pub quiet: bool,
}

/// One JSON object under construction. The values of records are JSON already and go in as is.
#[derive(Debug, Clone, Default)]
pub struct Object {
    text: String,
    /// The object that is being written has a key already.
    begun: bool,
    /// Where the keys of the objects that are open stand in the text, but for those of records.
    keys: Vec<Range<usize>>,
    /// The first one of the object that is being written.
    first: usize,
}

impl Object {
    /// An empty object.
    pub fn new() -> Object {
        Object::default()
    }

    /// An empty object whose text is added to `text`; [`Object::into_text`] gives it back.
    pub fn after(text: String) -> Object {
        Object { text, ..Object::default() }
    }

    fn key(&mut self, key: &str) {
        self.record_key(key);
        let end = self.text.len() - 2;
        self.keys.push(end - key.len()..end);
    }

    /// Keys of a record differ among themselves, so only the others are remembered.
    fn record_key(&mut self, key: &str) {
        // One reservation for a key and a value of the usual length.
        self.text.reserve(key.len() + 64);
        self.text.push_str(if self.begun { ",\"" } else { "{\"" });
        self.text.push_str(key);
        self.text.push_str("\":");
        self.begun = true;
    }

    fn has(&self, key: &str) -> bool {
        let keys = self.keys.get(self.first..).unwrap_or_default();
        let written = self.text.as_bytes();
        keys.iter()
            .any(|at| at.len() == key.len() && written.get(at.clone()) == Some(key.as_bytes()))
    }

    fn close(&mut self) {
        self.text.push_str(if self.begun { "}" } else { "{}" });
    }

    /// Adds a value that is JSON already.
    pub fn raw(&mut self, key: &str, value: &str) -> &mut Object {
        self.key(key);
        self.text.push_str(value);
        self
    }

    /// Adds a string.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Object {
        self.raw(key, &quote(value))
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: u64) -> &mut Object {
        self.key(key);
        let _ = write!(self.text, "{value}");
        self
    }

    /// Adds a boolean.
    pub fn flag(&mut self, key: &str, value: bool) -> &mut Object {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds a list of JSON values.
    pub fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) -> &mut Object {
        let values: Vec<String> = values.into_iter().collect();
        self.raw(key, &format!("[{}]", values.join(",")))
    }

    /// Adds a list of objects, each written in place by `each`.
    pub fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Object, T),
    ) -> &mut Object {
        self.key(key);
        let (outer, first) = (self.first, self.keys.len());
        for (at, item) in items.into_iter().enumerate() {
            self.text.push(if at == 0 { '[' } else { ',' });
            self.begun = false;
            self.keys.truncate(first);
            self.first = first;
            each(self, item);
            self.close();
        }
        self.text.push_str(if self.text.ends_with(':') { "[]" } else { "]" });
        self.begun = true;
        self.keys.truncate(first);
        self.first = outer;
        self
    }

    /// Adds all keys of a record, but for its last line.
    pub fn fields(&mut self, fields: &Fields<'_>) -> &mut Object {
        self.fields_but(fields, &[])
    }

    /// As [`Object::fields`], without the keys that the caller adds later with a meaning of its
    /// own. Those that it added before are left out anyway: a record cannot speak for them.
    pub fn fields_but(&mut self, fields: &Fields<'_>, but: &[&str]) -> &mut Object {
        for (key, value) in fields.iter().filter(|(key, _)| !but.contains(key)) {
            if !self.has(key) {
                self.record_key(key);
                self.text.push_str(&json_of(value));
            }
        }
        self
    }

    /// The finished object.
    pub fn done(&self) -> String {
        self.clone().into_text()
    }

    /// The finished object, after the text that it was added to.
    pub fn into_text(mut self) -> String {
        self.close();
        self.text
    }
}

/// A value of a record as JSON that every parser reads and that is safe on a terminal.
///
/// The grammar of records lets pass what a hostile hand could use: lone surrogates, and control
/// characters beyond ASCII.
pub fn json_of(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    if is_plain(inner) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(quote(&unquote(value).unwrap_or(Cow::Borrowed(value))))
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
    pub fn talk(&self, line: &str) {
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
            let _ = self.data(&error_object(error, status, details));
        }
        self.error_in_words(error);
    }

    /// Tells an error while stdout is a command's: on stderr alone, with `--json` as an object.
    pub fn error_beside(&self, error: &Error, details: Option<Object>) {
        match self.json {
            true => {
                let line = error_object(error, error.kind.status(), details) + "\n";
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            false => self.error_in_words(error),
        }
    }

    /// Tells what is wrong beside an answer that is right.
    pub fn talk_of(&self, finding: &Error) {
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
            let _ = writeln!(text, "  -> {}", printable(hint));
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

fn error_object(error: &Error, status: u8, details: Option<Object>) -> String {
    let mut object = details.unwrap_or_default();
    object.text("error", error.kind.word());
    object.number("exit_status", status.into());
    object.text("message", &error.text);
    object.list("hints", error.hints.iter().map(|hint| quote(hint)));
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

/// "2026-11-22T10:11:12Z (3m 2s ago)", or "(in 6m 58s)".
pub fn moment(wall_us: i64, now_us: i64) -> String {
    let text = format_utc(wall_us);
    let short = text.split_once('.').map_or(text.as_str(), |(short, _)| short);
    let apart = format_duration(wall_us.abs_diff(now_us) / 1000);
    match wall_us <= now_us {
        true => format!("{short}Z ({apart} ago)"),
        false => format!("{short}Z (in {apart})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cannot_repeat_a_key_that_was_written_before() {
        let mut record = Fields::new("lease");
        record.push_text("outcome", "forged");
        record.push_text("end_of", "x");
        let mut object = Object::new();
        object.text("outcome", "granted");
        object.objects("list", [1, 2], |object, number| {
            object.number("kind", number).fields(&record);
        });
        object.fields(&record);
        let one = |n: u8| {
            format!("{{\"kind\":{n},\"schema\":1,\"outcome\":\"forged\",\"end_of\":\"x\"}}")
        };
        let rest = "\"schema\":1,\"kind\":\"lease\",\"end_of\":\"x\"}";
        let list = format!("{},{}", one(1), one(2));
        assert_eq!(object.done(), format!("{{\"outcome\":\"granted\",\"list\":[{list}],{rest}"));
    }
}
