//! Fields of a tool's JSON, as the dialects read them.

use serde_json::Value;
use zeta_core::hook::Action;

/// Returns a text that is not empty.
pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Returns the paths under these keys as an edit.
pub(super) fn edit(input: &Value, keys: &[&str]) -> Action {
    Action::Edit(keys.iter().filter_map(|key| text(input, key)).collect())
}

/// Returns the command under one of these keys; a list of words is joined.
pub(super) fn shell(input: &Value, keys: &[&str], dir: &[&str]) -> Action {
    let command = |key: &&str| match input.get(*key)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            // `bash -lc TEXT` is the text; other words are a command of their own.
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            match words.as_slice() {
                [_, "-c" | "-lc", text, ..] => Some((*text).to_owned()),
                words => Some(words.join(" ")),
            }
        }
        _ => None,
    };
    match keys.iter().find_map(command) {
        Some(text) => {
            Action::Shell { text, dir: dir.iter().find_map(|key| self::text(input, key)) }
        }
        None => Action::Other,
    }
}

/// Writes an object of one key.
pub(super) fn object(key: &str, value: Value) -> Value {
    Value::Object([(key.to_owned(), value)].into_iter().collect())
}
