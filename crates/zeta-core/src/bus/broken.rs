//! What can still be seen of a claim in a file that cannot be read as a message.
//!
//! Its sender may rely on it, and the original may read it. So it counts as a claim until it
//! expires; only a message that can be read whole frees an item.

use super::claim::{Action, ClaimMessage, Said, judge_said};
use super::envelope::{BadEnvelope, Envelope, Fate, FileSeen, When, text_of};
use super::topic;
use crate::time::{format_utc, parse_utc};

/// The sender of a claim whose sender cannot be seen. No address is like it.
pub const UNKNOWN: &str = "?";

/// Judges whether the file of the message `id` is one, and what it says about claims.
pub fn judge_file(bytes: &[u8], id: &str, seen: FileSeen) -> (Result<Envelope, BadEnvelope>, Said) {
    let envelope = Envelope::parse(bytes, id);
    let said = match &envelope {
        Ok(envelope) => judge_said(envelope, seen),
        Err(_) => judge_broken(bytes, id, seen),
    };
    (envelope, said)
}

/// Judges the file of the message `id`, which is no message, from as much of its bytes as was read.
pub fn judge_broken(bytes: &[u8], id: &str, seen: FileSeen) -> Said {
    let text = text_of(bytes);
    let pairs = pairs(&text);
    let find = |key: &str, deepest: usize| {
        let mut found = pairs.iter().filter(|pair| pair.key == key && pair.depth <= deepest);
        found.next_back().map(|pair| pair.value.clone())
    };
    let top = |key: &str| find(key, 1);
    if top("topic").as_deref() != Some(topic::CLAIM) {
        return Said::Nothing;
    }
    let action = find("action", usize::MAX);
    if action.is_some_and(|action| action != "claim") {
        return Said::Nothing;
    }
    let stored_us = seen.mtime_us.min(seen.now_us);
    let life_us = topic::known(topic::CLAIM).map_or(0, |topic| topic.life_ms as i64 * 1000);
    let date = |key: &str, otherwise_us: i64| {
        let date = top(key).filter(|date| parse_utc(date).is_ok());
        date.unwrap_or_else(|| format_utc(otherwise_us))
    };
    let timestamp = date("timestamp", stored_us);
    let expires_at = date("expiresAt", stored_us.saturating_add(life_us));
    let when = When { topic: topic::CLAIM, timestamp: &timestamp, expires_at: &expires_at };
    let Fate::Lives(until_us) = when.fate(seen) else { return Said::Nothing };
    let Some(item) = find("itemId", usize::MAX) else { return Said::Untold };
    Said::Claim(Box::new(ClaimMessage {
        id: id.to_owned(),
        from: top("from").unwrap_or_else(|| UNKNOWN.to_owned()),
        action: Action::Claim,
        item,
        branch: find("branch", usize::MAX),
        worktree: find("worktree", usize::MAX),
        shareable: false,
        grant: None,
        order: (when.sent_us(seen), seen.mtime_us),
        until_us: Some(until_us),
        timestamp,
        expires_at,
    }))
}

/// A key and its value, both strings.
struct Pair {
    /// In how many brackets it stands.
    depth: usize,
    key: String,
    value: String,
}

/// Finds the pairs of whole strings in a text that may be no JSON.
fn pairs(text: &str) -> Vec<Pair> {
    let (mut found, mut key, mut depth, mut at) = (Vec::new(), None, 0usize, 0);
    while let Some(rest) = text.get(at..)
        && let Some(next) = rest.find(['"', '{', '[', '}', ']', ','])
    {
        at += next + 1;
        match text.as_bytes().get(at - 1) {
            Some(b'"') => {}
            other => {
                match other {
                    Some(b'{' | b'[') => depth += 1,
                    Some(b'}' | b']') => depth = depth.saturating_sub(1),
                    _ => {}
                }
                key = None;
                continue;
            }
        }
        let Some(len) = string_len(text.get(at..).unwrap_or_default()) else { break };
        let string = unescaped(text.get(at - 1..at + len).unwrap_or_default());
        at += len;
        let is_key = text.get(at..).is_some_and(|rest| rest.trim_start().starts_with(':'));
        match (is_key, key.take()) {
            (true, _) => key = Some(string),
            (false, Some(key)) => found.push(Pair { depth, key, value: string }),
            (false, None) => {}
        }
    }
    found
}

/// The length of the string whose first letter stands here, with its last quote; `None` if it has
/// no end.
fn string_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn unescaped(quoted: &str) -> String {
    let plain = || quoted.trim_matches('"').to_owned();
    serde_json::from_str(quoted).unwrap_or_else(|_| plain())
}
