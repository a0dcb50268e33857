//! The text of a record: flat `key: value` lines that `cat`, `grep` and any YAML parser can read.
//!
//! Strings are JSON-quoted, numbers and booleans are bare, the last line is `end: true`, so that a
//! torn record is known by its missing end. The reader is strict: a record of zeta that breaks the
//! grammar is *damaged*, never guessed at. Text without a `schema` key was written by another
//! program and is *foreign*: it is judged by its age alone. The normative grammar:
//! `docs/STANDARD.md`, §4.

mod scan;

use std::borrow::Cow;
use std::fmt::Write as _;

pub(crate) use self::scan::KeyTable;
use self::scan::{split_key, split_scalar};

/// The format number that this code writes.
pub const SCHEMA: u64 = 1;
/// Most lines that a record may have before its last one.
pub const KEYS_MAX: usize = 512;

/// Why a record of zeta is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// More bytes than its kind may have.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotUtf8,
    /// The last line is not `end: true` and a newline: the writer was cut off.
    #[error("its last line is not \"end: true\"")]
    NoEnd,
    /// A line (counted from 1) is not `key: value`.
    #[error("line {0} is not of the form \"key: value\"")]
    BadLine(usize),
    /// The value on a line (counted from 1) is neither a JSON string, an integer nor a boolean.
    #[error("the value on line {0} is neither a quoted string, an integer nor true or false")]
    BadValue(usize),
    /// More keys than any record may have.
    #[error("it has more than {0} keys")]
    TooManyKeys(usize),
    /// A key stands twice.
    #[error("the key {0:?} stands twice")]
    DuplicateKey(String),
    /// A schema number that this program does not know.
    #[error("its schema is {0}, and this program knows schema 1")]
    UnknownSchema(String),
    /// The record is of another kind than its file name says.
    #[error("its kind is {found:?} where {wanted:?} belongs")]
    WrongKind {
        /// What stands in the record.
        found: String,
        /// What the file name says.
        wanted: &'static str,
    },
    /// A key that must be there is missing or has a value of the wrong type.
    #[error("the key {0:?} is missing or has a value of the wrong type")]
    BadKey(&'static str),
}

/// The fields of a record in their order; values are kept as they stand in the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Where the entry of a key is.
    table: KeyTable,
}

/// What the text of a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text<'a> {
    /// A whole record of schema 1.
    Own(Fields<'a>),
    /// Text by another program; its plain `key: value` lines, unquoted.
    Foreign(Fields<'a>),
}

/// Reads the bytes of a record file that may have at most `max` bytes.
pub fn parse(bytes: &[u8], max: usize) -> Result<Text<'_>, Damage> {
    if bytes.len() > max {
        return Err(Damage::TooLong(max));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Damage::NotUtf8)?;
    let own = text.starts_with("schema:") || text.contains("\nschema:");
    match own {
        true => parse_own(text).map(Text::Own),
        false => Ok(Text::Foreign(parse_foreign(text))),
    }
}

fn parse_own(text: &str) -> Result<Fields<'_>, Damage> {
    let body = text.strip_suffix("end: true\n").ok_or(Damage::NoEnd)?;
    if !body.is_empty() && !body.ends_with('\n') {
        return Err(Damage::NoEnd);
    }
    let mut fields = Fields { entries: Vec::with_capacity(32), table: KeyTable::default() };
    let mut rest = body;
    let mut line = 0;
    // Ten thousand nodes have a million lines, so each line is walked once.
    while !rest.is_empty() {
        line += 1;
        if line > KEYS_MAX {
            return Err(Damage::TooManyKeys(KEYS_MAX));
        }
        let (key, tail) = split_key(rest).ok_or(Damage::BadLine(line))?;
        let (value, tail) = split_scalar(tail).ok_or(Damage::BadValue(line))?;
        if key == "end" || fields.raw(key).is_some() {
            return Err(Damage::DuplicateKey(key.to_owned()));
        }
        fields.push(Cow::Borrowed(key), Cow::Borrowed(value));
        rest = tail;
    }
    match fields.raw("schema") {
        Some("1") => Ok(fields),
        other => Err(Damage::UnknownSchema(other.unwrap_or("missing").to_owned())),
    }
}

/// A foreign record is believed in nothing but its age; these fields only help people.
fn parse_foreign(text: &str) -> Fields<'_> {
    let mut fields = Fields::default();
    for line in text.lines().take(64) {
        if let Some((key, value)) = line.split_once(':')
            && is_key(key.trim())
            && fields.raw(key.trim()).is_none()
        {
            let value = value.trim().trim_matches('"');
            fields.push(Cow::Borrowed(key.trim()), Cow::Owned(quote(value)));
        }
    }
    fields
}

/// Is this a key: `[a-z][a-z0-9_]{0,63}`.
pub fn is_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes.len() <= 64
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
}

/// Quotes text as a JSON string that is also a YAML double-quoted scalar and safe on a terminal.
///
/// Beyond what JSON asks for, every character that YAML calls unprintable, every line separator and
/// every bidirectional override is escaped, so that `cat` of a record cannot play tricks.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
        out.push('"');
        return out;
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Printable ASCII without anything that [`quote`] would escape. Without an early exit, so that the
/// compiler checks many bytes at once.
pub fn is_plain(text: &str) -> bool {
    let escaped = |b: u8| !matches!(b, 0x20..=0x7e) | (b == b'"') | (b == b'\\');
    !text.bytes().fold(false, |any, b| any | escaped(b))
}

