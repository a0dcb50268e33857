//! Names are checked once, in the type, so that every later use as a file name is safe.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Longest [`Label`], in bytes (RFC 1123).
pub const LABEL_MAX: usize = 63;
/// Longest [`RecordName`], in bytes.
pub const RECORD_NAME_MAX: usize = 120;

/// The name of a node, an agent or a persona: an RFC 1123 label in lower case.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// The name of a lease or a marker: `[a-z0-9][a-z0-9._-]{0,119}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(String);

/// A name that breaks its grammar, with the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} is not valid: {rule}")]
pub struct NameError {
    /// What the name was for.
    pub kind: &'static str,
    /// The name as given.
    pub name: String,
    /// What would be right.
    pub rule: &'static str,
}

const LABEL_RULE: &str = "use 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or \
                          a digit (an RFC 1123 label), as in otto-cli";
const RECORD_RULE: &str = "use 1 to 120 of a-z, 0-9, '.', '_' and '-', starting with a letter or \
                           a digit, as in register-pr-in-flight";

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

impl Label {
    /// Checks `name`; `kind` ("node", "agent", "persona") only words the error.
    pub fn new(kind: &'static str, name: &str) -> Result<Label, NameError> {
        let bytes = name.as_bytes();
        let good = (1..=LABEL_MAX).contains(&bytes.len())
            && bytes.iter().all(|&b| is_lower_alnum(b) || b == b'-')
            && bytes.first().copied().is_some_and(is_lower_alnum)
            && bytes.last().copied().is_some_and(is_lower_alnum);
        match good {
            true => Ok(Label(name.to_owned())),
            false => Err(NameError { kind, name: name.to_owned(), rule: LABEL_RULE }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RecordName {
    /// Checks `name`; `kind` ("lease", "marker") only words the error.
    pub fn new(kind: &'static str, name: &str) -> Result<RecordName, NameError> {
        match RecordName::is_valid(name) {
            true => Ok(RecordName(name.to_owned())),
            false => Err(NameError { kind, name: name.to_owned(), rule: RECORD_RULE }),
        }
    }

    /// The name of the record whose file ends with `suffix`, without a copy; the text itself if it
    /// is not one.
    pub(crate) fn of_file(mut file: String, suffix: &str) -> Result<RecordName, String> {
        match file.strip_suffix(suffix) {
            Some(name) if RecordName::is_valid(name) => {
                file.truncate(name.len());
                Ok(RecordName(file))
            }
            _ => Err(file),
        }
    }

    /// Returns whether a lease or a marker may have this name.
    pub fn is_valid(name: &str) -> bool {
        let bytes = name.as_bytes();
        (1..=RECORD_NAME_MAX).contains(&bytes.len())
            && bytes.iter().all(|&b| is_lower_alnum(b) || matches!(b, b'.' | b'_' | b'-'))
            && bytes.first().copied().is_some_and(is_lower_alnum)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = NameError;
    fn try_from(name: String) -> Result<Label, NameError> {
        Label::new("a", &name)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl FromStr for Label {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Label, NameError> {
        Label::new("node or agent", name)
    }
}

impl FromStr for RecordName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<RecordName, NameError> {
        RecordName::new("lease or marker", name)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_rfc_1123() {
        for good in ["a", "0", "otto-cli", "node-1a2b3c", &"x".repeat(63)] {
            assert!(Label::new("node", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ü", "..", "a/b", "-rf", &"x".repeat(64)] {
            assert!(Label::new("node", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_shown_and_looked_up_as_it_was_written() {
        let label = Label::new("agent", "otto-cli").unwrap();
        assert_eq!(label.to_string(), "otto-cli");
        assert!(std::collections::HashMap::from([(label, 1)]).contains_key("otto-cli"));
        assert_eq!(RecordName::new("lease", "deploy").unwrap().to_string(), "deploy");
    }

    #[test]
    fn record_names_are_safe_file_names() {
        for good in ["a", "register-pr-in-flight", "v1.2_x", &"x".repeat(120)] {
            assert!(RecordName::new("lease", good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".x", "-rf", "a/b", "A", "a b", "a\n", "é", &"x".repeat(121)] {
            assert!(RecordName::new("lease", bad).is_err(), "{bad}");
        }
    }
}
