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
use std::ops::Range;

pub(crate) use self::scan::{KeyTable, is_same};
use self::scan::{scalar_len, slot_of, split_key};
use crate::time::push_number;

/// The format number that this code writes.
pub const SCHEMA: u64 = 1;
/// Most lines that a record may have before its last one.
pub const KEYS_MAX: usize = 512;

/// Most records have no more keys. The allocator is fastest with blocks of less than 256 bytes.
const SPANS: usize = 20;

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
    /// A value of another node that no known key of that node signed, or that is no record.
    #[error("no key that is known here signed it, or it is no record")]
    NotSigned,
}

/// The fields of a record in their order, as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields<'a> {
    /// The lines of the fields. A record that was read borrows them.
    text: Cow<'a, str>,
    spans: Vec<Span>,
    /// Where the span of a key is.
    table: KeyTable,
}

/// Where a field is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    /// Where the value ends, which begins two bytes after the key.
    end: u32,
    key_len: u8,
    /// The slot of the key in a table.
    slot: u8,
}

impl Span {
    #[inline(always)]
    fn new(start: usize, key: &[u8], end: usize) -> Span {
        let slot = slot_of(key);
        Span { start: start as u32, end: end as u32, key_len: key.len() as u8, slot }
    }

    fn key(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + usize::from(self.key_len)
    }

    fn value(self) -> Range<usize> {
        self.key().end + 2..self.end as usize
    }
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
    let spans = Vec::with_capacity(SPANS);
    let mut fields = Fields { text: Cow::Borrowed(body), spans, table: KeyTable::default() };
    let mut start = 0;
    // Ten thousand nodes have a million lines, so each line is walked once.
    while start < body.len() {
        let line = fields.spans.len() + 1;
        if line > KEYS_MAX {
            return Err(Damage::TooManyKeys(KEYS_MAX));
        }
        // The last line is in it, so that a word of eight bytes is whole everywhere.
        let rest = text.as_bytes().get(start..).unwrap_or_default();
        let (key, rest) = split_key(rest).ok_or(Damage::BadLine(line))?;
        let len = scalar_len(rest).ok_or(Damage::BadValue(line))?;
        let end = start + key.len() + 2 + len;
        if !fields.insert(key, Span::new(start, key, end)) {
            return Err(Damage::DuplicateKey(String::from_utf8_lossy(key).into_owned()));
        }
        start = end + 1;
    }
    if fields.raw("end").is_some() {
        return Err(Damage::DuplicateKey("end".to_owned()));
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
            fields.push_text(key.trim(), value.trim().trim_matches('"'));
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
    push_quoted(&mut out, text);
    out
}

pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
        out.push('"');
        return;
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

/// Reads a non-negative integer of at most 64 bits.
pub(crate) fn number_of(value: &str) -> Option<u64> {
    // No number of so many digits is too great, so that nothing is checked at each digit.
    if !(1..=19).contains(&value.len()) {
        return value.parse().ok();
    }
    let (number, good) = value.bytes().fold((0u64, true), |(number, good), byte| {
        let digit = byte.wrapping_sub(b'0');
        (number.wrapping_mul(10).wrapping_add(digit.into()), good & (digit < 10))
    });
    good.then_some(number)
}

fn flush(units: &mut Vec<u16>, out: &mut String) -> Option<()> {
    for c in char::decode_utf16(units.drain(..)) {
        out.push(c.ok()?);
    }
    Some(())
}

impl Fields<'_> {
    /// The fields that every record of zeta starts with.
    pub fn new(kind: &'static str) -> Fields<'static> {
        let text = Cow::Owned(String::with_capacity(1024));
        let spans = Vec::with_capacity(SPANS);
        let mut fields = Fields { text, spans, table: KeyTable::default() };
        fields.push_number("schema", SCHEMA);
        fields.push_text("kind", kind);
        fields
    }

    /// Keys and values in order; a value is as it stands on disk.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| (self.key(*span), self.value(*span)))
    }

    fn key(&self, span: Span) -> &str {
        self.text.get(span.key()).unwrap_or_default()
    }

    fn value(&self, span: Span) -> &str {
        self.text.get(span.value()).unwrap_or_default()
    }

