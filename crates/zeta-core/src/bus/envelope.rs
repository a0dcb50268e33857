//! One message: what its file says, how it is written, and how long it counts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize as _};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::topic;
use crate::time::parse_utc;

/// Most bytes of a message's file.
pub const ENVELOPE_MAX: usize = 64 * 1024;
/// Deepest nesting of a payload.
pub const DEPTH_MAX: usize = 32;
/// How far in the future a message may be dated, in µs: further on its file's time counts.
pub const SKEW_US: i64 = 5_000_000;

/// A message with all that stands round it, as the original names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// What it is about.
    pub topic: String,
    /// What it says.
    pub payload: Value,
    /// Its name: a UUID of version 4, and the name of its file.
    pub id: String,
    /// Who sent it.
    pub from: String,
    /// Whom it is for; `*` is everybody.
    pub to: String,
    /// When it was sent, as it stands there: ISO 8601.
    pub timestamp: String,
    /// Until when it counts, as it stands there.
    pub expires_at: String,
    /// Keys that this program does not know.
    pub extra: Map<String, Value>,
}

/// As much of a message as a list needs, in its text. Only [`Header::of`] makes one, and each
/// [`Envelope`] is made from one: both have the same idea of what is a message.
#[derive(Debug)]
pub struct Header<'a> {
    /// What it is about.
    pub topic: Cow<'a, str>,
    /// What it says, as JSON; absent is null.
    pub payload: Option<&'a RawValue>,
    /// Its name.
    pub id: Cow<'a, str>,
    /// Who sent it.
    pub from: Cow<'a, str>,
    /// Whom it is for.
    pub to: Cow<'a, str>,
    /// When it was sent.
    pub timestamp: Cow<'a, str>,
    /// Until when it counts.
    pub expires_at: Cow<'a, str>,
    /// The first message of its thread, if it names one.
    pub thread: Option<Cow<'a, str>>,
    /// All of it.
    pub text: &'a str,
}

/// Why a file is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// More bytes than a message may have.
    #[error("it is longer than {ENVELOPE_MAX} bytes")]
    TooLong,
    /// No JSON, perhaps because it is being written.
    #[error("it is no whole JSON: {0}")]
    NotJson(String),
    /// Nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// JSON, and no message: a key is missing or is no text, or a number is too large.
    #[error("it is no message: {0}")]
    NotMessage(String),
    /// The id differs from the file's name.
    #[error("its id is {0:?}, which is not its file's name")]
    OtherId(String),
    /// The file has a name that no id has.
    #[error("its name is not the id of a message")]
    BadName,
}

/// When the file of a message was last changed and looked at, in µs since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSeen {
    /// Its modification time.
    pub mtime_us: i64,
    /// Now.
    pub now_us: i64,
    /// The message came from another node, whose clock may be another one.
    pub is_imported: bool,
}

/// Does a message still count?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does, until this time (µs since the Unix epoch).
    Lives(i64),
    /// Its time is over.
    Expired,
}

/// Could this be an id, so that it is safe as the name of a file?
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with('.')
}

impl Envelope {
    /// Reads the file of the message `id`.
    pub fn parse(bytes: &[u8], id: &str) -> Result<Envelope, BadEnvelope> {
        if bytes.len() > ENVELOPE_MAX {
            return Err(BadEnvelope::TooLong);
        }
        Header::of(&text_of(bytes), id)?.whole()
    }

    /// The message as the original writes it: its keys in this order, two blanks, no last newline.
    pub fn render(&self) -> String {
        let mut out = Vec::with_capacity(512);
        let mut writer = serde_json::Serializer::pretty(&mut out);
        // Neither a value nor a vector can fail.
        let _ = Value::Object(self.to_object()).serialize(&mut writer);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The message as a JSON object, its keys in the order of the original.
    pub fn to_object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("topic".to_owned(), self.topic.as_str().into());
        object.insert("payload".to_owned(), self.payload.clone());
        for (key, text) in [
            ("id", &self.id),
            ("from", &self.from),
            ("to", &self.to),
            ("timestamp", &self.timestamp),
            ("expiresAt", &self.expires_at),
        ] {
            object.insert(key.to_owned(), text.as_str().into());
        }
        object.extend(self.extra.iter().map(|(key, value)| (key.clone(), value.clone())));
        object
    }

