//! Helpers for the reports of messages and of claims: the shape of an answer, JSON that is safe on
//! a terminal, and ages.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use zeta_core::json::Object;
use zeta_core::record::is_unprintable;
use zeta_core::time::format_duration;

use zeta_os::host::wall_us;

/// The shape of the answers in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// One object on one line, with keys in snake_case.
    #[default]
    Zeta,
    /// The shape of the original's tool: bare arrays, keys in camelCase, several lines.
    Original,
}

impl Shape {
    /// Returns an answer in this shape; the original writes the keys in `camel_case` in camelCase.
    pub fn of(self, object: Object, camel_case: &[&str]) -> Object {
        match self {
            Shape::Zeta => object,
            Shape::Original => original_shape(&object, camel_case),
        }
    }

    /// Returns the text of an answer that the original prints over several lines.
    pub fn text(self, value: &Value) -> String {
        match self {
            Shape::Zeta => json_line(value),
            Shape::Original => json_lines(value),
        }
    }

    /// Returns the text of an answer in this shape: both its keys and its lines.
    pub fn text_of(self, object: Object, camel_case: &[&str]) -> String {
        match self {
            Shape::Zeta => object.done(),
            Shape::Original => {
                let object = original_shape(&object, camel_case).done();
                json_lines(&serde_json::from_str(&object).unwrap_or_default())
            }
        }
    }
}

/// Returns an answer of `zeta` with some of its keys written as the original writes them.
fn original_shape(object: &Object, camel_case: &[&str]) -> Object {
    fn renamed(value: Value, keys: &[&str]) -> Value {
        match value {
            Value::Object(map) => {
                let pairs = map.into_iter().map(|(key, value)| {
                    let key = if keys.contains(&key.as_str()) { in_camel_case(&key) } else { key };
                    (key, renamed(value, keys))
                });
                Value::Object(pairs.collect())
            }
            Value::Array(all) => {
                Value::Array(all.into_iter().map(|value| renamed(value, keys)).collect())
            }
            value => value,
        }
    }
    let answer: Map<String, Value> = serde_json::from_str(&object.done()).unwrap_or_default();
    let mut object = Object::new();
    if let Value::Object(map) = renamed(Value::Object(answer), camel_case) {
        map.iter().for_each(|(key, value)| _ = object.raw(key, &json_line(value)));
    }
    object
}

fn in_camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        name += &first.to_ascii_uppercase();
        name += rest;
    }
    name
}

/// Writes JSON on one line, safe on a terminal.
pub fn json_line(value: &Value) -> String {
    let mut safe = String::new();
    add_safe_json(&mut safe, &value.to_string());
    safe
}

/// Writes JSON over several lines, as the original prints it, safe on a terminal.
pub fn json_lines(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut safe = String::with_capacity(text.len());
    add_safe_json(&mut safe, &text);
    safe
}

/// Adds the text of a message, indented. JSON has no line breaks inside strings.
pub fn add_indented(text: &mut String, json: &str) {
    for (at, line) in json.trim().lines().enumerate() {
        text.push_str(if at == 0 { "  " } else { "\n  " });
        add_safe_json(text, line);
    }
}

/// Adds JSON on one line, without the blanks between its tokens.
pub fn add_compact(text: &mut String, json: &str) {
    let mut rest = json;
    while !rest.is_empty() {
        let (words, quoted) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
        text.extend(words.chars().filter(|c| !c.is_ascii_whitespace()));
        let (string, after) = quoted.split_at(string_len(quoted));
        add_safe_json(text, string);
        rest = after;
    }
}

/// Returns the length of the string at the start of `json`, its quotes included, in bytes.
fn string_len(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

/// Adds JSON that every reader can parse and that is safe on a terminal.
fn add_safe_json(text: &mut String, json: &str) {
    if json.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.push_str(json);
    }
    for c in json.chars() {
        match c != '\n' && is_unprintable(c) {
            // Only strings can hold such a character.
            true => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            false => text.push(c),
        }
    }
}

/// Formats an age: "3m 2s ago".
pub fn age(sent_us: i64) -> String {
    match sent_us {
        i64::MIN => "undated".to_owned(),
        us => format!("{} ago", format_duration(wall_us().abs_diff(us) / 1000)),
    }
}

/// Formats a count: "1 message", "2 messages".
pub fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_its_blanks_and_no_character_of_a_string() {
        let json =
            "{\n  \"a b\": \"c \\\" d\\\\\",\r\n\t\"e\" : [ 1, 2.50 ,null ],\"f\":\"\u{9b}é \"}";
        let mut compact = String::new();
        add_compact(&mut compact, json);
        let want = "{\"a b\":\"c \\\" d\\\\\",\"e\":[1,2.50,null],\"f\":\"\\u009bé \"}";
        assert_eq!(compact, want);
        let (before, after): (Value, Value) =
            (serde_json::from_str(json).unwrap(), serde_json::from_str(&compact).unwrap());
        assert_eq!(before, after);
        // Text that is not JSON does not cause an endless loop.
        add_compact(&mut compact, "\"open \\");
    }

    #[test]
    fn the_original_s_shape_renames_only_the_keys_that_it_has() {
        let mut object = Object::new();
        object.text("item_id", "x").number("fencing_token", 5);
        object.objects("claims", [1], |object, _| _ = object.text("expires_at", "soon"));
        let shaped = Shape::Original.of(object.clone(), &["item_id", "expires_at"]);
        let want = "{\"itemId\":\"x\",\"fencing_token\":5,\"claims\":[{\"expiresAt\":\"soon\"}]}";
        assert_eq!(shaped.done(), want);
        assert_eq!(Shape::Zeta.of(object.clone(), &["item_id"]).done(), object.done());
        assert!(Shape::Original.text_of(object, &[]).starts_with("{\n  \"item_id\": \"x\",\n"));
    }
}
