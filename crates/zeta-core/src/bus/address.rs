//! The names of senders and recipients: `persona`, or `persona/surface[/instance][@node]`.
//!
//! The original knows a closed list of ids and wrote surfaces with a dash (`otto-cli`). Here any
//! name is an address; only for the personas of that list a dash is read as a surface.

use std::fmt;

/// The recipient that stands for everybody.
pub const EVERYBODY: &str = "*";
/// Longest address, in bytes.
const ADDRESS_MAX: usize = 128;
/// The personas of the original, whose surfaces were written with a dash.
const PERSONAS: [&str; 6] = ["otto", "alexa", "riven", "vera", "lior", "soraya"];
/// The ids that the original accepts, all of its generations.
const ORIGINAL: [&str; 17] = [
    "otto",
    "alexa",
    "riven",
    "vera",
    "lior",
    "soraya",
    "otto-cli",
    "otto-desktop",
    "otto-vscode",
    "otto-windows",
    "alexa-cli",
    "alexa-kiro",
    "riven-cli",
    "riven-cursor",
    "lior-antigravity",
    "lior-gemini",
    "vera-codex",
];

/// A sender or a recipient that is no broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: String,
    /// Where its persona ends.
    persona: usize,
}

impl Address {
    /// Reads an address; the error is the rule that it breaks.
    pub fn new(text: &str) -> Result<Address, &'static str> {
        const RULE: &str = "write a name of a-z, 0-9, '.', '_' and '-' that starts with a \
                            letter or a digit, as in otto-cli, or \
                            persona/surface[/instance][@node], as in otto/cli@node-1a2b3c (at \
                            most 128 bytes)";
        let (cell, node) = match text.split_once('@') {
            Some((cell, node)) => (cell, Some(node)),
            None => (text, None),
        };
        let parts: Vec<&str> = cell.split('/').collect();
        let good = text.len() <= ADDRESS_MAX
            && parts.len() <= 3
            && parts.iter().copied().chain(node).all(is_segment)
            && (node.is_none() || parts.len() > 1);
        if !good {
            return Err(RULE);
        }
        let first = parts.first().copied().unwrap_or_default();
        let persona = match first.split_once('-') {
            Some((persona, _)) if parts.len() == 1 && PERSONAS.contains(&persona) => persona,
            _ => first,
        };
        Ok(Address { text: text.to_owned(), persona: persona.len() })
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The persona, whose surfaces do not claim beside each other unless all of them say so.
    pub fn persona(&self) -> &str {
        self.text.get(..self.persona).unwrap_or(&self.text)
    }

    /// Is it one of the ids that the original accepts?
    pub fn is_original(&self) -> bool {
        ORIGINAL.contains(&self.text.as_str())
    }

    /// The same as an RFC 1123 label: what the holder of a lease is called.
    pub fn as_label(&self) -> String {
        let plain: String =
            self.text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let short = plain.get(..crate::name::LABEL_MAX).unwrap_or(&plain);
        short.trim_matches('-').to_owned()
    }
}

fn is_segment(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(good)
        && text.bytes().all(|b| good(b) || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