    /// What says when it counts.
    pub fn when(&self) -> When<'_> {
        When { topic: &self.topic, timestamp: &self.timestamp, expires_at: &self.expires_at }
    }

    /// The id of the first message of its thread: its own, if it answers none.
    pub fn thread(&self) -> &str {
        let named = self.extra.get(THREAD).and_then(Value::as_str);
        named.filter(|first| is_id(first)).unwrap_or(&self.id)
    }

    /// Returns whether it is the first message of this thread, or a later one.
    pub fn is_in_thread(&self, first: &str) -> bool {
        self.id == first || self.thread() == first
    }
}

/// The text of a message's file as the original reads it: what is not UTF-8 is U+FFFD, and so is
/// half of a surrogate pair. `JSON.stringify` writes such a half where a program cut a text in the
/// midst of a letter.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => without_lone_surrogates(text),
        Cow::Owned(text) => match without_lone_surrogates(&text) {
            Cow::Owned(text) => Cow::Owned(text),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}

fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut safe = String::new();
    let (mut taken, mut at) = (0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at += match (unit_at(json, at), unit_at(json, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                safe.push_str(json.get(taken..at).unwrap_or_default());
                safe.push_str("\\ufffd");
                taken = at + 6;
                6
            }
            _ => 2,
        };
    }
    match taken {
        0 => Cow::Borrowed(json),
        _ => Cow::Owned(safe + json.get(taken..).unwrap_or_default()),
    }
}

/// The number in an escape of the form `\uXXXX` that begins at this place.
fn unit_at(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

impl<'a> Header<'a> {
    /// Reads the text of the message `id` as [`text_of`] returns it, without taking its payload
    /// apart.
    pub fn of(text: &'a str, id: &str) -> Result<Header<'a>, BadEnvelope> {
        let header = Header::read(text)?;
        match header.id == id {
            true => Ok(header),
            false => Err(BadEnvelope::OtherId(header.id.into_owned())),
        }
    }

    /// As [`Header::of`], of a message whose id nothing but its text says.
    pub fn read(text: &'a str) -> Result<Header<'a>, BadEnvelope> {
        if depth(text) > DEPTH_MAX + 1 {
            return Err(BadEnvelope::TooDeep);
        }
        let header: Header<'a> = serde_json::from_str(text).map_err(|error| {
            let said = error.to_string();
            match error.classify() {
                serde_json::error::Category::Data => BadEnvelope::NotMessage(said),
                _ => BadEnvelope::NotJson(said),
            }
        })?;
        Ok(Header { text, ..header })
    }

    /// Returns whether it is the first message of this thread, or a later one.
    pub fn is_in_thread(&self, first: &str) -> bool {
        let named = self.thread.as_deref().filter(|named| is_id(named));
        self.id == first || named == Some(first)
    }

    /// The whole message.
    pub fn whole(&self) -> Result<Envelope, BadEnvelope> {
        let object: Map<String, Value> = serde_json::from_str(self.text)
            .map_err(|error| BadEnvelope::NotMessage(error.to_string()))?;
        let mut payload = Value::Null;
        let mut extra = Map::new();
        for (key, value) in object {
            match key.as_str() {
                "payload" => payload = value,
                key if HEADER_KEYS.contains(&key) => {}
                _ => _ = extra.insert(key, value),
            }
        }
        Ok(Envelope {
            topic: self.topic.clone().into_owned(),
            payload,
            id: self.id.clone().into_owned(),
            from: self.from.clone().into_owned(),
            to: self.to.clone().into_owned(),
            timestamp: self.timestamp.clone().into_owned(),
            expires_at: self.expires_at.clone().into_owned(),
            extra,
        })
    }

    /// What says when it counts.
    pub fn when(&self) -> When<'_> {
        When { topic: &self.topic, timestamp: &self.timestamp, expires_at: &self.expires_at }
    }
}

/// The key of the message that a message answers.
pub const IN_REPLY_TO: &str = "inReplyTo";
/// The key of the first message of a thread.
pub const THREAD: &str = "thread";

/// The keys of every message but `payload`.
const HEADER_KEYS: [&str; 6] = ["topic", "id", "from", "to", "timestamp", "expiresAt"];

impl<'de: 'a, 'a> Deserialize<'de> for Header<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header<'a>, D::Error> {
        deserializer.deserialize_map(HeaderVisitor(PhantomData))
    }
}

