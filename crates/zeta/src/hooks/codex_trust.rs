//! Whether Codex runs the hooks in its file: its user must have trusted each one, and Codex keeps a
//! digest of what was trusted, under the place of the hook in the file.

use std::path::Path;

use serde_json::{Map, Value};
use zeta_core::hook::sha256;

use super::document::{self, Group};

/// Most bytes of Codex's configuration.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Returns whether all these groups are trusted. What cannot be read is not.
pub(super) fn is_trusted(file: &Path, groups: &[Group]) -> bool {
    let Some(dir) = file.parent() else { return false };
    let read = |path: &Path| {
        let bytes = zeta_os::files::read_plain(path, BYTES_MAX).ok()?;
        String::from_utf8(bytes).ok()
    };
    let Some(text) = read(file) else { return false };
    let config = read(&super::settings::codex_config(dir)).unwrap_or_default();
    let Ok(config) = config.parse::<toml::Table>() else { return false };
    let state = config.get("hooks").and_then(|hooks| hooks.get("state"));
    groups.iter().all(|group| {
        let Ok(Some(at)) = document::place(document::split_mark(&text).1, group) else {
            return false;
        };
        let event = snake(&group.0);
        let key = format!("{}:{event}:{at}:0", file.display());
        let kept = state.and_then(|state| state.get(&key)?.get("trusted_hash")?.as_str());
        kept.is_some() && kept == digest(&event, &group.1).as_deref()
    })
}

/// The digest of a group with one hook, as Codex makes it.
fn digest(event: &str, group: &str) -> Option<String> {
    let group: Value = serde_json::from_str(group).ok()?;
    let hook = group.get("hooks")?.get(0)?;
    // In the order of the alphabet, and without white space.
    let mut sorted = Map::new();
    sorted.insert("async".into(), false.into());
    for key in ["command", "timeout", "type"] {
        sorted.insert(key.into(), hook.get(key)?.clone());
    }
    let mut all = Map::new();
    all.insert("event_name".into(), event.into());
    all.insert("hooks".into(), vec![Value::Object(sorted)].into());
    all.extend(group.get("matcher").map(|matcher| ("matcher".to_owned(), matcher.clone())));
    Some(format!("sha256:{}", sha256(&Value::Object(all).to_string())))
}

/// `PreToolUse` as `pre_tool_use`.
fn snake(event: &str) -> String {
    let mut out = String::new();
    for c in event.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
