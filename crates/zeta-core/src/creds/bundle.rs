//! The plaintext of a blob: the original's JSON, read with its leniency and refused with its
//! reasons. The values are secrets; neither `Debug` nor an error shows a byte of them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The only schema.
const SCHEMA: f64 = 1.0;

/// The bytes of one credential. Cleared when they go.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes bytes over; they must be in a buffer that did not grow.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Credentials by id, in the order in which they were put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    secrets: Vec<(String, Secret)>,
    /// Where some of them were found.
    places: Vec<(String, String)>,
}

impl Section {
    /// Puts one in; the last of an id counts and stays where the first one was.
    pub fn put(&mut self, id: &str, secret: Secret) {
        put(&mut self.secrets, id, secret);
    }

    /// Remembers the place where the credential of an id was found.
    pub fn put_place(&mut self, id: &str, place: &str) {
        put(&mut self.places, id, place.to_owned());
    }

    /// The secret of an id.
    pub fn get(&self, id: &str) -> Option<&Secret> {
        self.iter().find(|(known, _)| *known == id).map(|(_, secret)| secret)
    }

    /// The place where the credential of an id was found. It was read from a blob, so it has to be
    /// judged before it is used.
    pub fn place(&self, id: &str) -> Option<&str> {
        let found = self.places.iter().find(|(known, _)| *known == id);
        found.map(|(_, place)| place.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.secrets.iter().map(|(id, secret)| (id.as_str(), secret))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Puts all of another section in. A place that only this one knows stays.
    fn merge(&mut self, other: Section) {
        for (id, secret) in other.secrets {
            self.put(&id, secret);
        }
        for (id, place) in other.places {
            self.put_place(&id, &place);
        }
    }
}

/// Everything in a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// What every persona of a machine shares.
    pub global: Section,
    /// What belongs to one persona, by its name.
    personas: Vec<(String, Section)>,
}

/// Why a plaintext is not a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// No JSON.
    #[error("the content is not JSON")]
    NotJson,
    /// JSON, and no object.
    #[error("the content is not a JSON object")]
    NotObject,
    /// Another schema, or none.
    #[error("schemaVersion is not the number 1")]
    Schema,
    /// It is missing or no object.
    #[error("{0} is not an object")]
    NotMap(&'static str),
    /// A persona's section is no object.
    #[error("a section of personaCreds is not an object")]
    PersonaNotMap,
    /// A value is no string.
    #[error("a value in {0} is not a string")]
    NotString(&'static str),
}

const GLOBAL: &str = "globalCreds";
const PERSONAS: &str = "personaCreds";
/// Keys of ours, which the original passes over.
const PLACES: &str = "places";
const PERSONA_PLACES: &str = "personaPlaces";

impl Bundle {
    /// Returns true without any credential.
    pub fn is_empty(&self) -> bool {
        self.global.is_empty() && self.personas.iter().all(|(_, section)| section.is_empty())
    }

    /// Puts all of another bundle in.
    pub fn merge(&mut self, other: Bundle) {
        self.global.merge(other.global);
        for (name, section) in other.personas {
            self.in_persona(&name, |own| own.merge(section));
        }
    }

    /// The section of a persona, if there is one.
    pub fn persona(&self, name: &str) -> Option<&Section> {
        self.personas().find(|(known, _)| *known == name).map(|(_, section)| section)
    }

    /// Puts one into the section of a persona.
    pub fn put_persona(&mut self, name: &str, id: &str, secret: Secret) {
        self.in_persona(name, |section| section.put(id, secret));
    }

    /// Changes the section of a persona, which is made if there is none.
    pub fn in_persona(&mut self, name: &str, change: impl FnOnce(&mut Section)) {
        match self.personas.iter_mut().find(|(known, _)| known == name) {
            Some((_, section)) => change(section),
            None => {
                let mut section = Section::default();
                change(&mut section);
                self.personas.push((name.to_owned(), section));
            }
        }
    }

    /// All personas that have a section.
    pub fn personas(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.personas.iter().map(|(name, section)| (name.as_str(), section))
    }

    /// Reads a plaintext.
    pub fn parse(plain: &[u8]) -> Result<Bundle, BadBundle> {
        let text = std::str::from_utf8(plain).map_err(|_| BadBundle::NotJson)?;
        let top: &RawValue = serde_json::from_str(text).map_err(|_| BadBundle::NotJson)?;
        let top = object(top).ok_or(BadBundle::NotObject)?;
        let find = |key: &str| top.iter().find(|(known, _)| known == key).map(|(_, raw)| *raw);
        let schema = find("schemaVersion").and_then(|raw| serde_json::from_str(raw.get()).ok());
        if schema != Some(SCHEMA) {
            return Err(BadBundle::Schema);
        }
        let map = |key| find(key).and_then(object).ok_or(BadBundle::NotMap(key));
        let mut global = section(map(GLOBAL)?, GLOBAL)?;
        let mut personas: Vec<(String, Section)> = map(PERSONAS)?
            .into_iter()
            .map(|(name, raw)| {
                let values = object(raw).ok_or(BadBundle::PersonaNotMap)?;
                Ok((name, section(values, PERSONAS)?))
            })
            .collect::<Result<_, _>>()?;
        find(PLACES).into_iter().for_each(|raw| read_places(raw, &mut global));
        for (name, raw) in find(PERSONA_PLACES).and_then(object).unwrap_or_default() {
            let section = personas.iter_mut().find(|(known, _)| *known == name);
            section.into_iter().for_each(|(_, section)| read_places(raw, section));
        }
        Ok(Bundle { global, personas })
    }

    /// Writes the plaintext, as the original does. The buffer does not grow while secrets are in.
    pub fn render(&self) -> Zeroizing<Vec<u8>> {
        let mut size = Size(0);
        self.write(&mut size);
        let mut out = Zeroizing::new(Vec::with_capacity(size.0));
        self.write(&mut *out);
        out
    }

    fn write(&self, out: &mut impl Out) {
        out.text("{\"schemaVersion\":1,\"globalCreds\":");
        write_section(&self.global, out);
        out.text(",\"personaCreds\":{");
        for (at, (name, section)) in self.personas().enumerate() {
            write_key(at, name, out);
            write_section(section, out);
        }
        out.text("}");
        if !self.global.places.is_empty() {
            write_key(1, PLACES, out);
            write_places(&self.global, out);
        }
        let placed = self.personas().filter(|(_, section)| !section.places.is_empty());
        let placed: Vec<(&str, &Section)> = placed.collect();
        if !placed.is_empty() {
            write_key(1, PERSONA_PLACES, out);
            out.text("{");
            for (at, (name, section)) in placed.into_iter().enumerate() {
                write_key(at, name, out);
                write_places(section, out);
            }
            out.text("}");
        }
        out.text("}");
    }
}

fn write_places(section: &Section, out: &mut impl Out) {
    out.text("{");
    for (at, (id, place)) in section.places.iter().enumerate() {
        write_key(at, id, out);
        out.text(&serde_json::Value::from(place.as_str()).to_string());
    }
    out.text("}");
}

/// Reads the places of a section. What is no text is passed over: it is a hint, and no credential.
fn read_places(raw: &RawValue, section: &mut Section) {
    for (id, raw) in object(raw).unwrap_or_default() {
        let place = Json(raw).string(str::to_owned);
        place.into_iter().for_each(|place| section.put_place(&id, &place));
    }
}

fn write_section(section: &Section, out: &mut impl Out) {
    out.text("{");
    for (at, (id, secret)) in section.iter().enumerate() {
        write_key(at, id, out);
        out.text("\"");
        out.base64(secret.bytes());
        out.text("\"");
    }
    out.text("}");
}

fn write_key(at: usize, key: &str, out: &mut impl Out) {
    out.text(if at == 0 { "" } else { "," });
    out.text(&serde_json::Value::from(key).to_string());
    out.text(":");
}

/// Where a bundle is written to: first a count, then a buffer of that size.
trait Out {
    fn text(&mut self, text: &str);
    fn base64(&mut self, bytes: &[u8]);
}

struct Size(usize);

impl Out for Size {
    fn text(&mut self, text: &str) {
        self.0 += text.len();
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.0 += bytes.len().div_ceil(3) * 4;
    }
}

impl Out for Vec<u8> {
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    fn base64(&mut self, bytes: &[u8]) {
        let mut quad = Zeroizing::new([0; 4]);
        for three in bytes.chunks(3) {
            // Four bytes hold what three become, so there is no error to tell.
            if let Ok(len) = STANDARD.encode_slice(three, &mut quad[..]) {
                self.extend(quad.iter().take(len));
            }
        }
    }
}

fn section(values: Vec<(String, &RawValue)>, place: &'static str) -> Result<Section, BadBundle> {
    let mut section = Section::default();
    for (id, raw) in values {
        let secret = Json(raw).string(lenient_base64).ok_or(BadBundle::NotString(place))?;
        section.put(&id, secret);
    }
    Ok(section)
}

fn put<T>(list: &mut Vec<(String, T)>, key: &str, value: T) {
    match list.iter_mut().find(|(known, _)| known == key) {
        Some((_, place)) => *place = value,
        None => list.push((key.to_owned(), value)),
    }
}

/// Base64 as the original's runtime reads it: both alphabets, anything else skipped, the end at the
/// first `=`, and bits that make no byte dropped.
fn lenient_base64(text: &str) -> Secret {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(text.bytes().take_while(|byte| *byte != b'=').filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        _ => byte.is_ascii_alphanumeric().then_some(byte),
    }));
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    let mut bytes = Zeroizing::new(vec![0; letters.len() / 4 * 3 + 3]);
    let len = ENGINE.decode_slice(&letters, &mut bytes).unwrap_or(0);
    bytes.truncate(len);
    Secret(bytes)
}

/// The members of an object, the last of each key; `None` if it is no object.
fn object(raw: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                put(&mut members, &key, value);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Members).ok()
}

/// A value that may be a string with a secret in it.
struct Json<'a>(&'a RawValue);

impl Json<'_> {
    /// Hands a string to `read` without a copy of it (unless it has escapes, which base64 has not).
    fn string<T>(&self, read: fn(&str) -> T) -> Option<T> {
        struct Text<T>(fn(&str) -> T);
        impl<T> Visitor<'_> for Text<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<T, E> {
                Ok((self.0)(text))
            }
        }
        serde_json::Deserializer::from_str(self.0.get()).deserialize_str(Text(read)).ok()
    }
}

#[cfg(test)]
mod tests;