/// Characters that must never reach a terminal or a YAML parser as they are.
pub fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Text for a terminal: what [`quote`] would escape is escaped, without the quotes.
pub fn printable(text: &str) -> Cow<'_, str> {
    match is_plain(text) || !text.chars().any(is_unprintable) {
        true => Cow::Borrowed(text),
        false => {
            let quoted = quote(text);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            Cow::Owned(inner.unwrap_or_default().to_owned())
        }
    }
}

/// The text inside a quoted value; `None` if the value is not a string or holds a lone surrogate.
pub fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    // Without an early exit, so that many bytes are checked at once.
    if !inner.bytes().fold(false, |any, byte| any | (byte == b'\\')) {
        return Some(Cow::Borrowed(inner));
    }
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let unit = match c {
            '\\' => match chars.next()? {
                'b' => 8,
                'f' => 12,
                'n' => 10,
                'r' => 13,
                't' => 9,
                'u' => {
                    let hex: String = chars.by_ref().take(4).collect();
                    u16::from_str_radix(&hex, 16).ok()?
                }
                plain => plain as u16,
            },
            c => {
                flush(&mut units, &mut out)?;
                out.push(c);
                continue;
            }
        };
        units.push(unit);
    }
    flush(&mut units, &mut out)?;
    Some(Cow::Owned(out))
}

fn flush(units: &mut Vec<u16>, out: &mut String) -> Option<()> {
    for c in char::decode_utf16(units.drain(..)) {
        out.push(c.ok()?);
    }
    Some(())
}

impl<'a> Fields<'a> {
    /// The fields that every record of zeta starts with.
    pub fn new(kind: &'static str) -> Fields<'static> {
        let mut fields = Fields { entries: Vec::with_capacity(36), table: KeyTable::default() };
        fields.push_number("schema", SCHEMA);
        fields.push_text("kind", kind);
        fields
    }

    /// Keys and values in order; a value is as it stands on disk.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// The value of `key` as it stands on disk.
    pub fn raw(&self, key: &str) -> Option<&str> {
        let at = self.table.find(key, |at| self.entries.get(at).map(|(known, _)| &**known))?;
        self.entries.get(at).map(|(_, value)| value.as_ref())
    }

    /// The value of `key` as text, if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.raw(key).and_then(unquote)
    }

    /// The value of `key` as a number, if it is a non-negative integer of at most 64 bits.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.raw(key)?.parse().ok()
    }

    /// Fails unless the record says that it is of this kind.
    pub fn expect_kind(&self, wanted: &'static str) -> Result<(), Damage> {
        match self.text("kind") {
            Some(found) if found == wanted => Ok(()),
            found => Err(Damage::WrongKind {
                found: found.as_deref().unwrap_or("missing").to_owned(),
                wanted,
            }),
        }
    }

    /// Appends a string field; the caller knows that the key is new.
    pub fn push_text(&mut self, key: &'static str, value: &str) {
        self.push(Cow::Borrowed(key), Cow::Owned(quote(value)));
    }

    /// Appends a number field; the caller knows that the key is new.
    pub fn push_number(&mut self, key: &'static str, value: u64) {
        self.push(Cow::Borrowed(key), Cow::Owned(value.to_string()));
    }

    /// Appends a field whose value is already in its form on disk.
    pub fn push_raw(&mut self, key: &str, value: &str) {
        self.push(Cow::Owned(key.to_owned()), Cow::Owned(value.to_owned()));
    }

    fn push(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        self.table.add(&key, self.entries.len());
        self.entries.push((key, value));
    }

    /// Sets a string field in place, or appends it.
    pub fn set_text(&mut self, key: &str, value: &str) {
        self.set_raw(key, quote(value));
    }

    /// Sets a number field in place, or appends it.
    pub fn set_number(&mut self, key: &str, value: u64) {
        self.set_raw(key, value.to_string());
    }

    fn set_raw(&mut self, key: &str, value: String) {
        match self.entries.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.push(Cow::Owned(key.to_owned()), Cow::Owned(value)),
        }
    }

    /// Removes a field if it is there.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|(k, _)| k != key);
        self.table = KeyTable::default();
        for (at, (key, _)) in self.entries.iter().enumerate() {
            self.table.add(key, at);
        }
    }

    /// The whole text of the record, with its last line.
    pub fn render(&self) -> String {
        let len: usize = self.iter().map(|(key, value)| key.len() + value.len() + 3).sum();
        let mut out = String::with_capacity(len + 10);
        for (key, value) in self.iter() {
            out.push_str(key);
            out.push_str(": ");
            out.push_str(value);
            out.push('\n');
        }
        out.push_str("end: true\n");
        out
    }

    /// A copy that owns its text.
    pub fn into_owned(self) -> Fields<'static> {
        let own = |cow: Cow<'a, str>| Cow::Owned(cow.into_owned());
        let entries = self.entries.into_iter().map(|(k, v)| (own(k), own(v))).collect();
        Fields { entries, table: self.table }
    }
}

#[cfg(test)]
mod tests;
