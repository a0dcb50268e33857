//! The line that the log of repairs keeps of each answer: one JSON object.

use serde::{Deserialize, Serialize};

use crate::time::format_utc;

/// A log that is longer, in bytes, is put aside, and a new one is begun.
pub const LOG_MAX: u64 = 1 << 20;
/// Longest text of a key, in bytes.
const TEXT_MAX: usize = 200;

/// An answer of the gate, with who asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// When, as `2026-11-30T09:00:00.000000Z`.
    pub at: String,
    /// `allowed` or `refused`.
    pub outcome: String,
    /// The persona that would repair, as the call named it.
    pub persona: String,
    /// The scope, as the call named it.
    pub scope: String,
    /// The unit that would be restarted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// The token of the persona's lease at its guard post, if the caller holds it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fencing_token: Option<u64>,
    /// The agent that asked.
    pub agent: String,
    /// Its session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// Its user id.
    pub uid: u32,
    /// The process that ran the call.
    pub pid: u32,
    /// Why it was refused, or by which permission it was allowed.
    pub reason: String,
    /// The policy that was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
}

impl Entry {
    /// Its line, with a line feed. Long texts are cut: a call cannot fill the log.
    pub fn render(&self, at_us: i64) -> String {
        let mut entry = Entry { at: format_utc(at_us), ..self.clone() };
        let texts = [&mut entry.persona, &mut entry.scope, &mut entry.agent, &mut entry.reason];
        let given = [&mut entry.unit, &mut entry.session, &mut entry.policy];
        texts.into_iter().chain(given.into_iter().flatten()).for_each(cut);
        serde_json::to_string(&entry).unwrap_or_default() + "\n"
    }

    /// Reads a line; `None` if it is torn, or no entry.
    pub fn parse(line: &str) -> Option<Entry> {
        serde_json::from_str(line).ok()
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
}