    /// The value of `key` as it stands on disk.
    // Inlined, so that the hash of a key is known to the compiler.
    #[inline(always)]
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.spans.get(self.find(key)?).map(|span| self.value(*span))
    }

    /// The number of the span of `key`.
    #[inline(always)]
    fn find(&self, key: &str) -> Option<usize> {
        let key = key.as_bytes();
        self.table.find(slot_of(key), key, |at| key_at(&self.text, &self.spans, at))
    }

    /// Keys and values whose keys are not in the table of these.
    pub(crate) fn not_in<'f>(
        &'f self,
        keys: &[&str],
        table: &KeyTable,
    ) -> impl Iterator<Item = (&'f str, &'f str)> {
        let known_at = |at| keys.get(at).copied().map(str::as_bytes);
        let is_known = move |span: &Span| {
            let key = self.text.as_bytes().get(span.key()).unwrap_or_default();
            table.find(span.slot, key, known_at).is_some()
        };
        let unknown = self.spans.iter().filter(move |span| !is_known(span));
        unknown.map(|span| (self.key(*span), self.value(*span)))
    }

    /// Appends the span of a key; false if the key is there already.
    #[inline(always)]
    fn insert(&mut self, key: &[u8], span: Span) -> bool {
        let key_at = |at| key_at(&self.text, &self.spans, at);
        let is_new = self.table.insert(span.slot, key, self.spans.len(), key_at);
        if is_new {
            self.spans.push(span);
        }
        is_new
    }

    /// The value of `key` as text, if it is a string.
    #[inline(always)]
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.raw(key).and_then(unquote)
    }

    /// The value of `key` as a number, if it is a non-negative integer of at most 64 bits.
    #[inline(always)]
    pub fn number(&self, key: &str) -> Option<u64> {
        number_of(self.raw(key)?)
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
    pub fn push_text(&mut self, key: &str, value: &str) {
        self.push(key, |text| push_quoted(text, value));
    }

    /// Appends a number field; the caller knows that the key is new.
    pub fn push_number(&mut self, key: &str, value: u64) {
        self.push(key, |text| push_number(text, value));
    }

    /// Appends a field whose value is already in its form on disk.
    pub fn push_raw(&mut self, key: &str, value: &str) {
        self.push(key, |text| text.push_str(value));
    }

    fn push(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        let text = self.text.to_mut();
        let start = text.len();
        text.push_str(key);
        text.push_str(": ");
        write(text);
        let span = Span::new(start, key.as_bytes(), text.len());
        text.push('\n');
        self.insert(key.as_bytes(), span);
    }

    /// Sets a string field in place, or appends it.
    pub fn set_text(&mut self, key: &str, value: &str) {
        self.set_raw(key, &quote(value));
    }

    /// Sets a number field in place, or appends it.
    pub fn set_number(&mut self, key: &str, value: u64) {
        self.set_raw(key, &value.to_string());
    }

    fn set_raw(&mut self, key: &str, value: &str) {
        let Some(at) = self.find(key) else { return self.push_raw(key, value) };
        let mut spans = self.spans.iter_mut().skip(at);
        let Some(span) = spans.next() else { return };
        let old = span.value();
        let moved = |place: u32| (place as usize - old.len() + value.len()) as u32;
        span.end = moved(span.end);
        for span in spans {
            (span.start, span.end) = (moved(span.start), moved(span.end));
        }
        self.text.to_mut().replace_range(old, value);
    }

    /// Removes a field if it is there.
    pub fn remove(&mut self, key: &str) {
        if self.find(key).is_none() {
            return;
        }
        let mut kept = Fields::default();
        for (known, value) in self.iter().filter(|(known, _)| *known != key) {
            kept.push_raw(known, value);
        }
        *self = kept;
    }

    /// The whole text of the record, with its last line.
    pub fn render(&self) -> String {
        [&self.text, "end: true\n"].concat()
    }

    /// A copy that owns its text.
    pub fn into_owned(self) -> Fields<'static> {
        let text = Cow::Owned(self.text.into_owned());
        Fields { text, spans: self.spans, table: self.table }
    }
}

/// The key of the span `at`; `None` after the last.
#[inline(always)]
fn key_at<'t>(text: &'t str, spans: &[Span], at: usize) -> Option<&'t [u8]> {
    text.as_bytes().get(spans.get(at)?.key())
}

#[cfg(test)]
mod tests;