struct HeaderVisitor<'a>(PhantomData<&'a str>);

/// A string that is borrowed from the text where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct TextVisitor<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

impl<'de: 'a, 'a> Visitor<'de> for HeaderVisitor<'a> {
    type Value = Header<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    /// Of a key that stands twice the last one counts, as in JavaScript.
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header<'a>, M::Error> {
        let (mut payload, mut thread) = (None, None);
        let mut texts: [Option<Cow<'a, str>>; 6] = Default::default();
        while let Some(Text(key)) = map.next_key::<Text<'a>>()? {
            match HEADER_KEYS.iter().zip(&mut texts).find(|(known, _)| **known == key) {
                Some((_, text)) => *text = Some(map.next_value::<Text<'a>>()?.0),
                None if key == "payload" => payload = Some(map.next_value()?),
                None if key == THREAD => {
                    let value: &'a RawValue = map.next_value()?;
                    // Other programs may use the key for something else.
                    thread = serde_json::from_str(value.get()).ok().map(|Text(id)| id);
                }
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let mut keys = HEADER_KEYS.iter().zip(texts);
        let mut next = || match keys.next() {
            Some((_, Some(text))) => Ok(text),
            Some((key, None)) => Err(M::Error::missing_field(key)),
            None => Err(M::Error::custom("too many keys")),
        };
        Ok(Header {
            topic: next()?,
            payload,
            id: next()?,
            from: next()?,
            to: next()?,
            timestamp: next()?,
            expires_at: next()?,
            thread,
            text: "",
        })
    }
}

/// What says when a message was sent and until when it counts.
#[derive(Debug, Clone, Copy)]
pub struct When<'a> {
    pub(super) topic: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) expires_at: &'a str,
}

impl When<'_> {
    /// When it was sent, in µs: what is dated in the future counts from when it was stored.
    pub fn sent_us(self, seen: FileSeen) -> i64 {
        let Ok(sent_us) = parse_utc(self.timestamp) else { return i64::MIN };
        match self.is_future(seen) {
            true => seen.mtime_us.min(seen.now_us),
            false => sent_us,
        }
    }

    /// The time from its sending to its end as they stand there, in µs, at most the longest life of
    /// a message; `None` if one of them is no time.
    pub fn life_us(self) -> Option<i64> {
        let life_us = parse_utc(self.expires_at).ok()? - parse_utc(self.timestamp).ok()?;
        Some(life_us.clamp(0, us_of(topic::LIFE_MAX_MS)))
    }

    /// Is it dated further in the future than clocks differ?
    ///
    /// A message is not stored before it is sent. So the file's time counts even after that future
    /// has come, and no claim comes back to life with it.
    pub fn is_future(self, seen: FileSeen) -> bool {
        let stored_us = seen.mtime_us.min(seen.now_us);
        parse_utc(self.timestamp).is_ok_and(|us| us > stored_us.saturating_add(SKEW_US))
    }

    /// Does its end say no time? The original keeps such a message for ever.
    pub fn is_endless(self) -> bool {
        parse_utc(self.expires_at).is_err()
    }

    /// Does it still count? One that is dated in the future, or whose end is no time, lives as long
    /// as its topic allows from the time of its file. One that came from another node lives from
    /// the time of its file on, which says when it was sent by the clock of this node.
    pub fn fate(self, seen: FileSeen) -> Fate {
        let stored_us = seen.mtime_us.min(seen.now_us);
        let life_ms = topic::known(self.topic).map_or(topic::LIFE_MAX_MS, |topic| topic.life_ms);
        let life_us = us_of(life_ms);
        let longest_us = stored_us.saturating_add(life_us);
        let until_us = match parse_utc(self.expires_at) {
            Ok(_) if seen.is_imported => match self.life_us() {
                Some(whole_us) => seen.mtime_us.saturating_add(whole_us),
                None => longest_us,
            },
            Ok(until_us) if self.is_future(seen) => until_us.min(longest_us),
            Ok(until_us) => until_us,
            Err(_) => longest_us,
        };
        match until_us < seen.now_us {
            true => Fate::Expired,
            false => Fate::Lives(until_us),
        }
    }
}

fn us_of(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// How deep brackets nest outside of strings: found before anything is built from the text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            // Outside of a string it is no JSON, and the reader ends there.
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
